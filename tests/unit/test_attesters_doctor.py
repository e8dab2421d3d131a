"""`privity doctor` shows each attester with what it misses. Platforms here are scripted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privity.attest import quoters
from privity.attest.quoters import AttesterSettings
from privity.cli import app
from scripted_platforms import ScriptedNvml, TsmScript, scripted_tsm


def looked(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    assert app.run(["doctor", "--only", "attesters", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    return {one["detail"].partition(":")[0]: one for one in findings}


def scripted(monkeypatch: pytest.MonkeyPatch, settings: AttesterSettings) -> None:
    found = quoters.available(settings)
    monkeypatch.setattr("privity.attest.quoters.available", lambda: found)


def test_each_attester_is_shown_with_a_hint_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    none = tmp_path / "none"
    settings = AttesterSettings(tsm=none, dstack=none, nsm=none, nvml=lambda: ScriptedNvml(cc=0))
    scripted(monkeypatch, settings)
    findings = looked(capsys)
    for name in ("dstack", "nitro", "tsm", "nvidia"):
        assert findings[name]["state"] == "note"
        assert findings[name]["hint"]
    assert findings["dev"]["state"] == "note", "dev is no good finding"
    assert "no hardware would vouch for an enclave on this machine" in findings


def test_scripted_hardware_that_is_ready_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    none = tmp_path / "none"
    with scripted_tsm(tmp_path / "tsm", TsmScript()) as folder:
        settings = AttesterSettings(tsm=folder, dstack=none, nsm=none, nvml=ScriptedNvml)
        scripted(monkeypatch, settings)
        findings = looked(capsys)
    assert findings["tsm"]["state"] == findings["nvidia"]["state"] == "good"
    assert not any(name.startswith("no hardware") for name in findings)
