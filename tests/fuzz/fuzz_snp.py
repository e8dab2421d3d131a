"""AMD SEV-SNP reports with their certificates."""

from __future__ import annotations

from fuzz.harness import BOUND, Made, anchors, der, examine, join, seeds_of, split
from pki.snp import SnpPki
from privity.attest.evidence_snp import SnpVerifier
from privity.identity.multibase import encode_base64url

_VERIFIER = SnpVerifier(anchors("snp"))
_GENUINE = {split(seed, 5)[0] for seed in seeds_of("snp")}


def one(data: bytes) -> None:
    accepts(data)


def accepts(data: bytes) -> bool:
    report, *chain = split(data, 5) or [b""]
    evidence = {"kind": "snp", "report": encode_base64url(report)}
    listed = [encode_base64url(one) for one in chain]
    endorsements = [{"certificates": listed, "kind": "snp"}] if listed else []
    return examine(_VERIFIER, evidence, endorsements, _GENUINE, report)


def seeds() -> Made:
    kinds = [
        SnpPki(),
        SnpPki(version=2, vlek=True, chain=("ask",)),
        SnpPki(product="genoa", version=5, chain=("ask", "ark")),
        SnpPki(product="turin", wrapped_chip=True),
    ]
    made = [join(pki.report(BOUND), *(der(one) for one in pki.certificates)) for pki in kinds]
    roots = [one.certificate for pki in kinds for one in (pki._ark, pki._ask, pki._asvk)]
    return Made(made, list(dict.fromkeys(roots)))
