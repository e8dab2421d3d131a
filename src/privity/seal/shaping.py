"""When the records of an answer leave, so that its rhythm and length do not tell what it says.

Asked for and confirmed *inside* the seal, beside `privity-records` (records.py):

- ``privity-cadence: <ms>`` asks for a *batch* of records every so many milliseconds and no other
  time.
- ``privity-pace`` says what a tick does with nothing to say: `Pace`.
- ``privity-delay: <ms>`` asks for a random time, of at most so many milliseconds, before each send.

Batches have one size: one record. It doubles where the application is two ticks ahead of what
leaves, and never shrinks, so that the sizes of a whole answer tell at most when it doubled. What
each of these leaves of the leak, and what it costs, is measured by bench/traffic.py; the default
and its reason: docs/decisions/0004-how-answers-are-shaped.md.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass

from privity.errors import InputError, MalformedError
from privity.seal.http_message import Fields
from privity.seal.http_message import field as field_of
from privity.seal.records import (
    CADENCE_HEADER,
    DEFAULT_SIZE,
    RECORDS_HEADER,
    parse_cadence,
    parse_number,
    parse_size,
)

__all__ = [
    "DEFAULT_CADENCE",
    "DELAYS",
    "DELAY_HEADER",
    "PACE_HEADER",
    "SHAPE_FIELDS",
    "Batches",
    "Pace",
    "Shape",
    "length_bucket",
    "longest_tail",
    "random_delay",
]

PACE_HEADER = b"privity-pace"
DELAY_HEADER = b"privity-delay"
SHAPE_FIELDS = frozenset((RECORDS_HEADER, CADENCE_HEADER, PACE_HEADER, DELAY_HEADER))

DEFAULT_CADENCE = 50
"""Milliseconds between batches where nothing else was asked for."""
DELAYS = range(1, 10_000 + 1)
"""Milliseconds a random delay may have at most."""

_FINE = 16  # up to here buckets double, then there are four in each doubling
_STEPS = 4
_WIDEST = 64  # ticks or records, beyond which more steps are made instead of wider ones


class Pace(enum.Enum):
    """When records leave, between the beginning of an answer and its end."""

    BATCH = "batch"
    """At a tick, where there is something to say: silence shows, single tokens do not."""
    EVEN = "even"
    """At every tick, cover where there is nothing to say. The length of the answer shows."""
    BUCKET = "bucket"
    """As `EVEN`, and on with cover to a `length_bucket` of ticks: the length shows as a bucket."""
    WHOLE = "whole"
    """All of it when the answer has ended, in a `length_bucket` of records."""


@dataclass(frozen=True)
class Shape:
    """How much of a message's sizes and timing shows outside the seal.

    Attributes:
        records: bytes of each record in which the answer is asked for; None for the sizes it has.
        cadence_ms: milliseconds between batches of records; None to send as the application does.
            Needs ``records``.
        pad_requests: whether requests are lengthened to size buckets.
        pace: what a tick does with nothing to say. Without a cadence only `Pace.WHOLE`, which has
            no ticks, means anything.
        delay_ms: a random time before each send, at most; None for none. Not where every tick
            sends something: there it would hide nothing more.
    """

    records: int | None = DEFAULT_SIZE
    cadence_ms: int | None = DEFAULT_CADENCE
    pad_requests: bool = True
    pace: Pace = Pace.BUCKET
    delay_ms: int | None = None

    def __post_init__(self) -> None:
        if self.records is None and (self.cadence_ms or self.delay_ms):
            raise InputError("a cadence or a delay needs records of a fixed size")
        if self.records is None and self.pace is Pace.WHOLE:
            raise InputError("a whole answer needs records of a fixed size")
        if self.delay_ms is not None and self.acts not in (None, Pace.BATCH):
            raise InputError(f"a random delay adds nothing to the pace {self.pace.value!r}")

    @property
    def acts(self) -> Pace | None:
        """The pace that is kept; None where records leave as the application sends."""
        if self.pace is Pace.WHOLE:
            return Pace.WHOLE
        return self.pace if self.cadence_ms is not None else None

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the sealed fields that ask for this shape, or confirm it."""
        numbers = [(RECORDS_HEADER, self.records), (DELAY_HEADER, self.delay_ms)]
        if self.acts is not Pace.WHOLE:
            numbers.insert(1, (CADENCE_HEADER, self.cadence_ms))
        asked = [(name, b"%d" % value) for name, value in numbers if value is not None]
        if self.acts not in (None, Pace.EVEN):  # a cadence alone means even
            asked.append((PACE_HEADER, self.pace.value.encode()))
        return asked

    @staticmethod
    def read(fields: Fields) -> Shape:
        """Return the shape that a head asks for or confirms; a plain one where it names none.

        Raises:
            MalformedError: a value is none that is known, or they do not go together.
        """
        size = field_of(fields, RECORDS_HEADER)
        if size is None:
            return _PLAIN
        cadence = field_of(fields, CADENCE_HEADER)
        delay = field_of(fields, DELAY_HEADER)
        pace = field_of(fields, PACE_HEADER)
        try:
            return Shape(
                records=parse_size(size),
                cadence_ms=None if cadence is None else parse_cadence(cadence),
                pace=Pace.EVEN if pace is None else Pace(pace.decode("latin-1")),
                delay_ms=None if delay is None else parse_number(delay, DELAYS, DELAY_HEADER),
            )
        except (ValueError, InputError) as error:
            raise MalformedError("the shape asked for an answer is none that is known") from error


_PLAIN = Shape(records=None, cadence_ms=None)


def length_bucket(count: int) -> int:
    """Return the smallest length that ``count`` ticks or records are brought to.

    1, 2, 4, 8, 16, then four even steps to each next power of two, but none wider than 64: an
    answer takes less than twice as long up to 16, and less than a quarter longer beyond.
    """
    if count <= 1:
        return 1
    power = 1 << (count - 1).bit_length()
    if power <= _FINE:
        return power
    step = min((power >> 1) // _STEPS, _WIDEST)
    return -(-count // step) * step


def longest_tail(shape: Shape) -> float:
    """Return seconds for which an answer of this shape may go on with cover after its end."""
    if shape.acts is not Pace.BUCKET or shape.cadence_ms is None:
        return 0.0
    return _WIDEST * shape.cadence_ms / 1000


class Batches:
    """How many records leave at each tick of one answer. Run by the Gateway.

    Args:
        room: bytes of content in a record.
        most: bytes of content in a batch, about, at most.

    Guarantees:
        The number only ever doubles, whatever waits, and no more often than it takes to reach
        ``most`` (tests/property/test_shaping.py).
    """

    def __init__(self, room: int, most: int) -> None:
        self._room = room
        self._most = max(most // room, 1)
        self.records = 1
        self.ticks = 0

    @property
    def full(self) -> int:
        """Bytes of content in the largest batch: who has as much ready waits for no tick."""
        return self._most * self._room

    def next(self, held: int) -> int:
        """Return the records of this tick's batch, where ``held`` bytes wait.

        The first tick takes what there is at once, so that an answer which came whole leaves
        whole. Later two ticks' worth may wait: tokens differ in length, and one long word should
        not show.
        """
        slack = 2 if self.ticks else 1
        self.ticks += 1
        while held > slack * self.records * self._room and self.records < self._most:
            self.records = min(2 * self.records, self._most)
        return self.records


def random_delay(most_ms: int, randomness: Callable[[int], bytes] = os.urandom) -> float:
    """Return seconds, evenly distributed from 0 to ``most_ms``.

    Even, because of all times below a bound these say least about where they began. Whoever sees
    many learns their mean all the same: a delay blurs one token, not the rhythm of a hundred.
    """
    return int.from_bytes(randomness(7), "big") / (1 << 56) * most_ms / 1000
