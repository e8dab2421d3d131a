"""A wallet whose process is killed at every step on disk: nothing lost, nothing used twice.

The processes are real, and killed with SIGKILL: tests/wallet_crash.py. Power loss is not
simulated; that the wallet waits for the disk before it goes on is
tests/adversary/test_credits.py::test_nothing_leaves_before_it_is_on_disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from native import needs_kernel
from privity.anon.wallet import Wallet
from privity.anon.wallet_file import SealedJournal, read_journal
from privity.errors import OpenError

pytestmark = needs_kernel("Act")

TESTS = Path(__file__).parents[1]
KEY = b"\7" * 32


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what was left after a death at each step."""
    root = tmp_path_factory.mktemp("crash")
    done = subprocess.run(
        [sys.executable, str(TESTS / "wallet_crash.py"), str(root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_every_step_was_died_at(ends: list[dict[str, Any]]) -> None:
    assert len(ends) > 35
    assert [one["killed"] for one in ends] == [True] * (len(ends) - 1) + [False]


@pytest.mark.slow
def test_no_credit_is_lost_or_made(ends: list[dict[str, Any]]) -> None:
    for one in ends:
        assert one["bought"] == 1000, one
        assert one["balance"] == one["bought"] - one["charged"], one
        assert one["spent"] == one["charged"], one
        assert one["unfinished"] == 0, one


@pytest.mark.slow
def test_no_message_id_is_given_twice(ends: list[dict[str, Any]]) -> None:
    for one in ends:
        assert len(set(one["ids"])) == len(one["ids"]) >= 2, one


@pytest.mark.slow
def test_no_spend_is_served_twice(ends: list[dict[str, Any]]) -> None:
    for one in ends:
        # Served and not charged: killed between the two, at most once.
        assert one["charged"] <= 15 * one["served"] <= one["charged"] + 15, one


def _journal(folder: Path) -> bytes:
    with Wallet.open(folder, KEY) as wallet:
        wallet.join(b"\2" * 32, 1000)
        for _ in range(4):
            wallet.take_message_id(5)
    return (folder / "wallet.journal").read_bytes()


def test_a_record_cut_anywhere_is_left_out_and_the_rest_stands(tmp_path: Path) -> None:
    data = _journal(tmp_path)
    whole = read_journal(tmp_path, KEY)
    size = len(data) - 4 - 32 - 512 - 16
    for cut in {size, size + 1, size + 4, size + 40, len(data) - 1}:
        (tmp_path / "wallet.journal").write_bytes(data[:cut])
        with Wallet.open(tmp_path, KEY) as wallet:
            assert wallet.take_message_id(5) == 3
        assert read_journal(tmp_path, KEY)[:-1] == whole[:-1]
    (tmp_path / "wallet.journal").write_bytes(data[:size] + bytes(len(data) - size))
    assert read_journal(tmp_path, KEY) == whole[:-1]


def test_a_record_altered_before_the_last_is_refused_and_the_file_left(tmp_path: Path) -> None:
    data = _journal(tmp_path)
    record = 4 + 32 + 512 + 16
    for place in (
        0,
        20,
        len(data) - 3 * record,
        len(data) - 3 * record + 10,
        len(data) - 2 * record - 1,
    ):
        altered = bytearray(data)
        altered[place] ^= 1
        (tmp_path / "wallet.journal").write_bytes(altered)
        with pytest.raises(OpenError):
            SealedJournal(tmp_path, KEY)
        assert (tmp_path / "wallet.journal").read_bytes() == altered


def test_records_cannot_be_left_out_moved_or_brought_from_another_file(tmp_path: Path) -> None:
    data = _journal(tmp_path / "one")
    other = _journal(tmp_path / "two")
    record = 4 + 32 + 512 + 16
    start = len(data) - 4 * record
    one, two, three, four = (data[start + n * record :][:record] for n in range(4))
    path = tmp_path / "one" / "wallet.journal"
    for tail in (one + three + four, two + one + three + four, one + one + two + three):
        path.write_bytes(data[:start] + tail)
        with pytest.raises(OpenError):
            SealedJournal(tmp_path / "one", KEY)
    path.write_bytes(data[:start] + other[start:])
    with pytest.raises(OpenError):
        SealedJournal(tmp_path / "one", KEY)
