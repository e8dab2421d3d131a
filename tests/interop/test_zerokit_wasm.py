"""Our rate-limiting nullifiers against zerokit's own wasm (npm @waku/zerokit-rln-wasm), both ways.

The wasm is of zerokit 0.8; it wants the circuit's key as a .zkey file and its witness program as
circom compiles it. Both are files of the crate `rln` 0.8.0, which cargo fetches (tests/interop/
zerokit). That key is the one we use, of crate 3.0.0: the first test here shows it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from native import needs_native
from privity.anon.field import Field, field_from_int
from privity.anon.membership import MemberTree, Place, RateIdentity
from privity.anon.rln import (
    Point,
    Proof,
    Prover,
    external_nullifier,
    recover_secret,
    signal,
    verify_proof,
)
from privity.errors import AdmissionError
from privity.hazmat.native import native

HERE = Path(__file__).parent
SCOPE = "did:key:z6MkInterop"
EPOCH = 29_000_000
LIMIT = 20
BASE = 21888242871839275222246405745257275088696311157297823662689037894645226208583
"""Order of the field that BN254's coordinates are in."""

pytestmark = [pytest.mark.slow, needs_native]


class Zerokit:
    """The wasm in a child process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, do: str, **arguments: bytes) -> Any:
        asked = {"do": do} | {name: data.hex() for name, data in arguments.items()}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer
        return answer["result"]

    def prove(self, witness: bytes) -> tuple[Proof, Field, Field]:
        """Return what it proves, the external nullifier and the signal."""
        made = bytes.fromhex(self.ask("prove", witness=witness))
        assert len(made) == 128 + 5 * 32
        root, scope, x, y, nullifier = (Field(made[at : at + 32]) for at in range(128, 288, 32))
        return Proof(EPOCH, made[:128], root, y, nullifier), scope, x


@pytest.fixture(scope="session")
def resources() -> Path:
    """Return the folder of crate rln 0.8.0 with the circuit's files, or skip."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed, so the circuit's files cannot be fetched")
    folder = HERE / "zerokit"
    fetched = subprocess.run([cargo, "fetch", "--locked"], cwd=folder, capture_output=True)
    if fetched.returncode:
        pytest.skip("the crate with the circuit's files cannot be fetched")
    listed = subprocess.run(
        [cargo, "metadata", "--format-version", "1", "--locked", "--offline"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    packages = json.loads(listed.stdout)["packages"]
    (manifest,) = [one["manifest_path"] for one in packages if one["name"] == "rln"]
    return Path(manifest).parent / "resources" / "tree_height_20"


@pytest.fixture(scope="session")
def zerokit(resources: Path) -> Iterator[Zerokit]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, so zerokit's wasm cannot run")
    if not (HERE / "node" / "node_modules" / "@waku" / "zerokit-rln-wasm").is_dir():
        pytest.skip("zerokit's wasm is not installed: npm ci in tests/interop/node")
    command = [node, "zerokit.mjs", resources / "rln_final.zkey", resources / "rln.wasm"]
    process = subprocess.Popen(
        command, cwd=HERE / "node", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Zerokit(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def member() -> tuple[RateIdentity, Place]:
    identity, tree = RateIdentity.generate(), MemberTree()
    tree.extend([field_from_int(number) for number in range(1, 6)])
    index = tree.append(identity.leaf(LIMIT))
    tree.append(field_from_int(99))
    return identity, tree.place(index, LIMIT)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def witness(identity: RateIdentity, place: Place, message_id: int, x: Field) -> bytes:
    """Return the inputs as zerokit 0.8 serialises them."""
    turns = bytes(place.index >> height & 1 for height in range(20))
    return b"".join(
        [
            identity.unsafe_secret(),
            field_from_int(place.limit),
            field_from_int(message_id),
            struct.pack("<Q", 20),
            place.path,
            struct.pack("<Q", 20),
            turns,
            x,
            external_nullifier(EPOCH, SCOPE),
        ]
    )


def serialised(proof: Proof, x: Field) -> bytes:
    """Return a proof as zerokit does: the points, then root, scope, x, y, nullifier."""
    scope = external_nullifier(EPOCH, SCOPE)
    return proof.proof + proof.root + scope + x + proof.y + proof.nullifier


def message(proof: Proof, data: bytes) -> bytes:
    """Return what zerokit verifies: a proof with the signal's bytes."""
    return serialised(proof, signal(data)) + struct.pack("<Q", len(data)) + data


def verifying_key(zkey: bytes) -> bytes:
    """Read the verifying key of a .zkey file, and write it as arkworks does."""
    sections, at = {}, 12
    for _ in range(struct.unpack_from("<I", zkey, 8)[0]):
        kind, size = struct.unpack_from("<IQ", zkey, at)
        sections[kind] = zkey[at + 12 : at + 12 + size]
        at += 12 + size
    unmontgomery = pow(1 << 256, -1, BASE)

    def numbers(data: bytes) -> list[int]:
        words = (data[at : at + 32] for at in range(0, len(data), 32))
        return [int.from_bytes(word, "little") * unmontgomery % BASE for word in words]

    def point(values: list[int]) -> bytes:
        half = len(values) // 2
        xs, ys = values[:half], values[half:]
        opposite = [-y % BASE for y in ys]
        data = bytearray(b"".join(x.to_bytes(32, "little") for x in xs))
        data[-1] |= 0x80 if ys[::-1] > opposite[::-1] else 0
        return bytes(data)

    fixed, inputs = numbers(sections[2][84:]), numbers(sections[3])
    alpha, beta, gamma, delta = fixed[:2], fixed[4:8], fixed[8:12], fixed[14:18]
    heads = [inputs[at : at + 2] for at in range(0, len(inputs), 2)]
    count = struct.pack("<Q", len(heads))
    return b"".join(map(point, (alpha, beta, gamma, delta))) + count + b"".join(map(point, heads))


def test_both_have_the_key_of_one_ceremony(resources: Path) -> None:
    theirs = verifying_key((resources / "rln_final.zkey").read_bytes())
    assert theirs == native().Rln.load().verifying_key()


@pytest.mark.parametrize("data", [b"", b"a", b"\xff" * 1000], ids=len)
def test_both_map_bytes_to_the_field_alike(zerokit: Zerokit, data: bytes) -> None:
    assert bytes.fromhex(zerokit.ask("hash", data=data)) == native().hash_to_field(data)


@pytest.mark.parametrize("message_id", [0, 19])
def test_their_proof_verifies_in_ours(
    zerokit: Zerokit, member: tuple[RateIdentity, Place], message_id: int
) -> None:
    data = digest("theirs")
    made = witness(*member, message_id, signal(data))
    proof, scope, x = zerokit.prove(made)
    assert (scope, x) == (external_nullifier(EPOCH, SCOPE), signal(data))
    assert proof.root == member[1].root
    assert verify_proof(Proof.from_header(proof.to_header()), scope=SCOPE, digest=data)
    with pytest.raises(AdmissionError):
        verify_proof(proof, scope=SCOPE, digest=digest("another"))


def test_our_proof_verifies_in_theirs(zerokit: Zerokit, member: tuple[RateIdentity, Place]) -> None:
    identity, place = member
    data = digest("ours")
    proof = Prover(identity, SCOPE).prove(place, epoch=EPOCH, message_id=3, digest=data)
    sent = message(proof, data)
    assert zerokit.ask("verify", message=sent, roots=place.root)
    assert not zerokit.ask("verify", message=sent, roots=field_from_int(7))
    other = serialised(proof, signal(data)) + struct.pack("<Q", 5) + b"other"
    assert not zerokit.ask("verify", message=other, roots=place.root)


def test_both_give_one_share_and_one_nullifier(
    zerokit: Zerokit, member: tuple[RateIdentity, Place]
) -> None:
    identity, place = member
    data = digest("same")
    ours = Prover(identity, SCOPE).prove(place, epoch=EPOCH, message_id=5, digest=data)
    theirs, _, _ = zerokit.prove(witness(identity, place, 5, signal(data)))
    assert (ours.root, ours.y, ours.nullifier) == (theirs.root, theirs.y, theirs.nullifier)


def test_a_double_signal_across_both_reveals_the_secret_to_both(
    zerokit: Zerokit, member: tuple[RateIdentity, Place]
) -> None:
    identity, place = member
    first, second = digest("first"), digest("second")
    ours = Prover(identity, SCOPE).prove(place, epoch=EPOCH, message_id=7, digest=first)
    theirs, _, x = zerokit.prove(witness(identity, place, 7, signal(second)))
    assert ours.nullifier == theirs.nullifier
    secret = identity.unsafe_secret()
    assert recover_secret(Point(signal(first), ours.y), Point(x, theirs.y)) == secret
    found = zerokit.ask(
        "recover", first=serialised(ours, signal(first)), second=serialised(theirs, x)
    )
    assert bytes.fromhex(found) == secret
