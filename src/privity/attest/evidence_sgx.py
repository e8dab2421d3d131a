"""Evidence of the kind ``sgx``: an enclave on an Intel processor.

The processor measures an enclave as it is loaded (MRENCLAVE) and who signed it (MRSIGNER), and
keeps its memory from the host, the operating system among it. See spec/evidence-intel.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from privity.attest.evidence import KEY_BINDING, Companions, Findings, run_checks
from privity.attest.intel import files
from privity.attest.intel.dcap import check_report_data, judge_quote
from privity.attest.intel.quote import MAX_QUOTE_BYTES, Quote
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.policy.evidence import EvidencePolicy

__all__ = ["KIND", "SgxVerifier", "from_file", "recognises"]

KIND = "sgx"

_BASIS = frozenset({Basis(Ground.HARDWARE, "Intel SGX, for all but attacks on the chips")})

_HEX = ("mrenclave", "mrsigner", "attributes", "miscselect", "configid", "cpusvn")
_NUMBERS = ("isvprodid", "isvsvn", "configsvn")

# Bits of ATTRIBUTES.FLAGS (Intel SDM, volume 3D, table "Layout of ATTRIBUTES Structure").
_INITIALISED, _DEBUG, _64_BIT = 1 << 0, 1 << 1, 1 << 2
_PROVISION_KEY, _LAUNCH_KEY = 1 << 4, 1 << 5
_CET, _KEY_SEPARATION, _EXIT_NOTIFY = 1 << 6, 1 << 7, 1 << 10
_REFUSED = _DEBUG | _PROVISION_KEY | _LAUNCH_KEY  # each by its own check
_UNDERSTOOD = _INITIALISED | _64_BIT | _CET | _KEY_SEPARATION | _EXIT_NOTIFY | _REFUSED


class SgxVerifier:
    """Judges ``sgx`` evidence. This runs on the device, or with anyone later.

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
        quote = _read(evidence)
        judged = judge_quote(
            quote,
            endorsements,
            (
                ("debug", lambda: _check_debug(quote)),
                ("attributes", lambda: _check_attributes(quote)),
            ),
            root=self._root,
            policy=self._policy,
            now=now,
        )
        registers = {name: quote.body[name].hex() for name in _HEX}
        registers |= {name: str(int.from_bytes(quote.body[name], "little")) for name in _NUMBERS}
        steps: list[tuple[str, Callable[[], str]]] = []
        if bound is not None:
            steps.append((KEY_BINDING, lambda: check_report_data(quote, bound)))
        checks = judged.checks + run_checks(steps)
        return Findings(KIND, checks, registers, _BASIS, period=judged.period)


def recognises(data: bytes) -> bool:
    """Return whether a file looks like an SGX quote. Total."""
    return files.recognises(data, KIND)


def from_file(
    data: bytes, companions: Companions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return evidence and endorsements from files: see `privity.attest.intel.files.from_file`."""
    return files.from_file(data, companions, KIND)


def _read(evidence: dict[str, Any]) -> Quote:
    fields = Fields(evidence, "sgx evidence")
    fields.constant("kind", KIND)
    try:
        quote = Quote.parse(fields.blob("quote", most=MAX_QUOTE_BYTES))
    except OversizeError as error:
        raise MalformedError(error.message) from None
    fields.done()
    if quote.tee != KIND:
        raise MalformedError("sgx evidence with a quote that is not of an enclave")
    return quote


def _flags(quote: Quote) -> int:
    return int.from_bytes(quote.body["attributes"][:8], "little")


def _check_debug(quote: Quote) -> str:
    if _flags(quote) & _DEBUG:
        raise EvidenceError("a debug enclave: its host can read it", check="debug")
    return "not a debug enclave"


def _check_attributes(quote: Quote) -> str:
    found = _flags(quote)
    if found & ~_UNDERSTOOD:
        raise EvidenceError("the enclave has attributes unknown here", check="attributes")
    if not found & _INITIALISED:
        raise EvidenceError("an enclave that was never initialised", check="attributes")
    if found & (_PROVISION_KEY | _LAUNCH_KEY):
        raise EvidenceError(
            "an enclave with keys that only the platform's own enclaves need", check="attributes"
        )
    return "an initialised enclave, without the platform's keys"
