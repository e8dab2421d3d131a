from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.errors import InputError, ReceiptError
from privity.infer.receipts import ReceiptStore, new_receipt_id
from privity.receipt import ReceiptFile

NOW = datetime(2025, 11, 21, 3, 40, 1, 123456, tzinfo=UTC)


def test_an_id_begins_with_its_time_and_ends_in_randomness() -> None:
    assert new_receipt_id(NOW, lambda n: b"\x00\x1f\xff\x01\x02\x03"[:n]) == (
        "20251121-034001123-0zz123"
    )
    assert len({new_receipt_id(NOW) for _ in range(50)}) > 45


def test_receipts_are_found_by_id_prefix_tail_and_last(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path / "receipts")
    assert list(store.ids()) == []
    for name, value in (
        ("20251121-034001123-aaaaaa", 1),
        ("20251121-034001124-aabbbb", 2),
        ("20251122-034001124-cccccc", 3),
    ):
        store.put(name, ReceiptFile({"value": value}))
    (store.folder / "notes.json").write_text("{}")
    assert list(store.ids()) == sorted(store.ids(), reverse=True)
    assert store.get("last") == ("20251122-034001124-cccccc", ReceiptFile({"value": 3}))
    assert store.get("20251121-034001123")[1].record == {"value": 1}
    assert store.get(" AABB ")[1].record == {"value": 2}
    with pytest.raises(InputError, match="2 receipts match"):
        store.find("aa")
    with pytest.raises(InputError, match="no receipt matches"):
        store.find("zz")
    with pytest.raises(InputError, match="no receipt id"):
        store.find("  ")


def test_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path / "receipts")
    name = new_receipt_id(NOW)
    store.put(name, ReceiptFile({"outcome": "unfinished"}))
    store.put(name, ReceiptFile({"outcome": "complete"}))
    path = store.folder / f"{name}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in store.folder.iterdir()] == [path.name]
    assert store.get(name)[1].record == {"outcome": "complete"}


@pytest.mark.parametrize(
    "name", ["", "../x", "20251121-034001123-aaaaa", "20251121-034001123-AAAAAA"]
)
def test_a_name_that_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        ReceiptStore(tmp_path).put(name, ReceiptFile({}))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_broken_file_is_a_receipt_error(tmp_path: Path, data: bytes) -> None:
    store = ReceiptStore(tmp_path)
    path = tmp_path / f"{new_receipt_id(NOW)}.json"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(ReceiptError) as caught:
        store.get("last")
    assert caught.value.check == "file format"


def test_a_file_others_can_read_is_refused(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path)
    store.put(new_receipt_id(NOW), ReceiptFile({}))
    next(tmp_path.glob("*.json")).chmod(0o644)
    with pytest.raises(InputError, match="read by others"):
        store.get("last")


def test_a_killed_writer_leaves_only_whole_files(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import pathlib, sys
        from privity.infer.receipts import ReceiptStore
        from privity.receipt import ReceiptFile
        store = ReceiptStore(pathlib.Path(sys.argv[1]))
        print("ready", flush=True)
        turn = 0
        while True:
            fill = str(turn % 10) * 200_000
            store.put("20251121-034001123-aaaaaa", ReceiptFile({"turn": turn, "fill": fill}))
            turn += 1
        """
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    store = ReceiptStore(tmp_path)
    while not list(store.ids()):
        pass
    for _ in range(20):
        assert set(store.get("last")[1].record) == {"turn", "fill"}
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    document = store.get("last")[1].record
    assert document["fill"] == str(document["turn"] % 10) * 200_000
