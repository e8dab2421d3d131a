"""NVIDIA evidence in a statement: report, a manifest, and the chain."""

from __future__ import annotations

from fuzz.harness import BOUND, Made, anchors, der, examine, join, seeds_of, split
from pki.nvidia import NvidiaPki, blackwell, switch
from privity.attest.evidence_nvidia import NvidiaVerifier
from privity.identity.multibase import encode_base64url
from privity.statement import device_nonce

_VERIFIER = NvidiaVerifier(anchors("nvidia"), rim_anchors=anchors("rim"))
_GENUINE = {split(seed, 9)[0] for seed in seeds_of("nvidia")}


def one(data: bytes) -> None:
    accepts(data)


def accepts(data: bytes) -> bool:
    parts = split(data, 9)
    if len(parts) < 3:
        return False
    report, manifest, *chain = parts
    evidence = {
        "certificates": [encode_base64url(one) for one in chain],
        "kind": "nvidia",
        "report": encode_base64url(report),
    }
    rims = [{"kind": "nvidia", "rim": encode_base64url(manifest)}] if manifest else []
    return examine(_VERIFIER, evidence, rims, _GENUINE, report)


def seeds() -> Made:
    root = NvidiaPki().root
    made = []
    for make in (NvidiaPki, blackwell, switch):
        pki = make(root=root)
        chain = [der(one) for one in pki.chain]
        made.append(join(pki.report(device_nonce(BOUND)), b"", *chain))
    return Made(made, [root.certificate])
