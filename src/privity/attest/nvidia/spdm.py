"""SPDM 1.1 measurement reports, as NVIDIA's devices sign them: request and response in one piece.

A report is the requester's GET_MEASUREMENTS and the device's MEASUREMENTS, one after the other;
the signature at its end covers every byte before it. Reading says nothing about truth.

Source: DMTF DSP0274 1.1.0 §10.11; NVIDIA/attestation-sdk, `src/spdm/` (the opaque data).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from privity.errors import MalformedError

__all__ = ["MAX_REPORT_BYTES", "NONCE_BYTES", "SIGNATURE_BYTES", "Opaque", "SpdmReport"]

MAX_REPORT_BYTES = 65_536
"""Largest report read; NVIDIA's own have 2 to 5 kB."""

NONCE_BYTES = 32
SIGNATURE_BYTES = 96
"""r ‖ s over P-384, big-endian."""

_REQUEST_HEAD = bytes((0x11, 0xE0, 0x01, 0xFF))  # version, GET_MEASUREMENTS, signed, all blocks
_RESPONSE_HEAD = bytes((0x11, 0x60, 0x00, 0x00))  # version, MEASUREMENTS, reserved, slot
_DMTF = 1
_HASH_KINDS = range(0x00, 0x05)
_RAW_BIT = 0x80
_MAX_VALUE = 1024
_MAX_OPAQUE_VERSION = 1


class Opaque(enum.IntEnum):
    """The fields of NVIDIA's opaque data that privity reads; types above `LAST` are refused."""

    DRIVER_VERSION = 3
    VBIOS_VERSION = 6
    NVDEC0_STATUS = 11
    FWID = 20
    OPAQUE_DATA_VERSION = 34
    CHIP_INFO = 35
    FEATURE_FLAG = 36
    LAST = 36


@dataclass(frozen=True)
class SpdmReport:
    """One report, read.

    Attributes:
        nonce: the requester's 32 bytes.
        measurements: each block's value by its index, which counts from 1.
        opaque: each field of the opaque data by its type.
        signed: the bytes the signature is over.
        signature: r ‖ s.
    """

    nonce: bytes
    measurements: Mapping[int, bytes]
    opaque: Mapping[int, bytes]
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> SpdmReport:
        """Read a report.

        Raises:
            MalformedError: another version or request, a block or field twice or out of its
                bounds, a reserved byte that is not zero, or anything after the signature.

        Guarantees:
            Total: it returns or raises `MalformedError` (tests/property/test_nvidia_evidence.py).
        """
        if len(data) > MAX_REPORT_BYTES:
            raise MalformedError(f"an SPDM report has at most {MAX_REPORT_BYTES} bytes")
        reader = _Reader(data)
        reader.constant(_REQUEST_HEAD, "a signed SPDM 1.1 request for all measurements")
        nonce = reader.take(NONCE_BYTES, "the request's nonce")
        reader.constant(b"\0", "certificate slot 0")
        reader.constant(_RESPONSE_HEAD, "an SPDM 1.1 response from slot 0")
        count = reader.number(1, "the number of blocks")
        record = reader.take(reader.number(3, "the record's length"), "the measurement record")
        reader.take(NONCE_BYTES, "the response's nonce")
        opaque = reader.take(reader.number(2, "the opaque data's length"), "the opaque data")
        signed = data[: reader.offset]
        signature = reader.take(SIGNATURE_BYTES, "the signature")
        reader.end("the report")
        return cls(nonce, _blocks(record, count), _fields(opaque), signed, signature)


class _Reader:
    """Takes bytes from the front; refuses to go past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.offset

    def take(self, size: int, what: str) -> bytes:
        if size > self.left:
            raise MalformedError(f"an SPDM report ends within {what}")
        self.offset += size
        return self._data[self.offset - size : self.offset]

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "little")

    def constant(self, expected: bytes, what: str) -> None:
        if self.take(len(expected), what) != expected:
            raise MalformedError(f"not an SPDM report as NVIDIA makes them: not {what}")

    def end(self, what: str) -> None:
        if self.left:
            raise MalformedError(f"an SPDM report has {self.left} byte(s) too many in {what}")


def _blocks(record: bytes, count: int) -> dict[int, bytes]:
    blocks: dict[int, bytes] = {}
    reader = _Reader(record)
    last = 0
    for _ in range(count):
        index = reader.number(1, "a block's index")
        # Ascending, so that none comes twice and there is one order to sign.
        if index <= last:
            raise MalformedError(f"an SPDM report's block {index} comes after block {last}")
        last = index
        if reader.number(1, "a block's specification") != _DMTF:
            raise MalformedError(f"an SPDM report's block {index} is not of DMTF's form")
        inner = _Reader(reader.take(reader.number(2, "a block's size"), "a block"))
        if inner.number(1, "a block's type") & ~_RAW_BIT not in _HASH_KINDS:
            raise MalformedError(f"an SPDM report's block {index} is of an unknown type")
        size = inner.number(2, "a block's value size")
        if not 0 < size <= _MAX_VALUE:
            raise MalformedError(f"an SPDM report's block {index} has no value of allowed size")
        blocks[index] = inner.take(size, "a block's value")
        inner.end(f"block {index}")
    reader.end("the measurement record")
    if not blocks:
        raise MalformedError("an SPDM report without measurements")
    return blocks


def _fields(opaque: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    reader = _Reader(opaque)
    while reader.left:
        kind = reader.number(2, "an opaque field's type")
        if kind in fields or not 0 < kind <= Opaque.LAST:
            raise MalformedError(f"an SPDM report's opaque field {kind} is unknown or there twice")
        fields[kind] = reader.take(reader.number(2, "an opaque field's size"), "an opaque field")
    version = fields.get(Opaque.OPAQUE_DATA_VERSION, b"")
    if int.from_bytes(version, "little") > _MAX_OPAQUE_VERSION:
        raise MalformedError(f"the opaque data is newer than version {_MAX_OPAQUE_VERSION}")
    return fields
