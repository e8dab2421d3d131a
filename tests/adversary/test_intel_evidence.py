"""Attacks on Intel evidence: each promise of spec/evidence-intel.md a test, each its own check.

The quotes are of a synthetic Intel (tests/pki/intel.py) under a root injected here.
"""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pki.certificates import NOON, to_pem
from pki.intel import (
    MONTH,
    SEPT_VE_DISABLE,
    IntelPki,
    SgxQuoter,
    TdxQuoter,
    event,
    event_log,
    rtmr3,
    sign_p256,
)
from privity.attest import evidence_sgx, evidence_tdx
from privity.attest.evidence import Companions, Findings
from privity.attest.evidence_sgx import SgxVerifier
from privity.attest.evidence_tdx import TdxVerifier
from privity.errors import EvidenceError, MalformedError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.policy.evidence import EvidencePolicy, TcbStatus

REPORT = bytes(range(64))
INTEL = IntelPki()
TDX = TdxQuoter(INTEL)
SGX = SgxQuoter(INTEL)
COMPOSE = '{"manifest_version":2,"docker_compose_file":"services: {}"}'

# A flipped bit in a name makes `cryptography` warn about the name's form while it is read.
FLIPPED_NAMES = pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")


def _examine(
    evidence: dict[str, Any],
    endorsements: Any = TDX.endorsements,
    *,
    intel: IntelPki = INTEL,
    bound: bytes | None = REPORT,
    now: Any = NOON,
    **policy: Any,
) -> Findings:
    verifier = SgxVerifier if evidence["kind"] == "sgx" else TdxVerifier
    judge = verifier(intel.root_der, EvidencePolicy(**policy))
    return judge.examine(evidence, bound, endorsements, now)


def _failed(findings: Findings) -> list[str]:
    return [check.name for check in findings.checks if not check.ok]


def _tdx(quote: bytes, **more: Any) -> dict[str, Any]:
    return {"kind": "tdx", "quote": encode_base64url(quote), **more}


def _of(intel: IntelPki, **terms: Any) -> Findings:
    """Return the findings of an honest TD on this platform."""
    quoter = TdxQuoter(intel)
    return _examine(quoter.quote(REPORT, NOON), quoter.endorsements, intel=intel, **terms)


def _with_collateral(**members: str) -> list[dict[str, Any]]:
    collateral = {**TDX.endorsements[0]["collateral"], **members}
    return [{"collateral": collateral, "kind": "tdx"}]


def test_honest_evidence_is_accepted_and_rests_on_hardware() -> None:
    found = _examine(TDX.quote(REPORT, NOON))
    verified = found.accept()
    assert [check.name for check in found.checks] == [
        "format",
        "certificate chain",
        "certificate period",
        "signature",
        "collateral",
        "revocation",
        "tcb status",
        "platform",
        "debug",
        "migration",
        "attributes",
        "key binding",
    ]
    assert not verified.dev
    assert {basis.ground.value for basis in verified.basis} == {"hardware"}
    assert found.period == (MONTH[0], MONTH[1] + timedelta(seconds=1))
    assert len(verified.registers["mrtd"]) == 96
    assert _examine(SGX.quote(REPORT, NOON), SGX.endorsements).accepted


def test_a_quote_of_version_5_is_accepted() -> None:
    found = _examine(_tdx(INTEL.tdx_quote(REPORT, version=5)))
    assert found.accepted
    assert found.registers["mrservicetd"] == "00" * 48


def test_evidence_for_other_keys_or_another_challenge_is_refused() -> None:
    for evidence, endorsements in (
        (TDX.quote(bytes(64), NOON), TDX.endorsements),
        (SGX.quote(bytes(64), NOON), SGX.endorsements),
    ):
        assert _failed(_examine(evidence, endorsements)) == ["key binding"]
    for wrong in (REPORT[:-1], REPORT + b"\0", b""):
        assert _failed(_examine(TDX.quote(REPORT, NOON), bound=wrong)) == ["key binding"]


def test_where_binding_is_not_asked_no_check_says_it_holds() -> None:
    found = _examine(TDX.quote(REPORT, NOON), bound=None)
    assert found.accepted
    assert "key binding" not in [check.name for check in found.checks]


def test_another_vendors_root_is_refused() -> None:
    other = IntelPki()
    quoter = TdxQuoter(other)
    found = _examine(quoter.quote(REPORT, NOON), quoter.endorsements)
    assert _failed(found)[0] == "certificate chain"
    real = TdxVerifier(None, EvidencePolicy())
    found = real.examine(TDX.quote(REPORT, NOON), REPORT, TDX.endorsements, NOON)
    assert _failed(found)[0] == "certificate chain"


def test_a_debug_td_is_refused_for_that() -> None:
    for bit in range(8):
        attributes = (SEPT_VE_DISABLE | 1 << bit).to_bytes(8, "little")
        found = _examine(_tdx(INTEL.tdx_quote(REPORT, td_attributes=attributes)))
        assert _failed(found) == ["debug"]


def test_a_debug_enclave_is_refused_for_that() -> None:
    quote = encode_base64url(INTEL.sgx_quote(REPORT, flags=0x07))
    found = _examine({"kind": "sgx", "quote": quote}, SGX.endorsements)
    assert _failed(found) == ["debug"]


def test_a_td_that_can_be_moved_or_served_by_another_is_refused() -> None:
    attributes = (SEPT_VE_DISABLE | 1 << 29).to_bytes(8, "little")
    movable = INTEL.tdx_quote(REPORT, td_attributes=attributes)
    served = INTEL.tdx_quote(REPORT, version=5, mrservicetd=b"\1" * 48)
    for quote in (movable, served):
        assert _failed(_examine(_tdx(quote))) == ["migration"]


@pytest.mark.parametrize(
    "attributes", [0, *(SEPT_VE_DISABLE | 1 << n for n in (8, 16, 27, 32, 62))]
)
def test_attributes_that_are_not_understood_or_let_the_host_in_are_refused(attributes: int) -> None:
    fields = {"td_attributes": attributes.to_bytes(8, "little")}
    assert _failed(_examine(_tdx(INTEL.tdx_quote(REPORT, **fields)))) == ["attributes"]


@pytest.mark.parametrize("flags", [0x04, 0x15, 0x25])
def test_an_enclave_with_the_platforms_keys_or_never_started_is_refused(flags: int) -> None:
    quote = encode_base64url(INTEL.sgx_quote(REPORT, flags=flags))
    found = _examine({"kind": "sgx", "quote": quote}, SGX.endorsements)
    assert _failed(found) == ["attributes"]


@pytest.mark.parametrize("bit", range(64))
def test_attributes_of_an_enclave_that_are_not_understood_are_refused(bit: int) -> None:
    quote = encode_base64url(INTEL.sgx_quote(REPORT, flags=0x05 | 1 << bit))
    found = _examine({"kind": "sgx", "quote": quote}, SGX.endorsements)
    # Initialised, 64 bits, control-flow enforcement, key separation, notice of exits; 1 is debug.
    expected = [] if bit in (0, 2, 6, 7, 10) else ["debug"] if bit == 1 else ["attributes"]
    assert _failed(found) == expected


@pytest.mark.parametrize("forged", ["quote", "vouching", "qe report"])
def test_a_quote_signed_by_any_other_key_is_refused(forged: str) -> None:
    found = _examine(_tdx(INTEL.tdx_quote(REPORT, forged=forged)))
    assert _failed(found) == ["signature"]
    # Nothing is graded that was not signed.
    assert "tcb status" not in [check.name for check in found.checks]
    quote = encode_base64url(INTEL.sgx_quote(REPORT, forged=forged))
    assert _failed(_examine({"kind": "sgx", "quote": quote}, SGX.endorsements)) == ["signature"]


@pytest.mark.parametrize("status", [one for one in TcbStatus if one is not TcbStatus.UP_TO_DATE])
def test_a_platform_graded_below_the_policys_floor_is_refused(status: TcbStatus) -> None:
    intel = IntelPki(grade=status.value, advisories=("INTEL-SA-00001",))
    assert _failed(_of(intel)) == ["tcb status"]
    everything = frozenset(set(TcbStatus) - {TcbStatus.REVOKED, status})
    assert _failed(_of(intel, tcb=everything)) == ["tcb status"]
    if status is not TcbStatus.REVOKED:
        assert _of(intel, tcb=frozenset({status})).accepted


def test_a_platform_below_every_level_is_refused() -> None:
    everything = frozenset(set(TcbStatus) - {TcbStatus.REVOKED})
    assert _failed(_of(IntelPki(floor=6), tcb=everything)) == ["tcb status"]


def test_an_outdated_quoting_enclave_lowers_the_grade() -> None:
    assert _failed(_of(IntelPki(qe_grade="OutOfDate"))) == ["tcb status"]
    assert _failed(_of(IntelPki(qe_grade="Revoked"))) == ["tcb status"]


def test_a_td_started_before_the_fix_counts_as_out_of_date() -> None:
    intel = IntelPki(below="OutOfDate")
    older = bytes([4, 0] + [5] * 14)
    evidence = _tdx(intel.tdx_quote(REPORT, version=5, tee_tcb_svn=older))
    found = _examine(evidence, [intel.endorsement()], intel=intel)
    assert _failed(found) == ["tcb status"]
    assert found.failed is not None
    assert "TDRelaunchAdvised, which counts as OutOfDate" in found.failed.detail


def test_a_grade_nobody_knows_is_refused() -> None:
    everything = frozenset(set(TcbStatus) - {TcbStatus.REVOKED})
    assert _failed(_of(IntelPki(grade="Splendid"), tcb=everything)) == ["tcb status"]


@pytest.mark.parametrize("flag", ["dynamic", "cached-keys", "smt"])
def test_a_platform_that_is_what_the_policy_excludes_is_refused(flag: str) -> None:
    names = ("dynamic", "cached-keys", "smt")
    dynamic, cached, smt = (name == flag for name in names)
    intel = IntelPki(flags=(dynamic, cached, smt))
    assert _of(intel).accepted
    others = frozenset(names) - {flag}
    assert _failed(_of(intel, platform=others)) == ["platform"]
    assert _of(intel, platform=frozenset({flag})).accepted


@pytest.mark.parametrize("name", ["pck", "platform", "signer"])
def test_a_revoked_key_is_refused(name: str) -> None:
    assert _failed(_of(IntelPki(revoked=(name,)))) == ["revocation"]


@pytest.mark.parametrize(
    "now",
    [MONTH[0] - timedelta(seconds=1), MONTH[1] + timedelta(seconds=1), NOON + timedelta(days=90)],
)
def test_collateral_of_another_time_is_refused_and_the_rest_still_shown(now: Any) -> None:
    found = _examine(TDX.quote(REPORT, NOON), now=now)
    assert _failed(found) == ["collateral"]
    assert found.period is None
    assert {"tcb status", "revocation"} <= {check.name for check in found.checks if check.ok}


@pytest.mark.parametrize("now", MONTH)
def test_collateral_is_good_at_both_of_its_ends(now: Any) -> None:
    assert _examine(TDX.quote(REPORT, NOON), now=now).accepted


def test_certificates_of_another_time_are_refused() -> None:
    found = _examine(TDX.quote(REPORT, NOON), now=NOON + timedelta(days=400))
    assert _failed(found) == ["certificate period", "collateral"]


def test_evidence_without_collateral_is_refused_for_exactly_that() -> None:
    for evidence in (TDX.quote(REPORT, NOON), SGX.quote(REPORT, NOON)):
        found = _examine(evidence, ())
        assert _failed(found) == ["collateral"]
        with pytest.raises(EvidenceError) as caught:
            found.accept()
        assert caught.value.check == "collateral"


def test_two_pieces_of_collateral_are_refused() -> None:
    found = _examine(TDX.quote(REPORT, NOON), TDX.endorsements * 2)
    assert _failed(found) == ["collateral"]


def test_collateral_for_another_platform_is_refused() -> None:
    found = _of(IntelPki(fmspc=b"\1" * 6))
    assert _failed(found) == ["collateral"]
    # The library alone compares models; what passed before does not stand beside its refusal.
    assert [check.name for check in found.checks].count("collateral") == 1
    # An SGX platform's TCB info and quoting enclave do not speak for a TD.
    found = _examine(TDX.quote(REPORT, NOON), [{**SGX.endorsements[0], "kind": "tdx"}])
    assert _failed(found) == ["collateral"]
    assert _failed(_examine(TDX.quote(REPORT, NOON), SGX.endorsements)) == ["collateral"]


def test_collateral_of_another_platforms_certificate_is_refused() -> None:
    own = INTEL.pck_chain.decode()
    assert _examine(TDX.quote(REPORT, NOON), _with_collateral(pck_certificate_chain=own)).accepted
    other = IntelPki().pck_chain.decode()
    found = _examine(TDX.quote(REPORT, NOON), _with_collateral(pck_certificate_chain=other))
    assert _failed(found) == ["collateral"]


def test_a_better_grade_signed_by_a_platforms_own_key_is_refused() -> None:
    """A PCK key leads to Intel's root as well; it must not sign what grades platforms."""
    intel = IntelPki(grade="OutOfDate")
    better = json.dumps(INTEL.tcb_info("tdx"), separators=(",", ":"))
    for chain in (
        to_pem(intel.pck, intel.platform.certificate, intel.root.certificate),
        to_pem(intel.pck, intel.root.certificate),
    ):
        endorsement = intel.endorsement()
        endorsement["collateral"] |= {
            "tcb_info": better,
            "tcb_info_issuer_chain": chain.decode(),
            "tcb_info_signature": sign_p256(intel._pck.key, better.encode()).hex(),
        }
        evidence = _tdx(intel.tdx_quote(REPORT))
        assert _failed(_examine(evidence, [endorsement], intel=intel)) == ["collateral"]


def test_a_revocation_list_of_another_authority_is_refused() -> None:
    intel = IntelPki(revoked=("pck",))
    endorsement = intel.endorsement()
    collateral = endorsement["collateral"]
    # The root's list is empty and Intel's; it says nothing about the PCK key.
    collateral["pck_crl"] = collateral["root_ca_crl"]
    evidence = _tdx(intel.tdx_quote(REPORT))
    assert _failed(_examine(evidence, [endorsement], intel=intel)) == ["collateral"]
    other = IntelPki()
    endorsement = intel.endorsement()
    endorsement["collateral"] |= {
        "pck_crl": other.collateral()["pck_crl"],
        "pck_crl_issuer_chain": other.collateral()["pck_crl_issuer_chain"],
    }
    assert _failed(_examine(evidence, [endorsement], intel=intel)) == ["collateral"]


def test_a_chain_with_a_certificate_more_or_less_is_refused() -> None:
    quote = INTEL.tdx_quote(REPORT)
    chain = INTEL.pck_chain
    assert x509.load_pem_x509_certificates(chain)[-1] == INTEL.root.certificate
    for other in (
        to_pem(INTEL.pck, INTEL.platform.certificate),
        to_pem(INTEL.pck),
        chain + to_pem(INTEL.root.certificate),
        chain.replace(b"\n-----END", b"\n\n-----END", 1),
        b" " + chain,
        b"",
    ):
        forged = _replace_chain(quote, chain + b"\0", other)
        assert "certificate chain" in _failed(_examine(_tdx(forged)))


def _replace_chain(quote: bytes, old: bytes, new: bytes) -> bytes:
    """Put other certificates into a TDX quote of version 4, with all lengths made even."""
    more = len(new) - len(old)
    place = 48 + 584
    data = quote.replace(old, new)
    for at, size in ((place, 4), (place + 4 + 128 + 2, 4), (quote.index(old) - 4, 4)):
        number = int.from_bytes(data[at : at + size], "little") + more
        data = data[:at] + number.to_bytes(size, "little") + data[at + size :]
    return data


@FLIPPED_NAMES
@pytest.mark.parametrize("quoter", [TDX, SGX], ids=["tdx", "sgx"])
def test_a_bit_flipped_in_any_byte_of_a_quote_is_refused(quoter: Any) -> None:
    honest = quoter.quote(REPORT, NOON)
    quote = decode_base64url(honest["quote"])
    seen: set[str] = set()
    for place in range(len(quote)):
        bits = range(8) if place < 48 else (place % 8,)
        for bit in bits:
            forged = quote[:place] + bytes([quote[place] ^ 1 << bit]) + quote[place + 1 :]
            evidence = {**honest, "quote": encode_base64url(forged)}
            try:
                found = _examine(evidence, quoter.endorsements, bound=None)
            except MalformedError:
                seen.add("form")
                continue
            assert not found.accepted, (place, bit)
            seen.update(_failed(found))
    assert {"form", "signature", "certificate chain"} <= seen


@FLIPPED_NAMES
@pytest.mark.parametrize("name", sorted(TDX.endorsements[0]["collateral"]))
def test_a_bit_flipped_in_any_byte_of_collateral_is_refused(name: str) -> None:
    evidence = TDX.quote(REPORT, NOON)
    text = TDX.endorsements[0]["collateral"][name].encode()
    for place in range(len(text)):
        forged = text[:place] + bytes([text[place] ^ 1 << place % 7]) + text[place + 1 :]
        found = _examine(evidence, _with_collateral(**{name: forged.decode("ascii")}))
        assert _failed(found) == ["collateral"], place


def test_another_spelling_of_the_same_collateral_is_refused() -> None:
    honest = TDX.endorsements[0]["collateral"]
    evidence = TDX.quote(REPORT, NOON)
    for name in ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"):
        for text in (honest[name].upper(), honest[name] + "00", honest[name] + " "):
            assert _failed(_examine(evidence, _with_collateral(**{name: text}))) == ["collateral"]
    for name in ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain"):
        for text in (honest[name] * 2, "x" + honest[name], honest[name].replace("\n", "\r\n")):
            assert _failed(_examine(evidence, _with_collateral(**{name: text}))) == ["collateral"]
    for name in ("tcb_info", "qe_identity"):
        found = _examine(evidence, _with_collateral(**{name: honest[name] + "\n"}))
        assert _failed(found) == ["collateral"]


@pytest.mark.parametrize("name", sorted(TDX.endorsements[0]["collateral"]))
def test_collateral_with_a_member_missing_or_more_is_refused(name: str) -> None:
    evidence = TDX.quote(REPORT, NOON)
    endorsement = copy.deepcopy(TDX.endorsements[0])
    endorsement["collateral"][name + "x"] = "1"
    assert _failed(_examine(evidence, [endorsement])) == ["collateral"]
    del endorsement["collateral"][name + "x"]
    del endorsement["collateral"][name]
    assert _failed(_examine(evidence, [endorsement])) == ["collateral"]


def test_bytes_after_a_quote_or_missing_from_it_are_refused() -> None:
    for quoter in (TDX, SGX):
        honest = quoter.quote(REPORT, NOON)
        quote = decode_base64url(honest["quote"])
        for other in (quote + b"\0", quote[:-1], quote[:40], quote[:700], b"\0"):
            with pytest.raises(MalformedError):
                _examine({**honest, "quote": encode_base64url(other)}, quoter.endorsements)


def test_evidence_of_one_kind_relabelled_as_the_other_is_refused() -> None:
    with pytest.raises(MalformedError):
        _examine({**TDX.quote(REPORT, NOON), "kind": "sgx"})
    with pytest.raises(MalformedError):
        _examine({**SGX.quote(REPORT, NOON), "kind": "tdx"})
    with pytest.raises(MalformedError):
        _examine({**TDX.quote(REPORT, NOON), "note": "1"})


# --- the event log ---------------------------------------------------------------------------


def _logged(log: Any, compose: str | None = COMPOSE, register: bytes | None = None) -> Findings:
    quote = INTEL.tdx_quote(REPORT, rtmr3=rtmr3(log) if register is None else register)
    more = {} if compose is None else {"app_compose": compose}
    return _examine(_tdx(quote, event_log=log, **more))


@pytest.mark.parametrize("version", [1, 2])
def test_an_event_log_that_leads_to_rtmr3_names_what_runs(version: int) -> None:
    found = _logged(event_log(COMPOSE, version=version))
    assert found.accepted
    assert [check.name for check in found.checks][-3:] == [
        "event log",
        "compose hash",
        "key binding",
    ]
    assert found.registers["compose_hash"][:40] == found.registers["app_id"]
    assert found.registers["os_image_hash"] == "22" * 32
    assert found.registers["key_provider"] == '{"name":"kms","id":"00ff"}'


def test_an_event_log_altered_shortened_or_reordered_is_refused() -> None:
    log = event_log(COMPOSE)
    register = rtmr3(log)
    other = event("compose-hash", b"\7" * 32)
    for forged in (log[:-1], log[1:], [*log, other], [log[1], log[0], *log[2:]], [*log[:2], other]):
        found = _logged(forged, None, register)
        assert _failed(found) == ["event log"]
        # What the log says is not shown as measured.
        assert "compose_hash" not in found.registers


def test_a_listed_digest_does_not_stand_for_its_event() -> None:
    """Events are what they hash to: a true digest beside another payload is a lie."""
    log = event_log(COMPOSE)
    register = rtmr3(log)
    log[2] = {**log[2], "event_payload": "07" * 32}
    with pytest.raises(MalformedError):
        _logged(log, None, register)
    log[2] = {**log[2], "digest": ""}
    assert _failed(_logged(log, None, register)) == ["event log"]


def test_another_app_compose_than_the_measured_one_is_refused() -> None:
    assert _failed(_logged(event_log(COMPOSE), COMPOSE + " ")) == ["compose hash"]
    assert _failed(_logged([event("app-id", bytes(20))], COMPOSE)) == ["compose hash"]


def test_an_app_compose_without_an_event_log_is_refused() -> None:
    found = _examine(_tdx(INTEL.tdx_quote(REPORT), app_compose=COMPOSE))
    assert _failed(found) == ["compose hash"]


def test_the_applications_own_events_cannot_speak_for_dstack() -> None:
    """After system-ready the application may extend RTMR3, and could claim another compose."""
    honest = event_log(COMPOSE)
    claimed = event_log('{"other":1}')[2]
    found = _logged([*honest, claimed])
    assert found.accepted
    assert found.registers["compose_hash"] == honest[2]["event_payload"]
    assert _failed(_logged([*honest, claimed], '{"other":1}')) == ["compose hash"]


def test_a_value_measured_twice_is_refused() -> None:
    log = event_log(COMPOSE)
    assert "event log" in _failed(_logged([*log[:3], log[2], *log[3:]]))


def test_an_event_name_with_a_colon_is_refused() -> None:
    """The digest joins name and payload with a colon: two events would share one digest."""
    with pytest.raises(MalformedError):
        _logged([event("app-id:x", b"y")], None)


def test_events_of_other_registers_are_refused() -> None:
    for change in ({"imr": 2}, {"event_type": 1}, {"imr": True}, {"version": 3}, {"more": 1}):
        with pytest.raises(MalformedError):
            _logged([{**event("app-id", bytes(20)), **change}], None, bytes(48))


# --- files -----------------------------------------------------------------------------------


def test_a_bit_flipped_in_any_text_form_of_a_quote_changes_it_or_is_refused() -> None:
    quote = INTEL.tdx_quote(REPORT)
    honest, _ = evidence_tdx.from_file(quote, Companions())
    padded = quote + bytes(60)
    for text in (quote.hex().encode() + b"\n", b"0x" + quote.hex().upper().encode(), padded):
        assert evidence_tdx.from_file(text, Companions())[0] == honest
        for place in range(0, len(text), 1 if len(text) < 5000 else 5):
            flipped = bytes([text[place] ^ 1 << place % 8])
            forged = text[:place] + flipped + text[place + 1 :]
            try:
                assert evidence_tdx.from_file(forged, Companions())[0] != honest, place
            except MalformedError:
                continue


def test_a_guest_agents_answer_verifies_and_must_agree_with_its_quote() -> None:
    log = event_log(COMPOSE)
    firmware = {"imr": 0, "event_type": 1, "digest": "00" * 48, "event": "", "event_payload": ""}
    answer = {
        "quote": INTEL.tdx_quote(REPORT, rtmr3=rtmr3(log)).hex(),
        "event_log": json.dumps([firmware, *log]),
        "app_compose": COMPOSE,
        "report_data": REPORT.hex(),
        "vm_config": "{}",
    }
    companions = Companions(collateral=json.dumps(INTEL.collateral()).encode())
    evidence, endorsements = evidence_tdx.from_file(json.dumps(answer).encode(), companions)
    assert _examine(evidence[0], endorsements).accepted
    for change in ({"report_data": "00" * 64}, {"status": "UpToDate"}, {"quote": ""}):
        with pytest.raises(MalformedError):
            evidence_tdx.from_file(json.dumps({**answer, **change}).encode(), companions)


def test_files_of_one_kind_are_not_recognised_as_the_other() -> None:
    tdx, sgx = INTEL.tdx_quote(REPORT), INTEL.sgx_quote(REPORT)
    assert evidence_tdx.recognises(tdx)
    assert evidence_sgx.recognises(sgx)
    assert not evidence_tdx.recognises(sgx)
    assert not evidence_sgx.recognises(tdx)
    for kind, data in ((evidence_tdx, sgx), (evidence_sgx, tdx)):
        with pytest.raises(MalformedError):
            kind.from_file(data, Companions())


def test_certificates_beside_a_quote_are_refused_not_ignored() -> None:
    with pytest.raises(MalformedError):
        evidence_tdx.from_file(INTEL.tdx_quote(REPORT), Companions(certificates=(INTEL.pck_chain,)))
