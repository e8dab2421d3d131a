"""The vault's small parts: new files, the owner's key, roots, lanes, and what memory they take."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from privity.errors import InputError, MalformedError, TruncatedError
from privity.hazmat.merkle import EMPTY, leaf_hash, node_hash
from privity.identity.digests import check_content, check_digest, digest
from privity.infer.engines.weights import Weights
from privity.statement import Model
from privity.vault import (
    ArtefactKey,
    BytesSource,
    FileSource,
    Identity,
    Meta,
    Reader,
    Recipient,
    owner_identity,
    read_header,
    root_of,
    seal_stream,
    unwrap,
)
from privity.vault.artefact import sealed_size
from privity.vault.files import new_file
from privity.vault.index import part_bytes_for
from privity.vault.lanes import Turns, run_lanes
from privity.vault.recipients import new_identity, parse_identity_file
from privity.vault.root import LEAF_BYTES


def test_a_new_file_is_private_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with new_file(target) as sink:
        sink.write(b"some")
        assert not target.exists()
    assert target.read_bytes() == b"some" and target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RuntimeError), new_file(tmp_path / "other") as sink:
        sink.write(b"half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_new_file_takes_nobodys_place(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(InputError, match="already"), new_file(target) as sink:
        sink.write(b"late")
        target.write_bytes(b"first")  # meanwhile
    assert target.read_bytes() == b"first"
    with pytest.raises(InputError, match="already"), new_file(target):
        pass
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(InputError, match="already"), new_file(tmp_path / "link"):
        pass
    with new_file(target, replace=True) as sink:
        sink.write(b"second")
    assert target.read_bytes() == b"second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out"]


def test_a_new_file_where_none_can_be_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"), new_file(tmp_path / "no" / "out"):
        pass


def test_a_killed_writer_leaves_nothing(tmp_path: Path) -> None:
    writer = """
import os, signal, sys
from pathlib import Path
from privity.vault.files import new_file
with new_file(Path(sys.argv[1])) as sink:
    sink.write(b"plaintext")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run([sys.executable, "-c", writer, str(tmp_path / "out")])
    assert child.returncode == -9
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("this system has no files without a name")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_gets_its_name_without_links_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.delattr("os.O_TMPFILE", raising=False)
    monkeypatch.setattr("os.link", no_link)
    with new_file(tmp_path / "out") as sink:
        sink.write(b"some")
    assert (tmp_path / "out").read_bytes() == b"some"
    with pytest.raises(InputError, match="already"), new_file(tmp_path / "other") as sink:
        (tmp_path / "other").write_bytes(b"first")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_a_sink_that_takes_a_part_at_a_time_gets_all_of_it() -> None:
    class Reluctant(io.BytesIO):
        def write(self, data: object) -> int:
            return super().write(memoryview(data)[:100_000])  # type: ignore[arg-type]

    plain, sink, back = bytes(range(256)) * 5000, Reluctant(), Reluctant()
    sealed = seal_stream(io.BytesIO(plain), sink, meta=Meta("a", "model"), recipients=[])
    Reader(BytesSource(sink.getvalue()), sealed.key).copy_to(back)
    assert back.getvalue() == plain


def test_one_owner_key_is_made(privity_home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: str(owner_identity().recipient), range(8)))
    assert len(keys) == 1 and keys.pop().startswith("age1pq1")
    path = privity_home / "vault" / "owner.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["owner.key"]
    path.chmod(0o644)
    with pytest.raises(InputError, match="read by others"):
        owner_identity()


def test_a_damaged_owner_key_is_said_and_not_replaced(privity_home: Path) -> None:
    owner_identity()
    path = privity_home / "vault" / "owner.key"
    damaged = path.read_text().replace("AGE-SECRET-KEY-PQ-1", "AGE-SECRET-KEY-PQ-1Q")
    path.write_text(damaged)
    with pytest.raises(InputError, match="damaged") as caught:
        owner_identity()
    assert "SECRET" not in caught.value.message
    assert path.read_text() == damaged


@pytest.mark.parametrize("data", [b"", b"# only a comment\n", b"A\nB\n", b"\xff" * 100])
def test_a_file_without_one_key_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_identity_file(data, "a file")


@pytest.mark.parametrize(
    "text",
    ["", "age1", "age1yubikey1qqqqqqqqqqqqq", "ssh-ed25519 AAAA", "AGE1PQ1QQQQ", "age1" + "q" * 58],
)
def test_other_recipients_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Recipient.parse(text)


def test_a_recipient_in_capitals_is_refused_as_age_does() -> None:
    identity, secret = new_identity()
    with pytest.raises(MalformedError):
        Recipient.parse(str(identity.recipient).upper())
    assert Identity.parse(f"  {secret}\n").recipient == identity.recipient
    assert secret[20:30] not in repr(identity)


def test_roots_of_known_shape() -> None:
    leaf = bytes(LEAF_BYTES)
    one, tail = leaf_hash(leaf), leaf_hash(b"x")
    assert root_of(b"") == "tree-sha256:" + EMPTY.hex()
    assert root_of(leaf) == "tree-sha256:" + one.hex()
    assert root_of(leaf + b"x") == "tree-sha256:" + node_hash(one, tail).hex()
    whole = node_hash(node_hash(one, one), tail)
    assert root_of(leaf * 2 + b"x") == "tree-sha256:" + whole.hex()
    assert one == hashlib.sha256(b"\0" + leaf).digest()


def test_weights_have_one_name_sealed_or_not(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(range(256)) * 10_000)
    sink = io.BytesIO()
    with path.open("rb") as file:
        sealed = seal_stream(file, sink, meta=Meta("m.gguf", "model"), recipients=[])
    named = Weights(path, "m").digest()
    assert named == sealed.root and named.startswith("tree-sha256:")
    assert Model("m", named, "engine").weights == named
    assert Model("m", digest(b"older"), "engine").weights == digest(b"older")
    with pytest.raises(InputError, match="cannot read"):
        Weights(tmp_path / "gone", "m").digest()


def test_a_tree_digest_names_contents_and_nothing_else() -> None:
    named = "tree-sha256:" + "ab" * 32
    assert check_content(named) == named
    for wrong in (named.upper(), named + "\n", "tree-" + named, "md5:" + "ab" * 32):
        with pytest.raises(MalformedError):
            check_content(wrong)
    with pytest.raises(MalformedError):
        check_digest(named)


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(100))
    with FileSource(path) as source:
        path.write_bytes(bytes(50))
        assert source.fetch(0, 50) == bytes(50)
        with pytest.raises(TruncatedError):
            source.fetch(0, 51)
    source.close()
    with pytest.raises(InputError, match="cannot read"):
        FileSource(tmp_path / "gone")


def test_progress_comes_in_order_and_ends_at_the_size(tmp_path: Path) -> None:
    told: list[int] = []
    plain = bytes(3 * LEAF_BYTES + 1)
    path = tmp_path / "a"
    with path.open("wb") as sink:
        sealed = seal_stream(
            io.BytesIO(plain), sink, meta=Meta("a", "model"), recipients=[], progress=told.append
        )
    steps = [LEAF_BYTES, 2 * LEAF_BYTES, 3 * LEAF_BYTES, len(plain)]
    assert told == steps
    told.clear()
    with FileSource(path) as source:
        reader = Reader(source, sealed.key)
        assert source.size == sealed_size(reader.header.end, len(plain))
        reader.copy_to(io.BytesIO(), progress=told.append)
    assert told == steps


def test_an_artefact_may_begin_within_its_sink() -> None:
    sink = io.BytesIO(b"before")
    sink.seek(6)
    me, _ = new_identity()
    seal_stream(io.BytesIO(b"x"), sink, meta=Meta("a", "dataset"), recipients=[me.recipient])
    source = BytesSource(sink.getvalue()[6:])
    assert Reader(source, unwrap(read_header(source), me)).read_at(0, 1) == b"x"


def test_a_sink_that_cannot_seek_is_refused() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(InputError, match="seekable"):
        seal_stream(io.BytesIO(b"x"), Pipe(), meta=Meta("a", "model"), recipients=[])


@pytest.mark.parametrize(
    "name", ["", ".hidden", "a/b", "a\\b", "a\nb", "\x1b[2J", "n" * 256, "a\u202eb", 'a"b']
)
def test_a_name_is_a_files_name(name: str) -> None:
    with pytest.raises(MalformedError):
        Meta(name, "model")


def test_reading_before_the_beginning_is_refused() -> None:
    sink = io.BytesIO()
    key = ArtefactKey.generate()
    seal_stream(io.BytesIO(b"x"), sink, meta=Meta("a", "model"), recipients=[], key=key)
    reader = Reader(BytesSource(sink.getvalue()), key)
    with pytest.raises(InputError):
        reader.read_at(-1, 1)


def test_parts_grow_for_huge_artefacts_up_to_a_limit() -> None:
    assert part_bytes_for(1) == part_bytes_for(1 << 39) == 8 << 20
    assert part_bytes_for((1 << 39) + 1) == 16 << 20
    with pytest.raises(InputError, match="4 TiB"):
        part_bytes_for((1 << 42) + 1)


def test_the_first_error_of_a_lane_ends_the_others() -> None:
    waiting = threading.Event()

    def lane(turns: Turns) -> None:
        number = turns.draw()
        if number == 0:
            waiting.wait(10)
            raise KeyError("the cause")
        waiting.set()
        with turns.turn(number):  # never comes
            raise AssertionError

    with pytest.raises(KeyError, match="the cause"):
        run_lanes(lane, 3)


_CHILD = """
import io, sys
from pathlib import Path
from privity.vault import ArtefactKey, FileSource, Meta, Reader, root_of_file, seal_stream
from privity.vault import transfer
from privity.vault.files import new_file
from privity.vault.store import open_store_reader

class Zeros(io.RawIOBase):
    left = 300 << 20
    def readinto(self, buffer):
        count = min(self.left, len(buffer))
        self.left -= count
        return count

class Nowhere(io.RawIOBase):
    def write(self, data):
        return len(data)

def peak():
    status = Path("/proc/self/status").read_text()  # ru_maxrss would remember the parent's
    return int(status.split("VmHWM:")[1].split()[0]) >> 10

folder, key = Path(sys.argv[1]), ArtefactKey(bytes(32))
transfer.push  # imported before memory is measured
import obstore
before = peak()
with new_file(folder / "a.sealed") as sink:
    sealed = seal_stream(Zeros(), sink, meta=Meta("z", "dataset"), recipients=[], key=key)
assert sealed.size == 300 << 20
with FileSource(folder / "a.sealed") as source:
    assert Reader(source, key).copy_to(Nowhere()) == sealed.root
root_of_file(folder / "a.sealed")
print(peak() - before)
transfer.push(folder / "a.sealed", str(folder / "store"))
transfer.pull(str(folder / "store"), folder / "b.sealed")
with open_store_reader(str(folder / "store")) as source:
    Reader(source, key).copy_to(Nowhere())
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    """300 MiB through every path: lanes' buffers for files; for stores four parts, and copies."""
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert child.returncode == 0, child.stderr
    files, stores = (int(line) for line in child.stdout.split())
    assert files < 40
    assert stores < 280
