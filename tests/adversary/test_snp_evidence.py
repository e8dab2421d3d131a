"""What a host could present as the report of an SEV-SNP guest, and is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pki.certificates import NOON, to_der, to_pem
from pki.snp import SnpPki
from privity.attest.evidence import Companions, Findings
from privity.attest.evidence_snp import SnpVerifier, from_file, recognises
from privity.disclosure import Ground
from privity.errors import EvidenceError, MalformedError
from privity.identity.multibase import encode_base64url
from privity.policy.evidence import EvidencePolicy, TcbStatus

BOUND = bytes(range(64))
PKI = SnpPki()
ANY_TCB = EvidencePolicy(tcb=frozenset({TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE}))


def examine(
    pki: SnpPki,
    *,
    roots: SnpPki | None = None,
    bound: bytes | None = BOUND,
    now: datetime = NOON,
    policy: EvidencePolicy | None = None,
    report: bytes | None = None,
    endorsements: Any = None,
) -> Findings:
    evidence = pki.quote(BOUND, NOON)
    if report is not None:
        evidence["report"] = encode_base64url(report)
    verifier = SnpVerifier((roots or pki).anchors, policy)
    given = pki.endorsements if endorsements is None else endorsements
    return verifier.examine(evidence, bound, given, now)


def failed(found: Findings) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def flips(data: bytes) -> Iterator[bytes]:
    """Yield the data with one bit flipped, once for each byte."""
    for at in range(len(data)):
        yield data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]


@pytest.mark.parametrize("product", ["milan", "genoa", "turin"])
@pytest.mark.parametrize("vlek", [False, True])
@pytest.mark.parametrize("chain", [(), ("ask",), ("ask", "ark"), ("ark", "ask")])
def test_an_honest_report_is_accepted(product: str, vlek: bool, chain: tuple[str, ...]) -> None:
    found = examine(SnpPki(product=product, vlek=vlek, chain=chain))
    assert found.accepted, found.failed
    assert found.period is not None and found.period[0] <= NOON < found.period[1]
    assert [basis.ground for basis in found.basis] == [Ground.HARDWARE] and not found.dev
    assert found.accept().registers["measurement"] == "a5" * 48


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_every_version_of_the_report_is_read(version: int) -> None:
    assert examine(SnpPki(version=version)).accepted
    assert examine(SnpPki(product="turin", version=version)).accepted


@pytest.mark.parametrize("version", [0, 1, 6])
def test_an_unknown_version_of_the_report_is_refused(version: int) -> None:
    with pytest.raises(MalformedError, match="version"):
        examine(SnpPki(version=version))


def test_a_flipped_bit_in_any_byte_of_the_report_is_refused() -> None:
    accepted = []
    for at, report in enumerate(flips(PKI.report(BOUND))):
        try:
            found = examine(PKI, report=report, policy=ANY_TCB)
        except MalformedError:
            continue
        if found.accepted or not {"signature"} & set(failed(found)):
            accepted.append(at)
    assert accepted == []


@pytest.mark.parametrize("place", range(3))
def test_a_flipped_bit_in_any_byte_of_the_chain_is_refused(place: int) -> None:
    pki = SnpPki(chain=("ask", "ark"))
    ders = [to_der(one) for one in pki.certificates]
    accepted = []
    for at, der in enumerate(flips(ders[place])):
        texts = [encode_base64url(one) for one in (*ders[:place], der, *ders[place + 1 :])]
        try:
            found = examine(pki, endorsements=[{"certificates": texts, "kind": "snp"}])
        except MalformedError:
            continue
        if found.accepted:
            accepted.append(at)
    assert accepted == []


def test_a_flipped_bit_in_any_byte_of_a_file_of_certificates_is_refused() -> None:
    pki = SnpPki(chain=("ask", "ark"))
    report, accepted = pki.report(BOUND), []
    for at, pem in enumerate(flips(to_pem(*pki.certificates))):
        try:
            evidence, endorsements = from_file(report, Companions((pem,)))
            found = SnpVerifier(pki.anchors).examine(evidence[0], BOUND, endorsements, NOON)
        except MalformedError:
            continue
        if found.accepted:
            accepted.append(at)
    assert accepted == []


def test_a_report_of_another_length_is_refused() -> None:
    report = PKI.report(BOUND)
    for wrong in (report[:-1], report + b"\0", report[:672], b""):
        with pytest.raises(MalformedError):
            examine(PKI, report=wrong)


@pytest.mark.parametrize(
    ("at", "what"),
    [
        (0x09 + 1, "policy"),  # bit 17 of the policy is one
        (0x0F, "policy"),
        (0x35, "ECDSA"),
        (0x40 + 1, "properties"),
        (0x49, "signer"),
        (0x4C, "reserved"),
        (0x18B, "reserved"),
        (0x1EB, "reserved"),
        (0x1EF, "reserved"),
        (0x200, "reserved"),  # the mitigation vectors are there from version 5 on
        (0x208, "reserved"),
        (0x33, "VMPL"),
    ],
)
def test_reserved_bits_that_are_signed_are_refused_all_the_same(at: int, what: str) -> None:
    body = bytearray(PKI.unsigned(BOUND))
    body[at] ^= 0x02
    with pytest.raises(MalformedError, match=what):
        examine(PKI, report=PKI.sign(bytes(body)))


def test_the_signature_has_one_spelling() -> None:
    report = PKI.report(BOUND)
    for at in (0x2A0 + 48, 0x2A0 + 71, 0x2A0 + 72 + 48, 0x2A0 + 144, 1183):
        with pytest.raises(MalformedError):
            examine(PKI, report=report[:at] + b"\x01" + report[at + 1 :])


@pytest.mark.parametrize("number", [0, 2**384 - 1])
def test_a_signature_number_out_of_range_is_refused(number: int) -> None:
    body, scalar = PKI.unsigned(BOUND), number.to_bytes(72, "little")
    for signature in (scalar * 2, scalar + b"\x01".ljust(72, b"\0")):
        assert failed(examine(PKI, report=body + signature + bytes(368))) == ["signature"]


def test_a_report_by_another_chips_key_is_refused() -> None:
    other = SnpPki()
    found = examine(PKI, report=other.report(BOUND))
    assert failed(found) == ["signature"]


def test_a_synthetic_maker_is_refused_under_amds_own_roots() -> None:
    found = SnpVerifier().examine(PKI.quote(BOUND, NOON), BOUND, PKI.endorsements, NOON)
    assert failed(found) == ["certificate chain"]


def test_another_maker_with_the_same_names_is_refused() -> None:
    other = SnpPki(maker="Other", chain=("ask", "ark"))
    assert failed(examine(other, roots=PKI)) == ["certificate chain"]


def test_no_certificate_is_refused_with_a_hint() -> None:
    found = examine(PKI, endorsements=[])
    assert failed(found) == ["certificate chain"]
    assert found.failed is not None and "VCEK" in found.failed.hint
    with pytest.raises(EvidenceError):
        found.accept()


def test_authorities_alone_are_refused() -> None:
    issuers = SnpPki(chain=("ask", "ark")).certificates[1:]
    texts = [encode_base64url(to_der(one)) for one in issuers]
    found = examine(PKI, endorsements=[{"certificates": texts, "kind": "snp"}])
    assert failed(found) == ["certificate chain"]


def test_every_certificate_that_comes_along_must_verify() -> None:
    stranger = SnpPki(maker="Other", chain=("ark",)).certificates
    for extra in stranger:
        texts = [encode_base64url(to_der(one)) for one in (*PKI.certificates, extra)]
        found = examine(PKI, endorsements=[{"certificates": texts, "kind": "snp"}])
        assert failed(found) == ["certificate chain"]


def test_a_second_endorsement_must_verify_as_well() -> None:
    twice = (*PKI.endorsements, *SnpPki().endorsements)
    assert examine(PKI, endorsements=twice).accepted
    wrong = (*PKI.endorsements, *SnpPki(maker="Other").endorsements)
    assert failed(examine(PKI, endorsements=wrong)) == ["certificate chain"]


@pytest.mark.parametrize("name", ["expired", "not yet"])
def test_a_certificate_out_of_its_period_is_refused(name: str) -> None:
    day = timedelta(days=1)
    period = (NOON - 2 * day, NOON - day) if name == "expired" else (NOON + day, NOON + 2 * day)
    found = examine(SnpPki(period=period))
    assert failed(found) == ["certificate period"]
    assert found.period is None


def test_a_certificate_of_another_chip_is_refused() -> None:
    assert failed(examine(SnpPki(certified_chip=b"\x99" * 64))) == ["chip"]
    assert failed(examine(SnpPki(chip=bytes(64), certified_chip=b"\x99" * 64))) == ["chip"]


def test_a_chip_id_is_read_in_the_older_and_the_newer_form() -> None:
    assert examine(SnpPki(wrapped_chip=True)).accepted
    short = b"\x11\x22\x33\x44\x55\x66\x77\x88"
    assert examine(SnpPki(product="turin", certified_chip=short)).accepted
    assert examine(SnpPki(product="turin", certified_chip=short, wrapped_chip=True)).accepted
    assert failed(examine(SnpPki(product="turin", certified_chip=b"\x99" * 8))) == ["chip"]
    assert failed(examine(SnpPki(certified_chip=b"\x99" * 20))) == ["certificate chain"]


@pytest.mark.parametrize("part", ["bootloader", "tee", "snp", "microcode", "fmc"])
def test_a_certificate_for_other_firmware_is_refused(part: str) -> None:
    assert failed(examine(SnpPki(product="turin", certified={part: 99}))) == ["chip"]


def test_a_report_of_another_product_is_refused() -> None:
    milan = SnpPki()
    body = bytearray(milan.unsigned(BOUND))
    body[0x189] = 0x11  # a Genoa's model
    assert "chip" in failed(examine(milan, report=milan.sign(bytes(body))))
    body[0x188] = 0x17  # a family without SEV-SNP
    assert "chip" in failed(examine(milan, report=milan.sign(bytes(body))))


def test_a_key_of_the_other_kind_is_refused() -> None:
    for pki in (SnpPki(key_info=1 << 2), SnpPki(key_info=7 << 2)):
        assert "chip" in failed(examine(pki))


@pytest.mark.parametrize("vlek", [False, True])
def test_a_key_certified_by_the_wrong_issuer_is_refused(vlek: bool) -> None:
    assert failed(examine(SnpPki(vlek=vlek, swapped=True))) == ["certificate chain"]
    assert failed(examine(SnpPki(vlek=vlek, named="Genoa"))) == ["certificate chain"]
    assert failed(examine(SnpPki(vlek=vlek, named="Rome"))) == ["certificate chain"]


def test_a_report_that_masks_the_key_is_refused() -> None:
    assert failed(examine(SnpPki(key_info=2))) == ["signature"]


def test_a_guest_that_can_be_debugged_is_refused() -> None:
    assert failed(examine(SnpPki(policy=0x30000 | 1 << 19))) == ["debug"]


def test_a_guest_that_can_be_migrated_is_refused() -> None:
    assert failed(examine(SnpPki(policy=0x30000 | 1 << 18))) == ["migration"]


def test_a_platform_that_breaks_the_guests_policy_is_refused() -> None:
    assert failed(examine(SnpPki(policy=0x20000, platform=0x01))) == ["policy"]
    assert failed(examine(SnpPki(policy=0x30000 | 1 << 24))) == ["policy"]
    assert failed(examine(SnpPki(policy=0x30000 | 1 << 23))) == ["policy"]
    assert examine(SnpPki(policy=0x20000, platform=0x24)).accepted


def test_a_report_from_a_lower_privilege_level_is_refused_unless_allowed() -> None:
    assert examine(SnpPki(vmpl=1)).accepted
    assert failed(examine(SnpPki(vmpl=2))) == ["vmpl"]
    assert failed(examine(SnpPki(vmpl=1), policy=EvidencePolicy(vmpl=0))) == ["vmpl"]
    assert examine(SnpPki(vmpl=3), policy=EvidencePolicy(vmpl=3)).accepted


@pytest.mark.parametrize("which", ["committed", "launch"])
@pytest.mark.parametrize("part", ["bootloader", "tee", "snp"])
def test_firmware_whose_versions_differ_is_out_of_date(which: str, part: str) -> None:
    pki = SnpPki(tcbs={which: {part: 250}})
    found = examine(pki)
    assert failed(found) == ["tcb status"]
    assert found.failed is not None and found.failed.detail.startswith("OutOfDate")
    assert examine(pki, policy=ANY_TCB).accepted


@pytest.mark.parametrize("which", ["current", "committed", "launch"])
def test_microcode_that_a_host_patched_later_is_left_to_the_floor(which: str) -> None:
    pki = SnpPki(tcbs={which: {"microcode": 220}})
    assert examine(pki).accepted
    floor = EvidencePolicy(snp={"milan": {"microcode": 220}})
    assert failed(examine(pki, policy=floor)) == ["tcb floor"]


def test_a_host_that_reports_older_firmware_than_it_runs_is_out_of_date() -> None:
    assert failed(examine(SnpPki(tcbs={"reported": {"snp": 20}}))) == ["tcb status"]


@pytest.mark.parametrize("which", ["reported", "committed", "launch"])
def test_firmware_below_the_policys_floor_is_refused(which: str) -> None:
    floor = replace(ANY_TCB, snp={"milan": {"microcode": 219}, "genoa": {"snp": 255}})
    assert examine(SnpPki(), policy=floor).accepted
    old = SnpPki(tcbs={which: {"microcode": 218}})
    assert failed(examine(old, policy=floor)) == ["tcb floor"]


def test_a_floor_for_a_part_that_a_product_lacks_is_not_met() -> None:
    floor = EvidencePolicy(snp={"milan": {"fmc": 1}, "turin": {"fmc": 3}})
    assert failed(examine(SnpPki(), policy=floor)) == ["tcb floor"]
    assert examine(SnpPki(product="turin"), policy=floor).accepted


def test_reserved_bytes_of_a_tcb_version_are_refused() -> None:
    body = bytearray(PKI.unsigned(BOUND))
    body[0x182] = 1  # of the reported one
    assert "chip" in failed(examine(PKI, report=PKI.sign(bytes(body))))


def test_a_report_made_for_other_keys_is_refused() -> None:
    assert failed(examine(PKI, bound=bytes(64))) == ["key binding"]
    assert failed(examine(PKI, bound=BOUND[:32])) == ["key binding"]
    unasked = examine(PKI, bound=None)
    assert unasked.accepted and all(one.name != "key binding" for one in unasked.checks)


def test_everything_that_is_wrong_is_told() -> None:
    pki = SnpPki(policy=0x20000 | 1 << 18 | 1 << 19, vmpl=2, tcbs={"launch": {"snp": 1}})
    floor = EvidencePolicy(snp={"milan": {"snp": 2}})
    found = examine(pki, bound=bytes(64), policy=floor)
    wrong = ["tcb status", "tcb floor", "debug", "migration", "policy", "vmpl", "key binding"]
    assert failed(found) == wrong


def test_evidence_with_more_members_or_of_another_kind_is_refused() -> None:
    evidence, endorsement = PKI.quote(BOUND, NOON), PKI.endorsements[0]
    verifier = SnpVerifier(PKI.anchors)
    for change in ({"more": 1}, {"kind": "tdx"}, {"report": 1}):
        with pytest.raises(MalformedError):
            verifier.examine({**evidence, **change}, BOUND, [endorsement], NOON)
    text = endorsement["certificates"][0]
    for certificates in ([], [1], [text + "A"], [encode_base64url(b"x")], [text] * 11, text):
        with pytest.raises(MalformedError):
            verifier.examine(evidence, BOUND, [{"certificates": certificates, "kind": "snp"}], NOON)


def test_the_measurement_does_not_depend_on_the_chip_the_run_or_the_challenge() -> None:
    one, other = SnpPki(), SnpPki(chip=b"\x42" * 64, tcbs={"reported": {"snp": 30}})
    assert examine(one).registers == examine(other, bound=None).registers
    assert examine(SnpPki(measurement=bytes(48))).registers != examine(one).registers
    assert examine(SnpPki(host_data=b"\x01" * 32)).registers != examine(one).registers


def compact(number: int) -> bytes:
    """Return a SCALE integer."""
    if number < 64:
        return bytes((number << 2,))
    return (number << 2 | 1).to_bytes(2, "little")


def dstack(
    report: bytes,
    mr_config: str = "",
    data: bytes = BOUND,
    tail: bytes = b"",
    events: dict[str, bytes] | None = None,
    config: str = "",
) -> bytes:
    """Return dstack's wrapper around a report."""
    told = [name.encode() for name in events or {}]
    head = b"\0\x03" + compact(len(report)) + report + compact(0)
    body = compact(len(mr_config)) + mr_config.encode() + compact(len(told))
    for name, payload in zip(told, (events or {}).values(), strict=True):
        body += compact(len(name)) + name + compact(len(payload)) + payload
    return head + body + data + compact(len(config)) + config.encode() + tail


def test_what_dstacks_wrapper_repeats_must_agree() -> None:
    app = '{"app_id":"0102"}'
    digest = hashlib.sha256(b"dstack-mr-config-v3:\0" + app.encode()).digest()
    report = SnpPki(host_data=digest).report(BOUND)
    same, other = json.dumps({"mr_config": app}), json.dumps({"mr_config": '{"app_id":"0103"}'})
    assert from_file(dstack(report, app, events={"app-id": b"\1\2", "x": b""}), Companions())
    assert from_file(dstack(report, app, config=same), Companions())
    for wrong in (
        dstack(report, app, events={"app-id": b"\1\3"}),
        dstack(report, app, events={"compose-hash": b"\1\2"}),
        dstack(report, app, config=other),
        dstack(report, app, config="{"),
        dstack(report, app, config="[]"),
        dstack(report, '{"app_id":"0103"}'),
    ):
        with pytest.raises(MalformedError):
            from_file(wrong, Companions())


def test_a_report_is_read_from_a_file_and_from_dstacks_wrapper() -> None:
    report = PKI.report(BOUND)
    for data in (report, dstack(report)):
        assert recognises(data)
        evidence, endorsements = from_file(data, Companions((to_pem(*PKI.certificates),)))
        found = SnpVerifier(PKI.anchors).examine(evidence[0], BOUND, endorsements, NOON)
        assert found.accepted
    assert not recognises(b"") and not recognises(report[:-1])
    with pytest.raises(MalformedError):
        from_file(report, Companions(tuple(to_der(one) for one in PKI.certificates) * 11))


def test_a_wrapper_that_contradicts_its_report_is_refused() -> None:
    report = PKI.report(BOUND)
    for data in (
        dstack(report, data=bytes(64)),
        dstack(report, mr_config='{"app_id":"00"}'),  # not what the host data is a digest of
        dstack(report, tail=b"\0"),
        dstack(report)[:-1],
        dstack(report[:-1]),
    ):
        with pytest.raises(MalformedError):
            from_file(data, Companions())
