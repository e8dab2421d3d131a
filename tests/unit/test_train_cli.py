"""`privity train`: the owner's commands, by their output."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from privity.attest import DevQuoter, DevRoot, build_statement
from privity.attest.release import BootKeys
from privity.cli import train
from privity.errors import (
    InputError,
    MalformedError,
    MissingDependency,
    PrivityError,
    ReceiptError,
)
from privity.identity.keys import SigningKey
from privity.identity.timestamps import utc_now
from privity.infer.engines import weights
from privity.train.bundle import NAMES, RECEIPT, Bundle
from privity.train.dataset import parse_dataset
from privity.train.program import measure_program, program_software
from privity.train.receipt import TrainingReceipt, issue_receipt
from privity.train.settings import Disclosed
from privity.vault import FileSource, Meta, Reader, owner_identity, read_header, seal_stream, unwrap

RECORDS = b'{"prompt":"canary4711","completion":"yes"}\n'
UNSIGNED = Bundle(dict.fromkeys(NAMES, b"x"))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(train.app, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    path.write_bytes(RECORDS)
    return path


@pytest.fixture(autouse=True)
def embedded(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Stand-in for the embedded model's weights; return their root."""
    path = tmp_path_factory.mktemp("weights") / "model.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setattr(weights, "find_default", lambda: weights.Weights(path, "model"))
    return weights.Weights(path, "model").digest()


def contents(path: Path) -> bytes:
    with FileSource(path) as source:
        reader = Reader(source, unwrap(read_header(source), owner_identity()))
        assert reader.meta.kind == "dataset"
        sink = io.BytesIO()
        reader.copy_to(sink)
    return sink.getvalue()


def test_program_prints_the_digest_a_grant_lists() -> None:
    assert run("program").strip() == measure_program()
    assert json.loads(run("program", "--json")) == {"program": measure_program()}


def test_seal_puts_the_settings_under_the_seal(records: Path, tmp_path: Path) -> None:
    target = tmp_path / "sealed"
    told = run("seal", str(records), "-o", str(target), "--steps", "7", "--seed", "3", "--json")
    assert json.loads(told)["records"] == 1
    read = parse_dataset(contents(target))
    assert (read.settings.steps, read.settings.seed) == (7, 3)
    assert read.settings.disclose is Disclosed.COUNTS
    assert b"canary4711" not in target.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "records.jsonl",
        "sealed",
    ]


def test_seal_names_the_base_weights_that_alone_are_trained_on(
    records: Path, tmp_path: Path, embedded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("seal", str(records), "-o", str(tmp_path / "one"))
    assert parse_dataset(contents(tmp_path / "one")).settings.base == embedded
    other = "tree-sha256:" + "5" * 64
    run("seal", str(records), "-o", str(tmp_path / "two"), "--base", other)
    assert parse_dataset(contents(tmp_path / "two")).settings.base == other

    def nothing() -> None:
        raise MissingDependency("the weights are not installed")

    monkeypatch.setattr(weights, "find_default", nothing)
    with pytest.raises(InputError, match="their owner names"):
        run("seal", str(records), "-o", str(tmp_path / "three"))
    assert not (tmp_path / "three").exists()


def test_seal_lets_the_loss_out_only_when_it_is_told_to(records: Path, tmp_path: Path) -> None:
    run("seal", str(records), "-o", str(tmp_path / "sealed"), "--tell-loss")
    assert parse_dataset(contents(tmp_path / "sealed")).settings.disclose is Disclosed.LOSS


def test_seal_refuses_what_is_no_dataset_and_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"prompt":"canary4711"}\n')
    with pytest.raises(MalformedError, match="line 1") as caught:
        run("seal", str(bad))
    assert "canary4711" not in str(caught.value)
    assert not (tmp_path / "bad.jsonl.sealed").exists()
    with pytest.raises(InputError, match="cannot read"):
        run("seal", str(tmp_path / "none"))


def sealed_adapter(folder: Path, data: bytes, kind: Any = "adapter") -> Path:
    path = folder / "adapter.sealed"
    with path.open("w+b") as sink:
        meta = Meta("adapter.tar", kind)
        seal_stream(io.BytesIO(data), sink, meta=meta, recipients=(owner_identity().recipient,))
    return path


@pytest.mark.parametrize(
    ("data", "kind", "error"),
    [
        (UNSIGNED.to_bytes(), "adapter", ReceiptError),
        (
            UNSIGNED.with_receipt(b"{}").to_bytes(),
            "adapter",
            ReceiptError,
        ),
        (b"no archive", "adapter", MalformedError),
        (UNSIGNED.to_bytes(), "model", MalformedError),
    ],
)
def test_open_writes_nothing_of_an_adapter_without_a_good_receipt(
    data: bytes, kind: str, error: type[PrivityError], tmp_path: Path
) -> None:
    with pytest.raises(error):
        run("open", str(sealed_adapter(tmp_path, data, kind)), "-o", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def signed_bundle(root: DevRoot) -> Bundle:
    """Return an adapter as an enclave under ``root`` would have signed for it."""
    now, key = utc_now(), SigningKey.generate()
    keyset = BootKeys(key.did, role="trainer", software=(program_software(),)).keyset
    receipt = TrainingReceipt(
        program=measure_program(),
        grant="sha256:" + "0" * 64,
        dataset="d" * 32,
        records_root="tree-sha256:" + "0" * 64,
        base="tree-sha256:" + "1" * 64,
        adapter=UNSIGNED.digest,
        recipient="age1pq1somebody",
        records=3,
        steps=4,
        keyset=keyset.digest,
        started=now,
        ended=now,
    )
    statement = build_statement(keyset, (DevQuoter(root, now=now),), now=now)
    return UNSIGNED.with_receipt(issue_receipt(receipt, key, statement))


def test_open_writes_the_files_and_verify_says_the_same_of_them(tmp_path: Path) -> None:
    root = DevRoot.generate()
    sealed, out = sealed_adapter(tmp_path, signed_bundle(root).to_bytes()), tmp_path / "out"
    trusting = ("--dev-root", root.did, "--json")
    told = json.loads(run("open", str(sealed), "-o", str(out), "--dataset", "d" * 32, *trusting))
    assert told["same as here"] == "yes" and told["records"] == 3
    assert sorted(path.name for path in out.iterdir()) == sorted([*NAMES, RECEIPT])
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    again = json.loads(run("verify", str(out), *trusting))
    assert again["verified"] and again["checks"] == told["checks"]
    assert "dev evidence" in run("verify", str(out), *trusting[:2])
    (out / "adapter.gguf").write_bytes(b"another")
    with pytest.raises(ReceiptError) as caught:
        run("verify", str(out), *trusting)
    assert caught.value.check == "adapter"
    with pytest.raises(ReceiptError):  # under a root that nobody listed
        run("verify", str(out))
    with pytest.raises(InputError, match="not an opened adapter"):
        run("verify", str(tmp_path))


def test_open_refuses_the_adapter_of_another_dataset_and_a_folder_that_is_there(
    tmp_path: Path,
) -> None:
    root = DevRoot.generate()
    sealed, out = sealed_adapter(tmp_path, signed_bundle(root).to_bytes()), tmp_path / "out"
    arguments = ("open", str(sealed), "-o", str(out), "--dev-root", root.did)
    with pytest.raises(ReceiptError, match="another dataset"):
        run(*arguments, "--dataset", "e" * 32)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(InputError, match="cannot make"):
        run(*arguments)


def test_a_trainer_without_its_libraries_ends_before_it_asks_for_a_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    app = typer.Typer()
    app.command("trainer")(train.trainer)
    nobody = "http://127.0.0.1:1"  # asked, it would be another error
    words = ["--broker", nobody, "--dataset", str(tmp_path), "--out", str(tmp_path)]
    command: Any = typer.main.get_command(app)
    with pytest.raises(MissingDependency, match="torch is not installed"):
        command([*words, "--unsafe-inspectable"], standalone_mode=False)


def test_the_trainer_is_a_command_that_can_be_registered() -> None:
    app = typer.Typer()
    app.command("trainer")(train.trainer)
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0 and "unsafe-inspectable" not in shown.output
