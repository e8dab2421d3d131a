"""`privity model`: what people and programs read, what is refused, and what is never written."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from privity.cli import model
from privity.cli.meter import bytes_text, meter
from privity.errors import InputError, MalformedError, OpenError, PrivityError, TruncatedError
from privity.hazmat.hpke import KEMS
from privity.vault import owner_identity
from privity.vault.recipients import Recipient, new_identity

Capture = pytest.CaptureFixture[str]
PLAIN = b"canary weights " * 1000


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(PLAIN)
    return path


def run(*arguments: object) -> None:
    model.app([str(one) for one in arguments], standalone_mode=False)


def run_json(capsys: Capture, *arguments: object) -> Any:
    capsys.readouterr()
    run(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_seal_show_push_pull_open(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    sealed = run_json(capsys, "seal", weights)
    artefact = Path(sealed["file"])
    assert artefact == tmp_path / "tiny.gguf.sealed" and b"canary" not in artefact.read_bytes()
    assert weights.read_bytes() == PLAIN
    shown = run_json(capsys, "show", artefact)
    assert shown["yours"] and shown["name"] == "tiny.gguf" and shown["kind"] == "model"
    assert shown["root"] == sealed["root"] and shown["recipients"] == ["X-Wing"]
    store = tmp_path / "store"
    pushed = run_json(capsys, "push", artefact, store)
    assert pushed["id"] == sealed["id"] and pushed["moved"] == pushed["size"]
    pulled = run_json(capsys, "pull", store, tmp_path / "back.sealed")
    assert (pulled["id"], pulled["moved"]) == (sealed["id"], pushed["size"])
    opened = run_json(capsys, "open", tmp_path / "back.sealed", "-o", tmp_path / "plain")
    assert opened["root"] == sealed["root"]
    assert (tmp_path / "plain").read_bytes() == PLAIN
    assert (tmp_path / "plain").stat().st_mode & 0o777 == 0o600
    run("open", store, "-o", tmp_path / "plain again")  # straight from the store
    assert (tmp_path / "plain again").read_bytes() == PLAIN


def test_what_people_read(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    run("seal", weights, "--kind", "dataset", "--name", "mine")
    said = capsys.readouterr().out
    assert "tiny.gguf.sealed" in said and "dataset" in said and "tree-sha256:" in said
    run("show", tmp_path / "tiny.gguf.sealed")
    assert "mine" in capsys.readouterr().out
    run("push", tmp_path / "tiny.gguf.sealed", tmp_path / "store")
    assert capsys.readouterr().out.startswith("pushed ")
    run("push", tmp_path / "tiny.gguf.sealed", tmp_path / "store")
    assert "were there already" in capsys.readouterr().out
    run("key")
    assert capsys.readouterr().out.strip() == str(owner_identity().recipient)


def test_an_artefact_of_another_owner_shows_its_head_only(
    weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("seal", weights)
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path / "somebody else"))
    shown = run_json(capsys, "show", tmp_path / "tiny.gguf.sealed")
    assert not shown["yours"] and "name" not in shown and "root" not in shown
    run("show", tmp_path / "tiny.gguf.sealed")
    assert "not sealed to this key" in capsys.readouterr().err
    with pytest.raises(OpenError, match="not sealed to this key"):
        run("open", tmp_path / "tiny.gguf.sealed", "-o", tmp_path / "plain")
    assert not (tmp_path / "plain").exists()


def test_another_key_opens_what_was_sealed_to_it_too(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    friend, secret = new_identity()
    (tmp_path / "friends").write_text(f"# a friend\n{friend.recipient}\n")
    run("seal", weights, "--to", tmp_path / "friends")
    key = tmp_path / "friend.key"
    key.write_text(secret)
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path / "friend"))
    with pytest.raises(InputError, match="read by others"):
        key.chmod(0o644)
        run("open", tmp_path / "tiny.gguf.sealed", "-o", tmp_path / "plain", "-i", key)
    key.chmod(0o600)
    run("open", tmp_path / "tiny.gguf.sealed", "-o", tmp_path / "plain", "-i", key)
    assert (tmp_path / "plain").read_bytes() == PLAIN


def test_a_classical_recipient_must_be_asked_for(weights: Path, tmp_path: Path) -> None:
    classical = str(Recipient(0x0020, KEMS[0x0020].generate().public_bytes))
    with pytest.raises(InputError, match="quantum"):
        run("seal", weights, "--to", classical)
    assert sorted(path.name for path in tmp_path.glob("*.sealed*")) == []
    run("seal", weights, "--to", classical, "--unsafe-classical")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["seal", "{here}/gone"], InputError),
        (["seal", "{here}"], InputError),
        (["seal", "{here}/tiny.gguf", "--kind", "virus"], InputError),
        (["seal", "{here}/tiny.gguf", "--name", "../up"], InputError),
        (["seal", "{here}/tiny.gguf", "--to", "age1nonsense"], InputError),
        (["seal", "{here}/tiny.gguf", "--to", "{here}/gone"], InputError),
        (["seal", "{here}/tiny.gguf", "-o", "{here}/gone/out"], InputError),
        (["open", "{here}/tiny.gguf", "-o", "{here}/out"], MalformedError),
        (["open", "{here}/gone", "-o", "{here}/out"], InputError),
        (["show", "ftp://host/x"], InputError),
        (["push", "{here}/tiny.gguf", "{here}/store"], MalformedError),
        (["push", "{here}/gone", "{here}/store"], InputError),
        (["pull", "{here}/gone", "{here}/out"], InputError),
    ],
)
def test_what_cannot_be_done_is_an_error_and_leaves_nothing(
    weights: Path, tmp_path: Path, arguments: list[str], error: type[PrivityError]
) -> None:
    with pytest.raises(error):
        run(*(one.format(here=tmp_path) for one in arguments))
    left = {path.name for path in tmp_path.iterdir()} - {"privity-home"}
    assert left == {weights.name}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("seal", "."), "`tar` makes one"),
        (("seal", "tiny.gguf", "-o", "nowhere/x"), "a folder that exists"),
        (("seal", "tiny.gguf", "--to", "somebody"), "age1pq1…, or a file"),
        (("open", "tiny.gguf.sealed", "-i", "empty", "-o", "out"), "age-keygen -pq"),
        (("open", "tiny.gguf.sealed", "-i", "damaged", "-o", "out"), "from a copy"),
    ],
    ids=lambda one: one if isinstance(one, str) else " ".join(one),
)
def test_who_asks_for_what_cannot_be_is_told_what_can(
    weights: Path, arguments: tuple[str, ...], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights.parent)
    run("seal", weights)
    for name, content in (("empty", "# none\n"), ("damaged", "AGE-SECRET-KEY-PQ-1QQ\n")):
        Path(name).write_text(content)
        Path(name).chmod(0o600)
    with pytest.raises(InputError) as caught:
        run(*arguments)
    assert hint in caught.value.hint


def test_nothing_is_overwritten(weights: Path, tmp_path: Path) -> None:
    run("seal", weights)
    first = (tmp_path / "tiny.gguf.sealed").read_bytes()
    with pytest.raises(InputError, match="already"):
        run("seal", weights)
    with pytest.raises(InputError, match="already"):
        run("open", tmp_path / "tiny.gguf.sealed", "-o", weights)
    with pytest.raises(InputError, match="already"):
        run("open", tmp_path / "tiny.gguf.sealed", "-o", "/dev/stdout")
    assert (tmp_path / "tiny.gguf.sealed").read_bytes() == first
    assert weights.read_bytes() == PLAIN


def test_plaintext_goes_where_it_is_told_and_nowhere_else(weights: Path) -> None:
    run("seal", weights)
    with pytest.raises(typer.TyperException) as caught:
        run("open", f"{weights}.sealed")
    assert "--output" in caught.value.format_message()


def test_a_truncated_artefact_leaves_no_plaintext(weights: Path, tmp_path: Path) -> None:
    run("seal", weights)
    cut = tmp_path / "cut"
    cut.write_bytes((tmp_path / "tiny.gguf.sealed").read_bytes()[:-1])
    with pytest.raises(TruncatedError):
        run("open", cut, "-o", tmp_path / "plain")
    assert not list(tmp_path.glob("*plain*"))


def test_a_meter_speaks_only_when_work_is_long(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with meter("sealing \x1b[2Jm", 4_000_000) as told:
        told(1)
        assert capsys.readouterr().err == ""
        clock[0] += 2
        told(2_000_000)
        line = capsys.readouterr().err
        assert "50 % of 4 MB, 1 MB/s" in line and "\x1b[2J" not in line
    with meter("quiet", 10, quiet=True) as told:
        clock[0] += 99
        told(5)
    assert capsys.readouterr().err == ""


def test_bytes_as_people_say_them() -> None:
    said = [bytes_text(count) for count in (0, 999, 1000, 4_294_967_296, 5e15)]
    assert said == ["0 bytes", "999 bytes", "1 kB", "4.29 GB", "5e+03 TB"]
