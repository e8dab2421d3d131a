"""Attacks on a broker's log: a line altered, dropped, moved, put in or cut off is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from privity.errors import EvidenceError
from privity.node.broker_log import DecisionLog, read_log
from releases import START


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "broker"
    log = DecisionLog(folder, lambda line: None)
    with log.writing():
        for number in range(6):
            log.append("refused", START, {"check": "nonce", "detail": str(number)})
    return folder


def lines(folder: Path) -> list[bytes]:
    return (folder / "decisions.log").read_bytes().splitlines(keepends=True)


def write(folder: Path, content: list[bytes]) -> None:
    (folder / "decisions.log").write_bytes(b"".join(content))


def found(folder: Path) -> str:
    """Return the check by which a reader finds it; a broker that starts finds it by the same."""
    with pytest.raises(EvidenceError) as caught:
        read_log(folder)
    log = DecisionLog(folder, lambda line: None)
    with pytest.raises(EvidenceError) as again, log.writing():
        pass
    assert again.value.check == caught.value.check
    return caught.value.check


def test_a_log_nobody_touched_verifies(folder: Path) -> None:
    assert [line.number for line in read_log(folder)] == list(range(6))


def test_every_flipped_bit_is_found(folder: Path) -> None:
    whole = (folder / "decisions.log").read_bytes()
    for place in range(0, len(whole), 7):
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        (folder / "decisions.log").write_bytes(altered)
        with pytest.raises(EvidenceError):
            read_log(folder)


def test_a_line_altered_with_its_form_kept_is_found(folder: Path) -> None:
    content = lines(folder)
    content[2] = content[2].replace(b'"detail":"2"', b'"detail":"9"')
    write(folder, content)
    assert found(folder) == "log chain"


def test_the_last_line_altered_is_found(folder: Path) -> None:
    content = lines(folder)
    content[5] = content[5].replace(b'"detail":"5"', b'"detail":"9"')
    write(folder, content)
    assert found(folder) == "log end"


def test_a_dropped_line_is_found(folder: Path) -> None:
    content = lines(folder)
    del content[2]
    write(folder, content)
    assert found(folder) == "log number"


def test_reordered_lines_are_found(folder: Path) -> None:
    content = lines(folder)
    content[2], content[3] = content[3], content[2]
    write(folder, content)
    assert found(folder) == "log number"


def test_a_line_put_in_twice_is_found(folder: Path) -> None:
    content = lines(folder)
    write(folder, [*content[:3], *content[2:]])
    assert found(folder) == "log number"


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_lines_cut_off_the_end_are_found(folder: Path, kept: int) -> None:
    write(folder, lines(folder)[:kept])
    assert found(folder) == "log end"


def test_a_log_that_is_gone_is_found(folder: Path) -> None:
    (folder / "decisions.log").unlink()
    assert found(folder) == "log end"


def test_a_torn_last_line_that_was_whole_is_found(folder: Path) -> None:
    content = lines(folder)
    write(folder, [*content[:5], content[5][:40]])
    assert found(folder) == "log end"


def test_the_end_replaced_and_made_longer_is_found(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    log = DecisionLog(other, lambda line: None)
    with log.writing():
        for number in range(9):
            log.append("refused", START, {"check": "nonce", "detail": str(number % 5)})
    write(folder, lines(other))
    assert found(folder) == "log end"


def test_a_log_changed_under_a_running_broker_is_found(folder: Path) -> None:
    log = DecisionLog(folder, lambda line: None)
    with log.writing():
        pass
    write(folder, lines(folder)[:3])
    with pytest.raises(EvidenceError, match="shorter"), log.writing():
        pass


def test_junk_instead_of_a_head_is_found(folder: Path) -> None:
    (folder / "decisions.head").write_bytes(b"{}")
    assert found(folder) == "log end"
