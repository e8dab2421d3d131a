"""Whole statements, with evidence of several kinds."""

from __future__ import annotations

from fuzz.harness import NOW, Made, anchors, attempt, total
from pki.nitro import NitroPki
from pki.nvidia import switch
from pki.snp import SnpPki
from privity.attest import DevQuoter, DevRoot, Trust, build_statement
from privity.attest.examine import examine_statement
from privity.attest.roots import Roots
from privity.identity.keys import SigningKey
from privity.statement import Keyset, Statement

_NONCE = bytes(32)
_ROOT = DevRoot(SigningKey(b"\1" * 32))
_CERTIFIED = anchors("statement")
_TRUST = Trust(
    dev_roots=(_ROOT.did,), roots=Roots(amd=_CERTIFIED, nitro=_CERTIFIED, nvidia=_CERTIFIED)
)


def one(data: bytes) -> None:
    statement = attempt(Statement.parse, data)
    if statement is not None:
        assert statement.to_bytes() == data
    total(examine_statement, data, nonce=_NONCE, trust=_TRUST, now=NOW)
    total(examine_statement, data, nonce=None, trust=_TRUST, now=NOW)


def seeds() -> Made:
    keyset = Keyset(ohttp=bytes(41), receipts=SigningKey(b"\2" * 32).did)
    dev = DevQuoter(_ROOT, now=NOW, measurement="sha256:" + "ab" * 32)
    gpu, snp, nitro = switch(), SnpPki(), NitroPki()
    both = build_statement(keyset, [snp, gpu], now=NOW, nonce=_NONCE)
    statements = [
        build_statement(keyset, [dev], now=NOW, nonce=_NONCE),
        build_statement(keyset, [dev], now=NOW),
        build_statement(keyset, [nitro], now=NOW, nonce=_NONCE),
        both,
    ]
    roots = [gpu.root.certificate, nitro._root.certificate]
    roots += [one.certificate for one in (snp._ark, snp._ask, snp._asvk)]
    return Made([one.to_bytes() for one in statements], roots)
