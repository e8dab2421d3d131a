"""What the options of `privity model grant` say: code, programs, prices, times."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privity.attest.grant import Price
    from privity.attest.manifest import ReferenceValue
    from privity.policy.evidence import EvidencePolicy

__all__ = [
    "check_recipient",
    "floor",
    "measurements",
    "moment",
    "price",
    "program_text",
    "programs",
]

_SPAN = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def measurements(
    given: list[str], signers: list[str], *, unsafe_dev: bool
) -> tuple[ReferenceValue, ...]:
    """Return the code a grant names: what was given, or the code here where dev is accepted.

    Raises:
        InputError: one of them is no measurement, or nothing says which code.
    """
    from privity.attest.manifest import ReferenceValue
    from privity.attest.measurement import measure_package
    from privity.errors import InputError

    if not given and unsafe_dev and not signers:
        return (ReferenceValue("dev", {"measurement": measure_package()}),)
    if not given and not signers:
        raise InputError(
            "the grant does not say which code may have the key",
            hint="--measurement or --signer; --unsafe-dev to try it out with the code here",
        )
    return tuple(_measured(text) for text in given)


def _measured(text: str) -> ReferenceValue:
    from privity.attest.manifest import ReferenceValue
    from privity.errors import InputError, MalformedError

    kind, _, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",")]
    registers = {register: value for register, equals, value in pairs if equals}
    try:
        if len(registers) != len(pairs):
            raise MalformedError("a register without its value, or one twice")
        return ReferenceValue(kind, registers)
    except MalformedError as error:
        raise InputError(
            f"{text!r} is not a measurement: {error.message}",
            hint="KIND:REGISTER=VALUE,… as `privity verify --json` shows them",
        ) from None


def programs(given: list[str], purpose: str) -> tuple[str, ...]:
    """Return the training programs of a grant: what was given, or to train, the one here.

    Measuring it reads its source and needs no torch: an owner's machine does without.
    """
    from privity.attest.grant import Purpose
    from privity.train.program import measure_program

    if not given and purpose == Purpose.TRAIN:
        return (measure_program(),)
    return tuple(given)


def check_recipient(text: str) -> None:
    """Raise `InputError` unless outputs can be sealed to it: a run would fail at its end."""
    from privity.errors import InputError, MalformedError
    from privity.vault import Recipient

    try:
        Recipient.parse(text)
    except MalformedError as error:
        hint = "age1pq1…, as `privity model key` prints it"
        raise InputError(error.message, hint=hint) from None


def program_text(program: str) -> str:
    """Return a program's digest, and whether it is the one installed here."""
    from privity.train.program import measure_program

    return f"{program}, the one installed here" if program == measure_program() else program


def floor(path: Path | None) -> EvidencePolicy:
    """Return the ``[evidence]`` table of a policy file, or the defaults; raises `InputError`."""
    from privity.errors import InputError
    from privity.policy import Policy
    from privity.policy.evidence import EvidencePolicy

    if path is None:
        return EvidencePolicy()
    if not path.is_file():
        raise InputError(
            f"there is no policy file {path}",
            hint="docs/how-to/write-a-policy.md has one to begin with",
        )
    return Policy.load(path).evidence


def price(text: str | None) -> Price | None:
    """Return what ``250 EUR-cent`` says; raises `InputError`."""
    from privity.attest.grant import Price
    from privity.errors import InputError, MalformedError

    if text is None:
        return None
    amount, _, unit = text.partition(" ")
    try:
        return Price(int(amount), unit.strip())
    except (ValueError, MalformedError):
        raise InputError(f"{text!r} is not a price", hint="such as '250 EUR-cent'") from None


def moment(text: str, now: datetime) -> datetime:
    """Return when ``30d``, ``12h`` from now or an RFC 3339 time is; raises `InputError`."""
    from privity.errors import InputError, MalformedError
    from privity.identity.timestamps import parse_time

    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            return now + timedelta(**{_UNITS[span[2]]: int(span[1])})
        return parse_time(text)
    except (MalformedError, OverflowError):
        raise InputError(
            f"{text!r} is not when a grant can end", hint="30d, 12h, or 2027-01-31T00:00:00Z"
        ) from None
