"""Recognisers of our own: pure functions over a text, with check digits wherever there are any.

Each module knows one family: secrets, bank, national, health, contact, phone, address, dates,
vehicles, wallets, organisations, persons, words,
columns. Every pattern is bounded: what one position can cost does not grow with the text
(tests/property/test_detector_cost.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers import (
    address,
    bank,
    columns,
    contact,
    dates,
    national,
    organisation,
    person,
    phone,
    secrets,
    vehicle,
    wallet,
    words,
)

__all__ = ["recognise"]

_MODULES = (
    secrets,
    wallet,
    bank,
    national,
    contact,
    phone,
    dates,
    address,
    vehicle,
    organisation,
    person,
    words,
    columns,
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield what every recogniser here finds, in no order and with overlaps."""
    for module in _MODULES:
        yield from module.recognise(text)
