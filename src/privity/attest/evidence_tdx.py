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
from privity.attest.intel.dcap import check_report_data, judge_quote
from privity.attest.intel.files import quote_of_file, read_collateral
from privity.attest.intel.quote import MAX_QUOTE_BYTES, Quote
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.identity.jcs import loads_strict
from privity.identity.multibase import encode_base64url
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

_MAX_LOG_BYTES = 1 << 20


class TdxVerifier:
    """Judges ``tdx`` evidence. This runs on the device, or with anyone later.

    Args:
        root: Intel's SGX root CA certificate, DER, or another's; None for Intel's.
        policy: what the person demands.

    Guarantees:
        Each promise of spec/evidence-intel.md, each with its test.
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
    try:
        return quote_of_file(data).tee == KIND
    except (MalformedError, OversizeError):
        return False


def from_file(
    data: bytes, companions: Companions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return evidence and endorsements from files: see `privity.attest.intel.files`.

    Raises:
        MalformedError: not a TDX quote, or not collateral.
    """
    try:
        quote = quote_of_file(data)
        if quote.tee != KIND:
            raise MalformedError("this is an SGX quote, not a TDX one")
        evidence = {"kind": KIND, "quote": encode_base64url(quote.data)}
        evidence |= _guest_agent_parts(data)
        return [evidence], read_collateral(KIND, companions)
    except OversizeError as error:
        raise MalformedError(error.message) from None


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


def _guest_agent_parts(data: bytes) -> dict[str, Any]:
    """Return event log and app-compose where the file is an answer of dstack's guest agent."""
    if not data.startswith(b"{"):
        return {}
    answer = loads_strict(data, max_bytes=_MAX_LOG_BYTES)
    found: dict[str, Any] = {}
    log = answer.get("event_log")
    if isinstance(log, str):
        log = loads_strict(log.encode("utf-8", "surrogatepass"), max_bytes=_MAX_LOG_BYTES)
    if log:
        if not isinstance(log, list) or not all(isinstance(event, dict) for event in log):
            raise MalformedError("the event log is no list of events")
        # The other registers' events are the firmware's; the quote itself shows their sum.
        found["event_log"] = [event for event in log if event.get("imr") == 3]
    if "app_compose" in answer:
        found["app_compose"] = answer["app_compose"]
    return found
