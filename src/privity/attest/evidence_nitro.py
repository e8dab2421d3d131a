"""Evidence of the kind ``nitro``: attestation documents of AWS Nitro enclaves.

The hypervisor's security module signs the measurements of an enclave's image with a key that AWS
certifies for three hours. The document carries the whole chain; AWS's root key is built in.
spec/evidence-nitro.md has the promises.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509

from privity.attest.anchor import Anchor
from privity.attest.aws.anchors import AWS
from privity.attest.aws.cose import Sign1
from privity.attest.aws.document import MAX_DOCUMENT_BYTES, NitroDocument
from privity.attest.aws.files import read_file, recognises
from privity.attest.chain import CHAIN, PERIOD, Chain, check_chain, load_certificates
from privity.attest.ecdsa import verify_p384
from privity.attest.evidence import KEY_BINDING, Companions, Findings, run_checks
from privity.attested import measurement_of
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import CLOCK_SKEW, format_time
from privity.policy.evidence import EvidencePolicy

__all__ = ["KIND", "NitroVerifier", "from_file", "recognises"]

KIND = "nitro"

SIGNATURE, DEBUG, TIME = "signature", "debug", "quote time"

_REPORT_DATA_BYTES = 64
_IMAGE_PCRS = (0, 1, 2)
"""Of the enclave image, of its kernel and boot ramdisk, and of its application."""

_BASIS = Basis(Ground.HARDWARE, "the AWS Nitro hypervisor keeps the instance out of the enclave")


class NitroVerifier:
    """Judges ``nitro`` evidence.

    Args:
        roots: AWS's root key, or a test's own.
        policy: how old a document may be.
    """

    kind = KIND

    def __init__(self, roots: Sequence[Anchor] = AWS, policy: EvidencePolicy | None = None) -> None:
        self._roots = tuple(roots)
        self._policy = policy or EvidencePolicy()

    def examine(
        self,
        evidence: dict[str, Any],
        bound: bytes | None,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> Findings:
        """Judge one document; see `EvidenceVerifier.examine`."""
        fields = Fields(evidence, "nitro evidence")
        fields.constant("kind", KIND)
        data = fields.blob("document", most=MAX_DOCUMENT_BYTES)
        fields.done()
        if endorsements:
            raise MalformedError("nitro evidence carries its own chain: endorsements say nothing")
        message = Sign1.parse(data, most=MAX_DOCUMENT_BYTES)
        document = NitroDocument.parse(message.payload)
        examination = _Examination(message, document, self._roots, self._policy)
        registers = _registers(document.pcrs)
        return Findings(
            kind=KIND,
            checks=run_checks(examination.steps(bound, now)),
            registers=registers,
            basis=frozenset({_BASIS}),
            period=examination.period(now),
            measurement=measurement_of(KIND, _image(registers)),
        )


class _Examination:
    """One document being judged."""

    def __init__(
        self,
        message: Sign1,
        document: NitroDocument,
        roots: tuple[Anchor, ...],
        policy: EvidencePolicy,
    ) -> None:
        self._message = message
        self._document = document
        self._roots = roots
        self._policy = policy
        self._certificates = _certificates(document.certificates)
        self._chain: Chain | None = None

    def steps(self, bound: bytes | None, now: datetime) -> Iterator[tuple[str, Any]]:
        """Yield the checks in order."""
        yield "format", lambda: "Nitro attestation document"
        yield CHAIN, self._check_chain
        if self._chain is not None:
            chain = self._chain
            yield PERIOD, lambda: self._check_period(chain, now)
        yield SIGNATURE, self._check_signature
        yield TIME, lambda: self._check_time(now)
        yield DEBUG, self._check_debug
        if bound is not None:
            yield KEY_BINDING, lambda: self._check_binding(bound)

    def period(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Return when the result is the same; None where that is not known."""
        if self._chain is None:
            return None
        made = self._document.time
        start = max(self._chain.period[0], made - CLOCK_SKEW)
        end = min(self._chain.period[1], made + self._policy.max_age)
        return (start, end) if start <= now < end else None

    def _check_chain(self) -> str:
        self._chain = check_chain(self._certificates, self._roots)
        return f"{self._document.module_id:.80}: under {self._chain.anchor.name:.60}"

    def _check_period(self, chain: Chain, now: datetime) -> str:
        chain.check_period(now)
        return f"all certificates are valid, the first until {format_time(chain.period[1])}"

    def _check_signature(self) -> str:
        message = self._message
        verify_p384(self._certificates[0], message.signature, message.signed, SIGNATURE)
        return "ES384, by the certified key"

    def _check_time(self, now: datetime) -> str:
        made = self._document.time
        # The difference, not a sum: `made` may be unsigned here, and a year 9999 would overflow.
        if not -CLOCK_SKEW <= now - made < self._policy.max_age:
            raise EvidenceError(
                f"the document is from {format_time(made)}: in the future, or too old", check=TIME
            )
        return format_time(made)

    def _check_debug(self) -> str:
        for number in _IMAGE_PCRS:
            if not any(self._document.pcrs.get(number, b"")):
                raise EvidenceError(
                    f"PCR{number} is zero: the enclave was started in debug mode, in which its "
                    "instance reads its console and nothing is measured",
                    check=DEBUG,
                )
        return "the image was measured, so it does not run in debug mode"

    def _check_binding(self, bound: bytes) -> str:
        carried = self._document.user_data or b""
        if len(bound) != _REPORT_DATA_BYTES or not hmac.compare_digest(carried, bound):
            raise EvidenceError(
                "the document was made for other keys or for another challenge", check=KEY_BINDING
            )
        return "the document binds these keys to this challenge"


def from_file(
    data: bytes, companions: Companions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return evidence and endorsements from files.

    Args:
        data: a document as the security module gives it, in base64, or in dstack's wrapper.
        companions: certificates, if any, must be those in the document.

    Raises:
        MalformedError: not such files.
    """
    document = read_file(data)
    if companions.certificates:
        carried = NitroDocument.parse(
            Sign1.parse(document, most=MAX_DOCUMENT_BYTES).payload
        ).certificates
        own = _certificates(carried)
        for file in companions.certificates:
            try:
                given = load_certificates(file)
            except OversizeError as error:
                raise MalformedError(error.message) from None
            if any(one not in own for one in given):
                raise MalformedError("a certificate that the Nitro document does not have")
    return [{"document": encode_base64url(document), "kind": KIND}], []


def _certificates(ders: Sequence[bytes]) -> list[x509.Certificate]:
    found = []
    for der in ders:
        if der[:1] != b"\x30":
            raise MalformedError("Nitro document: a certificate is not DER")
        found += load_certificates(der, most=1)
    return found


def _registers(pcrs: Mapping[int, bytes]) -> dict[str, str]:
    """Return the measurements that were made; a zero one is of nothing."""
    return {f"pcr{number}": digest.hex() for number, digest in pcrs.items() if any(digest)}


def _image(registers: Mapping[str, str]) -> dict[str, str]:
    """Return those of the image: PCR3 and PCR4 are of the role and the instance it runs under."""
    return {f"pcr{at}": registers[f"pcr{at}"] for at in _IMAGE_PCRS if f"pcr{at}" in registers}
