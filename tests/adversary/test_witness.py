"""Attacks on a witness, and what C2SP tlog-witness says it answers to each."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from privity.attest.log import Algorithm, Checkpoint, Note, NoteKey
from privity.attest.log.checkpoint import cosignatures, open_checkpoint
from privity.attest.log.note import parse_signatures
from privity.errors import InputError
from privity.hazmat.merkle import EMPTY, Tree, leaf_hash
from privity.identity.keys import SigningKey
from privity.node.witness import Answer, Witness, witness_app
from privity.node.witness_client import add_checkpoint_body

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ORIGIN = "log.example"
LOG, KEY = SigningKey(b"\1" * 32), SigningKey(b"\2" * 32)
VKEY = NoteKey.of(ORIGIN, Algorithm.ED25519, LOG)
HONEST = Tree([leaf_hash(b"%d" % number) for number in range(20)])
FORKED = Tree([leaf_hash(b"%d" % (number % 17)) for number in range(30)])


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return _witness(tmp_path)


def _witness(folder: Path) -> Witness:
    return Witness("w.example", KEY, [VKEY.vkey], folder, lambda: NOW)


def _note(tree: Tree, size: int, key: SigningKey = LOG, origin: str = ORIGIN) -> Note:
    return Checkpoint(origin, size, tree.root(size)).sign(key)


def _add(
    witness: Witness, old: int, size: int, tree: Tree = HONEST, proof: list[bytes] | None = None
) -> Answer:
    if proof is None:
        proof = tree.consistency(old, size) if 0 < old <= size else []
    return witness.add_checkpoint(add_checkpoint_body(old, proof, _note(tree, size)))


def _assert_cosigned(witness: Witness, answer: Answer, note: Note) -> None:
    assert answer.status == 200
    lines = parse_signatures(answer.body.decode())
    (one,) = cosignatures(Note(note.text, lines), [witness.key])
    assert one.time == NOW


def test_a_log_that_grows_is_cosigned_each_time(witness: Witness) -> None:
    for old, size in ((0, 3), (3, 3), (3, 8), (8, 20)):
        _assert_cosigned(witness, _add(witness, old, size), _note(HONEST, size))
    last = witness.last(ORIGIN)
    assert last is not None and (last.size, last.root) == (20, HONEST.root())


def test_a_split_view_is_not_cosigned(witness: Witness) -> None:
    _add(witness, 0, 20)
    assert _add(witness, 20, 20, FORKED).status == 422
    for proof in (FORKED.consistency(20, 30), HONEST.consistency(17, 20), []):
        assert _add(witness, 20, 30, FORKED, proof).status == 422
    last = witness.last(ORIGIN)
    assert last is not None and last.root == HONEST.root()


def test_a_rollback_is_not_cosigned_and_the_size_is_told(witness: Witness) -> None:
    _add(witness, 0, 20)
    for old, size in ((0, 20), (0, 5), (5, 8), (19, 20)):
        answer = _add(witness, old, size)
        assert (answer.status, answer.body, answer.kind) == (409, b"20\n", b"text/x.tlog.size")
    assert _add(witness, 20, 19).status == 400


def test_a_log_it_does_not_know_is_not_cosigned(witness: Witness) -> None:
    note = _note(HONEST, 3, origin="other.example")
    assert witness.add_checkpoint(add_checkpoint_body(0, [], note)).status == 404


def test_a_checkpoint_the_log_did_not_sign_is_not_cosigned(witness: Witness) -> None:
    strange = _note(HONEST, 3, SigningKey(b"\3" * 32))
    assert witness.add_checkpoint(add_checkpoint_body(0, [], strange)).status == 403
    true = _note(HONEST, 3)
    moved = Note(_note(HONEST, 4).text, true.signatures)
    assert witness.add_checkpoint(add_checkpoint_body(0, [], moved)).status == 403
    assert witness.last(ORIGIN) is None


def test_lines_of_other_keys_are_not_kept(witness: Witness, tmp_path: Path) -> None:
    true, strange = _note(HONEST, 3), _note(HONEST, 3, SigningKey(b"\3" * 32))
    both = Note(true.text, (*strange.signatures, *true.signatures))
    _assert_cosigned(witness, witness.add_checkpoint(add_checkpoint_body(0, [], both)), true)
    kept = witness.read_last(hashlib.sha256(ORIGIN.encode()).hexdigest())
    assert kept is not None
    note = Note.parse(kept)
    assert [line.name for line in note.signatures] == [ORIGIN, "w.example"]
    assert open_checkpoint(note, [VKEY]).size == 3


def test_an_empty_tree_with_another_root_is_not_cosigned(witness: Witness) -> None:
    false = Checkpoint(ORIGIN, 0, HONEST.root()).sign(LOG)
    assert witness.add_checkpoint(add_checkpoint_body(0, [], false)).status == 422
    true = Checkpoint(ORIGIN, 0, EMPTY).sign(LOG)
    assert witness.add_checkpoint(add_checkpoint_body(0, [], true)).status == 200
    _assert_cosigned(witness, _add(witness, 0, 20), _note(HONEST, 20))


def test_a_proof_from_nothing_is_refused(witness: Witness) -> None:
    assert _add(witness, 0, 20, proof=[b"\0" * 32]).status == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\nx\n0\nAA==\n\n",
        b"old -1\n\n",
        b"new 0\n\n",
        b"old 0\n" + b"\n".join([b"AA=="] * 3) + b"\n\n",
        b"old 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\n",
        b"\xff",
    ],
)
def test_what_is_no_request_is_refused(body: bytes, witness: Witness) -> None:
    assert witness.add_checkpoint(body + _note(HONEST, 3).to_bytes()).status == 400


def test_a_witness_started_again_remembers(witness: Witness, tmp_path: Path) -> None:
    _add(witness, 0, 20)
    again = _witness(tmp_path)
    assert _add(again, 0, 20, FORKED).status == 409
    assert _add(again, 20, 20, FORKED).status == 422


def test_it_does_not_cosign_what_it_could_not_write_down(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("privity.node.witness.write_durably", fail)
    with pytest.raises(OSError):
        _add(witness, 0, 20)


def test_a_damaged_memory_is_not_passed_over(witness: Witness, tmp_path: Path) -> None:
    _add(witness, 0, 20)
    (path,) = tmp_path.iterdir()
    honest = path.read_bytes()
    for damaged in (b"", _note(FORKED, 20).to_bytes(), honest[:-9] + b"AAAAAAA=\n"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            _add(witness, 20, 20)


@pytest.mark.anyio
async def test_two_requests_at_once_cannot_both_start_from_one_size(tmp_path: Path) -> None:
    import anyio

    statuses: list[int] = []
    with witness_app("w.example", KEY, [VKEY.vkey], tmp_path, lambda: NOW) as app:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://w") as http:

            async def post(tree: Tree, size: int) -> None:
                body = add_checkpoint_body(0, [], _note(tree, size))
                answer = await http.post("/add-checkpoint", content=body)
                statuses.append(answer.status_code)

            async with anyio.create_task_group() as group:
                for size in range(10, 20):
                    group.start_soon(post, HONEST, size)
                    group.start_soon(post, FORKED, size + 5)
    assert sorted(statuses) == [200] + [409] * 19
    assert threading.active_count() < 64


@pytest.mark.anyio
async def test_over_http_it_answers_as_the_protocol_says(tmp_path: Path) -> None:
    with witness_app("w.example", KEY, [VKEY.vkey], tmp_path, lambda: NOW) as app:
        with pytest.raises(InputError, match="another process"):
            witness_app("w.example", KEY, [VKEY.vkey], tmp_path).__enter__()
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://w") as http:
            hashed = hashlib.sha256(ORIGIN.encode()).hexdigest()
            assert (await http.get(f"/{hashed}/checkpoint")).status_code == 404
            body = add_checkpoint_body(0, [], _note(HONEST, 3))
            answer = await http.post("/add-checkpoint", content=body)
            assert answer.status_code == 200
            conflict = await http.post("/add-checkpoint", content=body)
            assert conflict.status_code == 409
            assert conflict.headers["content-type"] == "text/x.tlog.size"
            assert conflict.text == "3\n"
            kept = Note.parse((await http.get(f"/{hashed}/checkpoint")).content)
            assert open_checkpoint(kept, [VKEY]).size == 3
            assert (await http.get("/add-checkpoint")).status_code == 405
            assert (await http.get("/../x/checkpoint")).status_code == 404
            assert (await http.post("/add-checkpoint", content=b"x" * 99_999)).status_code == 413
