"""What engines say of themselves: readers that are total, whatever answers on a port."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from privity.errors import EngineError, MalformedError, OversizeError
from privity.infer.engines.asking import MAX_LINE, JsonLines, count_of, words_of
from privity.infer.engines.describe import Facts, read_listed, read_lm_studio, read_props
from privity.infer.engines.ollama import read_installed, read_progress, read_shown

_NAMES = st.sampled_from(
    "data models id key name meta n_ctx n_ctx_train max_model_len context_length architecture type "
    "loaded_instances config capabilities vision max_context_length loaded_context_length error "
    "default_generation_settings chat_template_caps modalities model_info general.architecture "
    "llama.context_length parameters remote_host remote_model status digest total completed".split()
)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["llama", "num_ctx 4096", "tool_use", "vlm", "embeddings", "completion"])
)
ANSWERS = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=30,
)


@given(ANSWERS)
def test_every_answer_is_read_or_refused(answer: Any) -> None:
    found = [*read_listed(answer).values(), *read_lm_studio(answer).values()]
    found.append(read_props(Facts("m"), answer))
    for facts in found:
        assert facts.context is None or facts.context > 0
        assert facts.trained is None or facts.trained > 0
    try:
        for one in read_installed(answer):
            assert one.id
    except EngineError:
        pass
    if isinstance(answer, dict):
        shown = read_shown(answer, in_use=None, version="0.17.4")
        assert shown.context > 0
        assert shown.trained is None or shown.context <= shown.trained
        progress = read_progress(answer)
        assert 0 <= progress.completed <= progress.total


@given(ANSWERS)
def test_numbers_and_words_are_taken_and_nothing_else(value: Any) -> None:
    count = count_of(value)
    assert count is None or (count == value and 0 < count)
    assert words_of(value).isprintable() and len(words_of(value)) <= 200


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_lines_are_total_on_any_bytes_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    def read(pieces: list[bytes]) -> list[Any] | str:
        reader, found = JsonLines(), []
        try:
            for piece in pieces:
                found += reader.feed(piece)
            return [*found, *reader.end()]
        except (MalformedError, OversizeError) as error:
            return type(error).__name__

    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert repr(read(pieces)) == repr(read([data]))


@given(st.lists(st.dictionaries(_NAMES, st.integers() | st.text(), max_size=3)), st.integers(1, 9))
def test_what_was_written_as_lines_is_read_back(objects: list[Any], size: int) -> None:
    data = "".join(json.dumps(one) + "\n" for one in objects).encode()
    reader, found = JsonLines(), []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    assert [*found, *reader.end()] == objects


@given(st.integers(1, 40))
def test_a_line_without_an_end_is_given_up(step: int) -> None:
    reader = JsonLines()
    piece = b"x" * (MAX_LINE // step + 1)
    try:
        for _ in range(step + 1):
            list(reader.feed(piece))
    except OversizeError:
        return
    raise AssertionError("more than a line was kept")
