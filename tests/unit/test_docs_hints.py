"""Where a command refuses what a person can put right, its hint says how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from privity.attest.quoters import choose_quoters
from privity.cli.app import run
from privity.errors import InputError
from privity.policy import Policy


@pytest.mark.parametrize("key", ["reference", "log"])
@pytest.mark.parametrize(("value", "word"), [("true", "required"), ("false", "optional")])
def test_a_truth_value_is_told_its_word(key: str, value: str, word: str) -> None:
    with pytest.raises(InputError) as refused:
        Policy.parse(f"[evidence]\n{key} = {value}")
    assert refused.value.hint == f'write {key} = "{word}"'
    Policy.parse(f"[evidence]\n{refused.value.hint.removeprefix('write ')}")


def test_dev_evidence_that_is_not_allowed_names_the_others() -> None:
    with pytest.raises(InputError) as refused:
        choose_quoters(names=["dev"])
    assert refused.value.hint == "name one of dstack, nitro, tsm, nvidia"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "nothing to add"),
        (["--keyset", "sha256:00"], "one entry"),
        (["--manifest", "a.json", "--revocation", "b.json"], "one entry"),
        (["--manifest", "a.json", "--enclave", "name"], "one entry"),
    ],
)
def test_log_add_says_what_can_be_added(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["log", "add", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert f"error: {told}" in said
    assert "hint: give --keyset with --enclave, or --manifest, or --revocation" in said


def test_a_new_log_can_be_verified_by_what_the_hint_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path / "home"))
    folder = str(tmp_path / "log")
    assert run(["log", "init", folder, "--origin", "log.example"]) == 0
    (vkey,) = re.findall(r"log\.example\+\S+", capsys.readouterr().out)
    assert run(["log", "verify", folder]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "--log VKEY" in said
    assert "[[log]]" in said
    assert run(["log", "verify", folder, "--log", vkey]) == 0
