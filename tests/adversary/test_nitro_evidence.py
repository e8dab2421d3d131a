"""What an instance could present as its Nitro enclave's document, and is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import cbor2
import pytest

from pki.certificates import NOON, Authority, to_der, to_pem
from pki.nitro import NitroPki
from privity.attest.evidence import Companions, Findings
from privity.attest.evidence_nitro import NitroVerifier, from_file, recognises
from privity.disclosure import Ground
from privity.errors import EvidenceError, MalformedError
from privity.identity.multibase import encode_base64url
from privity.policy.evidence import EvidencePolicy

BOUND = bytes(range(64))
PKI = NitroPki()
HOUR = timedelta(hours=1)


def examine(
    pki: NitroPki,
    *,
    roots: NitroPki | None = None,
    document: bytes | None = None,
    bound: bytes | None = BOUND,
    now: datetime = NOON,
    policy: EvidencePolicy | None = None,
) -> Findings:
    data = pki.document(BOUND, NOON) if document is None else document
    evidence = {"document": encode_base64url(data), "kind": "nitro"}
    return NitroVerifier((roots or pki).anchors, policy).examine(evidence, bound, [], now)


def failed(found: Findings) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def flips(data: bytes) -> Iterator[bytes]:
    """Yield the data with one bit flipped, once for each byte."""
    for at in range(len(data)):
        yield data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]


@pytest.mark.parametrize("open_map", [False, True])
def test_an_honest_document_is_accepted(open_map: bool) -> None:
    found = examine(NitroPki(open_map=open_map))
    assert found.accepted, found.failed
    assert found.period is not None and found.period[0] <= NOON < found.period[1]
    assert [basis.ground for basis in found.basis] == [Ground.HARDWARE] and not found.dev
    assert found.accept().registers["pcr0"] == "01" * 48


def test_a_flipped_bit_in_any_byte_of_the_document_is_refused() -> None:
    accepted = []
    for at, document in enumerate(flips(PKI.document(BOUND, NOON))):
        try:
            found = examine(PKI, document=document)
        except MalformedError:
            continue
        if found.accepted or "signature" not in failed(found):
            accepted.append(at)
    assert accepted == []


def test_a_flipped_bit_in_any_character_of_base64_is_refused_or_is_of_the_document() -> None:
    document = PKI.document(BOUND, NOON)
    for altered in flips(base64.b64encode(document)):
        try:
            evidence, _ = from_file(altered, Companions())
        except MalformedError:
            continue
        # Another document, then: the test above shows that none is accepted.
        assert evidence[0]["document"] != encode_base64url(document)


def test_a_truncated_or_longer_document_is_refused() -> None:
    document = PKI.document(BOUND, NOON)
    for wrong in (
        document[:-1],
        document + b"\0",
        document + document,
        b"\xd2" + document,  # the tag of COSE_Sign1, which nothing signs
        b"\xd2" + b"\xd2" + document,
    ):
        with pytest.raises(MalformedError):
            examine(PKI, document=wrong)


def test_the_same_message_in_another_spelling_is_refused() -> None:
    protected, unprotected, payload, signature = cbor2.loads(PKI.document(BOUND, NOON))
    parts = [cbor2.dumps(one) for one in (protected, unprotected, payload, signature)]
    assert examine(PKI, document=b"\x84" + b"".join(parts)).accepted
    long = b"\x5a" + len(payload).to_bytes(4, "big") + payload
    for other in (
        b"\x9f" + b"".join(parts) + b"\xff",
        b"\x98\x04" + b"".join(parts),
        b"\x84" + parts[0] + b"\xbf\xff" + parts[2] + parts[3],
        b"\x84" + parts[0] + parts[1] + long + parts[3],
        b"\x84" + parts[0] + parts[1] + b"\x5f" + parts[2] + b"\xff" + parts[3],
    ):
        with pytest.raises(MalformedError):
            examine(PKI, document=other)


def test_anything_beside_what_is_signed_is_refused() -> None:
    protected, _, payload, signature = cbor2.loads(PKI.document(BOUND, NOON))
    for other in (
        [protected, {4: b"key"}, payload, signature],
        [protected, {}, payload, signature, b""],
        [protected, {}, payload],
        [protected, {}, None, signature],
        [protected, {}, payload, signature + b"\0"],
        {0: protected},
    ):
        with pytest.raises(MalformedError):
            examine(PKI, document=cbor2.dumps(other))


@pytest.mark.parametrize("protected", [b"\xa1\x01\x26", b"\xa0", b"", b"\xa2\x01\x38\x22\x04\x40"])
def test_another_algorithm_is_refused_even_if_signed(protected: bytes) -> None:
    with pytest.raises(MalformedError, match="ES384"):
        examine(PKI, document=PKI.sign(PKI.payload(BOUND, NOON), protected))


def test_a_document_by_another_key_is_refused() -> None:
    other = NitroPki()
    assert failed(examine(PKI, document=other.sign(PKI.payload(BOUND, NOON)))) == ["signature"]


def test_a_synthetic_root_is_refused_under_aws_own() -> None:
    evidence = PKI.quote(BOUND, NOON)
    assert failed(NitroVerifier().examine(evidence, BOUND, [], NOON)) == ["certificate chain"]
    assert failed(examine(NitroPki(), roots=PKI)) == ["certificate chain"]


def test_a_bundle_out_of_order_or_with_a_stranger_is_refused() -> None:
    bundle = cbor2.loads(PKI.payload(BOUND, NOON))["cabundle"]
    stranger = to_der(Authority.root("aws.nitro-enclaves").certificate)
    for wrong in (bundle[::-1], [stranger, *bundle], [stranger, bundle[1]], [*bundle, stranger]):
        pki = NitroPki(members={"cabundle": wrong})
        own = pki.sign(pki.payload(BOUND, NOON))
        assert "certificate chain" in failed(examine(PKI, document=own))


def test_a_certificate_out_of_its_three_hours_is_refused() -> None:
    assert failed(examine(PKI, now=NOON + 3 * HOUR + timedelta(seconds=1))) == [
        "certificate period"
    ]
    early = examine(PKI, now=NOON - timedelta(minutes=2))
    assert failed(early) == ["certificate period"] and early.period is None
    assert examine(PKI, now=NOON + 2 * HOUR).accepted


def test_an_old_document_and_one_from_the_future_are_refused() -> None:
    strict = EvidencePolicy(max_age=timedelta(minutes=10))
    assert failed(examine(PKI, now=NOON + HOUR, policy=strict)) == ["quote time"]
    assert failed(examine(NitroPki(made=NOON + HOUR))) == ["quote time"]
    end = NOON + timedelta(minutes=10)
    found = examine(PKI, policy=strict)
    assert found.period is not None and found.period[1] == end


@pytest.mark.parametrize("moment", [1, 221_845_392_000_000])
def test_a_document_of_the_first_or_last_time_there_is_is_refused(moment: int) -> None:
    longest = EvidencePolicy(max_age=timedelta(days=3650))
    found = examine(NitroPki(members={"timestamp": moment}), policy=longest)
    assert failed(found) == ["quote time"]
    with pytest.raises(MalformedError):
        examine(NitroPki(members={"timestamp": moment * 10**15}))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_debug_enclave_is_refused(number: int) -> None:
    assert failed(examine(NitroPki(pcrs={number: bytes(48)}))) == ["debug"]


def test_a_document_made_for_other_keys_is_refused() -> None:
    assert failed(examine(PKI, bound=bytes(64))) == ["key binding"]
    assert failed(examine(PKI, bound=b"")) == ["key binding"]
    none = NitroPki(members={"user_data": b""})
    assert failed(examine(none, bound=b"")) == ["key binding"]
    for members in ({"user_data": None}, {"user_data": BOUND[:32]}, {"user_data": BOUND + b"\0"}):
        assert failed(examine(NitroPki(members=members))) == ["key binding"]
    moved = NitroPki(members={"user_data": b"", "nonce": BOUND, "public_key": BOUND})
    assert failed(examine(moved)) == ["key binding"]
    unasked = examine(PKI, bound=None)
    assert unasked.accepted and all(one.name != "key binding" for one in unasked.checks)


@pytest.mark.parametrize(
    "members",
    [
        {"pcrs": {}},
        {"pcrs": {32: bytes(48)}},
        {"pcrs": {-1: bytes(48)}},
        {"pcrs": {"0": bytes(48)}},
        {"pcrs": {0: bytes(32)}},
        {"pcrs": [bytes(48)]},
        {"pcrs": {n: b"" for n in range(16)}},
        {"digest": "SHA1"},
        {"digest": "SHA256"},
        {"digest": 384},
        {"timestamp": -1},
        {"timestamp": 0},
        {"timestamp": 1 << 63},
        {"timestamp": True},
        {"timestamp": 1.5},
        {"module_id": ""},
        {"module_id": b"i"},
        {"module_id": None},
        {"certificate": b""},
        {"certificate": b"\x30" * 1025},
        {"certificate": b"-----BEGIN CERTIFICATE-----"},
        {"cabundle": []},
        {"cabundle": None},
        {"cabundle": [b"\x30\x00"]},
        {"user_data": bytes(1025)},
        {"user_data": "text"},
        {"nonce": {"a": 1}},
        {"more": 1},
    ],
)
def test_a_signed_document_outside_of_aws_limits_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        examine(NitroPki(members=members))


def test_a_member_that_is_there_twice_is_refused() -> None:
    payload = PKI.payload(BOUND, NOON)
    twice = payload[:-1] + cbor2.dumps("user_data") + cbor2.dumps(bytes(64)) + b"\xff"
    with pytest.raises(MalformedError, match="twice"):
        examine(PKI, document=PKI.sign(twice))


def test_everything_that_is_wrong_is_told() -> None:
    pki = NitroPki(pcrs={0: bytes(48)}, made=NOON + 5 * HOUR)
    wrong = ["certificate chain", "quote time", "debug", "key binding"]
    assert failed(examine(pki, roots=PKI, bound=bytes(64))) == wrong
    with pytest.raises(EvidenceError):
        examine(pki).accept()


def test_evidence_with_more_members_or_endorsements_is_refused() -> None:
    evidence = PKI.quote(BOUND, NOON)
    verifier = NitroVerifier(PKI.anchors)
    for change in ({"more": 1}, {"kind": "snp"}, {"document": 1}, {"document": "A" * 30_000}):
        with pytest.raises(MalformedError):
            verifier.examine({**evidence, **change}, BOUND, [], NOON)
    with pytest.raises(MalformedError):
        verifier.examine(evidence, BOUND, [{"kind": "nitro"}], NOON)


def test_the_measurement_is_of_the_image_alone() -> None:
    here = examine(NitroPki(pcrs={4: b"\x01" * 48})).accept()
    there = examine(NitroPki(pcrs={4: b"\x02" * 48, 3: b"\x03" * 48})).accept()
    assert here.measurement == there.measurement and here.registers != there.registers
    other = examine(NitroPki(pcrs={2: b"\x09" * 48})).accept()
    assert other.measurement != here.measurement


def test_a_document_is_read_from_a_file_in_three_forms() -> None:
    document = PKI.document(BOUND, NOON)
    size = (len(document) << 2 | 1).to_bytes(2, "little")
    wrapped = b"\0\x02" + size + document + b"\0" + BOUND + b"\0"
    text = base64.b64encode(document)
    tagged = b"\xd2" + document
    for data in (document, tagged, text, text + b"\n", base64.b64encode(tagged), wrapped):
        assert recognises(data)
        evidence, endorsements = from_file(data, Companions())
        assert endorsements == [] and evidence[0]["document"] == encode_base64url(document)
        assert NitroVerifier(PKI.anchors).examine(evidence[0], BOUND, [], NOON).accepted
    assert not recognises(b"") and not recognises(b"\x84\x43\xa1\x01\x26")
    for wrong in (b"\xd2" + tagged, b"\xd3" + document):
        evidence, _ = from_file(wrong, Companions())
        with pytest.raises(MalformedError):
            NitroVerifier(PKI.anchors).examine(evidence[0], BOUND, [], NOON)
    for wrong in (text + b"\n\n", text[:-1], wrapped[:-66] + bytes(66), wrapped + b"\0"):
        with pytest.raises(MalformedError):
            from_file(wrong, Companions())


def test_certificates_that_come_along_must_be_the_documents_own() -> None:
    document = PKI.document(BOUND, NOON)
    bundle = cbor2.loads(cbor2.loads(document)[2])["cabundle"]
    assert from_file(document, Companions((bundle[0],)))[1] == []
    stranger = Authority.root("aws.nitro-enclaves").certificate
    for file in (to_pem(stranger), b"", bytes(70_000)):
        with pytest.raises(MalformedError):
            from_file(document, Companions((file,)))
