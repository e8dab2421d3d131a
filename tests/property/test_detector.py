"""The detector answers any text: in order, inside it, without overlaps, and always the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.infer.pseudonyms.detector import PersonalDataDetector
from privity.infer.pseudonyms.finding import Finding, merge
from privity.infer.pseudonyms.folding import fold
from privity.infer.pseudonyms.rampart import WINDOW, windows
from privity.infer.pseudonyms.vocabulary import Vocabulary
from privity.policy.sensitive import Kind

PIECES = st.sampled_from(
    [
        "Anna",
        " ",
        "\n",
        "4111 1111 1111 1111",
        "\u200b",
        "\u00a0",
        "&nbsp;",
        "&#228;",
        "\\u00fc",
        "\\n",
        "@",
        "password:",
        "=",
        "DE89 3704 0044 0532 0130 00",
        "+49 30 901820",
        "eyJ",
        ".",
        "-----BEGIN ",
        "PRIVATE KEY-----",
        "C:\\Users\\nina",
        "\ud800",
        "\U0001f600",
        "İ",
        "ß",
        "ﬁ",
        "١٢",
        "\uff15",
        "|name|\n",
        "Hauptstraße 5",
        "name,city\n",
        "\x00",
        "\u0301",
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join))


class Scripted:
    """A model that finds something anywhere, also nonsense."""

    def find(self, text: str) -> Iterator[Finding]:
        for start in range(0, len(text), 7):
            kind = list(Kind)[start % len(Kind)]
            yield Finding(start, min(len(text), start + 5), kind, 0.95, "scripted")


DETECTOR = PersonalDataDetector([Scripted()], Vocabulary(["Anna", "Projekt Falke"]))


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_any_text_has_an_answer(text: str) -> None:
    end = 0
    for one in DETECTOR.find(text):
        assert end <= one.start < one.end <= len(text)
        assert 0 <= one.score <= 1
        end = one.end


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_the_same_text_has_the_same_answer(text: str) -> None:
    assert DETECTOR.find(text) == DETECTOR.find(text)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_folding_keeps_offsets(text: str) -> None:
    folded = fold(text)
    end = 0
    for place in range(len(folded.text)):
        one = folded.back(Finding(place, place + 1, Kind.OWN, 1.0, "x"))
        assert end <= one.start < one.end <= len(text)
        end = one.end


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from([0.2, 0.5, 0.9])))
)
def test_merging_leaves_no_overlaps_and_loses_nobody_alone(
    raw: list[tuple[int, int, float]],
) -> None:
    found = [Finding(a, a + n, Kind.OWN, score, "x") for a, n, score in raw]
    merged = merge(found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(merged))
    for one in found:
        if one.start < one.end:  # somebody surer, or as sure, covers some of it
            assert any(
                m.start < one.end and one.start < m.end and m.score >= one.score for m in merged
            )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=900))
def test_windows_cover_every_token(steps: list[int]) -> None:
    words: list[int | None] = []
    for step in steps:
        words.append((words[-1] or 0) + min(step, 1) if words else 0)
    spans = windows(words)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(words)
    assert all(0 < b - a <= WINDOW for a, b in spans)
    assert all(a < c <= b < d for (a, b), (c, d) in itertools.pairwise(spans))
