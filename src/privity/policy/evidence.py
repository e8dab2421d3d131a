"""What a person demands of evidence, beyond that its signatures hold.

The ``[evidence]`` table of a policy file. Hardware vendors grade their own platforms; which grades
are good enough, how old evidence may be, and whether the measured code must have been approved by
someone, are the person's to say.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from privity.errors import InputError

__all__ = ["PLATFORM_FLAGS", "SNP_COMPONENTS", "SNP_PRODUCTS", "EvidencePolicy", "TcbStatus"]


class TcbStatus(enum.StrEnum):
    """A vendor's grade of a platform's firmware, in Intel's words (Intel PCS API v4, TCB Info).

    Other vendors' findings are mapped onto these.
    """

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


SNP_PRODUCTS = ("milan", "genoa", "turin")
SNP_COMPONENTS = ("bootloader", "tee", "snp", "microcode", "fmc")
"""The parts of an AMD TCB version that a floor can name (AMD 56860, TCB_VERSION)."""

PLATFORM_FLAGS = ("dynamic", "cached-keys", "smt")
"""What an Intel platform may be: of changing parts, with cached keys, with hyperthreading."""

_MAX_AGE = timedelta(days=3650)
_MAX_WITNESSES = 16


@dataclass(frozen=True)
class EvidencePolicy:
    """The floor under evidence. The defaults are the strictest that real platforms meet.

    Attributes:
        tcb: the grades accepted. `Revoked` cannot be.
        snp: for each AMD product, the least security version of each part of its TCB.
        vmpl: the least privileged level in an AMD guest whose reports are accepted, 0 to 3; 0 is
            the most privileged. At 1, code below it, such as a cloud's own, can interfere; it
            was measured with the guest, and some clouds start every guest there.
        platform: what an Intel platform may be, of `PLATFORM_FLAGS`.
        max_age: the oldest evidence accepted without a challenge, and the oldest witnessed log.
        reference: whether what was measured must be approved by a signer the person trusts.
        log: whether the keyset must be in a log the person trusts.
        witnesses: how many trusted witnesses must have cosigned that log.

    Raises:
        InputError: a value outside of these.
    """

    tcb: frozenset[TcbStatus] = frozenset({TcbStatus.UP_TO_DATE})
    snp: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    vmpl: int = 1
    platform: frozenset[str] = frozenset(PLATFORM_FLAGS)
    max_age: timedelta = timedelta(hours=24)
    reference: bool = True
    log: bool = True
    witnesses: int = 0

    def __post_init__(self) -> None:
        frozen = {name: MappingProxyType(dict(least)) for name, least in self.snp.items()}
        object.__setattr__(self, "snp", MappingProxyType(frozen))
        if TcbStatus.REVOKED in self.tcb:
            raise InputError("evidence.tcb: a revoked platform cannot be accepted")
        if not timedelta(0) < self.max_age <= _MAX_AGE:
            raise InputError("evidence.max_age must be more than zero and at most ten years")
        if not 0 <= self.witnesses <= _MAX_WITNESSES:
            raise InputError(f"evidence.witnesses must be 0 to {_MAX_WITNESSES}")
        if not 0 <= self.vmpl <= 3:
            raise InputError("evidence.vmpl must be 0 to 3")
        if unknown := self.platform - set(PLATFORM_FLAGS):
            raise _unknown("platform", min(unknown), PLATFORM_FLAGS)
        for product, least in self.snp.items():
            _check_floor(product, least)

    def __hash__(self) -> int:
        floors = tuple((name, tuple(sorted(one.items()))) for name, one in sorted(self.snp.items()))
        rest = (self.vmpl, self.max_age, self.reference, self.log, self.witnesses)
        return hash((self.tcb, floors, self.platform, rest))

    def __le__(self, other: EvidencePolicy) -> bool:
        """Whether this one is at least as strict: it accepts nothing that `other` refuses."""
        floors = all(
            self.snp.get(product, {}).get(part, 0) >= number
            for product, least in other.snp.items()
            for part, number in least.items()
        )
        return (
            floors
            and self.tcb <= other.tcb
            and self.vmpl <= other.vmpl
            and self.platform <= other.platform
            and self.max_age <= other.max_age
            and self.reference >= other.reference
            and self.log >= other.log
            and self.witnesses >= other.witnesses
        )

    def with_table(self, table: object) -> EvidencePolicy:
        """Return this with what an ``[evidence]`` table says in place; the rest stays.

        Raises:
            InputError: it is not such a table; the message names the key.
        """
        if not isinstance(table, dict):
            raise InputError("`evidence` is not a table such as `[evidence]`")
        changes: dict[str, Any] = {}
        for key, value in table.items():
            reader = _READERS.get(key)
            if reader is None:
                raise _unknown("", key, tuple(_READERS))
            changes[key] = reader(key, value)
        if "snp" in changes:
            changes["snp"] = {**self.snp, **changes["snp"]}
        return replace(self, **changes)

    def to_table(self) -> dict[str, Any]:
        """Return what `with_table` reads, JSON-ready."""
        return {
            "log": "required" if self.log else "optional",
            "max_age": int(self.max_age.total_seconds()),
            "platform": sorted(self.platform),
            "reference": "required" if self.reference else "optional",
            "snp": {name: dict(least) for name, least in self.snp.items()},
            "tcb": [status.value for status in TcbStatus if status in self.tcb],
            "vmpl": self.vmpl,
            "witnesses": self.witnesses,
        }


def _check_floor(product: str, least: Mapping[str, int]) -> None:
    if product not in SNP_PRODUCTS:
        raise _unknown("snp", product, SNP_PRODUCTS)
    for part, number in least.items():
        if part not in SNP_COMPONENTS:
            raise _unknown(f"snp.{product}", part, SNP_COMPONENTS)
        if type(number) is not int or not 0 <= number <= 255:
            raise InputError(f"evidence.snp.{product}.{part} must be a whole number, 0 to 255")


def _grades(key: str, value: object) -> frozenset[TcbStatus]:
    for item in _texts(key, value):
        if item not in list(TcbStatus):
            raise _unknown(key, item, tuple(TcbStatus))
    return frozenset(TcbStatus(item) for item in _texts(key, value))


def _texts(key: str, value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(f"evidence.{key} must be a list of texts")
    return frozenset(value)


def _seconds(key: str, value: object) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise InputError(f"evidence.{key} must be a number of seconds")
    return timedelta(seconds=value)


def _required(key: str, value: object) -> bool:
    if value not in ("required", "optional"):
        hint = f'write {key} = "{"required" if value else "optional"}"'
        told = f'evidence.{key} must be "required" or "optional"'
        raise InputError(told, hint=hint if isinstance(value, bool) else "")
    return value == "required"


def _whole(key: str, value: object) -> int:
    if type(value) is not int:
        raise InputError(f"evidence.{key} must be a whole number")
    return value


def _floors(key: str, value: object) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise InputError(f"evidence.{key} holds a table for each product: `[evidence.snp.genoa]`")
    for product, least in value.items():
        _check_floor(product, least)
    return value


_READERS = {
    "tcb": _grades,
    "snp": _floors,
    "vmpl": _whole,
    "platform": _texts,
    "max_age": _seconds,
    "reference": _required,
    "log": _required,
    "witnesses": _whole,
}


def _unknown(where: str, value: str, known: tuple[str, ...]) -> InputError:
    place = f"evidence.{where}" if where else "evidence"
    return InputError(f"{place}: {value!r:.80} is not known", hint=f"known: {', '.join(known)}")
