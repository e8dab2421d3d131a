"""SGX quotes with their collateral."""

from __future__ import annotations

import json

from fuzz.fuzz_tdx import _json
from fuzz.harness import BOUND, NOW, Made, certificates, der, examine, join, seeds_of, split
from pki.intel import IntelPki, SgxQuoter
from privity.attest.evidence_sgx import SgxVerifier
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.policy.evidence import EvidencePolicy

_ROOT = next((der(one) for one in certificates("sgx")), None)
_VERIFIER = SgxVerifier(_ROOT, EvidencePolicy())
_GENUINE = {split(seed, 2)[0] for seed in seeds_of("sgx")}


def one(data: bytes) -> None:
    accepts(data)


def accepts(data: bytes) -> bool:
    parts = [*split(data, 2), b"", b""][:2]
    evidence = {"kind": "sgx", "quote": encode_base64url(parts[0])}
    collateral = _json(parts[1])
    endorsements = [collateral] if isinstance(collateral, dict) else []
    return examine(_VERIFIER, evidence, endorsements, _GENUINE, parts[0])


def seeds() -> Made:
    intel = IntelPki()
    quoter = SgxQuoter(intel)
    quote = decode_base64url(quoter.quote(BOUND, NOW)["quote"])
    collateral = json.dumps(quoter.endorsements[0]).encode()
    return Made([join(quote, collateral), join(quote, b"")], [intel.root.certificate])
