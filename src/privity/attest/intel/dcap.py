"""Judges Intel's quotes (SGX and TDX alike) under Intel's collateral and the person's policy.

Signatures, chains, revocation, dates and attributes are checked here, each by its own check, so
that a refusal says which. `dcap_qvl` then verifies all of it once more and grades the firmware;
which grade is good enough, `EvidencePolicy.tcb` says. That library sees only what these checks
found to be Intel's. Nothing is fetched: collateral comes with the evidence, or the check fails.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from privity.attest.anchor import Anchor
from privity.attest.chain import CHAIN, PERIOD, Chain, check_chain, load_certificates
from privity.attest.evidence import KEY_BINDING, run_checks
from privity.attest.intel.anchors import INTEL
from privity.attest.intel.collateral import (
    COLLATERAL,
    REVOCATION,
    Collateral,
    Part,
    check_p256,
    check_period,
    within,
)
from privity.attest.intel.quote import Quote
from privity.attested import Check
from privity.errors import EvidenceError, InputError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.policy.evidence import EvidencePolicy, TcbStatus

__all__ = [
    "PLATFORM",
    "QUOTING_ENCLAVE",
    "SIGNATURE",
    "TCB",
    "Judged",
    "check_report_data",
    "judge_quote",
]

SIGNATURE = "signature"
"""The check that the platform's PCK key vouches for the key that signed the quote."""

TCB = "tcb status"
"""The check that Intel's grade of the platform's firmware is one the policy accepts."""

PLATFORM = "platform"
"""The check that the platform is only what the policy lets it be: dynamic, SMT and so on."""

QUOTING_ENCLAVE = "quoting enclave"
"""The check that the enclave that signed is the one Intel describes."""

_VERDICTS = {
    **{status.value: status for status in TcbStatus},
    # The fix is installed, but this TD was started before it: for this TD it is not there.
    "TDRelaunchAdvised": TcbStatus.OUT_OF_DATE,
    "TDRelaunchAdvisedConfigurationNeeded": TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
"""Each grade Intel gives, and what it counts as here. A grade not listed is refused."""

_FLAGS = {"dynamic": "dynamic_platform", "cached-keys": "cached_keys", "smt": "smt_enabled"}

# What `dcap_qvl` says, by a part of its message; the first that occurs decides. The rest is `TCB`.
_REASONS = (
    ("Debug mode", "debug"),
    ("migration", "migration"),
    ("ervice TD", "migration"),
    ("SERVTD", "migration"),
    ("TD attributes", "attributes"),
    ("SEPT_VE", "attributes"),
    ("profiling", "attributes"),
    ("Revoked {", REVOCATION),
    ("CertRevoked", REVOCATION),
    ("xpired", COLLATERAL),
    ("in the future", COLLATERAL),
    ("in quote_collateral", COLLATERAL),
    ("in the collateral", COLLATERAL),
    ("QE Identity", COLLATERAL),
    ("Fmspc mismatch", COLLATERAL),
    ("QE report hash", SIGNATURE),
    ("in quote", SIGNATURE),
    ("signature is invalid", SIGNATURE),
    ("certificate", CHAIN),
    ("QE ", QUOTING_ENCLAVE),
)

_ATTRIBUTES = frozenset({"debug", "migration", "attributes"})
"""The checks each kind makes of what a quote says of itself; the library makes them as one."""

_SECOND = timedelta(seconds=1)
_SHOWN_ADVISORIES = 8


@dataclass(frozen=True)
class Judged:
    """What was found of a quote, whatever it measures.

    Attributes:
        checks: in order.
        period: when the same would be found; None where that is not known.
    """

    checks: tuple[Check, ...]
    period: tuple[datetime, datetime] | None


def judge_quote(
    quote: Quote,
    endorsements: Sequence[dict[str, Any]],
    attributes: Sequence[tuple[str, Callable[[], str]]],
    *,
    root: bytes | None,
    policy: EvidencePolicy,
    now: datetime,
) -> Judged:
    """Check everything that SGX and TDX quotes have in common.

    Args:
        quote: read, not verified.
        endorsements: ``{"kind", "collateral"}`` each; exactly one is good.
        attributes: the kind's own steps for `run_checks`, which come last.
        root: the root CA's certificate, DER; None for Intel's.
        policy: what the person demands.
        now: the time to judge it for.

    Guarantees:
        A bit flipped in any byte of a quote or its collateral is refused
        (tests/adversary/test_intel_evidence.py).
    """
    examined = _Examination(quote, endorsements, root, policy, now)
    checks = [Check("format", True, f"{quote.tee.upper()} quote, version {quote.version}")]
    checks += run_checks([(CHAIN, examined.check_chain)])
    if examined.chain is not None:
        steps = ((PERIOD, examined.check_chain_period), (SIGNATURE, examined.check_signatures))
        checks += run_checks(steps)
    signed = all(check.ok for check in checks if check.name != PERIOD)
    own = run_checks(attributes)
    checks += run_checks([(COLLATERAL, examined.check_collateral)])
    if examined.authentic:
        checks += run_checks([(REVOCATION, examined.check_revocation)])
        if signed and checks[-1].ok:
            checks += _graded(examined, own)
    found = (*checks, *own)
    # The library may refuse what passed here: then only its finding stands under that name.
    failed = {check.name for check in found if not check.ok}
    kept = tuple(check for check in found if not (check.ok and check.name in failed))
    return Judged(kept, examined.period())


def check_report_data(quote: Quote, bound: bytes) -> str:
    """Compare what the quote carries with what it has to bind.

    Raises:
        EvidenceError: ``.check`` is `KEY_BINDING`.
    """
    if quote.body["report_data"] != bound:
        raise EvidenceError(
            "the quote was made for other keys or for another challenge", check=KEY_BINDING
        )
    return "the quote carries exactly what was asked for"


def _graded(examined: _Examination, own: Sequence[Check]) -> list[Check]:
    """Return the library's findings, but for what it says of attributes the kind has refused."""
    refused = _ATTRIBUTES if any(not check.ok for check in own) else frozenset()
    checks = [
        check for check in run_checks([(TCB, examined.check_tcb)]) if check.name not in refused
    ]
    if examined.claims:
        checks += run_checks([(PLATFORM, examined.check_platform)])
    return checks


class _Examination:
    """One quote on its way through the checks; each later one uses what earlier ones found."""

    def __init__(
        self,
        quote: Quote,
        endorsements: Sequence[dict[str, Any]],
        root: bytes | None,
        policy: EvidencePolicy,
        now: datetime,
    ) -> None:
        self._quote, self._endorsements, self._root = quote, endorsements, root
        self._policy, self._now = policy, now
        self._anchors = _anchors(root)
        self._collateral: Collateral | None = None
        self._certificates: list[x509.Certificate] = []
        self._parts: tuple[Part, ...] = ()
        self.chain: Chain | None = None
        self.claims: dict[str, Any] = {}

    @property
    def authentic(self) -> bool:
        """Whether the collateral is Intel's, of this time or not."""
        return bool(self._parts)

    def check_chain(self) -> str:
        try:
            certificates = load_certificates(self._quote.pck_chain, most=3)
        except (MalformedError, OversizeError) as error:
            raise EvidenceError(error.message, check=CHAIN) from None
        if len(certificates) != 3:
            raise EvidenceError(
                "the quote must carry the PCK certificate, its authority's and the root's",
                check=CHAIN,
            )
        self.chain = check_chain(certificates, self._anchors)
        self._certificates = certificates
        return f"PCK certificate to {self.chain.anchor.name!r:.80}"

    def check_chain_period(self) -> str:
        if self.chain is None:
            raise EvidenceError("there is no chain", check=CHAIN)
        self.chain.check_period(self._now)
        return "valid at this time"

    def check_signatures(self) -> str:
        quote = self._quote
        check_p256(
            self._certificates[0].public_key(),
            quote.qe_report_signature,
            quote.qe_report,
            check=SIGNATURE,
            what="the signature of the quoting enclave's report",
        )
        vouched = hashlib.sha256(quote.attestation_key + quote.qe_auth).digest() + bytes(32)
        if quote.qe_report_data != vouched:
            raise EvidenceError(
                "the quoting enclave vouches for another attestation key", check=SIGNATURE
            )
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(
                ec.SECP256R1(), b"\x04" + quote.attestation_key
            )
        except ValueError:
            raise EvidenceError("the attestation key is no point", check=SIGNATURE) from None
        what = "the quote's signature"
        check_p256(key, quote.signature, quote.signed, check=SIGNATURE, what=what)
        return "the platform's key vouches for the key that signed this"

    def check_collateral(self) -> str:
        if not self._endorsements:
            raise EvidenceError(
                "Intel's collateral is absent: nothing says what Intel thinks of this platform",
                check=COLLATERAL,
                hint="fetch it from a PCCS for this quote, and pass it along",
            )
        if len(self._endorsements) != 1:
            raise EvidenceError("more than one piece of collateral", check=COLLATERAL)
        if self.chain is None:
            raise EvidenceError("not judged: the quote leads to no root", check=COLLATERAL)
        try:
            reader = Fields(self._endorsements[0], "endorsement")
            reader.constant("kind", self._quote.tee)
            collateral = Collateral.from_json(reader.take("collateral"))
            reader.done()
        except MalformedError as error:
            raise EvidenceError(error.message, check=COLLATERAL) from None
        self._parts = collateral.check_authentic(self._certificates, self._anchors)
        self._collateral = collateral
        return check_period(self._parts, self._now)

    def check_revocation(self) -> str:
        if self._collateral is None:
            raise EvidenceError("there is no collateral", check=COLLATERAL)
        return self._collateral.check_revocation(self._certificates)

    def check_tcb(self) -> str:
        self.claims = self._ask_library()
        tcb = self.claims["tcb"]
        grade, advisories = str(tcb["status"]), [str(one) for one in tcb["advisory_ids"]]
        status = _VERDICTS.get(grade)
        shown = ", ".join(advisories[:_SHOWN_ADVISORIES])
        shown += " and more" if len(advisories) > _SHOWN_ADVISORIES else ""
        said = f"{grade:.64}" + (f" ({shown})" if shown else "")
        if status is not None and grade != status.value:
            said += f", which counts as {status.value}"
        if status is None or status is TcbStatus.REVOKED or status not in self._policy.tcb:
            accepted = ", ".join(one.value for one in TcbStatus if one in self._policy.tcb)
            raise EvidenceError(
                f"Intel grades this platform {said}; the policy accepts {accepted or 'none'}",
                check=TCB,
                hint="its operator has to update or configure it; `evidence.tcb` is the floor",
            )
        return said

    def check_platform(self) -> str:
        pck = self.claims["platform"]["pck"]
        said = {flag: str(pck[name]) for flag, name in _FLAGS.items()}
        for flag, value in said.items():
            if value != "False" and flag not in self._policy.platform:
                raise EvidenceError(
                    f"the platform is, or may be, {flag}, which the policy does not allow",
                    check=PLATFORM,
                    hint="`evidence.platform` says what an Intel platform may be",
                )
        named = [flag for flag, value in said.items() if value == "True"]
        return ", ".join(named) if named else "nothing that a policy names"

    def period(self) -> tuple[datetime, datetime] | None:
        """Return when all of this holds alike, if the given time is inside."""
        if self.chain is None or not self._parts:
            return None
        start, until = within([*self._parts, Part("PCK certificates", *self.chain.period)])
        return (start, until) if start <= self._now < until else None

    def _ask_library(self) -> dict[str, Any]:
        """Have `dcap_qvl` verify it all and grade the platform; each failure by its own check."""
        # Loaded here: 40 ms that a person who never meets an Intel machine need not wait.
        from dcap_qvl import QuotePolicy, QuoteVerifier

        if self.chain is None or self._collateral is None:
            raise EvidenceError("there is no collateral", check=COLLATERAL)
        start, until = within([*self._parts, Part("PCK certificates", *self.chain.period)])
        if start >= until - _SECOND:
            raise EvidenceError("the collateral's parts are never good together", check=COLLATERAL)
        # Dates were judged above. Out of date, the platform is graded as of when it was not: the
        # refusal then shows what else would fail.
        moment = self._now if start <= self._now < until - _SECOND else start
        seconds = int(moment.timestamp())
        try:
            claims = QuoteVerifier(self._root).verify_with_policy(
                self._quote.data,
                _library_form(self._collateral),
                seconds,
                QuotePolicy.claims_only(seconds),
            )
            found: dict[str, Any] = json.loads(claims.to_json())
        except (ValueError, OverflowError) as error:
            said = str(error).removeprefix("Verification failed: ")
            name = next((check for part, check in _REASONS if part in said), TCB)
            raise EvidenceError(f"{said:.200}", check=name) from None
        return found


@lru_cache(maxsize=32)
def _library_form(collateral: Collateral) -> Any:
    from dcap_qvl import QuoteCollateralV3

    return QuoteCollateralV3.from_json(json.dumps(collateral.to_json()))


@lru_cache(maxsize=8)
def _anchors(root: bytes | None) -> tuple[Anchor, ...]:
    if root is None:
        return INTEL
    try:
        return (Anchor.of_certificate(x509.load_der_x509_certificate(root)),)
    except ValueError:
        raise InputError("roots.intel is not a certificate in DER") from None
