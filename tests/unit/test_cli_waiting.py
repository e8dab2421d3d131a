"""What a person at a terminal sees while a command waits, and hears when they end it."""

from __future__ import annotations

import errno
import io
import json
import logging
import threading
from pathlib import Path

import pytest

from fake_rungs import Fake, session
from privity.cli import app, output, wallet
from privity.infer import asker

Capture = pytest.CaptureFixture[str]
CLEAR = "\r\x1b[2K"


class _Terminal(io.StringIO):
    """A terminal that tells when a spinner was drawn on it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    @property
    def encoding(self) -> str:
        return "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if "asking" in text:
            self.drawn.set()
        return count

    @property
    def lines(self) -> list[str]:
        """What is left to read: a line that was cleared is not."""
        return [line.rpartition(CLEAR)[2] for line in self.getvalue().split("\n")]


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """Return what stderr is from now on; no fixture, as pytest puts its own there in between."""
    made = _Terminal()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(output, "_PATIENCE_S", 0.0)
    return made


def test_a_step_that_is_told_while_the_spinner_turns_stands_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_terminal(monkeypatch)
    with output.waiting("asking the ledger"):
        assert terminal.drawn.wait(60)
        output.note("paying")
        terminal.drawn.clear()
        assert terminal.drawn.wait(60), "it turns on"
    assert terminal.lines == ["paying", ""]


BLOCKS = [f"Token.mint: {seen} of 3 blocks follow" for seen in range(4)]


def test_without_a_terminal_the_blocks_of_a_transaction_are_its_first_and_last(
    capsys: Capture,
) -> None:
    tell = output.steps()
    for step in ["paying", *BLOCKS, *BLOCKS, "Token.burn: 1 of 3 blocks follow", "done"]:
        tell(step)
    mint = [BLOCKS[0], BLOCKS[3]]
    told = ["paying", *mint, *mint, "Token.burn: 1 of 3 blocks follow", "done"]
    assert capsys.readouterr().err.splitlines() == told


def test_on_a_terminal_every_block_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    tell = output.steps()
    for step in BLOCKS:
        tell(step)
    assert terminal.lines == [*BLOCKS, ""]


def test_a_warning_that_is_logged_stands_on_a_line_of_its_own_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_terminal(monkeypatch)
    logger = logging.getLogger("privity.waits")
    monkeypatch.setattr(logger, "propagate", False)  # pytest hears it otherwise
    with output.waiting("asking the ledger"):
        assert terminal.drawn.wait(60)
        logger.warning("waiting up to %d s", 12)
    assert terminal.lines == ["waiting up to 12 s", ""]


def test_a_question_ends_the_spinner_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_terminal(monkeypatch)
    answers = _Terminal()
    answers.write("y\n")
    answers.seek(0)
    monkeypatch.setattr("sys.stdin", answers)
    with output.waiting("asking the ledger"):
        assert terminal.drawn.wait(60)
        assert output.confirm("Leave?")
        asked = terminal.getvalue()
    assert asked.endswith(f"{CLEAR}Leave? [y/N] ") and terminal.getvalue() == asked


def test_ctrl_c_says_what_became_of_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with pytest.raises(KeyboardInterrupt), output.waiting("asking", interrupted="it is kept"):
        assert terminal.drawn.wait(60)
        raise KeyboardInterrupt
    assert terminal.lines == ["interrupted: it is kept", ""]


def test_a_role_is_seen_to_start_until_it_is_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    terminal = on_terminal(monkeypatch)
    with output.starting("what is asking") as ready:
        assert terminal.drawn.wait(60)
        ready({"ready": True})
        assert terminal.lines == [""], "the line is left empty before the role says more"
        output.note("serving")
    assert terminal.lines == ["serving", ""]
    assert capsys.readouterr().out == '{"ready": true}\n'


def test_without_a_terminal_nothing_turns(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_PATIENCE_S", 0.0)
    with output.waiting("asking"):
        output.note("paying")
    assert capsys.readouterr().err == "paying\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_is_no_bug_in_privity(
    code: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(code, "it takes nothing", "/home/of/it")

    monkeypatch.setattr(wallet, "_acted", full)
    assert app.run(["wallet", "recover"]) == output.FAILURE
    said = capsys.readouterr().err
    assert "error: /home/of/it: it takes nothing\nhint: make room" in said
    assert app.run(["wallet", "recover", "--json"]) == output.FAILURE
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"] == "/home/of/it: it takes nothing"


def test_another_error_of_the_system_is_a_bug_still(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(wallet, "_acted", broken)
    assert app.run(["wallet", "recover"]) == output.FAILURE
    assert "this is a bug in privity" in capsys.readouterr().err


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have Ctrl-C come while an answer is waited for."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))
    transport = session(tmp_path, Fake("local"))
    monkeypatch.setattr(asker, "open_session", lambda *_, **__: transport)
    monkeypatch.setattr(asker.Asker, "stream", stop)


@pytest.mark.usefixtures("stopped")
def test_ctrl_c_before_an_answer_begins_says_where_to_look(capsys: Capture) -> None:
    assert app.run(["ask", "--policy", "dev", "Hi."]) == output.INTERRUPTED
    assert "interrupted before an answer began; `privity receipts" in capsys.readouterr().err


@pytest.mark.usefixtures("stopped")
def test_ctrl_c_before_an_answer_begins_leaves_one_in_the_chat(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi.\n/receipt\n"))
    assert app.run(["chat", "--policy", "dev"]) == 0
    said = capsys.readouterr().err
    assert "stopped; the question is taken back" in said
    assert said.endswith("no receipt yet\n"), "the chat goes on"
