"""NVIDIA's evidence as its tools write it to files, turned into evidence privity reads.

Three forms: the report alone, as hexadecimal text or as bytes, with its chain in a PEM file beside
it; or the JSON list that the attestation service takes, with everything in it, one entry a device.
Each has one spelling here: a bit flipped in armour, text or padding is an error.
"""

from __future__ import annotations

import re
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from privity.attest.chain import MAX_FILE_BYTES, load_certificates
from privity.attest.evidence import Companions
from privity.attest.nvidia.spdm import MAX_REPORT_BYTES, NONCE_BYTES, SpdmReport
from privity.errors import MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.identity.jcs import loads_strict
from privity.identity.multibase import decode_base64, encode_base64url

__all__ = ["KIND", "MAX_CERTIFICATES", "from_file", "recognises"]

KIND = "nvidia"
MAX_CERTIFICATES = 10

_MAX_JSON_BYTES = 4_194_304
_MAX_DEVICES = 16
_MAX_HEX = 2 * MAX_REPORT_BYTES
_HEAD = bytes.fromhex("11e001ff")
_HEX = re.compile(rb"(?:[0-9a-f]{2})+\n?")
_NONCE = re.compile(r"[0-9a-f]{64}")
_KINDS_OF_JSON = (b"[", b"{")


def recognises(data: bytes) -> bool:
    """Return whether a file looks like NVIDIA's evidence; cheap, and no promise that it is."""
    if data.startswith((_HEAD, _HEAD.hex().encode())):
        return True
    start = data[:_MAX_JSON_BYTES].lstrip(b" \t\r\n")
    return start.startswith(b"[") and b'"evidence"' in start and b'"certificate"' in start


def from_file(
    data: bytes, companions: Companions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read a file of evidence; return its evidence, one for each device, and endorsements.

    Args:
        data: the file.
        companions: the chain, where the file has none in it, and manifests.

    Raises:
        MalformedError: not one of the three forms in its one spelling, a chain that is missing or
            not the file's, or too much of anything.

    Guarantees:
        Total (tests/property/test_nvidia_evidence.py).
    """
    try:
        return _read(data, companions)
    except OversizeError as error:
        raise MalformedError(error.message) from None


def _read(data: bytes, companions: Companions) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    given = [
        encode_base64url(certificate.public_bytes(Encoding.DER))
        for one in companions.certificates
        for certificate in _load_chain(one)
    ]
    if data.lstrip(b" \t\r\n").startswith(_KINDS_OF_JSON):
        evidence = _from_json(data, given)
    else:
        evidence = [_from_report(data, given)]
    rims = [{"kind": KIND, "rim": encode_base64url(one)} for one in companions.rims]
    return evidence, rims


def _from_report(data: bytes, chain: list[str]) -> dict[str, Any]:
    if len(data) > _MAX_HEX + 1:
        raise OversizeError(f"a report has at most {MAX_REPORT_BYTES} bytes")
    if not data.startswith(_HEAD):
        if not _HEX.fullmatch(data):
            raise MalformedError("not a report of NVIDIA's, as bytes or lower-case hexadecimal")
        data = bytes.fromhex(data.decode("ascii"))
    if not chain:
        raise MalformedError(
            "the device's certificates are not in this file",
            hint="give the PEM file that NVIDIA's tool wrote beside it with --certs",
        )
    report = encode_base64url(_without_padding(data))
    return {"certificates": chain, "kind": KIND, "report": report}


def _load_chain(data: bytes) -> list[x509.Certificate]:
    # Some of NVIDIA's files end in an empty line.
    return load_certificates(data.rstrip(b"\n") + b"\n", most=MAX_CERTIFICATES)


def _without_padding(data: bytes) -> bytes:
    """Leave out the one zero byte that some collectors write after a report."""
    if data.endswith(b"\0"):
        try:
            SpdmReport.parse(data)
        except MalformedError:
            return data[:-1]
    return data


def _from_json(data: bytes, given: list[str]) -> list[dict[str, Any]]:
    # One bit lies between a tab and a carriage return, which would be two spellings.
    if b"\r" in data:
        raise MalformedError("NVIDIA's JSON has no carriage returns")
    entries = loads_strict(data, max_bytes=_MAX_JSON_BYTES)
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_DEVICES:
        raise MalformedError(f"NVIDIA's JSON is a list of 1 to {_MAX_DEVICES} devices")
    evidence = []
    for entry in entries:
        fields = Fields(entry, "NVIDIA's evidence")
        arch, nonce = fields.text("arch"), fields.text("nonce")
        report = decode_base64(fields.text("evidence", max_chars=2 * MAX_REPORT_BYTES))
        pem = decode_base64(fields.text("certificate", max_chars=2 * MAX_FILE_BYTES))
        fields.done()
        if not _NONCE.fullmatch(nonce):
            raise MalformedError(f"a nonce is not {NONCE_BYTES} bytes in lower-case hexadecimal")
        chain = [encode_base64url(one.public_bytes(Encoding.DER)) for one in _load_chain(pem)]
        if given and given != chain:
            raise MalformedError("the certificates given are not those in the file")
        evidence.append(
            {
                "arch": arch,
                "certificates": chain,
                "kind": KIND,
                "nonce": encode_base64url(bytes.fromhex(nonce)),
                "report": encode_base64url(report),
            }
        )
    return evidence
