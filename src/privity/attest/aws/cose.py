"""COSE_Sign1 (RFC 9052 §4.2) as AWS Nitro signs with it: ES384, no unprotected header."""

from __future__ import annotations

from dataclasses import dataclass

from privity.attest.aws.cbor import read_cbor
from privity.errors import MalformedError

__all__ = ["Sign1", "looks_like_sign1", "untagged"]

_TAG = b"\xd2"
_ES384 = b"\xa1\x01\x38\x22"  # {1: -35}: the algorithm, and nothing else
_CONTEXT = "Signature1"
_SIGNATURE_BYTES = 96


def looks_like_sign1(data: bytes) -> bool:
    """Return whether it begins like such a message: with or without the tag."""
    return data.removeprefix(_TAG)[:6] == b"\x84\x44" + _ES384


def untagged(data: bytes) -> bytes:
    """Return a message from a file in the one form that `Sign1.parse` reads: without the tag.

    The tag is outside of what is signed (RFC 9052 §2): a file may have it, evidence may not.
    """
    return data[len(_TAG) :] if looks_like_sign1(data) and data.startswith(_TAG) else bytes(data)


@dataclass(frozen=True)
class Sign1:
    """One message, its signature not yet verified.

    Attributes:
        payload: what is signed.
        signature: r ‖ s, 96 bytes.
    """

    payload: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes, *, most: int) -> Sign1:
        """Read a message of at most ``most`` bytes, without the tag.

        Raises:
            MalformedError: anything but ES384 without an unprotected header, in the shortest form.

        Guarantees:
            Total; every byte is of the payload, the signature, or fixed
            (tests/property/test_nitro.py).
        """
        value = read_cbor(data, most=most)
        if not isinstance(value, list) or len(value) != 4:
            raise MalformedError("COSE: a message has four parts")
        protected, unprotected, payload, signature = value
        if protected != _ES384:
            raise MalformedError("COSE: the protected header is not ES384 alone")
        if unprotected != {}:
            raise MalformedError("COSE: nothing may be outside of what is signed")
        if not isinstance(payload, bytes) or not isinstance(signature, bytes):
            raise MalformedError("COSE: payload and signature are byte strings")
        if len(signature) != _SIGNATURE_BYTES:
            raise MalformedError(f"COSE: an ES384 signature has {_SIGNATURE_BYTES} bytes")
        return cls(payload, signature)

    @property
    def signed(self) -> bytes:
        """The Sig_structure: what the signature is over (RFC 9052 §4.4)."""
        size = len(self.payload)
        head = b"\x5a" + size.to_bytes(4, "big")
        if size < 24:
            head = bytes((0x40 | size,))
        elif size < 1 << 8:
            head = b"\x58" + size.to_bytes(1, "big")
        elif size < 1 << 16:
            head = b"\x59" + size.to_bytes(2, "big")
        context = bytes((0x60 | len(_CONTEXT),)) + _CONTEXT.encode()
        return b"\x84" + context + b"\x44" + _ES384 + b"\x40" + head + self.payload
