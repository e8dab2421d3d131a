"""Files of evidence of every kind, as `privity verify` is given them, with what comes along."""

from __future__ import annotations

from fuzz.harness import BOUND, NOW, Made, attempt, der, join, split, total
from pki.intel import IntelPki
from pki.nitro import NitroPki
from pki.nvidia import switch
from pki.snp import SnpPki
from privity.attest import Trust
from privity.attest.dstack.wrapper import read_dstack
from privity.attest.evidence import Companions
from privity.attest.files import detect_kind, examine_file

_KINDS = ("tdx", "sgx", "snp", "nitro", "nvidia")


def one(data: bytes) -> None:
    parts = [*split(data, 3), b"", b"", b""]
    companions = Companions((parts[1],) if parts[1] else (), parts[2] or None)
    attempt(read_dstack, parts[0])
    kind = attempt(detect_kind, parts[0])
    for each in {kind, _KINDS[len(data) % len(_KINDS)]} - {None}:
        total(
            examine_file, parts[0], kind=each, companions=companions, bound=BOUND,
            trust=Trust(), now=NOW,
        )  # fmt: skip


def seeds() -> Made:
    snp, gpu, intel = SnpPki(), switch(), IntelPki()
    return Made(
        [
            join(snp.report(BOUND), der(snp.certificates[0]), b""),
            join(NitroPki().document(BOUND, NOW), b"", b""),
            join(gpu.report(bytes(32)), der(gpu.chain[0]), b""),
            join(intel.tdx_quote(BOUND), b"", b"{}"),
            join(intel.sgx_quote(BOUND), b"", b"{}"),
            b"\0\x03 not dstack's",
        ]
    )
