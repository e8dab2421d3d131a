"""Nitro documents in files: as the security module gives them, in base64, or in a wrapper."""

from __future__ import annotations

from privity.attest.aws.cose import Sign1, looks_like_sign1, untagged
from privity.attest.aws.document import MAX_DOCUMENT_BYTES, NitroDocument
from privity.attest.dstack.wrapper import NITRO, looks_like, read_dstack
from privity.identity.multibase import decode_base64

__all__ = ["read_file", "recognises"]

_BASE64_HEADS = (b"hEShATgi", b"0oRE")  # of a message without and with its tag


def recognises(data: bytes) -> bool:
    """Return whether a file looks like a document in one of the three forms."""
    return looks_like_sign1(data) or looks_like(data, NITRO) or data.startswith(_BASE64_HEADS)


def read_file(data: bytes) -> bytes:
    """Return the signed document, as evidence has it: without a tag.

    Raises:
        MalformedError: it is in none of the forms, or what stands around it contradicts it.
    """
    if looks_like(data, NITRO):
        file = read_dstack(data)
        message = untagged(file.evidence)
        document = NitroDocument.parse(Sign1.parse(message, most=MAX_DOCUMENT_BYTES).payload)
        file.check_report_data(document.user_data)
        return message
    if data.startswith(_BASE64_HEADS):
        return untagged(decode_base64(data.removesuffix(b"\n").decode("latin-1")))
    return untagged(data)
