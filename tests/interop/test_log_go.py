"""Our logs, endorsements and witness against Tessera, x/mod's note and tlog, and formats, in Go."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from privity.attest.log import (
    Algorithm,
    FolderSource,
    KeysetEntry,
    LogEndorsement,
    LogFolder,
    Note,
    NoteKey,
    read_log,
)
from privity.attest.log.checkpoint import cosign, cosignatures
from privity.attest.log.entry import entry_bytes
from privity.attest.log.source import prove_consistency
from privity.hazmat.merkle import CompactTree, leaf_hash, verify_consistency
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.node.log import log_app
from privity.node.witness import witness_app

MODULE = Path(__file__).parent / "go"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ORIGIN, WITNESS_NAME = "log.example/2026", "w.example"
KEY, WITNESS = SigningKey(b"\1" * 32), SigningKey(b"\2" * 32)
LOG = NoteKey.of(ORIGIN, Algorithm.ED25519, KEY)
WITNESS_KEY = NoteKey.of(WITNESS_NAME, Algorithm.COSIGNATURE, WITNESS)

pytestmark = pytest.mark.slow

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Build the harness; skip where there is no go or the modules cannot be had."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed, so the Go implementations cannot be built")
    program = tmp_path_factory.mktemp("go") / "interop"
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    fetched = subprocess.run(
        [go, "list", "-deps", "."], cwd=MODULE, env=environment, capture_output=True
    )
    if fetched.returncode:
        pytest.skip("the modules of the Go implementations cannot be fetched")
    build = [go, "build", "-trimpath", "-o", str(program), "."]
    subprocess.run(build, cwd=MODULE, env=environment, check=True)

    def run(*arguments: object, given: bytes = b"") -> Any:
        command = [str(program), *(str(one) for one in arguments)]
        done = subprocess.run(command, input=given, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


def _entry(number: int) -> bytes:
    digest = f"sha256:{number:064x}"
    return entry_bytes(KeysetEntry("ai.example", digest, NOW, NOW + timedelta(days=30)))


def _root(size: int) -> bytes:
    tree = CompactTree()
    for number in range(size):
        tree.append(leaf_hash(_entry(number)))
    return tree.root()


def _skey(name: str, algorithm: Algorithm, key: SigningKey) -> str:
    secret = base64.b64encode(bytes([algorithm]) + key.unsafe_seed()).decode()
    return f"PRIVATE+KEY+{name}+{NoteKey.of(name, algorithm, key).key_id.hex()}+{secret}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of ours that has full tiles, and a partial one above them."""
    path = tmp_path_factory.mktemp("ours") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        LogFolder.create(path, ORIGIN, KEY)
        with LogFolder.open(path, KEY) as log:
            for number in range(600):
                log.append(_entry(number))
    return path


def test_tessera_verifies_our_whole_log(peer: Run, folder: Path, serve: Callable[..., str]) -> None:
    with log_app(folder, KEY) as app:
        url = serve(app)
        seen = json.loads(peer("fsck", url, ORIGIN, LOG.vkey))
        checkpoint = app.checkpoint
        assert seen["size"] == checkpoint.size == 600
        assert base64.b64decode(seen["root"]) == checkpoint.root


def test_tesseras_consistency_proofs_are_ours(
    peer: Run, folder: Path, serve: Callable[..., str]
) -> None:
    with log_app(folder, KEY) as app:
        url = serve(app)
        for old, size in ((1, 600), (255, 256), (256, 257), (300, 511), (512, 600)):
            theirs = json.loads(peer("consistency", url, old, size))
            ours = anyio.run(prove_consistency, FolderSource(folder), old, size)
            assert [base64.b64decode(node) for node in theirs] == ours


def test_x_mod_verifies_our_endorsement_cosignature_and_growth(peer: Run, folder: Path) -> None:
    with LogFolder.open(folder, KEY) as log:
        note = log.note
        signed = Note(note.text, (*note.signatures, cosign(note, WITNESS, WITNESS_NAME, NOW)))
        for index, old in ((0, 1), (255, 256), (599, 300)):
            entry = _entry(index)
            ours = LogEndorsement(
                ORIGIN, index, json.loads(entry), tuple(log.inclusion(index, 600)), signed
            ).to_json()
            growth = [encode_base64url(node) for node in log.consistency(old, 600)]
            old_root = encode_base64url(_root(old))
            given = {**ours, "old": old, "old_root": old_root, "growth": growth}
            seen = json.loads(
                peer(
                    "endorsement",
                    LOG.vkey,
                    WITNESS_KEY.vkey,
                    entry.decode(),
                    given=json.dumps(given).encode(),
                )
            )
            stamp = int(NOW.timestamp())
            assert seen == {"size": 600, "signatures": 2, "unknown": 0, "times": [stamp]}


def test_we_verify_a_cosignature_made_in_go(peer: Run, folder: Path) -> None:
    with LogFolder.open(folder, KEY) as log:
        skey = _skey(WITNESS_NAME, Algorithm.COSIGNATURE, WITNESS)
        signed = Note.parse(peer("cosign", skey, given=log.note.to_bytes()))
    (one,) = cosignatures(signed, [WITNESS_KEY])
    assert abs(datetime.now(UTC) - one.time) < timedelta(minutes=5)


def test_we_read_a_log_that_tessera_wrote_with_our_witness(
    peer: Run, tmp_path: Path, serve: Callable[..., str]
) -> None:
    path = tmp_path / "theirs"
    with witness_app(WITNESS_NAME, WITNESS, [LOG.vkey], tmp_path / "w") as app:
        url = serve(app)
        peer("write", path, _skey(ORIGIN, Algorithm.ED25519, KEY), WITNESS_KEY.vkey, url, 300)
    contents = anyio.run(read_log, FolderSource(path), [LOG])
    assert contents.checkpoint.size == 300
    numbers = sorted(json.loads(one)["entry"] for one in contents.raw)
    assert numbers == list(range(300))
    assert [one.witness for one in cosignatures(contents.note, [WITNESS_KEY])] == [WITNESS_KEY]
    last = app.last(ORIGIN)
    assert last is not None and last.root == contents.checkpoint.root
    proof = anyio.run(prove_consistency, FolderSource(path), 256, 300)
    from privity.attest.log.tiles import Tile, root_of

    old_root = root_of((path / Tile(0, 0).path).read_bytes())
    verify_consistency(256, old_root, 300, contents.checkpoint.root, proof)
