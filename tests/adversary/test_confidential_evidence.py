"""Statements with synthetic evidence of each kind of hardware, under the production verifiers.

Every root here is of a test PKI that is injected; nothing here is hardware. What is shown: honest
statements are admitted by the policy ``confidential``, and each lie is refused for its own reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pki.certificates import NOON
from pki.intel import IntelPki, TdxQuoter
from pki.world import (
    AMAZON,
    AMD,
    INTEL,
    KEYSET,
    LOG_KEY,
    MACHINES,
    NAME,
    NONCE,
    NVIDIA,
    ORIGIN,
    SIGNER,
    World,
    anchors,
)
from privity.attest.evidence import Quoter
from privity.attest.examine import LogView, examine_statement
from privity.attest.log.folder import LogFolder
from privity.attest.log.memory import Remembered
from privity.attest.log.note import Algorithm, NoteKey
from privity.attest.roots import Roots
from privity.attest.signed_manifest import Revocation, SignedManifest, SignedRevocation
from privity.attest.verify import verify_statement
from privity.errors import EvidenceError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.infer.peers import EnclavePeer
from privity.infer.routes.confidential import confidential_disclosure
from privity.policy import Policy


@dataclass(frozen=True)
class Way:
    disclosure: Any
    name: str = "confidential"
    terms: None = None


Make = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Make:
    def make(*quoters: Quoter, **changes: Any) -> World:
        return World(tmp_path, quoters or MACHINES["snp"], **changes)

    return make


@pytest.mark.parametrize("machine", MACHINES)
def test_honest_hardware_is_admitted_by_confidential(machine: str, world: Make) -> None:
    enclave = world(*MACHINES[machine]).verify()
    assert enclave.kinds == tuple(machine.split(" + ")) and not enclave.dev
    assert enclave.approved is not None and enclave.approved.signer == SIGNER.did
    assert enclave.logged is not None and enclave.logged.origin == ORIGIN
    assert all(check.ok for check in enclave.checks)
    peer = EnclavePeer("https://enclave.example", "https://relay.example/one")
    way = Way(confidential_disclosure(enclave, peer))
    assert Policy.load("confidential").admit(way).disclosure == way.disclosure
    assert Policy.load("anonymous").admit(way)


@pytest.mark.parametrize("machine", MACHINES)
def test_evidence_bound_to_another_key_is_refused(machine: str, world: Make) -> None:
    honest = world(*MACHINES[machine])
    other = replace(honest, keyset=replace(KEYSET, ohttp=b"\1" * 80))
    forged = {**other.publish(), "evidence": honest.publish()["evidence"]}
    other.refused("key binding", forged)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_byte_of_the_statement_counts(machine: str, world: Make) -> None:
    honest = world(*MACHINES[machine]).demanding(witnesses=1)
    data = canonical(honest.publish())
    for place in range(0, len(data), 37):
        flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(EvidenceError):
            verify_statement(flipped, nonce=NONCE, trust=honest.trust, now=NOON)


def test_a_gpu_report_with_another_nonce_is_refused(world: Make) -> None:
    both = world(*MACHINES["snp + nvidia"])
    statement = both.publish()
    statement["evidence"][1] = NVIDIA.evidence(b"\7" * 32)
    assert "another challenge" in str(both.refused("key binding", statement))


def test_a_gpu_alone_binds_no_keys(world: Make) -> None:
    world(NVIDIA).refused("evidence kind")


def test_expired_collateral_is_refused(world: Make) -> None:
    past = (NOON - timedelta(days=60), NOON - timedelta(days=30))
    intel = IntelPki(period=past)
    late = world(TdxQuoter(intel)).trusting(roots=replace(anchors(), intel=intel.root_der))
    late.refused("collateral")


@pytest.mark.parametrize(
    "quoter",
    [
        TdxQuoter(INTEL, td_attributes=b"\1" + bytes(7)),
        replace(AMD, policy=AMD.policy | 1 << 19),
        replace(AMAZON, pcrs={0: bytes(48), 1: bytes(48), 2: bytes(48)}),
    ],
    ids=["tdx", "snp", "nitro"],
)
def test_a_tee_under_debug_is_refused(quoter: Quoter, world: Make) -> None:
    roots = replace(anchors(), **({"nitro": quoter.anchors} if quoter.kind == "nitro" else {}))
    world(quoter, approved=False).trusting(roots=roots).refused("debug")


def test_an_intel_platform_below_the_floor_is_refused_and_one_may_say_otherwise(
    world: Make,
) -> None:
    intel = IntelPki(grade="OutOfDate")
    old = world(TdxQuoter(intel)).trusting(roots=replace(anchors(), intel=intel.root_der))
    assert "OutOfDate" in str(old.refused("tcb status"))
    assert old.demanding(tcb=frozenset({"UpToDate", "OutOfDate"})).verify()


def test_an_amd_platform_below_the_floor_is_refused(world: Make) -> None:
    world().demanding(snp={"milan": {"microcode": 220}}).refused("tcb floor")
    assert world().demanding(snp={"milan": {"microcode": 219}}).verify()


def test_a_measurement_nobody_listed_is_refused(world: Make) -> None:
    honest = world()
    other = world(replace(AMD, measurement=b"\x5a" * 48))
    statement = other.publish()
    statement["endorsements"][-1] = honest.reference()
    other.refused("reference value", statement)


def test_without_any_approval_the_code_is_refused(world: Make) -> None:
    world(approved=False).refused("reference value")
    world().trusting(signers=()).refused("reference signature")


def test_a_gpu_nobody_listed_is_refused(world: Make) -> None:
    statement = world(*MACHINES["snp + nvidia"]).publish()
    statement["endorsements"][-1] = world().reference()
    world(*MACHINES["snp + nvidia"]).refused("reference value", statement)


def test_an_approval_that_expired_or_was_taken_back_is_refused(world: Make) -> None:
    world(manifest={"expires": NOON - timedelta(hours=1)}).refused("reference period")
    honest = world()
    statement = honest.publish()
    signed = SignedManifest.from_json(statement["endorsements"][-1]["manifest"])
    back = SignedRevocation.sign(Revocation(signed.manifest.digest, "a hole", NOON), SIGNER)
    aware = honest.trusting(manifests=(canonical(back.to_json()),))
    assert "a hole" in str(aware.refused("reference revoked", statement))


def test_other_weights_than_approved_are_refused(world: Make) -> None:
    from privity.attest.manifest import ApprovedModel

    listed = (ApprovedModel("small", "tree-sha256:" + "cd" * 32),)
    world(manifest={"models": listed}).refused("reference models")


def test_a_keyset_that_is_not_in_the_log_is_refused(world: Make) -> None:
    honest = world()
    honest.refused("log entry", honest.publish(digest="sha256:" + "77" * 32))
    statement = honest.publish()
    statement["endorsements"] = [one for one in statement["endorsements"] if one["kind"] != "log"]
    honest.refused("log entry", statement)


def test_keys_logged_under_a_name_where_nobody_looks_are_refused(world: Make) -> None:
    world().refused("log entry", enclave="other.example")


def test_a_split_view_of_the_log_is_refused(world: Make) -> None:
    honest = world()
    seen = honest.verify().logged
    assert seen is not None
    forked = honest.publish(folder="fork", filler=seen.size)
    remembered = Remembered(seen.size, seen.root)
    honest.refused("log consistency", forked, remembered=remembered)
    nodes = (bytes(32),) * 3
    honest.refused("log split view", forked, remembered=remembered, consistency=nodes)
    same = Remembered(seen.size, b"\1" * 32)
    fresh = replace(honest, folder=honest.folder / "again")
    fresh.folder.mkdir()
    fresh.refused("log split view", remembered=same)


def test_a_log_that_only_grew_is_accepted(world: Make) -> None:
    honest = world()
    first = honest.verify().logged
    statement = honest.publish(filler=20)
    assert first is not None
    with LogFolder.open(honest.folder / "log", LOG_KEY) as log:
        proof = tuple(log.consistency(first.size, log.checkpoint.size))
    view = LogView(NAME, Remembered(first.size, first.root), proof)
    second = honest.verify(statement, view=view).logged
    assert second is not None and second.size > first.size


def test_too_few_witnesses_are_refused(world: Make) -> None:
    assert world().demanding(witnesses=1).verify()
    nobody = (
        world()
        .demanding(witnesses=1)
        .trusting(
            witnesses=(
                NoteKey.of("other.example", Algorithm.COSIGNATURE, SigningKey(b"\5" * 32)).vkey,
            )
        )
    )
    nobody.refused("log witnesses")


def test_a_stale_beacon_is_refused(world: Make) -> None:
    beacon = world(nonce=None)
    statement = beacon.publish()
    assert beacon.verify(statement)
    late = replace(beacon, now=NOON + timedelta(hours=2))
    late.refused("beacon", statement)


# Real evidence: every check passes but the one that it is of these keys, and that is what refuses.

REAL: dict[str, tuple[datetime, Callable[[Path], tuple[dict[str, Any], Sequence[Any]]]]] = {}


def _real(name: str, at: str) -> Callable[[Any], Any]:
    def register(load: Any) -> Any:
        REAL[name] = (datetime.fromisoformat(at), load)
        return load

    return register


@_real("tdx", "2025-06-20T00:00:00+00:00")
def _tdx(folder: Path) -> Any:
    from privity.attest.evidence import Companions
    from privity.attest.evidence_tdx import from_file

    collateral = (folder / "tdx_quote_collateral.json").read_bytes()
    (evidence,), endorsements = from_file(
        (folder / "tdx_quote").read_bytes(), Companions(collateral=collateral)
    )
    return evidence, endorsements


@_real("snp", "2026-06-20T00:00:00+00:00")
def _snp(folder: Path) -> Any:
    report = encode_base64url((folder / "test-report.bin").read_bytes())
    certificate = encode_base64url((folder / "test-vcek.der").read_bytes())
    return {"kind": "snp", "report": report}, [{"kind": "snp", "certificates": [certificate]}]


@_real("nitro", "2025-12-25T17:00:00+00:00")
def _nitro(folder: Path) -> Any:
    from privity.attest.evidence import Companions
    from privity.attest.evidence_nitro import from_file

    (evidence,), endorsements = from_file(
        (folder / "nitro_attestation.bin").read_bytes(), Companions()
    )
    return evidence, endorsements


@pytest.mark.parametrize("name", REAL)
def test_real_evidence_of_other_keys_is_refused_for_exactly_that(
    name: str, attestation_vectors: Path, world: Make
) -> None:
    at, load = REAL[name]
    evidence, endorsements = load(attestation_vectors)
    real = replace(world(), now=at).trusting(roots=Roots())
    statement = {**real.publish(), "evidence": [evidence], "endorsements": list(endorsements)}
    lenient = real.demanding(reference=False, log=False)
    examined = examine_statement(canonical(statement), nonce=NONCE, trust=lenient.trust, now=at)
    assert [check.name for check in examined.checks if not check.ok] == ["key binding"]
    lenient.refused("key binding", statement)


# What was found is remembered. Time must bring each refusal all the same.


@pytest.mark.parametrize(
    ("change", "later", "check"),
    [
        ({"manifest": {"expires": NOON + timedelta(hours=2)}}, 2, "reference period"),
        ({}, 1, "log entry"),
        ({"quoters": MACHINES["nitro"]}, 24, "certificate period"),
    ],
)
def test_a_remembered_statement_ends_with_what_it_rests_on(
    change: dict[str, Any], later: int, check: str, world: Make
) -> None:
    honest = replace(world(), **change)
    if check != "log entry":
        honest = honest.demanding(log=False).trusting(logs=())
    statement = honest.publish()
    assert honest.verify(statement) and honest.verify(statement)
    last = replace(honest, now=NOON + timedelta(hours=later, seconds=-1))
    if check != "certificate period":
        assert last.verify(statement)
    replace(honest, now=NOON + timedelta(hours=later)).refused(check, statement)


def test_a_revocation_to_come_is_not_slept_through(world: Make) -> None:
    honest = world()
    statement = honest.publish()
    signed = SignedManifest.from_json(statement["endorsements"][-1]["manifest"])
    at = NOON + timedelta(minutes=30)
    back = SignedRevocation.sign(Revocation(signed.manifest.digest, "a hole", at), SIGNER)
    aware = honest.trusting(manifests=(canonical(back.to_json()),))
    assert aware.verify(statement)
    replace(aware, now=at).refused("reference revoked", statement)


def test_old_cosignatures_are_refused_though_remembered(world: Make) -> None:
    honest = world().demanding(witnesses=1, max_age=timedelta(minutes=10))
    statement = honest.publish()
    assert honest.verify(statement)
    replace(honest, now=NOON + timedelta(minutes=10)).refused("log age", statement)


def test_another_trust_or_memory_is_another_question(world: Make) -> None:
    honest = world()
    statement = honest.publish()
    assert honest.verify(statement)
    honest.trusting(signers=()).refused("reference signature", statement)
    honest.refused("log entry", statement, enclave="other.example")
    honest.refused("log consistency", statement, remembered=Remembered(99, bytes(32)))
