"""`privity model log`: what it reads, what it refuses to call unbroken, and what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privity.attest.grant_revocation import GrantRevocation
from privity.cli.app import run
from privity.errors import EvidenceError
from releases import KEY, OTHER_MEASUREMENT, Boot, Owner

Capture = pytest.CaptureFixture[str]


def refused_input(capsys: Capture, *arguments: str) -> dict[str, str]:
    assert run(["model", "log", *arguments, "--json"]) == 2
    error: dict[str, str] = json.loads(capsys.readouterr().out)["error"]
    return error


@pytest.mark.parametrize("verify", [("--verify",), ()], ids=["verify", "read"])
def test_what_holds_no_log_is_not_called_unbroken(
    capsys: Capture, tmp_path: Path, verify: tuple[str, ...]
) -> None:
    for folder in (tmp_path / "nosuch", tmp_path):
        error = refused_input(capsys, "--broker", str(folder), *verify)
        assert str(folder) in error["message"]
        assert "privity serve broker" in error["hint"]
        assert list(tmp_path.iterdir()) == []
    error = refused_input(capsys, *verify)
    assert "privity model grant" in error["hint"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9003", "https://broker.example"])
def test_a_log_is_not_read_through_a_url(capsys: Capture, url: str) -> None:
    error = refused_input(capsys, "--verify", "--broker", url)
    assert url in error["message"]
    assert "--broker FOLDER" in error["hint"]


def test_a_log_whose_lines_went_and_whose_head_stayed_is_broken(
    capsys: Capture, tmp_path: Path
) -> None:
    owner = Owner()
    owner.broker(tmp_path).add(owner.signed(), KEY)
    (tmp_path / "decisions.log").unlink()
    assert run(["model", "log", "--verify", "--broker", str(tmp_path)]) == 1
    assert "unbroken" not in capsys.readouterr().out


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """Return the folder of a broker with two leases, renewed in turn, and two refusals."""
    owner = Owner()
    broker = owner.broker(tmp_path / "broker")
    signed = owner.signed()
    broker.add(signed, KEY)
    first, second = Boot(owner), Boot(owner)
    for _ in range(4):
        first.ask(broker)
        second.ask(broker)
        owner.clock.forward(60)
    with pytest.raises(EvidenceError):
        Boot(owner, measurement=OTHER_MEASUREMENT).ask(broker)
    revocation = GrantRevocation(signed.digest, owner.key.did, "sold it", owner.clock())
    broker.revoke(revocation.sign(owner.key))
    return tmp_path / "broker"


def shown(capsys: Capture, folder: Path, *more: str) -> list[str]:
    assert run(["model", "log", "--broker", str(folder), *more]) == 0
    return capsys.readouterr().out.splitlines()


def event(line: str) -> str:
    return line.split()[1]


def test_renewals_are_one_line_a_lease_with_their_count_and_the_last_time(
    capsys: Capture, used: Path
) -> None:
    lines = shown(capsys, used)
    folded = ["added", "granted", "granted", "renewed", "renewed", "refused", "revoked"]
    assert [event(line) for line in lines] == folded
    assert all("3 times" in line for line in lines if event(line) == "renewed")
    assert lines[3].startswith("2026-06-01T12:03:00Z")
    assert event(shown(capsys, used, "-n", "3")[0]) == "renewed"
    every = [event(line) for line in shown(capsys, used, "--all")]
    assert (every.count("renewed"), every.count("granted")) == (6, 2)


def test_json_is_every_line_as_it_stands(capsys: Capture, used: Path) -> None:
    assert run(["model", "log", "--broker", str(used), "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [line["number"] for line in lines] == list(range(11))


def test_who_got_the_key_and_which_grant_a_refusal_is_about_are_shown(
    capsys: Capture, used: Path
) -> None:
    assert run(["model", "log", "--broker", str(used), "--json"]) == 0
    named = {one["event"]: one for one in json.loads(capsys.readouterr().out)}
    (code,) = named["granted"]["enclave"]["evidence"]
    grant = named["added"]["grant"].removeprefix("sha256:")[:12]
    by_event = {event(line): line for line in shown(capsys, used)}
    for name in ("granted", "renewed"):
        assert f"dev {code['measurement'].removeprefix('sha256:')[:12]}" in by_event[name]
    assert all(grant in by_event[name] for name in ("added", "granted", "refused", "revoked"))
    assert "measurement: the grant does not list" in by_event["refused"]
    assert "sold it" in by_event["revoked"]
