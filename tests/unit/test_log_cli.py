"""`privity reference`, `privity log` and the two roles, as people and programs meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from privity.attest.log import LogFolder, check_logged
from privity.cli import log, reference, serve_log
from privity.errors import EvidenceError, InputError, PrivityError
from privity.identity.keystore import load_or_create_key

Capture = pytest.CaptureFixture[str]

DIGEST = "sha256:" + "ab" * 32
TREE = "tree-sha256:" + "cd" * 32
LAUNCH = "ab" * 48
SIGN = ["reference", "sign", "--name", "enclave 1", "--builder", "Example", "--repository", "r"]
SIGN += ["--commit", "c"]


def _root() -> typer.Typer:
    root = typer.Typer()
    root.add_typer(reference.app, name="reference")
    root.add_typer(log.app, name="log")
    return root


def run(capture: Capture, *arguments: object) -> str:
    _root()([str(one) for one in arguments], standalone_mode=False)
    return capture.readouterr().out


def run_json(capture: Capture, *arguments: object) -> Any:
    return json.loads(run(capture, *arguments))


@pytest.fixture
def verdict(tmp_path: Path) -> Path:
    """Return a file with what `privity verify --json` writes of evidence that it accepted."""
    path = tmp_path / "verdict.json"
    measured = [{"measurement": LAUNCH, "host_data": "00" * 32}]
    path.write_text(json.dumps({"accepted": True, "kind": "snp", "measured": measured}))
    return path


@pytest.fixture
def manifest(tmp_path: Path, verdict: Path, capsys: Capture) -> Path:
    path = tmp_path / "manifest.json"
    run(capsys, *SIGN, "--from-verify", verdict, "--model", f"small={TREE}", "-o", path)
    return path


def test_what_was_verified_is_signed_shown_verified_and_revoked(
    manifest: Path, tmp_path: Path, privity_home: Path, capsys: Capture
) -> None:
    shown = run_json(capsys, "reference", "show", manifest, "--json")
    (entry,) = shown["manifest"]["measurements"]
    assert entry == {"kind": "snp", "registers": {"measurement": LAUNCH}}
    assert shown["manifest"]["models"] == [{"id": "small", "weights": TREE}]
    (signer,) = shown["signers"]
    assert signer == load_or_create_key(privity_home / "signer.key").did
    text = run(capsys, "reference", "show", manifest)
    assert "enclave 1" in text and LAUNCH in text and signer in text

    with pytest.raises(EvidenceError) as caught:
        run(capsys, "reference", "verify", manifest)
    assert caught.value.check == "reference signature"
    assert "until" in run(capsys, "reference", "verify", manifest, "--signer", signer)
    late = ("--signer", signer, "--at", "2036-01-01T00:00:00Z")
    with pytest.raises(EvidenceError) as caught:
        run(capsys, "reference", "verify", manifest, *late)
    assert caught.value.check == "reference period"

    taken = tmp_path / "revocation.json"
    run(capsys, "reference", "revoke", manifest, "--reason", "a leak", "-o", taken)
    with pytest.raises(EvidenceError) as caught:
        run(capsys, "reference", "verify", manifest, "--signer", signer, "--revocation", taken)
    assert caught.value.check == "reference revoked"


def test_a_revocation_that_the_config_lists_counts_and_is_no_manifest(
    manifest: Path, privity_home: Path, capsys: Capture
) -> None:
    signer = load_or_create_key(privity_home / "signer.key").did
    taken = privity_home / "revoked.json"
    run(capsys, "reference", "revoke", manifest, "--reason", "a leak", "-o", taken)
    config = privity_home / "config.toml"
    config.write_text(f'[trust]\nsigners = ["{signer}"]\nmanifests = []\n')
    assert "until" in run(capsys, "reference", "verify", manifest)
    config.write_text(f'[trust]\nsigners = ["{signer}"]\nmanifests = ["revoked.json"]\n')
    with pytest.raises(EvidenceError) as caught:
        run(capsys, "reference", "verify", manifest)
    assert caught.value.check == "reference revoked"
    for command in ("verify", "show"):
        with pytest.raises(InputError, match="is a revocation, not a manifest"):
            run(capsys, "reference", command, taken)


def test_a_manifest_is_signed_from_a_file_of_toml_or_json(tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "m.toml"
    table.write_text(
        'name = "enclave 2"\nbuilder = "Example"\nprograms = []\n'
        '[source]\nrepository = "r"\ncommit = "c"\n'
        '[[measurements]]\nkind = "sgx"\n[measurements.registers]\n'
        f'mrenclave = "{LAUNCH[:64]}"\n'
    )
    signed = run_json(capsys, "reference", "sign", table)
    assert signed["manifest"]["measurements"][0]["kind"] == "sgx"
    body = tmp_path / "m.json"
    body.write_text(json.dumps(signed["manifest"]))
    again = run_json(capsys, "reference", "sign", body)
    assert again == signed


def test_what_was_not_accepted_or_identifies_nothing_is_not_signed(
    verdict: Path, tmp_path: Path, capsys: Capture
) -> None:
    for change, why in (
        ({"accepted": False}, "not accepted"),
        ({"measured": [{"host_data": "00"}]}, "must name measurement"),
        ({"measured": []}, "not what"),
        ({"measured": [1]}, "not what"),
        ({"kind": None}, "not what"),
    ):
        path = tmp_path / "changed.json"
        path.write_text(json.dumps({**json.loads(verdict.read_text()), **change}))
        with pytest.raises(InputError, match=why):
            run(capsys, *SIGN, "--from-verify", path)
    with pytest.raises(InputError, match="measurements"):
        run(capsys, *SIGN)
    with pytest.raises(InputError, match="ID=DIGEST"):
        run(capsys, *SIGN, "--from-verify", verdict, "--model", "small")


def test_nobody_else_revokes(manifest: Path, tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(InputError, match="only who signed"):
        run(capsys, "reference", "revoke", manifest, "--reason", "x", "--key", tmp_path / "other")


@pytest.fixture
def folder(tmp_path: Path, capsys: Capture) -> tuple[Path, str]:
    """Return a log and its verifier key."""
    path = tmp_path / "log"
    made = run_json(capsys, "log", "init", path, "--origin", "log.example", "--json")
    return path, made["vkey"]


def test_a_log_is_made_added_to_shown_and_verified(
    folder: tuple[Path, str], manifest: Path, capsys: Capture
) -> None:
    path, vkey = folder
    add = ("log", "add", path)
    first = run_json(capsys, *add, "--keyset", DIGEST, "--enclave", "ai.example")
    logged = check_logged(
        first,
        DIGEST,
        logs=[vkey],
        witnesses=[],
        quorum=0,
        now=datetime.now(UTC),
        max_age=timedelta(hours=1),
        remembered=None,
        consistency=None,
    )
    assert (logged.origin, logged.size) == ("log.example", 1)
    assert run_json(capsys, *add, "--manifest", manifest)["index"] == 1
    assert run_json(capsys, *add, "--manifest", manifest)["index"] == 1
    shown = run_json(capsys, "log", "show", path, "--json")
    assert (shown["origin"], shown["size"]) == ("log.example", 2)
    assert "not checked" in run(capsys, "log", "show", path)
    assert "first sight" in run(capsys, "log", "verify", path, "--log", vkey)
    run(capsys, *add, "--keyset", TREE.replace("tree-", ""), "--enclave", "ai.example")
    verified = run_json(capsys, "log", "verify", path, "--log", vkey, "--json")
    assert verified["growth"] == "of one growth with the 2 seen before"
    with pytest.raises(EvidenceError):
        run(capsys, "log", "verify", path)


def test_two_keysets_of_one_name_at_one_time_show(
    folder: tuple[Path, str], capsys: Capture
) -> None:
    path, vkey = folder
    for number, name in enumerate(["ai.example", "other.example", "ai.example"]):
        keyset = f"sha256:{number:064x}"
        run(capsys, "log", "add", path, "--keyset", keyset, "--enclave", name)
    rows = run_json(capsys, "log", "keysets", "ai.example", path, "--log", vkey, "--json")
    assert [(row["index"], row["overlaps"]) for row in rows] == [(0, [2]), (2, [0])]
    assert "overlaps with 2" in run(capsys, "log", "keysets", "ai.example", path, "--log", vkey)
    assert run_json(capsys, "log", "keysets", "x", path, "--log", vkey, "--json") == []


def test_a_log_that_was_rolled_back_is_found_out(folder: tuple[Path, str], capsys: Capture) -> None:
    path, vkey = folder
    older = (path / "checkpoint").read_bytes()
    add = ("log", "add", path, "--enclave", "ai.example", "--keyset")
    run(capsys, *add, DIGEST)
    run(capsys, "log", "verify", path, "--log", vkey)
    (path / "checkpoint").write_bytes(older)
    with pytest.raises(EvidenceError) as caught:
        run(capsys, "log", "verify", path, "--log", vkey)
    assert caught.value.check == "log consistency"
    run(capsys, *add, f"sha256:{1:064x}")
    with pytest.raises(EvidenceError) as caught:
        run(capsys, "log", "verify", path, "--log", vkey)
    assert caught.value.check == "log split view"


def test_wrong_arguments_are_told(
    folder: tuple[Path, str], tmp_path: Path, capsys: Capture
) -> None:
    path, _ = folder
    for arguments in (
        ("add", path),
        ("add", path, "--keyset", DIGEST),
        ("add", path, "--keyset", "x", "--enclave", "e"),
        ("add", tmp_path / "none", "--keyset", DIGEST, "--enclave", "e"),
        ("init", path, "--origin", "log.example"),
        ("init", tmp_path / "new", "--origin", "two words"),
        ("verify", path, "--log", "x"),
        ("verify", path, "--witness", "x"),
    ):
        with pytest.raises(PrivityError) as caught:
            run(capsys, "log", *arguments)
        assert "unexpected" not in caught.value.message


def test_a_log_open_to_anyone_stays_on_loopback(folder: tuple[Path, str]) -> None:
    path, _ = folder
    with pytest.raises(InputError, match="loopback"):
        serve_log.log(path, host="0.0.0.0")  # noqa: S104 - what must be refused
    with pytest.raises(InputError, match="VKEY=URL"):
        serve_log.log(path, witness=["x"])


SERVE = """
import sys, typer
from privity.cli import serve_log
app = typer.Typer()
app.command("log")(serve_log.log)
app.command("witness")(serve_log.witness)
app(sys.argv[1:])
"""


def test_the_roles_run_as_processes_and_an_entry_comes_back_cosigned(
    folder: tuple[Path, str], capsys: Capture
) -> None:
    path, vkey = folder
    running: list[subprocess.Popen[str]] = []

    def serve(*arguments: object) -> dict[str, Any]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, *map(str, arguments), "--lifeline"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        ready: dict[str, Any] = json.loads(process.stdout.readline())
        return ready

    try:
        witness = serve("witness", "--name", "w.example", "--log", vkey)
        there = serve("log", path, "--witness", f"{witness['vkey']}={witness['url']}")
        assert there["vkey"] == vkey
        url = there["url"]
        endorsement = run_json(
            capsys, "log", "add", url, "--keyset", DIGEST, "--enclave", "ai.example"
        )
        logged = check_logged(
            endorsement,
            DIGEST,
            logs=[vkey],
            witnesses=[witness["vkey"]],
            quorum=1,
            now=datetime.now(UTC),
            max_age=timedelta(hours=1),
            remembered=None,
            consistency=None,
        )
        assert len(logged.cosigned) == 1
        seen = run(capsys, "log", "verify", url, "--log", vkey, "--witness", witness["vkey"])
        assert "w.example at" in seen
    finally:
        for process in running:
            process.communicate(timeout=20)
    assert all(process.returncode in (0, -15) for process in running)
    with LogFolder.open(path, log.log_key(None)) as reopened:
        assert reopened.checkpoint.size == 1
