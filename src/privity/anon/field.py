"""Elements of the BN254 scalar field: 32 bytes, little-endian, only the canonical spelling."""

from __future__ import annotations

from typing import NewType

from privity.errors import InputError, MalformedError

__all__ = ["FIELD_BYTES", "ORDER", "ZERO", "Field", "field", "field_from_int", "field_to_int"]

Field = NewType("Field", bytes)

FIELD_BYTES = 32

ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""The order of the field: of BN254's groups (EIP-196)."""

ZERO = Field(bytes(FIELD_BYTES))


def field(data: bytes) -> Field:
    """Read an element.

    Raises:
        MalformedError: not 32 bytes, or not below the order.
    """
    if len(data) != FIELD_BYTES:
        raise MalformedError(f"a field element is {FIELD_BYTES} bytes, not {len(data)}")
    if int.from_bytes(data, "little") >= ORDER:
        raise MalformedError("a field element is not below the order of the field")
    return Field(bytes(data))


def field_from_int(value: int) -> Field:
    """Return the element of a number, as the ledger holds it.

    Raises:
        InputError: negative, or not below the order.
    """
    if not 0 <= value < ORDER:
        raise InputError("a number is not an element of the field: negative or too large")
    return Field(value.to_bytes(FIELD_BYTES, "little"))


def field_to_int(element: Field) -> int:
    """Return the element as a number, as the ledger holds it."""
    return int.from_bytes(element, "little")
