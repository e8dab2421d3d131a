"""What the quoters make is what the verifiers read.

The platforms are scripted and sign with synthetic PKIs; the verifiers are the production ones
under injected roots. Nothing here is hardware.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pki.certificates import NOON, to_der, to_pem
from pki.intel import IntelPki, event_log, rtmr3
from pki.nitro import NitroPki
from pki.nvidia import NvidiaPki
from pki.snp import SnpPki
from privity.attest.evidence import EvidenceVerifier, Quoter
from privity.attest.evidence_nitro import NitroVerifier
from privity.attest.evidence_nvidia import NvidiaVerifier
from privity.attest.evidence_snp import SnpVerifier
from privity.attest.evidence_tdx import TdxVerifier
from privity.attest.quoters import DstackQuoter, NitroQuoter, NvidiaQuoter, TsmQuoter
from privity.attest.quoters import nitro as nitro_module
from privity.errors import EvidenceError
from privity.policy.evidence import EvidencePolicy
from scripted_platforms import ScriptedNsm, ScriptedNvml, TsmScript, certificate_table, scripted_tsm

BOUND = hashlib.sha512(b"bound").digest()
OTHER = hashlib.sha512(b"another").digest()
COMPOSE = '{"name":"privity"}'


def judge(quoter: Quoter, verifier: EvidenceVerifier) -> dict[str, str]:
    evidence = quoter.quote(BOUND, NOON)
    endorsements = list(quoter.endorsements)
    found = verifier.examine(evidence, BOUND, endorsements, NOON)
    assert found.accepted, found.failed
    replayed = verifier.examine(evidence, OTHER, endorsements, NOON)
    assert replayed.failed is not None and replayed.failed.name == "key binding"
    with pytest.raises(EvidenceError):
        replayed.accept()
    return dict(found.registers)


def test_scripted_tdx_guest_under_a_synthetic_intel_is_accepted(tmp_path: Path) -> None:
    pki = IntelPki()
    with scripted_tsm(tmp_path / "tsm", TsmScript(outblob=pki.tdx_quote)) as folder:
        quoter = TsmQuoter(folder, collateral=pki.collateral())
        judge(quoter, TdxVerifier(pki.root_der, EvidencePolicy()))


def test_scripted_dstack_guest_under_a_synthetic_intel_shows_its_compose_hash() -> None:
    pki, log = IntelPki(), event_log(COMPOSE)

    class Agent:
        """The SDK's client, scripted; it lists the firmware's events too."""

        def get_quote(self, report_data: bytes) -> Any:
            quote = pki.tdx_quote(report_data, rtmr3=rtmr3(log))
            firmware = {**log[0], "imr": 0}
            return SimpleNamespace(quote=quote.hex(), event_log=json.dumps([firmware, *log]))

        def info(self) -> Any:
            return SimpleNamespace(tcb_info=SimpleNamespace(app_compose=COMPOSE))

    quoter = DstackQuoter(Agent(), collateral=pki.collateral())
    registers = judge(quoter, TdxVerifier(pki.root_der, EvidencePolicy()))
    assert registers["compose_hash"] == hashlib.sha256(COMPOSE.encode()).hexdigest()


def test_scripted_snp_guest_under_a_synthetic_amd_is_accepted(tmp_path: Path) -> None:
    pki = SnpPki()
    table = certificate_table([(bytes([1]) * 16, to_der(pki.certificates[0]))])
    script = TsmScript(provider="sev_guest", aux=table, outblob=pki.report)
    with scripted_tsm(tmp_path / "tsm", script) as folder:
        judge(TsmQuoter(folder), SnpVerifier(pki.anchors))


def test_scripted_nitro_enclave_under_a_synthetic_aws_is_accepted() -> None:
    pki = NitroPki()

    def answer(request: Any) -> Any:
        document = pki.document(request["Attestation"]["user_data"], NOON)
        return {"Attestation": {"document": document}}

    nsm = ScriptedNsm(answer)
    quoter = NitroQuoter(lambda request: nitro_module.ask(request, 3, nsm.ioctl))
    judge(quoter, NitroVerifier(pki.anchors))


def test_scripted_gpu_under_a_synthetic_nvidia_is_accepted() -> None:
    pki = NvidiaPki()
    library = ScriptedNvml(
        chain=b"".join(to_pem(one) for one in pki.chain),
        report=lambda _, nonce: pki.report(nonce),
    )
    judge(NvidiaQuoter(library), NvidiaVerifier(pki.anchors))
