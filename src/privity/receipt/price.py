"""What a job cost, as the enclave signs it: so that charging too much can be proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from privity.errors import MalformedError
from privity.identity.digests import check_digest
from privity.identity.fields import Fields

__all__ = ["MAX_CREDITS", "Price"]

MAX_CREDITS = 2**32 - 1
"""The most credits one token can hold, and so the most one job can cost."""


@dataclass(frozen=True)
class Price:
    """What one job cost, in credits.

    It names no spend and no token: two receipts of one person have nothing in common by it.

    Attributes:
        charged: what was taken.
        held: what the request was paid with; the rest went back with the answer.
        tariff: digest of the tariff it was reckoned by.
    """

    charged: int
    held: int
    tariff: str

    def __post_init__(self) -> None:
        check_digest(self.tariff)
        if not 0 <= self.charged <= self.held <= MAX_CREDITS:
            raise MalformedError("a job costs no more than it was paid with")

    def to_json(self) -> dict[str, Any]:
        """Return it as the receipt's ``price``."""
        return {"charged": self.charged, "held": self.held, "tariff": self.tariff}

    @classmethod
    def from_fields(cls, fields: Fields) -> Price:
        """Read what `to_json` writes; raises `MalformedError`."""
        price = cls(
            fields.count("charged", most=MAX_CREDITS),
            fields.count("held", most=MAX_CREDITS),
            fields.digest("tariff"),
        )
        fields.done()
        return price
