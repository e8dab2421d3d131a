"""The admission header, external nullifiers, signals, and the prover's warm parts."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from members import EPOCH, LIMIT, SCOPE, digest, member, proof
from native import needs_native
from privity.anon.field import (
    ORDER,
    ZERO,
    Field,
    field,
    field_from_int,
    field_to_int,
)
from privity.anon.membership import Place
from privity.anon.rln import (
    HEADER_CHARS,
    Proof,
    Prover,
    external_nullifier,
    signal,
    verify_proof,
    verify_proofs,
)
from privity.errors import InputError, MalformedError, MissingDependency
from privity.hazmat.native import have_native, native

PLAIN = Proof(7, bytes(range(128)), field_from_int(1), field_from_int(2), field_from_int(3))


def test_a_header_is_what_the_specification_says() -> None:
    text = PLAIN.to_header()
    assert len(text) == HEADER_CHARS == 311
    assert Proof.from_header(text) == PLAIN
    assert text.startswith("AQAAAAAAAAAH")  # 0x01, then the epoch big-endian


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 311,
        PLAIN.to_header()[:-1],
        PLAIN.to_header() + "A",
        PLAIN.to_header() + "=",
        " " + PLAIN.to_header()[1:],
        "Ag" + PLAIN.to_header()[2:],
        PLAIN.to_header()[:-1] + "/",
        PLAIN.to_header()[:-1] + "é",
        PLAIN.to_header()[:-1] + "B",
        replace(PLAIN, root=Field(ORDER.to_bytes(32, "little"))).to_header(),
        replace(PLAIN, y=Field(b"\xff" * 32)).to_header(),
        replace(PLAIN, nullifier=Field(ORDER.to_bytes(32, "little"))).to_header(),
    ],
)
def test_any_other_header_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        Proof.from_header(text)


def test_field_elements_are_canonical() -> None:
    assert field_to_int(field_from_int(ORDER - 1)) == ORDER - 1
    for number in (-1, ORDER):
        with pytest.raises(InputError):
            field_from_int(number)
    for data in (b"", bytes(31), bytes(33), ORDER.to_bytes(32, "little"), b"\xff" * 32):
        with pytest.raises(MalformedError):
            field(data)
    assert field(bytes(32)) == ZERO


def test_a_missing_wheel_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.import_module", absent)
    assert not have_native()
    with pytest.raises(MissingDependency, match="privity-core is missing") as caught:
        signal(bytes(32))
    assert "cargo" in caught.value.hint


@needs_native
def test_a_wheel_without_a_kernel_says_which() -> None:
    assert have_native("Rln")
    assert not have_native("Rln", "Nothing")
    with pytest.raises(MissingDependency, match="without Nothing"):
        native("Rln", "Nothing")


@needs_native
def test_external_nullifiers_separate_epochs_and_scopes() -> None:
    core = native()
    expected = core.poseidon(
        [
            core.hash_to_field((7).to_bytes(8, "little")),
            core.hash_to_field(b"privity/admission/v1/" + b"did:x"),
        ]
    )
    assert external_nullifier(7, "did:x") == expected
    made = {external_nullifier(*one) for one in ((7, "did:x"), (8, "did:x"), (7, "did:y"))}
    assert len(made) == 3


@needs_native
@pytest.mark.parametrize(
    ("epoch", "scope"), [(-1, "a"), (1 << 64, "a"), (0, ""), (0, "é"), (0, "a" * 513)]
)
def test_what_is_no_epoch_or_scope_is_refused(epoch: int, scope: str) -> None:
    with pytest.raises(InputError):
        external_nullifier(epoch, scope)


@needs_native
@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33)])
def test_a_signal_is_of_a_sha256_digest(data: bytes) -> None:
    with pytest.raises(InputError):
        signal(data)


@needs_native
def test_a_warm_part_is_made_once_a_place_and_the_oldest_forgotten() -> None:
    identity, place, _ = member()
    seen: list[str] = []
    prover = Prover(identity, SCOPE, progress=seen.append, kept=1)
    prover.warm(place)
    for message_id in (0, 1):
        prover.prove(place, epoch=EPOCH, message_id=message_id, digest=digest("a"))
    assert seen == ["keys", "warm", "prove", "prove"]
    prover.warm(replace(place, limit=5))
    prover.warm(place)
    assert seen[4:] == ["warm", "warm"]
    prover.close()
    prover.warm(place)
    assert seen[6:] == ["warm"]


@needs_native
@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 65_536},
        {"limit": -1},
        {"index": 1 << 20},
        {"index": -1},
        {"path": b""},
        {"path": b"\xff" * 640},
    ],
)
def test_what_is_no_place_is_refused(wrong: dict[str, int | bytes]) -> None:
    identity, place, _ = member()
    with pytest.raises(InputError):
        Prover(identity, SCOPE).warm(replace(place, **wrong))  # type: ignore[arg-type]


@needs_native
def test_a_closed_identity_warms_nothing_new() -> None:
    identity, place, _ = member()
    own = type(identity)(identity.unsafe_secret())
    own.close()
    with pytest.raises(InputError, match="closed"):
        Prover(own, SCOPE).warm(place)


@needs_native
def test_proving_lets_other_threads_run() -> None:
    _, place, prover = member()
    ticks, done = 0, threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1

    counter = threading.Thread(target=count)
    counter.start()
    before = ticks
    prover.prove(place, epoch=EPOCH, message_id=0, digest=digest("b"))
    after = ticks
    done.set()
    counter.join()
    assert after > before


@needs_native
def test_a_proof_survives_its_header() -> None:
    read = Proof.from_header(proof().to_header())
    assert verify_proof(read, scope=SCOPE, digest=digest("request")).proof == proof()
    assert verify_proofs([]) == []


@needs_native
def test_the_largest_limit_and_its_last_message_prove() -> None:
    from privity.anon.membership import MOST_MESSAGES, MemberTree

    identity, tree = member()[0], MemberTree()
    place: Place = tree.place(tree.append(identity.leaf(MOST_MESSAGES)), MOST_MESSAGES)
    prover = Prover(identity, SCOPE)
    made = prover.prove(place, epoch=EPOCH, message_id=MOST_MESSAGES - 1, digest=digest("c"))
    assert verify_proof(made, scope=SCOPE, digest=digest("c"))
    assert LIMIT < MOST_MESSAGES
