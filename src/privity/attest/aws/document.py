"""The attestation document of AWS's Nitro security module: what it says, unverified.

Source: AWS, "Nitro Enclaves: verifying the root of trust" (the structure and the limits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from privity.attest.aws.cbor import read_cbor
from privity.errors import MalformedError

__all__ = ["MAX_DOCUMENT_BYTES", "NitroDocument"]

MAX_DOCUMENT_BYTES = 16_384
"""The security module's own limit."""

_DIGESTS = {"SHA256": 32, "SHA384": 48, "SHA512": 64}
_REQUIRED = frozenset(("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"))
_OPTIONAL = frozenset(("public_key", "user_data", "nonce"))
_MAX_PCR = 31
_MAX_CERTIFICATE = 1024
_MAX_OPTIONAL = 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MILLISECONDS = 221_845_392_000_000  # the year 9000: sums with it stay within a datetime


@dataclass(frozen=True)
class NitroDocument:
    """One document.

    Attributes:
        module_id: the enclave's name, with its instance's.
        time: when the module made it, by the module's clock.
        pcrs: the measurements, by number.
        certificates: DER, the key's own first, then each issuer up to the root.
        public_key: as the enclave gave it; None if it did not.
        user_data: as the enclave gave it; None if it did not.
        nonce: as the enclave gave it; None if it did not.
    """

    module_id: str
    time: datetime
    pcrs: Mapping[int, bytes]
    certificates: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None

    @classmethod
    def parse(cls, payload: bytes) -> NitroDocument:
        """Read the payload of the signed message.

        Raises:
            MalformedError: a member is missing, unknown, or outside of AWS's limits.

        Guarantees:
            Total (tests/property/test_nitro.py).
        """
        value = read_cbor(payload, most=MAX_DOCUMENT_BYTES, open_maps=True)
        if not isinstance(value, dict) or not _REQUIRED <= set(value) <= _REQUIRED | _OPTIONAL:
            raise MalformedError("Nitro document: its members are not those AWS describes")
        module_id, digest = value["module_id"], value["digest"]
        if not isinstance(module_id, str) or not 0 < len(module_id) <= 512:
            raise MalformedError("Nitro document: module_id is a text of 1 to 512 characters")
        if not isinstance(digest, str) or digest not in _DIGESTS:
            raise MalformedError("Nitro document: a digest not known here")
        bundle = value["cabundle"]
        if not isinstance(bundle, list) or not bundle:
            raise MalformedError("Nitro document: cabundle is a list of certificates")
        return cls(
            module_id=module_id,
            time=_time(value["timestamp"]),
            pcrs=MappingProxyType(_pcrs(value["pcrs"], _DIGESTS[digest])),
            certificates=tuple(
                _bytes(one, "a certificate", 1, _MAX_CERTIFICATE)
                for one in (value["certificate"], *reversed(bundle))
            ),
            **{name: _optional(value.get(name), name) for name in _OPTIONAL},
        )


def _time(milliseconds: Any) -> datetime:
    if type(milliseconds) is not int or not 0 < milliseconds <= _MAX_MILLISECONDS:
        raise MalformedError("Nitro document: timestamp is not a time")
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _pcrs(value: Any, size: int) -> dict[int, bytes]:
    if not isinstance(value, dict) or not 1 <= len(value) <= _MAX_PCR + 1:
        raise MalformedError("Nitro document: pcrs has 1 to 32 measurements")
    for number, digest in value.items():
        if type(number) is not int or not 0 <= number <= _MAX_PCR:
            raise MalformedError("Nitro document: a measurement's number is 0 to 31")
        _bytes(digest, "a measurement", size, size)
    return dict(sorted(value.items()))


def _optional(value: Any, name: str) -> bytes | None:
    return None if value is None else _bytes(value, name, 0, _MAX_OPTIONAL)


def _bytes(value: Any, what: str, least: int, most: int) -> bytes:
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        raise MalformedError(f"Nitro document: {what} has {least} to {most} bytes")
    return value
