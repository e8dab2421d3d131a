"""Collateral fetched by the real `dcap-qvl` from a caching service that a synthetic Intel serves.

The service is scripted and its Intel synthetic; the client and the verifier are the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dcap_qvl
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pki.certificates import NOON
from pki.intel import IntelPki
from privity.attest.evidence_tdx import TdxVerifier
from privity.attest.quoters.endorsements import fetch_collateral, read_collateral
from privity.errors import PeerError
from privity.identity.multibase import encode_base64url
from privity.policy.evidence import EvidencePolicy

BOUND = bytes(range(64))
PKI = IntelPki()


def service(asked: list[str]) -> Starlette:
    """Return Intel's provisioning API, version 4, as a caching service offers it."""
    held = PKI.collateral()

    def signed(name: str, text: str, signature: str) -> bytes:
        return f'{{"{name}":{text},"signature":"{signature}"}}'.encode()

    async def answer(request: Request) -> Response:
        path = request.url.path
        asked.append(path)
        if path.endswith("/pckcrl"):
            head = {"SGX-PCK-CRL-Issuer-Chain": quote(held["pck_crl_issuer_chain"])}
            return Response(bytes.fromhex(held["pck_crl"]), headers=head)
        if path.endswith("/rootcacrl"):
            return Response(held["root_ca_crl"])
        if path.endswith("/tcb"):
            head = {"TCB-Info-Issuer-Chain": quote(held["tcb_info_issuer_chain"])}
            body = signed("tcbInfo", held["tcb_info"], held["tcb_info_signature"])
            return Response(body, headers=head, media_type="application/json")
        head = {"SGX-Enclave-Identity-Issuer-Chain": quote(held["qe_identity_issuer_chain"])}
        body = signed("enclaveIdentity", held["qe_identity"], held["qe_identity_signature"])
        return Response(body, headers=head, media_type="application/json")

    return Starlette(routes=[Route("/{path:path}", answer)])


def judged(raw: bytes, collateral: dict[str, Any]) -> None:
    evidence = {"kind": "tdx", "quote": encode_base64url(raw)}
    endorsement = {"collateral": collateral, "kind": "tdx"}
    verifier = TdxVerifier(PKI.root_der, EvidencePolicy())
    found = verifier.examine(evidence, BOUND, [endorsement], NOON)
    assert found.accepted, found.failed


def test_collateral_from_a_service_serves_the_verifier(serve: Callable[..., str]) -> None:
    asked: list[str] = []
    url = serve(service(asked))
    raw = PKI.tdx_quote(BOUND)
    collateral = fetch_collateral(url, raw)
    assert asked
    judged(raw, collateral)


def test_file_of_collateral_as_the_tool_writes_it_serves_the_verifier(
    serve: Callable[..., str], tmp_path: Path
) -> None:
    raw = PKI.tdx_quote(BOUND)
    assert b"-----END CERTIFICATE-----\n\0" in raw, "as in real quotes"
    url = serve(service([]))

    async def fetch() -> str:
        return (await dcap_qvl.get_collateral(url, raw)).to_json()

    (tmp_path / "collateral.json").write_text(asyncio.run(fetch()))
    collateral = read_collateral(tmp_path / "collateral.json")
    judged(raw, collateral)


def test_service_that_has_nothing_is_named(serve: Callable[..., str]) -> None:
    url = serve(Starlette())
    with pytest.raises(PeerError, match="did not give Intel's collateral"):
        fetch_collateral(url, PKI.tdx_quote(BOUND))
    with pytest.raises(PeerError):
        fetch_collateral(url, b"not a quote")
