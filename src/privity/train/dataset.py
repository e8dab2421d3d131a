"""The records to train on: JSON lines, read from memory, with limits.

One record a line, in one of three forms: ``{"messages": [{"role", "content"}, …]}``, of which the
assistant's turns are learned; ``{"prompt", "completion"}``, of which the completion is;
``{"text"}``, all of it. The first line may be ``{"settings": {…}}`` instead.

Nothing here repeats a record: not in an error, and not in a repr.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from privity.errors import MalformedError, OversizeError
from privity.identity.jcs import loads_strict
from privity.train.settings import LoraSettings

__all__ = [
    "MAX_BYTES",
    "MAX_RECORDS",
    "Dataset",
    "Record",
    "Turn",
    "parse_dataset",
    "settings_of",
    "with_settings",
]

MAX_BYTES = 1 << 28
"""Largest dataset, in bytes: it is held in memory whole."""

MAX_RECORDS = 1_000_000

_MAX_LINE = 1 << 20
_MAX_TURNS = 1024
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Turn:
    """One part of a record.

    Attributes:
        role: ``system``, ``user`` or ``assistant``; ``prompt`` or ``completion`` of plain text.
        content: its text.
    """

    role: str
    content: str = field(repr=False)

    @property
    def learned(self) -> bool:
        """Whether the model is trained to say this."""
        return self.role in ("assistant", "completion")


@dataclass(frozen=True)
class Record:
    """One record to learn.

    Attributes:
        turns: its parts in order; at least one is learned.
        chat: whether the parts are turns of a chat, to be written in the model's own template.
    """

    turns: tuple[Turn, ...] = field(repr=False)
    chat: bool


@dataclass(frozen=True)
class Dataset:
    """What a run learns from and how.

    Attributes:
        records: at least one.
        settings: of the first line, or the defaults.
    """

    records: tuple[Record, ...] = field(repr=False)
    settings: LoraSettings


def parse_dataset(data: bytes) -> Dataset:
    """Read a dataset.

    Raises:
        OversizeError: more than `MAX_BYTES`, `MAX_RECORDS`, or a line of more than 1 MiB.
        MalformedError: a line is not a record; the message has its number and nothing else of it.

    Guarantees:
        Total, and no error repeats a record (tests/property/test_train_dataset.py).
    """
    if len(data) > MAX_BYTES:
        raise OversizeError(f"a dataset of {len(data)} bytes; the limit is {MAX_BYTES}")
    records: list[Record] = []
    settings: LoraSettings | None = None
    for number, line in _lines(data):
        value = _read_line(line, number)
        if settings is None and not records and isinstance(value, dict) and "settings" in value:
            settings = _settings(value, number)
            continue
        if len(records) == MAX_RECORDS:
            raise OversizeError(f"a dataset of more than {MAX_RECORDS} records")
        records.append(_record(value, number))
    if not records:
        raise MalformedError("a dataset without records")
    return Dataset(tuple(records), settings or LoraSettings())


def settings_of(data: bytes) -> LoraSettings:
    """Return how a dataset is to be trained on, of which no more than the first line is read.

    Raises:
        OversizeError, MalformedError: that line is none, as with `parse_dataset`.

    Guarantees:
        What `parse_dataset` finds, and no later line changes it
        (tests/property/test_train_dataset.py).
    """
    for number, line in _lines(data):
        value = _read_line(line, number)
        given = isinstance(value, dict) and "settings" in value
        return _settings(value, number) if given else LoraSettings()
    raise MalformedError("a dataset without records")


def with_settings(data: bytes, settings: LoraSettings) -> bytes:
    """Return a dataset with these settings as its first line. This is run by the owner.

    Raises:
        MalformedError: it is no dataset, or has settings already.
    """
    first = data.split(b"\n", 1)[0]
    if b'"settings"' in first and "settings" in (_read_line(first, 1) or {}):
        raise MalformedError("the dataset has settings already, in its first line")
    line = json.dumps({"settings": settings.to_json()}, separators=(",", ":"), sort_keys=True)
    made = line.encode() + b"\n" + data
    parse_dataset(made)
    return made


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, each with its number."""
    start, number = 0, 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        line, start, number = data[start:end], end + 1, number + 1
        if line.strip():
            yield number, line


def _read_line(line: bytes, number: int) -> Any:
    if len(line) > _MAX_LINE:
        raise OversizeError(f"line {number} has {len(line)} bytes; the limit is {_MAX_LINE}")
    try:
        return loads_strict(line, max_bytes=_MAX_LINE)
    except MalformedError:
        raise MalformedError(f"line {number} is not JSON that can be read in one way") from None


def _settings(value: dict[str, Any], number: int) -> LoraSettings:
    if value.keys() != {"settings"}:
        raise _wrong(number, "a line with settings has nothing else")
    return LoraSettings.from_json(value["settings"])


def _record(value: Any, number: int) -> Record:
    keys = value.keys() if isinstance(value, dict) else set()
    if keys == {"messages"}:
        return Record(_messages(value["messages"], number), chat=True)
    if keys == {"prompt", "completion"}:
        prompt, completion = _text(value["prompt"], number), _text(value["completion"], number)
        if not completion:
            raise _wrong(number, "an empty completion")
        return Record((Turn("prompt", prompt), Turn("completion", completion)), chat=False)
    if keys == {"text"}:
        text = _text(value["text"], number)
        if not text:
            raise _wrong(number, "an empty text")
        return Record((Turn("completion", text),), chat=False)
    raise _wrong(number, 'a record has "messages", or "prompt" and "completion", or "text"')


def _messages(value: Any, number: int) -> tuple[Turn, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_TURNS:
        raise _wrong(number, f"messages are a list of 1 to {_MAX_TURNS}")
    turns = []
    for one in value:
        if not isinstance(one, dict) or one.keys() != {"role", "content"}:
            raise _wrong(number, 'a message has "role" and "content"')
        if one["role"] not in _ROLES:
            raise _wrong(number, f"a role is one of {', '.join(_ROLES)}")
        turns.append(Turn(one["role"], _text(one["content"], number)))
    if not any(turn.learned for turn in turns):
        raise _wrong(number, "a chat without a turn of the assistant has nothing to learn")
    return tuple(turns)


def _text(value: Any, number: int) -> str:
    if not isinstance(value, str):
        raise _wrong(number, "a text is not a string")
    return value


def _wrong(number: int, why: str) -> MalformedError:
    return MalformedError(f"line {number}: {why}")
