"""`privity deploy render` as a person runs it, and what `privity reference sign` takes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from privity.cli import deploy, output, reference
from privity.errors import InputError, PrivityError

IMAGE = "ghcr.io/someone/privity@sha256:" + "ab" * 32
BUILT = ["--builder", "me", "--repository", "https://example.org/privity", "--commit", "0" * 40]
Capture = pytest.CaptureFixture[str]


def run(app: typer.Typer, *arguments: str) -> int:
    """Run a command as `privity.cli.app.run` does: an error is an exit code."""
    command: Any = typer.main.get_command(app)
    try:
        return int(command(list(arguments), standalone_mode=False) or 0)
    except PrivityError as error:
        output.print_error(str(error), error.hint)
        return output.exit_code(error)


def values(folder: Path) -> str:
    names = ("mrtd", "rtmr0", "rtmr1", "rtmr2")
    path = folder / "platform.json"
    path.write_text(json.dumps({**dict.fromkeys(names, "ab" * 48), "mr_aggregated": "00"}))
    return str(path)


def test_rendered_reference_can_be_signed_once_it_misses_nothing(
    tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "out"
    common = ["render", "--target", "phala", "--image", IMAGE, "-o"]
    assert run(deploy.app, *common, str(folder), *BUILT, "--platform", values(tmp_path)) == 0
    assert "reference.json is ready" in capsys.readouterr().err
    signed = tmp_path / "signed.json"
    assert run(reference.app, "sign", "--output", str(signed), str(folder / "reference.json")) == 0
    capsys.readouterr()
    body = json.loads(signed.read_text())["manifest"]
    assert (
        body["measurements"] == json.loads((folder / "reference.json").read_text())["measurements"]
    )
    assert "compose_hash" in body["measurements"][0]["registers"]


@pytest.mark.parametrize("target", ["phala", "rofl", "secretvm", "akash", "host"])
def test_incomplete_reference_is_named_so_and_cannot_be_signed(
    tmp_path: Path, capsys: Capture, target: str
) -> None:
    folder = tmp_path / "out"
    assert run(deploy.app, "render", "--target", target, "--image", IMAGE, "-o", str(folder)) == 0
    assert "reference.json misses" in capsys.readouterr().err
    signed = tmp_path / "signed.json"
    with pytest.raises(InputError):
        command: Any = typer.main.get_command(reference.app)
        words = ["sign", "--output", str(signed), str(folder / "reference.json")]
        command(words, standalone_mode=False)
    assert not signed.exists()


@pytest.mark.parametrize("target", ["phala", "rofl", "secretvm", "akash", "host"])
def test_json_has_files_measurement_and_reference(
    tmp_path: Path, capsys: Capture, target: str
) -> None:
    assert run(deploy.app, "render", "--target", target, "--image", IMAGE, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["target"] == target
    assert said["files"] and said["measurement"]["kind"] in ("tdx", "snp")
    assert said["reference"]["version"] == 1
    assert said["written"] == []
    assert set(said["measurement"]["elsewhere"]) <= set(said["missing"])


def test_files_are_shown_where_no_folder_is_given(capsys: Capture) -> None:
    assert run(deploy.app, "render", "--target", "akash", "--image", IMAGE) == 0
    out = capsys.readouterr().out
    assert IMAGE in out
    assert "--- deploy.yaml" in out


@pytest.mark.parametrize(
    "words",
    [
        ["--image", "ghcr.io/someone/privity:latest"],
        ["--image", IMAGE, "--model", "https://store.example/m"],
        ["--image", IMAGE, "--broker", "https://broker.example"],
        ["--image", IMAGE, "--model-id", "m"],
        ["--image", IMAGE, "--tee", "sgx"],
        ["--image", IMAGE, "--log", "https://log.example"],
        ["--image", IMAGE, "--manifest", "approved.json"],
        ["--image", IMAGE, "--name", "No Name"],
        ["--image", IMAGE, "--target", "elsewhere"],
    ],
)
def test_wrong_options_are_wrong_input(words: list[str], capsys: Capture) -> None:
    assert run(deploy.app, "render", "--target", "phala", *words) == output.USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_options_of_publishing_reach_the_files(capsys: Capture) -> None:
    words = ["render", "--target", "phala", "--image", IMAGE, "--json"]
    assert run(deploy.app, *words) == 0
    assert len(json.loads(capsys.readouterr().out)["lacks"]) == 2
    words += ["--pccs", "https://pccs.example"]
    words += ["--log", "https://log.example", "--log-name", "enclave.example"]
    assert run(deploy.app, *words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["lacks"] == []
    for word in ("https://pccs.example", "https://log.example", "enclave.example"):
        assert word in said["files"]["docker-compose.yml"]
