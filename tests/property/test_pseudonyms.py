"""Stand-ins: apart from everything, one each, and back again."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import PrivityError
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.pair import Fit
from privity.infer.pseudonyms.parts import gather
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.pseudonyms.standins import stand_in
from privity.policy.sensitive import FLAGGED, Kind, Mode
from scripted_detector import ScriptedDetector

PATH = "/v1/chat/completions"
NAMES = st.from_regex(r"[A-Z][a-zäöüßéñ]{3,9}", fullmatch=True)
KINDS = st.sampled_from([kind for kind in Kind if kind not in FLAGGED])
EXAMPLES = st.sampled_from(
    [
        (Kind.PERSON, "Anna Schmidt"), (Kind.PERSON, "Jürgen Müller"), (Kind.PERSON, "O'Brian Kee"),
        (Kind.PERSON, "Dr. María-José Núñez"), (Kind.PERSON, "Li"), (Kind.PERSON, "王小明"),
        (Kind.ORGANISATION, "Wexley Turbines GmbH"), (Kind.PLACE, "Gelnhausen"),
        (Kind.EMAIL, "anna.schmidt@firma.de"), (Kind.PHONE, "+49 171 1234567"),
        (Kind.DATE, "1985-03-04"), (Kind.DATE, "3. März 1985"), (Kind.POSTCODE, "63571"),
        (Kind.ADDRESS, "Hauptstraße 12"), (Kind.CARD, "4111 1111 1111 1111"),
        (Kind.BANK_ACCOUNT, "DE44 5001 0517 5407 3249 31"), (Kind.IP, "10.20.30.40"),
        (Kind.SECRET, 'hunter"2\\x'), (Kind.URL, "https://firma.de/a"), (Kind.OWN, "Blauwal"),
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(EXAMPLES | st.tuples(KINDS, NAMES), min_size=1, max_size=12), st.text(max_size=200))
def test_no_stand_in_is_an_original_a_text_or_part_of_another(found, text) -> None:
    place = ConversationMap()
    texts = [*(one for _, one in found), text]
    place.see(texts, texts)
    for kind, one in found:
        stand_in(kind, one, place)
    seen = "\n".join(texts).casefold()
    words = {
        pair.stand_in.casefold()
        for pair in place._pairs.values()
        if pair.fit is Fit.WORD and pair.stand_in.isalpha() and pair.stand_in.isascii()
        and not pair.shy and len(pair.stand_in) == len(pair.stand_in.split()[0])
    }  # fmt: skip
    for pair in place._pairs.values():
        assert pair.stand_in.casefold() != pair.original.casefold()
        if len(pair.stand_in) > 4:
            assert pair.stand_in.casefold() not in seen
    coined = {w for w in words if not any(w != o and o in w for o in words)}
    assert all(a == b or a not in b for a in coined for b in coined)


@settings(max_examples=150, deadline=None)
@given(st.lists(EXAMPLES, min_size=1, max_size=8, unique=True))
def test_an_original_keeps_its_stand_in_and_none_is_shared(found) -> None:
    place = ConversationMap()
    texts = [one for _, one in found]
    place.see(texts, texts)
    first = {one: stand_in(kind, one, place) for kind, one in found}
    place.see([*texts, "more"], texts)
    kept = ConversationMap.from_bytes(place.to_bytes())
    for kind, one in found:
        assert stand_in(kind, one, place) == first[one] == stand_in(kind, one, kept)
    assert len(set(first.values())) == len(first)


@settings(max_examples=200, deadline=None)
@given(st.lists(EXAMPLES, min_size=1, max_size=8), st.lists(st.text(max_size=12), max_size=9))
def test_what_leaves_comes_back_as_it_was(found, between) -> None:
    text = ""
    for i, (_, one) in enumerate(found):
        text += (between[i] if i < len(between) else "") + " " + one + ", "
    detector = ScriptedDetector({one: kind for kind, one in found})
    body = {"messages": [{"role": "user", "content": text}]}
    departure = Pseudonymiser(detector).replace(PATH, body, Mode.REPLACE)
    said = departure.body["messages"][0]["content"]
    answer = {"choices": [{"index": 0, "message": {"content": said}}]}
    restorer = departure.answer("application/json")
    made = json.loads(restorer.feed(json.dumps(answer).encode()) + restorer.end())
    assert made["choices"][0]["message"]["content"] == text


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("ab 1", max_size=6), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5),
)
def test_parts_say_the_same_whatever_is_moved_between_them(texts, spans) -> None:
    def crossing(text: str, borders):
        for one, other in spans:
            low, high = sorted((one, other))
            if high <= len(text) and any(low < border < high for border in borders):
                yield low, high

    parts = [{"type": "text", "text": text, "place": str(i)} for i, text in enumerate(texts)]
    body = {"messages": [{"role": "user", "content": parts}], "tools": parts}
    before = json.dumps(body)
    made = gather(body, crossing)
    assert json.dumps(body) == before and made["tools"] == parts
    said = "".join(part["text"] for part in made["messages"][0]["content"])
    assert said.replace(" ", "") == "".join(texts).replace(" ", "")
    assert 0 <= len(said) - len("".join(texts)) < len(texts)


class Wild:
    """Finds stretches at random places, as no detector should."""

    def __init__(self, findings) -> None:
        self._findings = findings

    def find(self, text: str) -> tuple[Finding, ...]:
        spans = sorted(
            {(a % (len(text) + 1), b % (len(text) + 1), k) for a, b, k in self._findings}
        )
        out, done = [], 0
        for a, b, kind in spans:
            if done <= a < b:
                out.append(Finding(a, b, kind, 0.5, "wild"))
                done = b
        return tuple(out)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
PATHS = st.sampled_from(
    [PATH, "/v1/messages", "/v1/responses", "/v1/completions", "/v1/embeddings"]
)


@settings(max_examples=300, deadline=None)
@given(
    PATHS,
    st.dictionaries(
        st.sampled_from(["messages", "input", "tools", "prompt", "metadata", "system", "x"]), JSON
    ),
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from(list(Kind))), max_size=4
    ),
)
def test_any_request_is_walked_or_refused(path, body, findings) -> None:
    try:
        departure = Pseudonymiser(Wild(findings)).replace(path, body, Mode.REPLACE)
    except PrivityError:
        return
    assert set(departure.body) == set(body)
    json.dumps(departure.body)
    for passage in departure.passages:
        assert "".join(piece.text for piece in passage.pieces) == departure.texts[passage.place]
