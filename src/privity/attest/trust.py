"""What a person trusts when evidence is judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from privity.errors import InputError, MalformedError
from privity.identity.did_key import parse_did

__all__ = ["Trust"]


@dataclass(frozen=True)
class Trust:
    """The roots a person accepts, and how old evidence may be.

    Attributes:
        dev_roots: did:keys of development roots. Evidence under them proves nothing about
            hardware, and no preset policy but ``dev`` admits it.
        max_age: the oldest evidence accepted, counted from when it was made.

    Raises:
        InputError: a root that is not a did:key, or an age that is not positive.
    """

    dev_roots: tuple[str, ...] = ()
    max_age: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if self.max_age <= timedelta(0):
            raise InputError("trust: max_age must be more than zero")
        for root in self.dev_roots:
            try:
                parse_did(root)
            except MalformedError as error:
                raise InputError(f"trust: a dev root is {error.message}") from None
