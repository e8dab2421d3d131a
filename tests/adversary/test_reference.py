"""Attacks on reference values: each promise of spec/reference.md a test."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from privity.attest.manifest import IDENTIFYING, ApprovedModel, Manifest, ReferenceValue, Source
from privity.attest.reference import Approval, approve, verify_manifest
from privity.attest.signed_manifest import (
    DocumentSignature,
    Revocation,
    SignedManifest,
    SignedRevocation,
)
from privity.attested import VerifiedEvidence
from privity.cli.reference import read_manifest, read_revocation
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, InputError, MalformedError, OversizeError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.node.publication import approval_in
from privity.statement import Keyset, Model, Software

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SIGNER, OTHER = SigningKey(b"\1" * 32), SigningKey(b"\2" * 32)
WEIGHTS = "sha256:" + "ab" * 32
KEYSET = Keyset(ohttp=b"k", receipts=SIGNER.did, models=(Model("small", WEIGHTS, "llama.cpp"),))

SNP = {"measurement": "aa" * 48, "host_data": "00" * 32}
TDX = {name: f"{number:02x}" * 48 for number, name in enumerate(["mrtd", "rtmr0", "rtmr1"], 1)}
TDX |= {"rtmr2": "04" * 48, "rtmr3": "00" * 48}
GPU = {"driver_version": "570.1", "vbios_version": "96.00", "measurements": "bb" * 48}


def _evidence(kind: str, registers: dict[str, str]) -> VerifiedEvidence:
    basis = frozenset({Basis(Ground.HARDWARE, "test")})
    return VerifiedEvidence(kind, "sha256:" + "00" * 32, basis, False, (), registers)


def _manifest(*values: ReferenceValue, **terms: Any) -> Manifest:
    return Manifest(
        name="enclave 1.2",
        builder="Example Ltd",
        source=Source("https://git.example/enclave", "0123abcd"),
        measurements=values or (ReferenceValue("snp", {"measurement": SNP["measurement"]}),),
        issued=NOW - timedelta(days=1),
        expires=NOW + timedelta(days=90),
        **terms,
    )


def _approve(
    *manifests: SignedManifest,
    evidence: list[VerifiedEvidence] | None = None,
    signers: tuple[str, ...] = (SIGNER.did,),
    revocations: tuple[SignedRevocation, ...] = (),
    now: datetime = NOW,
    keyset: Keyset = KEYSET,
) -> Approval:
    shown = [_evidence("snp", SNP)] if evidence is None else evidence
    return approve(shown, keyset, manifests, signers, revocations, now)


def _refused(check: str, *manifests: SignedManifest, **terms: Any) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        _approve(*manifests, **terms)
    assert caught.value.check == check, caught.value
    return caught.value


GOOD = SignedManifest.sign(_manifest(), SIGNER)


def test_an_approved_measurement_is_accepted_and_every_check_is_listed() -> None:
    approval = _approve(GOOD)
    assert (approval.name, approval.signer) == ("enclave 1.2", SIGNER.did)
    assert approval.digest == GOOD.manifest.digest
    assert [one.name for one in approval.checks] == [
        "reference signature",
        "reference value",
        "reference revoked",
        "reference period",
        "reference models",
        "reference programs",
    ]


def test_no_manifest_approves_nothing() -> None:
    _refused("reference value")
    _refused("reference value", GOOD, evidence=[])


def test_a_manifest_of_a_signer_nobody_listed_is_refused() -> None:
    error = _refused("reference signature", SignedManifest.sign(_manifest(), OTHER))
    assert "trust.signers" in error.hint
    _refused("reference signature", GOOD, signers=())


def test_an_unsigned_manifest_is_refused() -> None:
    _refused("reference signature", replace(GOOD, signatures=()))
    unsigned = {**GOOD.to_json(), "signatures": []}
    with pytest.raises(MalformedError):
        SignedManifest.from_json(unsigned)


def test_a_signature_by_another_in_the_signers_name_is_refused() -> None:
    forged = SignedManifest.sign(_manifest(), OTHER).signatures[0].signature
    _refused(
        "reference signature",
        replace(GOOD, signatures=(DocumentSignature(SIGNER.did, forged),)),
    )


def test_a_false_signature_beside_a_true_one_is_refused() -> None:
    false = DocumentSignature(OTHER.did, GOOD.signatures[0].signature)
    _refused("reference signature", replace(GOOD, signatures=(*GOOD.signatures, false)))
    _approve(SignedManifest.sign(_manifest(), OTHER, SIGNER))


def test_every_flipped_bit_of_a_signed_manifest_is_refused() -> None:
    data = canonical(GOOD.to_json())
    for place in range(len(data)):
        for bit in range(8):
            forged = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            try:
                signed = SignedManifest.parse(forged)
            except (MalformedError, OversizeError):
                continue
            _refused("reference signature", signed)


def test_an_altered_manifest_is_refused() -> None:
    other = replace(GOOD.manifest, expires=NOW + timedelta(days=9000))
    _refused("reference signature", replace(GOOD, manifest=other))


def test_a_revocations_signature_does_not_pass_for_a_manifests() -> None:
    message = b"privity/revocation/v1\0" + canonical(GOOD.manifest.to_json())
    moved = DocumentSignature(SIGNER.did, SIGNER.sign(message))
    _refused("reference signature", replace(GOOD, signatures=(moved,)))


@pytest.mark.parametrize("register", ["measurement"])
def test_an_unlisted_measurement_is_refused(register: str) -> None:
    error = _refused(
        "reference value", GOOD, evidence=[_evidence("snp", {**SNP, register: "bb" * 48})]
    )
    assert error.hint.startswith("it measured")
    _refused("reference value", GOOD, evidence=[_evidence("snp", {})])


def test_a_measurement_of_another_kind_with_the_same_registers_is_refused() -> None:
    _refused("reference value", GOOD, evidence=[_evidence("dev", SNP)])


def test_every_register_an_entry_names_must_be_equal() -> None:
    entry = ReferenceValue("snp", {**SNP, "host_data": "01" * 32})
    _refused("reference value", SignedManifest.sign(_manifest(entry), SIGNER))
    _approve(SignedManifest.sign(_manifest(ReferenceValue("snp", SNP)), SIGNER))


def test_a_gpu_that_is_not_listed_is_refused_beside_a_cpu_that_is() -> None:
    both = [_evidence("snp", SNP), _evidence("nvidia", GPU)]
    _refused("reference value", GOOD, evidence=both)
    cpu = GOOD.manifest.measurements[0]
    listed = SignedManifest.sign(_manifest(cpu, ReferenceValue("nvidia", GPU)), SIGNER)
    _approve(listed, evidence=both)
    older = _evidence("nvidia", {**GPU, "driver_version": "550.0"})
    _refused("reference value", listed, evidence=[*both, older])
    gpu_alone = SignedManifest.sign(_manifest(ReferenceValue("nvidia", GPU)), SIGNER)
    _refused("reference value", GOOD, gpu_alone, evidence=both)  # no manifest covers both


@pytest.mark.parametrize(
    ("kind", "registers"),
    [
        ("snp", {"host_data": "00"}),
        ("snp", {}),
        ("tdx", {"mrtd": "00"}),
        ("tdx", {"mrtd": "00", "rtmr0": "00", "rtmr1": "00"}),
        ("tdx", {"compose_hash": "00"}),
        ("nitro", {"pcr0": "00", "pcr1": "00"}),
        ("sgx", {"mrsigner": "00"}),
        ("dev", {}),
        ("nvidia", {"driver_version": "570.1", "vbios_version": "96.00"}),
        ("sworn", {"measurement": "00"}),
    ],
)
def test_an_entry_that_identifies_no_code_can_be_neither_signed_nor_read(
    kind: str, registers: dict[str, str]
) -> None:
    with pytest.raises(MalformedError):
        ReferenceValue(kind, registers)
    document = GOOD.to_json()
    document["manifest"]["measurements"] = [{"kind": kind, "registers": registers}]
    with pytest.raises(MalformedError):
        SignedManifest.from_json(document)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("snp", "measurement", "5f0a…"),
        ("snp", "measurement", "5f"),
        ("snp", "measurement", "AA" * 48),
        ("snp", "measurement", "0x" + "aa" * 47),
        ("snp", "host_data", "00" * 48),
        ("tdx", "rtmr0", "aa" * 32),
        ("tdx", "rtmr3", "aa" * 47),
        ("tdx", "compose_hash", "sha256:" + "aa" * 32),
        ("sgx", "mrenclave", "aa" * 31),
        ("nitro", "pcr8", "aa" * 33),
        ("nvidia", "measurements", "aa" * 47 + " a"),
    ],
)
def test_a_value_that_no_hardware_shows_is_neither_signed_nor_read(
    kind: str, name: str, value: str
) -> None:
    good = dict.fromkeys(IDENTIFYING[kind], "aa" * (32 if kind == "sgx" else 48))
    registers = {**good, name: value}
    assert ReferenceValue(kind, good).registers == good
    with pytest.raises(MalformedError, match=f"{kind} {name} is .* hex"):
        ReferenceValue(kind, registers)
    document = GOOD.to_json()
    document["manifest"]["measurements"] = [{"kind": kind, "registers": registers}]
    with pytest.raises(MalformedError):
        SignedManifest.from_json(document)


def test_an_app_that_the_entry_is_silent_about_is_refused() -> None:
    """dstack measures the app into RTMR3: the system's registers alone approve any app."""
    system = {name: value for name, value in TDX.items() if name != "rtmr3"}
    signed = SignedManifest.sign(_manifest(ReferenceValue("tdx", system)), SIGNER)
    _approve(signed, evidence=[_evidence("tdx", TDX)])
    app = {**TDX, "rtmr3": "05" * 48}
    _refused("reference value", signed, evidence=[_evidence("tdx", app)])
    _refused("reference value", signed, evidence=[_evidence("tdx", system)])
    with_log = {**app, "compose_hash": "06" * 32}
    _refused("reference value", signed, evidence=[_evidence("tdx", with_log)])
    entry = ReferenceValue("tdx", {**system, "compose_hash": "06" * 32})
    named = SignedManifest.sign(_manifest(entry), SIGNER)
    _approve(named, evidence=[_evidence("tdx", with_log)])
    # Leaving the event log out does not help: then there is no compose hash to be equal to.
    _refused("reference value", named, evidence=[_evidence("tdx", app)])


def test_an_expired_or_future_manifest_is_refused() -> None:
    _refused("reference period", GOOD, now=NOW + timedelta(days=90))
    _refused("reference period", GOOD, now=NOW - timedelta(days=1, minutes=6))
    _approve(GOOD, now=NOW + timedelta(days=90) - timedelta(seconds=1))


def test_a_revoked_manifest_is_refused_and_says_why() -> None:
    revocation = Revocation(GOOD.manifest.digest, "leaks prompts", NOW)
    signed = SignedRevocation.sign(revocation, SIGNER)
    error = _refused("reference revoked", GOOD, revocations=(signed,))
    assert "leaks prompts" in error.message
    _approve(GOOD, revocations=(signed,), now=NOW - timedelta(hours=1))  # it did hold then
    _approve(SignedManifest.sign(_manifest(programs=(WEIGHTS,)), SIGNER), revocations=(signed,))


def test_a_revoked_manifest_is_refused_though_another_signed_it_too() -> None:
    both = SignedManifest.sign(_manifest(), OTHER, SIGNER)
    revoked = SignedRevocation.sign(Revocation(both.manifest.digest, "bug", NOW), SIGNER)
    _refused("reference revoked", both, signers=(SIGNER.did, OTHER.did), revocations=(revoked,))


def test_an_altered_revocation_does_not_fall_away_in_silence() -> None:
    revocation = Revocation(GOOD.manifest.digest, "bug", NOW)
    signed = SignedRevocation.sign(revocation, SIGNER)
    altered = replace(signed, revocation=replace(revocation, time=NOW + timedelta(days=9)))
    _refused("reference revoked", GOOD, revocations=(altered,))


def test_models_and_weights_outside_the_list_are_refused() -> None:
    listed = _manifest(models=(ApprovedModel("small", WEIGHTS),))
    signed = SignedManifest.sign(listed, SIGNER)
    _approve(signed)
    for model in (
        Model("small", "sha256:" + "cd" * 32, "llama.cpp"),
        Model("large", WEIGHTS, "llama.cpp"),
        Model("small", None, "llama.cpp"),
    ):
        keyset = replace(KEYSET, models=(*KEYSET.models, model))
        _refused("reference models", signed, keyset=keyset)
    _refused("reference models", SignedManifest.sign(_manifest(models=()), SIGNER))


def test_training_programs_outside_the_list_are_refused() -> None:
    here, other = "sha256:" + "12" * 32, "sha256:" + "34" * 32
    one = replace(KEYSET, software=(Software("privity", "1"), Software("program", here)))
    two = replace(KEYSET, software=(*one.software, Software("program", other)))
    listed = SignedManifest.sign(_manifest(programs=(here,)), SIGNER)
    _approve(listed, keyset=one)
    _approve(listed)  # an enclave that trains nothing needs none of them
    for signed, keyset in (
        (listed, two),
        (SignedManifest.sign(_manifest(programs=(other,)), SIGNER), one),
        (GOOD, one),  # an approval that lists none is none to train
    ):
        _refused("reference programs", signed, keyset=keyset)


def test_of_several_manifests_one_that_holds_is_enough_and_the_nearest_miss_is_told() -> None:
    expired = SignedManifest.sign(replace(GOOD.manifest, expires=NOW), SIGNER)
    strange = SignedManifest.sign(_manifest(), OTHER)
    elsewhere = SignedManifest.sign(
        _manifest(ReferenceValue("snp", {"measurement": "ee" * 48})), SIGNER
    )
    _approve(strange, elsewhere, expired, GOOD)
    _refused("reference period", strange, expired, elsewhere)
    _refused("reference value", strange, elsewhere)


def test_a_manifest_is_verified_alone_without_any_enclave() -> None:
    approval = verify_manifest(GOOD, [SIGNER.did], [], NOW)
    assert [one.name for one in approval.checks] == [
        "reference signature",
        "reference revoked",
        "reference period",
    ]
    with pytest.raises(EvidenceError, match="nobody you trust"):
        verify_manifest(GOOD, [OTHER.did], [], NOW)


def test_a_manifest_with_members_nobody_reads_is_refused() -> None:
    for path in ("manifest", "source", "signatures"):
        document = json.loads(canonical(GOOD.to_json()))
        place = document["manifest"] if path == "manifest" else document
        place = document["manifest"]["source"] if path == "source" else place
        place = document["signatures"][0] if path == "signatures" else place
        place["more"] = 1
        with pytest.raises(MalformedError):
            SignedManifest.from_json(document)


def test_times_at_the_edge_of_the_calendar_do_not_crash() -> None:
    for at in (datetime.min, datetime.max):
        _refused("reference period", GOOD, now=at.replace(tzinfo=UTC))
    first = replace(GOOD.manifest, issued=datetime.min.replace(tzinfo=UTC))
    _approve(SignedManifest.sign(first, SIGNER))


def test_a_file_is_not_cut_to_the_manifest_it_begins_with(tmp_path: Path) -> None:
    """What stands behind a reader's limit is part of the file, whatever comes before it."""
    revocation = SignedRevocation.sign(Revocation(GOOD.manifest.digest, "why", NOW), SIGNER)
    readers: list[tuple[Any, Any]] = [
        (read_manifest, GOOD),
        (approval_in, GOOD),
        (read_revocation, revocation),
    ]
    for reader, document in readers:
        path = tmp_path / "file.json"
        path.write_bytes(canonical(document.to_json()))
        reader(path)
        path.write_bytes(canonical(document.to_json()).ljust(1 << 20) + b"more")
        with pytest.raises(InputError, match="larger than"):
            reader(path)
