"""Datasets and settings are read totally, and no error repeats what was in them."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError, OversizeError
from privity.train import dataset
from privity.train.dataset import parse_dataset, settings_of, with_settings
from privity.train.settings import TARGETS, Disclosed, LoraSettings

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
chats = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": texts}),
    max_size=3,
).map(lambda turns: {"messages": [*turns, {"role": "assistant", "content": "yes"}]})
pairs = st.fixed_dictionaries({"prompt": texts, "completion": texts})
records = chats | pairs | st.fixed_dictionaries({"text": texts})
settings = st.builds(
    LoraSettings,
    rank=st.integers(1, 256),
    steps=st.integers(1, 100_000),
    targets=st.sets(st.sampled_from(TARGETS), min_size=1).map(
        lambda chosen: tuple(one for one in TARGETS if one in chosen)
    ),
    learning_rate=st.floats(1e-6, 1.0),
    base=st.none() | st.just("tree-sha256:" + "0" * 64),
    disclose=st.sampled_from(Disclosed),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def lines(rows: list[object]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


@given(st.lists(records, min_size=1, max_size=5))
def test_every_record_of_the_three_forms_is_read(rows: list[dict[str, object]]) -> None:
    read = parse_dataset(lines(list(rows)))
    assert len(read.records) == len(rows)
    for row, record in zip(rows, read.records, strict=True):
        assert record.chat == ("messages" in row)
        assert any(turn.learned for turn in record.turns)
        contents = [turn.content for turn in record.turns]
        if "text" in row:
            assert contents == [row["text"]]
        elif "prompt" in row:
            assert contents == [row["prompt"], row["completion"]]


@given(settings, st.lists(records, min_size=1, max_size=3))
def test_settings_travel_in_the_first_line(
    given_settings: LoraSettings, rows: list[dict[str, object]]
) -> None:
    made = with_settings(lines(list(rows)), given_settings)
    read = parse_dataset(made)
    assert read.settings == given_settings
    assert len(read.records) == len(rows)
    with pytest.raises(MalformedError, match="settings already"):
        with_settings(made, given_settings)


@given(st.binary(max_size=200) | st.lists(json_values, max_size=4).map(lines))
def test_settings_are_read_from_the_first_line_alone(data: bytes) -> None:
    try:
        read = parse_dataset(data)
    except (MalformedError, OversizeError):
        with contextlib.suppress(MalformedError, OversizeError):
            settings_of(data)
    else:
        assert settings_of(data) == read.settings


@given(settings, st.binary(max_size=50))
def test_what_the_settings_say_does_not_depend_on_a_record(
    given_settings: LoraSettings, rest: bytes
) -> None:
    made = with_settings(b'{"text":"x"}', given_settings)
    assert settings_of(made + b"\n" + rest) == given_settings


@given(st.binary(max_size=200) | st.lists(json_values, max_size=4).map(lines))
def test_any_bytes_are_a_dataset_or_refused(data: bytes) -> None:
    try:
        parse_dataset(data)
    except (MalformedError, OversizeError):
        return


@given(json_values | st.dictionaries(st.sampled_from(list(LoraSettings().to_json())), json_values))
def test_any_value_is_settings_or_refused(value: object) -> None:
    try:
        read = LoraSettings.from_json(value)
    except MalformedError:
        return
    assert LoraSettings.from_json(read.to_json()) == read


@pytest.mark.parametrize(
    "row",
    [
        {"text": 5, "canary9731": 1},
        {"prompt": "canary9731"},
        {"prompt": "canary9731", "completion": ""},
        {"messages": [{"role": "user", "content": "canary9731"}]},
        {"messages": [{"role": "canary9731", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": "x", "canary9731": 1}]},
        {"messages": "canary9731"},
        {"text": "x", "settings": {"steps": "canary9731"}},
        ["canary9731"],
        "canary9731",
    ],
)
def test_no_error_repeats_a_record(row: object) -> None:
    for data in (lines([row]), lines([{"text": "fine"}, row]), b'{"canary9731', b"canary9731"):
        with pytest.raises(MalformedError) as caught:
            parse_dataset(data)
        error: BaseException | None = caught.value
        while error is not None:
            assert "canary9731" not in repr(error)
            error = error.__cause__
    assert "canary9731" not in repr(parse_dataset(b'{"text":"canary9731"}'))


def test_limits_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OversizeError, match="line 1"):
        parse_dataset(lines([{"text": "x" * (1 << 20)}]))
    monkeypatch.setattr(dataset, "MAX_RECORDS", 2)
    with pytest.raises(OversizeError, match="more than 2 records"):
        parse_dataset(lines([{"text": "x"}] * 3))
    monkeypatch.setattr(dataset, "MAX_BYTES", 10)
    with pytest.raises(OversizeError, match="the limit is 10"):
        parse_dataset(lines([{"text": "x"}]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": True},
        {"rank": 1.5},
        {"learning_rate": float("nan")},
        {"learning_rate": 0},
        {"targets": ["lm_head"]},
        {"targets": []},
        {"targets": ["k_proj", "q_proj"]},
        {"disclose": "everything"},
        {"checkpoint": "a-file"},
    ],
)
def test_settings_outside_their_limits_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        LoraSettings.from_json(wrong)
