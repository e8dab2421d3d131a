"""Attestation documents of an AWS Nitro enclave, from its security module's device.

One ioctl carries a CBOR request and takes a CBOR answer. Sources: Linux, include/uapi/linux/nsm.h
(the structure and limits); aws-nitro-enclaves-nsm-api, src/api (the requests and answers).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import cbor2

from privity.errors import InputError, MalformedError, MissingDependency, PeerError
from privity.identity.multibase import encode_base64url

__all__ = ["NSM", "NitroQuoter"]

NSM = Path("/dev/nsm")

_REPORT_BYTES = 64
_MAX_ANSWER = 0x3000
# struct nsm_raw: two of (address, length), request and response; _IOWR(0x0A, 0, struct nsm_raw).
_MESSAGE = struct.Struct("=QQQQ")
_IOCTL_RAW = (3 << 30) | (_MESSAGE.size << 16) | (0x0A << 8)

Exchange = Callable[[bytes], bytes]
"""Carries one request to the security module and returns its answer."""


class NitroQuoter:
    """Makes ``nitro`` evidence. This runs in the enclave.

    Args:
        exchange: talks to the security module; by default `device`.

    Guarantees:
        The document returned is the module's own, whole
        (tests/unit/test_quoters.py::test_scripted_nsm_is_asked_for_user_data_and_its_document_kept).
    """

    kind = "nitro"
    # The document carries its certificates; AWS' root is all a verifier needs besides.
    endorsements: tuple[dict[str, Any], ...] = ()

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange or device()

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return evidence that carries these 64 bytes as user data.

        Raises:
            PeerError: the module refused, or answered outside its protocol.
        """
        if len(report_data) != _REPORT_BYTES:
            raise MalformedError(f"report data has {_REPORT_BYTES} bytes")
        wanted = {"nonce": None, "public_key": None, "user_data": report_data}
        try:
            answer = self._exchange(cbor2.dumps({"Attestation": wanted}))
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "an error")
            raise PeerError(f"the Nitro security module did not answer: {name}") from None
        document = _document(answer)
        return {"document": encode_base64url(document), "kind": "nitro"}


def device(path: Path = NSM) -> Exchange:
    """Return a way to the module behind a device file.

    Raises:
        MissingDependency: it is not there.
        InputError: this user may not open it.
    """
    if not path.exists():
        raise MissingDependency(
            f"no Nitro enclave here: {path} is absent",
            hint="needs a Nitro enclave whose kernel has the nsm module",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise InputError(f"this user may not open {path}", hint="give its user the device")

    def exchange(request: bytes) -> bytes:
        with closing(_Descriptor(path)) as opened:
            return ask(request, opened.number, fcntl.ioctl)

    return exchange


def ask(request: bytes, descriptor: int, ioctl: Callable[..., Any]) -> bytes:
    """Send one request through the ioctl and return the answer.

    The kernel reads and writes the two buffers by address, and sets the answer's length.

    Raises:
        PeerError: an answer longer than its buffer.
    """
    asked = ctypes.create_string_buffer(request, len(request))
    given = ctypes.create_string_buffer(_MAX_ANSWER)
    message = bytearray(
        _MESSAGE.pack(ctypes.addressof(asked), len(request), ctypes.addressof(given), _MAX_ANSWER)
    )
    ioctl(descriptor, _IOCTL_RAW, message, True)
    length = _MESSAGE.unpack(message)[3]
    if length > _MAX_ANSWER:
        raise PeerError("the Nitro security module answered with an impossible length")
    return given.raw[:length]


class _Descriptor:
    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.number)


def _document(answer: bytes) -> bytes:
    try:
        value = cbor2.loads(answer)
    except (cbor2.CBORDecodeError, ValueError, RecursionError):
        raise PeerError("the Nitro security module's answer is not CBOR") from None
    if isinstance(value, dict) and isinstance(value.get("Error"), str):
        raise PeerError(f"the Nitro security module refused: {value['Error'][:60]}")
    inner = value.get("Attestation") if isinstance(value, dict) else None
    document = inner.get("document") if isinstance(inner, dict) else None
    if not isinstance(document, bytes) or not document:
        raise PeerError("the Nitro security module's answer has no attestation document")
    return document
