"""Evidence of the kind ``tdx``: a trust domain on an Intel processor.

Intel's TDX module measures a virtual machine as it is built (MRTD) and as it starts (RTMR0 to 3),
and keeps its memory from the host. On dstack hosts an event log goes with the quote and says which
containers RTMR3 stands for. What is not bound: see spec/evidence-intel.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from privity.attest.dstack.event_log import COMPOSE_HASH, EVENT_LOG, MAX_COMPOSE_CHARS, EventLog
from privity.attest.evidence import KEY_BINDING, Companions, Findings, run_checks
from privity.attest.intel import files
from privity.attest.intel.dcap import check_report_data, judge_quote
from privity.attest.intel.quote import MAX_QUOTE_BYTES, Quote
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.policy.evidence import EvidencePolicy

__all__ = ["KIND", "TdxVerifier", "from_file", "recognises"]

KIND = "tdx"

_BASIS = frozenset({Basis(Ground.HARDWARE, "Intel TDX, for all but attacks on the chips")})

_REGISTERS = (
    "mrtd",
    "rtmr0",
    "rtmr1",
    "rtmr2",
    "rtmr3",
    "mrconfigid",
    "mrowner",
    "mrownerconfig",
    "mrseam",
    "mrsignerseam",
    "seam_attributes",
    "td_attributes",
    "xfam",
    "tee_tcb_svn",
    "tee_tcb_svn2",
    "mrservicetd",
)

_DEBUG = 0xFF  # bits 0 to 7, "TD under debug": any of them lets the host look in
_MIGRATABLE = 1 << 29
_SEPT_VE_DISABLE = 1 << 28
_PKS, _KEY_LOCKER, _PERFMON = 1 << 30, 1 << 31, 1 << 63
_UNDERSTOOD = _DEBUG | _MIGRATABLE | _SEPT_VE_DISABLE | _PKS | _KEY_LOCKER | _PERFMON
"""TD_ATTRIBUTES, Intel TDX module specification: all bits whose meaning is weighed here."""

_SERVICE_TD = ("mrservicetd", "init_servicetd_hash", "servicetd_hash")


class TdxVerifier:
    """Judges ``tdx`` evidence. This runs on the device, or with anyone later.

    Args:
        root: Intel's SGX root CA certificate, DER, or another's; None for Intel's.
        policy: what the person demands.

    Guarantees:
        Each promise of spec/evidence-intel.md, each with its test; a bit flipped anywhere is
        refused (tests/adversary/test_intel_evidence.py).
    """

    kind = KIND

    def __init__(self, root: bytes | None, policy: EvidencePolicy) -> None:
        self._root = root
        self._policy = policy

    def examine(
        self,
        evidence: dict[str, Any],
        bound: bytes | None,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> Findings:
        """Examine one quote; see `EvidenceVerifier.examine`.

        Raises:
            MalformedError: it is not of this kind's form.
        """
        quote, log, compose = _read(evidence)
        judged = judge_quote(
            quote,
            endorsements,
            (
                ("debug", lambda: _check_debug(quote)),
                ("migration", lambda: _check_migration(quote)),
                ("attributes", lambda: _check_attributes(quote)),
            ),
            root=self._root,
            policy=self._policy,
            now=now,
        )
        registers = {name: quote.body[name].hex() for name in _REGISTERS if name in quote.body}
        steps: list[tuple[str, Callable[[], str]]] = []
        if log is not None:
            steps.append((EVENT_LOG, lambda: log.check(quote.body["rtmr3"])))
        if compose is not None:
            steps.append((COMPOSE_HASH, lambda: _check_compose(log, compose)))
        if bound is not None:
            steps.append((KEY_BINDING, lambda: check_report_data(quote, bound)))
        checks = run_checks(steps)
        if log is not None and all(check.ok for check in checks if check.name == EVENT_LOG):
            registers |= log.registers()
        return Findings(KIND, judged.checks + checks, registers, _BASIS, period=judged.period)


def recognises(data: bytes) -> bool:
    """Return whether a file looks like a TDX quote, or an answer of dstack's guest agent. Total."""
    return files.recognises(data, KIND)


def from_file(
    data: bytes, companions: Companions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return evidence and endorsements from files: see `privity.attest.intel.files.from_file`."""
    return files.from_file(data, companions, KIND)


def _read(evidence: dict[str, Any]) -> tuple[Quote, EventLog | None, str | None]:
    fields = Fields(evidence, "tdx evidence")
    fields.constant("kind", KIND)
    try:
        quote = Quote.parse(fields.blob("quote", most=MAX_QUOTE_BYTES))
    except OversizeError as error:
        raise MalformedError(error.message) from None
    if quote.tee != KIND:
        raise MalformedError("tdx evidence with a quote that is not of a TD")
    log = EventLog.from_json(fields.take("event_log")) if "event_log" in evidence else None
    compose = None
    if "app_compose" in evidence:
        compose = fields.text("app_compose", max_chars=MAX_COMPOSE_CHARS)
    fields.done()
    return quote, log, compose


def _attributes(quote: Quote) -> int:
    return int.from_bytes(quote.body["td_attributes"], "little")


def _check_debug(quote: Quote) -> str:
    if _attributes(quote) & _DEBUG:
        raise EvidenceError("the TD is under debug: its host can read it", check="debug")
    return "not under debug"


def _check_migration(quote: Quote) -> str:
    served = any(any(quote.body.get(name, b"")) for name in _SERVICE_TD)
    if _attributes(quote) & _MIGRATABLE or served:
        raise EvidenceError(
            "the TD may be moved, or served by another TD: nothing shows where its memory goes",
            check="migration",
        )
    return "bound to this machine"


def _check_attributes(quote: Quote) -> str:
    found = _attributes(quote)
    if found & ~_UNDERSTOOD:
        raise EvidenceError("the TD has attributes unknown here", check="attributes")
    if not found & _SEPT_VE_DISABLE:
        raise EvidenceError(
            "the TD lets its host raise exceptions in it (SEPT_VE_DISABLE is off)",
            check="attributes",
        )
    return "only ones that keep the host out"


def _check_compose(log: EventLog | None, compose: str) -> str:
    if log is None:
        raise EvidenceError("an app-compose without the event log", check=COMPOSE_HASH)
    return log.check_compose(compose)
