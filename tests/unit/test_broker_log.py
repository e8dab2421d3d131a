"""A broker's log through kills: what was decided is there, and the log reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from privity.errors import InputError
from privity.node.broker_log import GENESIS, DecisionLog, Line, read_log
from releases import KEY, START, Boot, Owner, events

RELEASING = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from releases import KEY, Boot, Owner
from privity.attest import DevRoot
from privity.identity.keys import SigningKey
owner = Owner(SigningKey(bytes(32)), DevRoot(SigningKey(b"1" * 32)))
broker = owner.broker(Path(sys.argv[1]))
broker.add(owner.signed(uses=10**6), KEY)
while True:
    Boot(owner).ask(broker)
    print("released", flush=True)
"""


def test_lines_follow_from_each_other_over_restarts(tmp_path: Path) -> None:
    for number in range(3):
        log = DecisionLog(tmp_path, lambda line: None)
        with log.writing():
            log.append("refused", START, {"detail": str(number)})
    lines = read_log(tmp_path)
    assert [line.number for line in lines] == [0, 1, 2]
    assert [line.before for line in lines] == [GENESIS, lines[0].digest, lines[1].digest]
    assert (tmp_path / "decisions.log").stat().st_mode & 0o077 == 0


def test_a_torn_last_line_is_taken_back(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, lambda line: None)
    with log.writing():
        log.append("refused", START, {})
    with (tmp_path / "decisions.log").open("ab") as file:
        file.write(b'{"about":{"arte')
    assert len(read_log(tmp_path)) == 1
    with log.writing():
        log.append("refused", START, {})
    assert len(read_log(tmp_path)) == 2


def test_a_line_the_head_does_not_know_yet_is_taken(tmp_path: Path) -> None:
    """A kill between the two writes leaves a line more than the head says."""
    log = DecisionLog(tmp_path, lambda line: None)
    with log.writing():
        log.append("refused", START, {})
    head = (tmp_path / "decisions.head").read_bytes()
    with log.writing():
        log.append("refused", START, {})
    (tmp_path / "decisions.head").write_bytes(head)
    seen: list[Line] = []
    with DecisionLog(tmp_path, seen.append).writing():
        pass
    assert len(seen) == 2
    assert (tmp_path / "decisions.head").read_bytes() != head


def test_two_processes_lines_become_one_chain(tmp_path: Path) -> None:
    seen: list[Line] = []
    one, other = DecisionLog(tmp_path, seen.append), DecisionLog(tmp_path, lambda line: None)
    for log in (one, other, one, other):
        with log.writing():
            log.append("refused", START, {})
    with one.writing():
        pass
    assert [line.number for line in seen] == [0, 1, 2, 3]
    assert len(read_log(tmp_path)) == 4


def test_it_is_written_only_while_it_is_held(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        DecisionLog(tmp_path, lambda line: None).append("refused", START, {})


@pytest.mark.parametrize("wait_s", [0.02, 0.11])
def test_a_broker_killed_at_any_moment_forgets_no_use(tmp_path: Path, wait_s: float) -> None:
    """Nothing is released without its line: of what was given, all is counted, at most one more."""
    command = [sys.executable, "-c", RELEASING, str(tmp_path), str(Path(__file__).parents[1])]
    given = 0
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "released\n"
        time.sleep(wait_s)
        os.kill(process.pid, signal.SIGKILL)
        given += 1 + process.stdout.read().count("released\n")
        process.wait()
        process.stdout.close()
        counted = [event for event, _ in events_of(tmp_path)].count("granted")
        assert given <= counted <= given + 1
        given = counted
    again = Owner().broker(tmp_path)
    assert sum(state.uses for state in again.grants()) == given


def events_of(folder: Path) -> list[tuple[str, str | None]]:
    read_log(folder)
    whole, _, torn = (folder / "decisions.log").read_bytes().rpartition(b"\n")
    if torn:
        (folder / "decisions.log").write_bytes(whole + b"\n")
    return events(folder)


def test_a_grant_that_was_kept_and_not_logged_is_added_again(tmp_path: Path) -> None:
    """A kill between keeping the files and the line: the owner sees an error, and tries again."""
    owner = Owner()
    signed = owner.signed()
    owner.broker(tmp_path).add(signed, KEY)
    for name in ("decisions.log", "decisions.head"):
        (tmp_path / name).unlink()
    broker = owner.broker(tmp_path)
    assert broker.grants() == []
    assert broker.add(signed, KEY) is not None
    Boot(owner).ask(broker)
