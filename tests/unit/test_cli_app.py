"""The command line as a whole: help, usage errors, exit codes, JSON, colour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from privity.attest.manifest import Manifest, ReferenceValue, Source
from privity.attest.signed_manifest import Revocation, SignedManifest, SignedRevocation
from privity.cli import app, output
from privity.errors import (
    InputError,
    PeerError,
    PolicyRefusal,
    PrivityError,
    ReceiptError,
)
from privity.identity.jcs import canonical
from privity.identity.keystore import device_key
from privity.identity.timestamps import utc_now

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `privity doctor` raise; it stands for any command."""

    def fail(*_: object) -> list[Any]:
        raise error

    monkeypatch.setattr("privity.cli.doctor._look", fail)


def test_help_lists_every_command_with_a_whole_sentence(capsys: Capture) -> None:
    assert app.run(["--help"]) == 0
    text = capsys.readouterr().out
    lines = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert {"ask", "serve", "wallet", "operator"} <= {line.split()[0] for line in lines}
    for line in lines:
        assert line.endswith("."), "cut off at this width"
        assert not line.endswith("...")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from privity.cli import app; assert app.run(['--help']) == 0; "
        "heavy = {'httpx', 'cryptography', 'starlette', 'uvicorn', 'xllamacpp', 'rich', 'spacy', "
        "'numpy', 'onnxruntime', 'presidio_analyzer'}; "
        "print(*heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.split() == []


def test_version(capsys: Capture) -> None:
    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("privity 0.")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("privity rec", "receipts"),
        ("privity receipts v", "verify"),
        ("privity ask --pol", "--policy"),
        ("privity ask --policy zero", "zero-retention"),
        ("privity policy show conf", "confidential"),
        ("privity receipts show la", "last"),
    ],
)
def test_the_shell_completes(words: str, offered: str) -> None:
    completion = {
        "_PRIVITY_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from privity.cli import main; main()"],
        env={**os.environ, **completion},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [offered]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["bogus"], "No such command 'bogus'.", "privity --help"),
        (["ask", "--nope"], "No such option: --nope", "privity ask --help"),
        (["receipts", "list", "-n", "x"], "Invalid value for '--limit'", "receipts list --help"),
        (["serve", "relay", "--port", "70000"], "Invalid value for '--port'", "serve relay"),
    ],
)
def test_a_usage_error_is_two_lines_and_exit_code_2(
    capsys: Capture, arguments: list[str], said: str, hint: str
) -> None:
    assert app.run(arguments) == output.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: {said}" in captured.err
    assert hint in captured.err.split("hint: ")[1]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PrivityError("it broke"), output.FAILURE),
        (PeerError("nobody there"), output.FAILURE),
        (InputError("not a file"), output.USAGE),
        (PolicyRefusal("too much", report={}), output.REFUSED),
        (KeyboardInterrupt(), output.INTERRUPTED),
    ],
)
def test_each_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    raising(monkeypatch, error)
    assert app.run(["doctor"]) == code


def test_an_error_is_said_with_its_hint(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    raising(monkeypatch, PeerError("the relay is gone", hint="start it"))
    app.run(["doctor"])
    captured = capsys.readouterr()
    assert captured.err == "error: the relay is gone\nhint: start it\n"
    assert captured.out == ""


def test_json_mode_writes_one_document_also_on_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    raising(monkeypatch, ReceiptError("another key", check="issuer", hint="look again"))
    assert app.run(["doctor", "--json"]) == output.FAILURE
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "error": {
            "type": "ReceiptError",
            "message": "another key",
            "hint": "look again",
            "check": "issuer",
        }
    }
    assert captured.err == ""


def test_a_refusal_in_json_mode_carries_its_report(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    raising(monkeypatch, PolicyRefusal("too much", report={"offending": [1]}))
    assert app.run(["doctor", "--json"]) == output.REFUSED
    assert json.loads(capsys.readouterr().out)["error"]["report"] == {"offending": [1]}


def test_a_usage_error_in_json_mode_is_json(capsys: Capture) -> None:
    assert app.run(["doctor", "--json", "--nope"]) == output.USAGE
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "UsageError"


def test_a_question_that_looks_like_an_option_is_not_one() -> None:
    assert app._options(["ask", "--", "--json"]) == ["ask"]


def test_a_bug_is_named_without_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    raising(monkeypatch, KeyError("the prompt itself"))
    assert app.run(["doctor"]) == output.FAILURE
    captured = capsys.readouterr().err
    assert "unexpected KeyError at test_cli_app.py" in captured
    assert "the prompt itself" not in captured


def test_sigterm_unwinds(tmp_path: Path) -> None:
    """So that a devnet stops its roles when it is asked to end."""
    script = (
        "import sys, time\n"
        "from privity.cli import app, doctor\n"
        "def look(name):\n"
        "    try:\n"
        "        print('up', flush=True)\n"
        "        time.sleep(30)\n"
        "    finally: print('unwound', flush=True)\n"
        "doctor._look = look\n"
        "app.main(['doctor'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PRIVITY_HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.communicate(timeout=10)[0] == "unwound\n"
    assert process.returncode == 143


def test_a_reader_that_left_is_no_error() -> None:
    script = (
        "from privity.cli import app, output, doctor\n"
        "doctor._look = lambda name: [output.out('x' * 1000) for _ in range(1000)]\n"
        "app.main(['doctor'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=10) == output.FAILURE


def test_colour_needs_a_terminal_and_no_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output.style("x", "red") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert output.style("x", "red") == "x", "coloured without a terminal"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert output.style("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.style("x", "red") == "x"


def test_progress_says_what_takes_long_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(output, "_PATIENCE_S", 0.05)
    with output.progress("quick"):
        pass
    with output.progress("quiet", quiet=True):
        time.sleep(0.1)
    with output.progress("thinking"):
        time.sleep(0.15)
    assert capsys.readouterr().err.startswith("thinking")


def test_nobody_to_ask_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open(os.devnull))
    with pytest.raises(InputError, match="no terminal"):
        output.confirm("Send it?")
    sys.stdin.close()


def test_words_of_others_cannot_drive_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    raising(monkeypatch, PeerError("it said \x1b]0;owned\x07\x9b31m", hint="a\nb\x08"))
    app.run(["doctor"])
    assert capsys.readouterr().err == "error: it said �]0;owned��31m\nhint: a\nb�\n"


@pytest.mark.parametrize(
    "char",
    [
        *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),  # bidi
        *map(chr, (0x200B, 0x200E, 0x200F, 0x61C, 0x2060, 0xAD, 0xFEFF, 0xE0041)),  # not seen
        *map(chr, (0, 7, 8, 13, 27, 127, 0x9B, 0x2028, 0x2029, 0xD800)),
    ],
    ids=lambda char: f"U+{ord(char):04X}",
)
def test_what_reorders_or_hides_text_is_shown_instead(char: str) -> None:
    assert output.harmless(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_the_text_of_any_script_stays() -> None:
    family = "\U0001f469\u200d\U0001f467"
    heart = "\u2764\ufe0f"
    persian, hindi = "\u0645\u06cc\u200c\u062e", "\u0915\u094d\u200d\u0937"
    for text in ("a\tb\n", "שלום", "Grüße", "\u06dd", persian, hindi, family, heart):
        assert output.harmless(text) == text


def test_an_answer_is_shown_to_a_terminal_and_written_whole_to_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from privity.cli.job import write_text

    write_text("a\x1b[2Jb\n")
    assert capsys.readouterr().out == "a\x1b[2Jb\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    write_text("a\x1b[2Jb\n")
    assert capsys.readouterr().out == "a�[2Jb\n"


def test_a_question_that_is_not_text_is_refused_in_words(capsys: Capture) -> None:
    assert app.run(["ask", "--route", "local", "caf\udce9"]) != 0
    said = capsys.readouterr().err
    assert "not UTF-8" in said
    assert "bug" not in said


def test_the_doctor_finds_a_device_key_that_others_can_read(
    capsys: Capture, privity_home: Path
) -> None:
    device_key()
    assert app.run(["doctor", "--only", "keyring"]) == 0
    (privity_home / "device.key").chmod(0o644)
    assert app.run(["doctor", "--only", "keyring"]) == 1
    assert "can be read by others" in capsys.readouterr().out


def test_the_doctor_reads_the_manifests_that_the_settings_name(
    capsys: Capture, privity_home: Path
) -> None:
    signer, config = device_key(), privity_home / "config.toml"
    config.write_text(f'[trust]\nsigners = ["{signer.did}"]\nmanifests = ["m.json", "r.json"]\n')
    assert app.run(["doctor", "--only", "settings"]) == 1
    assert "m.json" in capsys.readouterr().out
    now = utc_now()
    value = ReferenceValue("dev", {"measurement": "sha256:00"})
    manifest = Manifest("n", "b", Source("r", "c"), (value,), now, now + timedelta(days=1))
    signed = SignedManifest.sign(manifest, signer)
    (privity_home / "m.json").write_bytes(canonical(signed.to_json()))
    (privity_home / "r.json").write_bytes(b"{}")
    assert app.run(["doctor", "--only", "settings"]) == 1
    assert "r.json: " in capsys.readouterr().out
    revoked = SignedRevocation.sign(Revocation(manifest.digest, "a leak", now), signer)
    (privity_home / "r.json").write_bytes(canonical(revoked.to_json()))
    assert app.run(["doctor", "--only", "settings"]) == 0
    said = capsys.readouterr().out
    for count in ("1 signer", "1 manifest", "1 revocation", "no logs", "no witnesses"):
        assert f"{count}," in said


def test_no_summary_in_a_list_of_commands_is_cut(capsys: Capture) -> None:
    for words in ([], ["reference"], ["log"], ["model"], ["train"], ["serve"], ["deploy"]):
        assert app.run([*words, "--help"]) == 0
        listed = capsys.readouterr().out.partition("Commands:")[2]
        assert listed
        assert [line for line in listed.splitlines() if line.endswith("...")] == []
