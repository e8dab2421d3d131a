"""Where the contracts are: one small JSON document, the same for everybody.

::

    {"form": "privity/ledger/v1", "chain": 31337, "block": 1,
     "token": "0x…", "membership": "0x…", "credits": "0x…", "providers": "0x…", "settle": 60}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from privity.errors import InputError, MalformedError, OversizeError
from privity.home import read_file
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.ledger.wire import Address, check_address

__all__ = ["SETTLE_S", "Addresses"]

_FORM = "privity/ledger/v1"
_MAX_BYTES = 4096

SETTLE_S = 60
"""Seconds of a period, where a document says nothing."""

_MOST_SETTLE_S = 3600


@dataclass(frozen=True, slots=True)
class Addresses:
    """A chain and the contracts on it.

    Attributes:
        chain: the chain's number; what is signed for one is worth nothing on another.
        block: the first block that can hold anything of the contracts.
        token: of the token that stakes and credits are paid in.
        membership: of the contract of members.
        credits: of the contract of credits.
        providers: of the registry of gateways and relays.
        settle_s: the period, in seconds, after whose end devices prove of what happened in it; 60
            where a document says nothing. It is no contract's, but has to be the same for all.
    """

    chain: int
    block: int
    token: Address
    membership: Address
    credits: Address
    providers: Address
    settle_s: int = SETTLE_S

    @property
    def deployment(self) -> str:
        """The name of the credits here: their chain and their contract."""
        return f"eip155-{self.chain}-{self.credits.lower()}"

    def to_bytes(self) -> bytes:
        """Return the canonical JSON document."""
        return canonical(
            {
                "block": self.block,
                "chain": self.chain,
                "credits": self.credits,
                "form": _FORM,
                "membership": self.membership,
                "providers": self.providers,
                "settle": self.settle_s,
                "token": self.token,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Addresses:
        """Read a document.

        Raises:
            OversizeError: it is larger than 4096 bytes.
            MalformedError: it is not of this form.
        """
        if len(data) > _MAX_BYTES:
            raise OversizeError(f"the contracts' addresses take at most {_MAX_BYTES} bytes")
        try:
            parsed = json.loads(data)
        except (ValueError, RecursionError):
            raise MalformedError("the contracts' addresses are not JSON") from None
        fields = Fields(parsed, "addresses")
        fields.constant("form", _FORM)
        addresses = cls(
            chain=fields.count("chain", least=1),
            block=fields.count("block"),
            token=_address(fields, "token"),
            membership=_address(fields, "membership"),
            credits=_address(fields, "credits"),
            providers=_address(fields, "providers"),
            settle_s=_period(fields),
        )
        fields.done()
        return addresses

    @classmethod
    def from_file(cls, path: Path) -> Addresses:
        """Read the document in a file.

        Raises:
            InputError: it cannot be read, or is no such document.
        """
        try:
            return cls.from_bytes(read_file(path, most=_MAX_BYTES, what="the contracts' addresses"))
        except (MalformedError, OversizeError) as error:
            raise InputError(
                f"{path} does not say where contracts are: {error.message}",
                hint="it is the file that `privity ledger deploy` wrote, or that whoever runs "
                "the network hands out",
            ) from None


def _period(fields: Fields) -> int:
    if "settle" not in fields:
        return SETTLE_S
    return fields.count("settle", least=1, most=_MOST_SETTLE_S)


def _address(fields: Fields, name: str) -> Address:
    try:
        return check_address(fields.text(name))
    except InputError as error:
        raise MalformedError(f"addresses.{name}: {error.message}") from None
