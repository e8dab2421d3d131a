"""For all inputs: what Intel evidence is read from gets an answer or a privity error."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.certificates import NOON, to_pem
from pki.intel import IntelPki, SgxQuoter, TdxQuoter, event, event_log, rtmr3, sign_p256
from privity.attest import evidence_sgx, evidence_tdx
from privity.attest.dstack.event_log import EventLog
from privity.attest.evidence import Companions
from privity.attest.evidence_sgx import SgxVerifier
from privity.attest.evidence_tdx import TdxVerifier
from privity.attest.intel.collateral import Collateral
from privity.attest.intel.quote import Quote
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.multibase import encode_base64url
from privity.policy.evidence import EvidencePolicy

INTEL = IntelPki()
TDX = TdxQuoter(INTEL)
SGX = SgxQuoter(INTEL)
QUOTES = [
    INTEL.tdx_quote(bytes(64)),
    INTEL.tdx_quote(bytes(64), version=5),
    INTEL.sgx_quote(bytes(64)),
]
COLLATERAL = INTEL.collateral()

TEXT = st.text(max_size=12)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | TEXT | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)

# Altered names make `cryptography` warn about their form while it reads them.
ALTERED_NAMES = pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")


@st.composite
def altered(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Return one of these with a few bytes changed, cut out or put in."""
    data = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        end = min(len(data), place + draw(st.sampled_from([0, 1, 1, 2, 64, 9999])))
        data = data[:place] + draw(st.binary(max_size=3)) + data[end:]
    return data


@given(st.binary(max_size=800) | altered(QUOTES))
@settings(max_examples=300)
def test_reading_a_quote_is_total_and_keeps_every_byte(data: bytes) -> None:
    try:
        quote = Quote.parse(data)
    except (MalformedError, OversizeError):
        return
    assert quote.data == data
    assert quote.signed == data[: len(quote.signed)]
    assert Quote.size_of(data + bytes(9)) == len(data)


@ALTERED_NAMES
@given(altered(QUOTES))
@settings(max_examples=150, deadline=None)
def test_an_altered_quote_is_never_accepted(data: bytes) -> None:
    if data in QUOTES:
        return
    for verifier, quoter in ((TdxVerifier, TDX), (SgxVerifier, SGX)):
        judge = verifier(INTEL.root_der, EvidencePolicy())
        evidence = {"kind": judge.kind, "quote": encode_base64url(data)}
        try:
            found = judge.examine(evidence, None, quoter.endorsements, NOON)
        except MalformedError:
            continue
        assert not found.accepted


@ALTERED_NAMES
@given(altered([INTEL.pck.public_bytes(Encoding.DER)]))
@settings(max_examples=150, deadline=None)
def test_an_altered_pck_certificate_is_never_accepted(der: bytes) -> None:
    if der == INTEL.pck.public_bytes(Encoding.DER):
        return
    text = _pem(der) + to_pem(INTEL.platform.certificate, INTEL.root.certificate).decode()
    found = _with_collateral(pck_certificate_chain=text)
    assert found == ["collateral"]


@given(st.binary(max_size=300) | altered([bytes.fromhex(COLLATERAL["pck_crl"])]))
@settings(max_examples=150, deadline=None)
def test_an_altered_revocation_list_is_never_accepted(der: bytes) -> None:
    for name in ("pck_crl", "root_ca_crl"):
        if der.hex() not in COLLATERAL.values():
            assert _with_collateral(**{name: der.hex()}) == ["collateral"]


@given(st.sampled_from(sorted(COLLATERAL)), ODD)
@settings(max_examples=150, deadline=None)
def test_any_json_in_place_of_a_member_of_collateral_is_refused(name: str, value: Any) -> None:
    assert _with_collateral(**{name: value}) == ["collateral"]


@given(ODD)
def test_reading_collateral_is_total(value: Any) -> None:
    with pytest.raises(MalformedError):
        Collateral.from_json(value)
    endorsements: list[Any] = [value, {"kind": "tdx", "collateral": value}]
    for endorsement in endorsements:
        judge = TdxVerifier(INTEL.root_der, EvidencePolicy())
        found = judge.examine(TDX.quote(bytes(64), NOON), None, [endorsement], NOON)
        assert [check.name for check in found.checks if not check.ok] == ["collateral"]


@given(
    st.sampled_from(["tcb_info", "qe_identity"]),
    ODD
    | st.builds(
        lambda name, value, info: {**info, name: value},
        st.sampled_from([*INTEL.tcb_info("tdx"), *INTEL.qe_identity("tdx")]),
        ODD | st.datetimes().map(lambda at: at.isoformat()[:19] + "Z"),
        st.sampled_from([INTEL.tcb_info("tdx"), INTEL.qe_identity("tdx")]),
    ),
)
@settings(max_examples=150, deadline=None)
def test_even_what_intel_signs_is_read_with_care(name: str, value: Any) -> None:
    """Whatever JSON the signing key signs gets findings, and never an error or an odd grade."""
    text = json.dumps(value)
    signature = sign_p256(INTEL._signer.key, text.encode()).hex()
    failed = _with_collateral(**{name: text, f"{name}_signature": signature})
    assert set(failed) <= {"collateral", "tcb status", "quoting enclave", "revocation"}


@given(st.datetimes(timezones=st.just(UTC)))
@settings(max_examples=60, deadline=None)
def test_any_time_gets_findings(now: datetime) -> None:
    judge = TdxVerifier(INTEL.root_der, EvidencePolicy())
    found = judge.examine(TDX.quote(bytes(64), NOON), None, TDX.endorsements, now)
    inside = found.period is not None and found.period[0] <= now < found.period[1]
    assert found.accepted == inside


@given(st.binary(max_size=300) | altered([*QUOTES, QUOTES[0].hex().encode(), b'{"quote":""}']))
@settings(max_examples=200)
def test_reading_files_is_total(data: bytes) -> None:
    kinds = [module.KIND for module in (evidence_tdx, evidence_sgx) if module.recognises(data)]
    assert len(kinds) < 2
    for module in (evidence_tdx, evidence_sgx):
        try:
            evidence, endorsements = module.from_file(data, Companions())
        except MalformedError:
            assert module.KIND not in kinds
            continue
        assert len(evidence) == 1
        assert endorsements == []
        assert kinds == [module.KIND]


@given(
    st.binary(max_size=200)
    | altered([json.dumps(COLLATERAL).encode()])
    | ODD.map(lambda value: json.dumps(value).encode())
)
def test_reading_a_file_of_collateral_is_total(data: bytes) -> None:
    try:
        _, endorsements = evidence_tdx.from_file(QUOTES[0], Companions(collateral=data))
    except MalformedError:
        return
    assert Collateral.from_json(endorsements[0]["collateral"]).to_json()


EVENTS = st.builds(
    lambda one, name, value: {**one, name: value},
    st.builds(event, st.text(st.characters(max_codepoint=255), max_size=9), st.binary(max_size=40)),
    st.sampled_from(["imr", "event", "event_payload", "digest", "version", "preimage", "other"]),
    ODD | st.just(3) | st.just(""),
)


@given(st.lists(EVENTS | st.sampled_from(event_log("{}")), max_size=5) | ODD)
@settings(max_examples=300)
def test_reading_an_event_log_is_total(values: Any) -> None:
    try:
        log = EventLog.from_json(values)
    except MalformedError:
        return
    try:
        log.check(log.register)
        log.check_compose("{}")
    except EvidenceError:
        return
    assert log.registers()["compose_hash"]


@given(
    st.lists(
        st.builds(
            event,
            st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1)
            .filter(lambda name: len(name) < 99)
            .map(lambda name: "x" + name),
            st.binary(max_size=40),
            version=st.just(1),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_log_leads_to_the_register_that_its_digests_do(values: list[dict[str, Any]]) -> None:
    log = EventLog.from_json(values)
    assert log.register == rtmr3(values)
    assert log.check(rtmr3(values)).startswith(f"{len(values)} events")
    with pytest.raises(EvidenceError):
        log.check(bytes(48))


def _with_collateral(**members: Any) -> list[str]:
    """Return the checks that fail with these members of the collateral in place."""
    judge = TdxVerifier(INTEL.root_der, EvidencePolicy())
    endorsement = {"collateral": {**COLLATERAL, **members}, "kind": "tdx"}
    found = judge.examine(TDX.quote(bytes(64), NOON), None, [endorsement], NOON)
    return [check.name for check in found.checks if not check.ok]


def _pem(der: bytes) -> str:
    """Return a PEM block of any bytes, in the one spelling."""
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def test_the_pem_of_these_tests_is_the_one_that_is_read() -> None:
    der = INTEL.pck.public_bytes(Encoding.DER)
    assert x509.load_pem_x509_certificate(_pem(der).encode()) == INTEL.pck
    assert _pem(der) == to_pem(INTEL.pck).decode()
