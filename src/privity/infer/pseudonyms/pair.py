"""An original and what stands for it, and how either is recognised in a text."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from privity.policy.sensitive import Kind

__all__ = ["Fit", "Pair"]


class Fit(enum.StrEnum):
    """How much like itself a text has to be in order to be recognised."""

    WORD = "word"
    """Letters: in any case, inflected, its words apart by any white space."""
    EXACT = "exact"
    """As it is, in any case: addresses, hosts, dates."""
    CASED = "cased"
    """As it is, letter by letter: secrets."""
    COMPACT = "compact"
    """Letters and digits, whatever stands between them: numbers that people group."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One original and its stand-in.

    Attributes:
        original: what the person wrote.
        stand_in: what leaves instead.
        kind: of the original.
        fit: how both are recognised.
        shy: the original is also an everyday word: in small letters it is not taken for a name.
        only_back: recognised in answers only; a request never has it looked for.
    """

    original: str = field(repr=False)
    stand_in: str = field(repr=False)
    kind: Kind
    fit: Fit
    shy: bool = False
    only_back: bool = False
