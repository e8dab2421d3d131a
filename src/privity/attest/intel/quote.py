"""Intel's quotes: SGX in version 3, TDX in versions 4 and 5, read strictly.

Source: Intel SGX DCAP Quoting Library API (Appendix A), Intel TDX DCAP Quoting Library API
(Appendix A.3, A.4). Little-endian. A quote says what the processor measured, signed with an
attestation key that the quoting enclave made, which the platform's PCK key vouches for, which
certificates lead to Intel. Every length must come out even: no byte lies outside of a field.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from privity.errors import MalformedError, OversizeError

__all__ = ["MAX_QUOTE_BYTES", "Quote"]

MAX_QUOTE_BYTES = 65_536

_HEADER = struct.Struct("<HHIHH16s20s")
_ECDSA_P256 = 2
_INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_TEE = {0: "sgx", 0x81: "tdx"}
_QE_REPORT_DATA = 6  # certification data that holds a QE report
_PCK_CHAIN = 5  # certification data that holds the PCK certificate and its issuers, as PEM

_SGX = (
    ("cpusvn", 16),
    ("miscselect", 4),
    ("reserved1", 12),
    ("isvextprodid", 16),
    ("attributes", 16),
    ("mrenclave", 32),
    ("reserved2", 32),
    ("mrsigner", 32),
    ("reserved3", 32),
    ("configid", 64),
    ("isvprodid", 2),
    ("isvsvn", 2),
    ("configsvn", 2),
    ("reserved4", 42),
    ("isvfamilyid", 16),
    ("report_data", 64),
)
_TD10 = (
    ("tee_tcb_svn", 16),
    ("mrseam", 48),
    ("mrsignerseam", 48),
    ("seam_attributes", 8),
    ("td_attributes", 8),
    ("xfam", 8),
    ("mrtd", 48),
    ("mrconfigid", 48),
    ("mrowner", 48),
    ("mrownerconfig", 48),
    ("rtmr0", 48),
    ("rtmr1", 48),
    ("rtmr2", 48),
    ("rtmr3", 48),
    ("report_data", 64),
)
_TD15 = (*_TD10, ("tee_tcb_svn2", 16), ("mrservicetd", 48))
_TD15_EX = (
    *_TD15,
    ("vmid", 1),
    ("td_id", 32),
    ("dev_info", 48),
    ("init_servicetd_hash", 48),
    ("init_servicetd_attributes", 8),
    ("init_cpusvn", 16),
    ("init_tee_tcb_svn", 16),
    ("init_tee_fmspc", 12),
    ("servicetd_hash", 48),
    ("servicetd_attributes", 8),
)
_BODIES = {1: ("sgx", _SGX), 2: ("tdx", _TD10), 3: ("tdx", _TD15), 4: ("tdx", _TD15_EX)}
"""Body types of version 5, and the layouts that versions 3 and 4 imply."""

_Layout = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Quote:
    """A quote, read and not yet verified.

    Attributes:
        data: all of its bytes.
        version: 3, 4 or 5.
        tee: ``sgx`` or ``tdx``.
        body: what the processor reported, by field.
        signed: the bytes that the attestation key signs.
        signature: by the attestation key over ``signed``, ``r ‖ s``, 64 bytes.
        attestation_key: a P-256 point, ``x ‖ y``, 64 bytes.
        qe_report: the quoting enclave's own SGX report, 384 bytes.
        qe_report_signature: by the PCK key over ``qe_report``, ``r ‖ s``.
        qe_auth: what the quoting enclave hashes with the attestation key.
        pck_chain: the PCK certificate and its issuers, PEM.
    """

    data: bytes
    version: int
    tee: str
    body: Mapping[str, bytes] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    attestation_key: bytes = field(repr=False)
    qe_report: bytes = field(repr=False)
    qe_report_signature: bytes = field(repr=False)
    qe_auth: bytes = field(repr=False)
    pck_chain: bytes = field(repr=False)

    @property
    def qe_report_data(self) -> bytes:
        """The 64 bytes in which the quoting enclave vouches for the attestation key."""
        return self.qe_report[-64:]

    @staticmethod
    def size_of(data: bytes) -> int:
        """Return how long a quote is that may have padding after it.

        Raises:
            MalformedError: not the beginning of a quote of these versions.
        """
        reader = _Reader(data)
        version, tee = _header(reader.take(_HEADER.size))
        reader.take(sum(size for _, size in _layout(version, tee, reader)))
        reader.sized(4)
        return reader.place

    @classmethod
    def parse(cls, data: bytes) -> Quote:
        """Read a quote.

        Raises:
            OversizeError: more than `MAX_QUOTE_BYTES`.
            MalformedError: not a quote of these versions, or with a byte outside of its fields.

        Guarantees:
            Total (tests/property/test_intel_evidence.py).
        """
        if len(data) > MAX_QUOTE_BYTES:
            raise OversizeError(f"a quote has more than {MAX_QUOTE_BYTES} bytes")
        reader = _Reader(data)
        version, tee = _header(reader.take(_HEADER.size))
        layout = _layout(version, tee, reader)
        body = {name: reader.take(size) for name, size in layout}
        signed = data[: reader.place]
        auth = _Reader(reader.sized(4))
        reader.done()
        signature, attestation_key = auth.take(64), auth.take(64)
        if version > 3:
            if auth.number(2) != _QE_REPORT_DATA:
                raise MalformedError("a quote without a report of its quoting enclave")
            inner = _Reader(auth.sized(4))
            auth.done()
            auth = inner
        qe_report, qe_report_signature = auth.take(384), auth.take(64)
        qe_auth, pck_chain = auth.sized(2), _pck_chain(auth)
        auth.done()
        return cls(
            bytes(data),
            version,
            tee,
            body,
            signed,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_auth,
            pck_chain,
        )


class _Reader:
    """Takes the fields of a byte string one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def take(self, size: int) -> bytes:
        end = self.place + size
        if end > len(self._data):
            raise MalformedError("a quote that ends before its fields do")
        self.place, taken = end, self._data[self.place : end]
        return bytes(taken)

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def sized(self, size: int) -> bytes:
        """Take a length of ``size`` bytes, and then as many bytes as it says."""
        return self.take(self.number(size))

    def done(self) -> None:
        if self.place != len(self._data):
            raise MalformedError("a quote with bytes outside of its fields")


def _header(data: bytes) -> tuple[int, str]:
    # The rest is signed and read by nobody: versions of the quoting enclave, and its user data.
    version, key_type, tee, _, _, vendor, _ = _HEADER.unpack(data)
    if version not in (3, 4, 5) or tee not in _TEE:
        raise MalformedError("not a quote of version 3, 4 or 5 for SGX or TDX")
    if key_type != _ECDSA_P256:
        raise MalformedError("a quote whose attestation key is not ECDSA P-256")
    if vendor != _INTEL_QE_VENDOR:
        raise MalformedError("a quote from a quoting enclave that is not Intel's")
    if (version == 3) != (_TEE[tee] == "sgx"):
        raise MalformedError("SGX quotes are of version 3, TDX quotes of version 4 or 5")
    return version, _TEE[tee]


def _layout(version: int, tee: str, reader: _Reader) -> _Layout:
    if version < 5:
        return _SGX if tee == "sgx" else _TD10
    body_type, size = reader.number(2), reader.number(4)
    described, layout = _BODIES.get(body_type, ("", ()))
    if described != tee or size != sum(length for _, length in layout):
        raise MalformedError("a quote of version 5 with a body that is not a TD's")
    return layout


def _pck_chain(reader: _Reader) -> bytes:
    """Take the certificates; Intel's library ends them with a zero byte, others do not."""
    if reader.number(2) != _PCK_CHAIN:
        raise MalformedError("a quote that does not carry its PCK certificate")
    return reader.sized(4).removesuffix(b"\0")
