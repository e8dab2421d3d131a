"""NVIDIA evidence in the files its tools write: text, bytes, JSON, and PEM beside them."""

from __future__ import annotations

import base64
import json

from fuzz.harness import NOW, Made, attempt, join, split
from pki.certificates import to_pem
from pki.nvidia import NvidiaPki, switch
from privity.attest.evidence import Companions
from privity.attest.evidence_nvidia import NvidiaVerifier, from_file, recognises

_VERIFIER = NvidiaVerifier()


def one(data: bytes) -> None:
    parts = [*split(data, 2), b"", b""]
    companions = Companions((parts[1],) if parts[1] else ())
    recognises(parts[0])
    evidence, endorsements = attempt(from_file, parts[0], companions) or ([], [])
    for each in evidence:
        attempt(_VERIFIER.examine, each, bytes(32), endorsements, NOW)


def seeds() -> Made:
    made = []
    for pki in (NvidiaPki(), switch()):
        report, pem = pki.report(bytes(32)), to_pem(*pki.chain)
        entry = {
            "arch": "HOPPER",
            "certificate": base64.b64encode(pem).decode(),
            "evidence": base64.b64encode(report).decode(),
            "nonce": bytes(32).hex(),
        }
        text = report.hex().encode()
        made += [join(text, pem), join(report, pem), join(json.dumps([entry]).encode(), b"")]
    return Made(made)
