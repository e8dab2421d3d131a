"""TDX quotes with their collateral, event log and app-compose; all but the quote are JSON."""

from __future__ import annotations

import json
from typing import Any

from fuzz.harness import BOUND, NOW, Made, certificates, der, examine, join, seeds_of, split
from pki.intel import IntelPki, TdxQuoter
from privity.attest.evidence_tdx import TdxVerifier
from privity.attest.intel.quote import Quote
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.policy.evidence import EvidencePolicy

_ROOT = next((der(one) for one in certificates("tdx")), None)
_VERIFIER = TdxVerifier(_ROOT, EvidencePolicy())
_GENUINE = {split(seed, 4)[0] for seed in seeds_of("tdx")}


def one(data: bytes) -> None:
    accepts(data)


def accepts(data: bytes) -> bool:
    parts = [*split(data, 4), b"", b"", b"", b""][:4]
    evidence: dict[str, Any] = {"kind": "tdx", "quote": encode_base64url(parts[0])}
    log, collateral, compose = (_json(part) for part in (parts[1], parts[2], parts[3]))
    if log is not None:
        evidence["event_log"] = log
    if compose is not None:
        evidence["app_compose"] = compose
    endorsements = [collateral] if isinstance(collateral, dict) else []
    return examine(_VERIFIER, evidence, endorsements, _GENUINE, parts[0])


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None


def seeds() -> Made:
    intel = IntelPki()
    made = []
    for compose in ("", '{"name":"x"}'):
        quoter = TdxQuoter(intel, app_compose=compose)
        evidence = quoter.quote(BOUND, NOW)
        quote = decode_base64url(evidence["quote"])
        Quote.parse(quote)
        log = json.dumps(evidence["event_log"]).encode() if compose else b""
        collateral = json.dumps(quoter.endorsements[0]).encode()
        made.append(join(quote, log, collateral, json.dumps(compose).encode() if compose else b""))
    return Made(made, [intel.root.certificate])
