"""What would leave, for a person to see: each text in pieces, and what each stand-in stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from privity.policy.sensitive import Kind

__all__ = ["Passage", "Piece", "Span", "passages"]


@dataclass(frozen=True, slots=True)
class Span:
    """One recognised stretch of a request.

    Attributes:
        place: of the text it is in: a JSON pointer, after a ``#`` into the JSON a string holds.
        start: of what leaves, in the text that leaves.
        end: after it.
        kind: what it is.
        before: what the person wrote.
        after: what leaves; the same where it is kept.
    """

    place: str
    start: int
    end: int
    kind: Kind
    before: str = field(repr=False)
    after: str = field(repr=False)

    @property
    def kept(self) -> bool:
        """Whether it leaves as it is."""
        return self.before == self.after


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text that leaves: ``span`` is what was recognised there, if anything."""

    text: str = field(repr=False)
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One text that leaves, in pieces."""

    place: str
    pieces: tuple[Piece, ...]


def passages(texts: Mapping[str, str], spans: Iterable[Span]) -> tuple[Passage, ...]:
    """Return the texts that leave, in pieces, in the order of the request.

    Args:
        texts: by place, as `Departure.texts` has them.
        spans: what was recognised in them.
    """
    by_place: dict[str, list[Span]] = {}
    for span in spans:
        by_place.setdefault(span.place, []).append(span)
    return tuple(
        Passage(place, tuple(_pieces(text, by_place.get(place, ()))))
        for place, text in texts.items()
    )


def _pieces(text: str, spans: Iterable[Span]) -> Iterable[Piece]:
    done = 0
    for span in sorted(spans, key=lambda one: one.start):
        if span.start > done:
            yield Piece(text[done : span.start])
        yield Piece(text[span.start : span.end], span)
        done = span.end
    if done < len(text):
        yield Piece(text[done:])
