"""Evidence of the kind ``snp``: reports of AMD SEV-SNP guests.

The secure processor signs a report with a key that exists only on this chip with this firmware
(VCEK), or one that AMD gave a cloud provider for its chips (VLEK). AMD certifies both. Verified
offline: AMD's keys are in `privity.attest.amd.anchors`, the chip's certificate comes along.
spec/evidence-snp.md has the promises.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from privity.attest.amd.anchors import AMD
from privity.attest.amd.certificate import ChipCertificate, read_chip_certificate
from privity.attest.amd.files import read_file, recognises
from privity.attest.amd.report import REPORT_BYTES, SnpReport, product_of_cpuid
from privity.attest.anchor import Anchor
from privity.attest.chain import CHAIN, PERIOD, Chain, check_chain, load_certificates
from privity.attest.ecdsa import verify_p384
from privity.attest.evidence import KEY_BINDING, Companions, Findings, run_checks
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.policy.evidence import EvidencePolicy, TcbStatus

__all__ = ["KIND", "SnpVerifier", "from_file", "recognises"]

KIND = "snp"

SIGNATURE, CHIP, DEBUG, MIGRATION = "signature", "chip", "debug", "migration"
POLICY, VMPL, STATUS, FLOOR = "policy", "vmpl", "tcb status", "tcb floor"

_MICROCODE = "microcode"
_MAX_CERTIFICATES = 10
_REMEMBERED = 64
_MAX_CERTIFICATE_CHARS = 8192
_REPORT_DATA_BYTES = 64
_HINT = "give the chip's certificate (VCEK or VLEK) as well; AMD's own are built in"
_BASIS = Basis(Ground.HARDWARE, "AMD SEV-SNP encrypts the guest's memory against its host")


@dataclass(frozen=True)
class _Endorsed:
    """A leaf whose chain holds, and what it says."""

    chain: Chain
    says: ChipCertificate


@dataclass(frozen=True)
class _Pool:
    """One endorsement whose certificates all verified."""

    chains: tuple[Chain, ...]
    leaves: tuple[_Endorsed, ...]


class SnpVerifier:
    """Judges ``snp`` evidence.

    Args:
        roots: AMD's ARK, ASK and ASVK keys, or a test's own.
        policy: grades and floors of the firmware, and the privilege levels accepted.
    """

    kind = KIND

    def __init__(
        self,
        roots: Sequence[Anchor] = AMD,
        policy: EvidencePolicy | None = None,
    ) -> None:
        self._policy = policy or EvidencePolicy()
        # Of an endorsement's certificates, the same at all times; a failure is not remembered.
        self._verify = lru_cache(maxsize=_REMEMBERED)(partial(_verify_pool, tuple(roots)))

    def examine(
        self,
        evidence: dict[str, Any],
        bound: bytes | None,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> Findings:
        """Judge one report; see `EvidenceVerifier.examine`."""
        fields = Fields(evidence, "snp evidence")
        fields.constant("kind", KIND)
        data = fields.blob("report", least=REPORT_BYTES, most=REPORT_BYTES)
        fields.done()
        report = SnpReport.parse(data)
        texts = [_read_endorsement(one) for one in endorsements]
        examination = _Examination(
            report, self._policy, lambda: [self._verify(one) for one in texts]
        )
        checks = run_checks(examination.steps(bound, now))
        return Findings(
            kind=KIND,
            checks=checks,
            registers=_registers(report),
            basis=frozenset({_BASIS}),
            period=examination.period(now),
        )


class _Examination:
    """One report being judged: what the earlier steps found is there for the later ones."""

    def __init__(
        self,
        report: SnpReport,
        policy: EvidencePolicy,
        verify: Callable[[], list[_Pool]],
    ) -> None:
        self._report = report
        self._policy = policy
        self._verify = verify
        self._chains: list[Chain] = []
        self._endorsed: _Endorsed | None = None

    def steps(self, bound: bytes | None, now: datetime) -> Iterator[tuple[str, Any]]:
        """Yield the checks in order. Those after the chain need it; without, they are left out."""
        yield "format", lambda: f"SEV-SNP report, version {self._report.version}"
        yield CHAIN, self._check_chains
        if self._endorsed is not None:
            endorsed = self._endorsed
            yield PERIOD, lambda: self._check_period(now)
            yield CHIP, lambda: self._check_chip(endorsed.says)
            yield SIGNATURE, lambda: self._check_signature(endorsed.chain.leaf)
            yield STATUS, lambda: self._check_status(endorsed.says)
            yield FLOOR, lambda: self._check_floor(endorsed.says)
        yield DEBUG, self._check_debug
        yield MIGRATION, self._check_migration
        yield POLICY, self._check_policy
        yield VMPL, self._check_vmpl
        if bound is not None:
            yield KEY_BINDING, lambda: self._check_binding(bound)

    def period(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Return when the result is the same; None where that is not known."""
        if self._endorsed is None:
            return None
        start = max(one.period[0] for one in self._chains)
        end = min(one.period[1] for one in self._chains)
        return (start, end) if start <= now < end else None

    def _check_chains(self) -> str:
        pools = self._verify()
        self._chains = [chain for pool in pools for chain in pool.chains]
        leaves = [one for pool in pools for one in pool.leaves]
        if not leaves:
            raise EvidenceError("there is no certificate of the key", check=CHAIN, hint=_HINT)
        self._endorsed = next((one for one in leaves if self._fits(one.says)), leaves[0])
        says = self._endorsed.says
        what = f"AMD's, for {says.provider}" if says.signer else "AMD's, for this chip"
        return f"{says.product}, {what}: under {self._endorsed.chain.anchor.name:.60}"

    def _check_period(self, now: datetime) -> str:
        for chain in self._chains:
            chain.check_period(now)
        return "all certificates are valid at this time"

    def _fits(self, says: ChipCertificate) -> bool:
        with suppress(EvidenceError):
            return bool(self._check_chip(says))
        return False

    def _check_chip(self, says: ChipCertificate) -> str:
        report = self._report
        if report.cpuid is not None:
            family, model, _ = report.cpuid
            product = _or_refused(CHIP, lambda: product_of_cpuid(family, model))
            if product != says.product:
                raise EvidenceError(
                    f"a report of a {product} chip, a certificate for {says.product}", check=CHIP
                )
        if report.signer != says.signer:
            raise EvidenceError("the certificate is of another kind of key", check=CHIP)
        if says.chip_id is not None and report.chip_id != says.chip_id:
            raise EvidenceError("the certificate is of another chip", check=CHIP)
        reported = _or_refused(CHIP, lambda: report.tcb("reported", says.product))
        if reported != says.tcb:
            raise EvidenceError(
                f"the certificate is for firmware {says.tcb}, the report says {reported}",
                check=CHIP,
            )
        return f"chip {report.chip_id.hex()[:16]}…, firmware {reported}"

    def _check_signature(self, leaf: x509.Certificate) -> str:
        if self._report.key_masked:
            raise EvidenceError("the host has the chip sign nothing", check=SIGNATURE)
        verify_p384(leaf, self._report.signature, self._report.signed, SIGNATURE)
        return "ECDSA P-384, by the certified key"

    def _check_status(self, says: ChipCertificate) -> str:
        """Grade the firmware by AMD's four TCB versions of it.

        What the key proves is the reported version, which the host may hold down; the guest began
        on the launch version. Where the security processor's own firmware differs among these and
        the committed one it is graded out of date: whoever broke the older one has its keys, or
        was there at the start. Microcode is patched while machines run, and a provider's keys
        (VLEK) follow it later: its lag is the normal state of a fleet, and a floor judges it.
        """
        tcbs = {name: self._tcb(name, says) for name in ("reported", "committed", "launch")}
        parts = [tcb.parts for tcb in tcbs.values()]
        mixed = sorted(name for name in parts[0] if len({one[name] for one in parts}) > 1)
        status = TcbStatus.UP_TO_DATE if mixed in ([], [_MICROCODE]) else TcbStatus.OUT_OF_DATE
        detail = f"{status}: {tcbs['reported']}"
        if mixed:
            told = ", ".join(f"{name} {tcb}" for name, tcb in tcbs.items())
            detail = f"{status}: of several versions, {', '.join(mixed)}: {told}"
        if status not in self._policy.tcb:
            raise EvidenceError(
                detail,
                check=STATUS,
                hint="the platform's owner has to commit its firmware and report that, "
                "then restart the guest",
            )
        return detail

    def _check_floor(self, says: ChipCertificate) -> str:
        least = self._policy.snp.get(says.product, {})
        for which in ("reported", "committed", "launch"):
            parts = self._tcb(which, says, FLOOR).parts
            for name, number in least.items():
                if parts.get(name, -1) < number:
                    raise EvidenceError(
                        f"the {which} {name} is {parts.get(name)}, your policy's least is {number}",
                        check=FLOOR,
                    )
        if not least:
            return f"your policy has none for {says.product}"
        return "at least " + " ".join(f"{name} {number}" for name, number in least.items())

    def _tcb(self, which: str, says: ChipCertificate, check: str = STATUS) -> Any:
        return _or_refused(check, lambda: self._report.tcb(which, says.product))

    def _check_debug(self) -> str:
        if self._report.policy.debug:
            raise EvidenceError("the guest lets its host debug it", check=DEBUG)
        return "the guest's memory cannot be read by a debugger"

    def _check_migration(self) -> str:
        if self._report.policy.migration:
            raise EvidenceError("the guest lets an agent migrate it", check=MIGRATION)
        return "no migration agent"

    def _check_policy(self) -> str:
        policy, platform = self._report.policy, self._report.platform
        if not policy.smt and "smt" in platform:
            raise EvidenceError("multithreading is on, which the guest forbids", check=POLICY)
        for name in ("rapl-disabled", "ciphertext-hiding"):
            if name in policy.others and name not in platform:
                raise EvidenceError(
                    f"the guest demands {name}, the platform lacks it", check=POLICY
                )
        smt = "on" if "smt" in platform else "off"
        sockets = "one socket" if policy.single_socket else "any number of sockets"
        return f"ABI {policy.abi[0]}.{policy.abi[1]}, multithreading {smt}, {sockets}"

    def _check_vmpl(self) -> str:
        if self._report.vmpl > self._policy.vmpl:
            raise EvidenceError(
                f"asked for at VMPL {self._report.vmpl}, where more privileged code in the guest "
                "can interfere",
                check=VMPL,
            )
        return f"asked for at VMPL {self._report.vmpl}"

    def _check_binding(self, bound: bytes) -> str:
        if len(bound) != _REPORT_DATA_BYTES or not hmac.compare_digest(
            self._report.report_data, bound
        ):
            raise EvidenceError(
                "the report was made for other keys or for another challenge", check=KEY_BINDING
            )
        return "the report binds these keys to this challenge"


def from_file(
    data: bytes, companions: Companions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return evidence and endorsements from files.

    Args:
        data: a report of 1,184 bytes, or dstack's attestation around one.
        companions: certificates in any number of files, DER or PEM, in any order.

    Raises:
        MalformedError: not such files, or certificates that are none's.
    """
    report, inside = read_file(data)
    certificates: list[x509.Certificate] = []
    try:
        for file in (*inside, *companions.certificates):
            certificates += load_certificates(file)
    except OversizeError as error:
        raise MalformedError(error.message) from None
    if len(certificates) > _MAX_CERTIFICATES:
        raise MalformedError(f"more than {_MAX_CERTIFICATES} certificates")
    ders = [encode_base64url(one.public_bytes(Encoding.DER)) for one in certificates]
    endorsements = [{"certificates": ders, "kind": KIND}] if ders else []
    return [{"kind": KIND, "report": encode_base64url(report)}], endorsements


def _read_endorsement(raw: dict[str, Any]) -> tuple[str, ...]:
    fields = Fields(raw, "snp endorsement")
    fields.constant("kind", KIND)
    texts = fields.items("certificates", least=1, most=_MAX_CERTIFICATES)
    fields.done()
    for text in texts:
        if not isinstance(text, str) or len(text) > _MAX_CERTIFICATE_CHARS:
            raise MalformedError("an snp endorsement's certificates are base64url texts")
    return tuple(texts)


def _verify_pool(roots: tuple[Anchor, ...], texts: tuple[str, ...]) -> _Pool:
    """Verify all certificates of an endorsement but for their validity in time.

    Raises:
        EvidenceError: ``.check`` is `CHAIN`.
        MalformedError: one is no certificate.
    """
    pool = []
    for text in texts:
        der = decode_base64url(text)
        if der[:1] != b"\x30":
            raise MalformedError("an snp endorsement's certificates are DER")
        pool += load_certificates(der, most=1)
    chains = tuple(_paths(pool, roots))
    leaves = tuple(
        _Endorsed(chain, read_chip_certificate(chain.leaf))
        for chain in chains
        if not _is_authority(chain.leaf)
    )
    return _Pool(chains, leaves)


def _paths(pool: Sequence[x509.Certificate], roots: tuple[Anchor, ...]) -> Iterator[Chain]:
    """Verify every certificate of an endorsement: each leaf's path, then what is in none.

    Raises:
        EvidenceError: ``.check`` is `CHAIN`.
    """
    used: set[int] = set()
    for bottom in sorted(range(len(pool)), key=lambda at: _is_authority(pool[at])):
        if bottom in used:
            continue
        path = [bottom]
        while len(path) < len(pool):
            below = pool[path[-1]]
            above = [at for at, one in enumerate(pool) if one.subject == below.issuer]
            if not above or above[0] in path:
                break
            path.append(above[0])
        used.update(path)
        authority = _is_authority(pool[bottom])
        yield check_chain([pool[at] for at in path], roots, authority=authority)


def _is_authority(certificate: x509.Certificate) -> bool:
    with suppress(x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    return False


def _or_refused(check: str, read: Any) -> Any:
    """Turn a part of the report that cannot be read into a failed check."""
    try:
        return read()
    except MalformedError as error:
        raise EvidenceError(error.message, check=check) from None


def _registers(report: SnpReport) -> dict[str, str]:
    """Return what identifies the guest: not which chip it runs on, nor which run this is."""
    return {
        "author_key_digest": report.author_key_digest.hex(),
        "family_id": report.family_id.hex(),
        "guest_svn": f"{report.guest_svn:08x}",
        "host_data": report.host_data.hex(),
        "id_key_digest": report.id_key_digest.hex(),
        "image_id": report.image_id.hex(),
        "measurement": report.measurement.hex(),
        "policy": f"{report.policy_bits:016x}",
        "vmpl": f"{report.vmpl:02x}",
    }
