"""The verifiers of every kind of evidence this version can judge."""

from __future__ import annotations

from functools import lru_cache

from privity.attest.cache import Cached
from privity.attest.evidence import EvidenceVerifier
from privity.attest.trust import Trust

__all__ = ["KINDS", "verifier_for"]

KINDS = ("tdx", "sgx", "snp", "nitro", "nvidia", "dev")
"""Every kind of evidence this version can judge."""


@lru_cache(maxsize=64)
def verifier_for(kind: str, trust: Trust) -> EvidenceVerifier | None:
    """Return the verifier of a kind of evidence, with its cache; None for an unknown kind."""
    verifier = _make_verifier(kind, trust)
    return None if verifier is None else Cached(verifier)


def _make_verifier(kind: str, trust: Trust) -> EvidenceVerifier | None:
    """Import what one kind needs, and nothing for the others: a command has to start quickly."""
    roots, policy = trust.roots, trust.policy
    if kind == "tdx":
        from privity.attest.evidence_tdx import TdxVerifier

        return TdxVerifier(roots.intel, policy)
    if kind == "sgx":
        from privity.attest.evidence_sgx import SgxVerifier

        return SgxVerifier(roots.intel, policy)
    if kind == "snp":
        from privity.attest.evidence_snp import SnpVerifier

        return SnpVerifier(roots.amd, policy)
    if kind == "nitro":
        from privity.attest.evidence_nitro import NitroVerifier

        return NitroVerifier(roots.nitro, policy)
    if kind == "nvidia":
        from privity.attest.evidence_nvidia import NvidiaVerifier

        return NvidiaVerifier(roots.nvidia, policy)
    if kind == "dev":
        from privity.attest.evidence_dev import DevVerifier

        return DevVerifier(trust.dev_roots, max_age=policy.max_age)
    return None
