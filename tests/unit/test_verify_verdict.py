"""What ``privity verify`` tells: no more than was shown, and what stays open."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pki.certificates import NOON
from pki.intel import IntelPki, SgxQuoter, TdxQuoter
from pki.nitro import NitroPki
from pki.nvidia import NvidiaPki
from pki.snp import SnpPki
from privity.attest import DevQuoter, DevRoot, Trust, build_statement
from privity.attest.evidence import Quoter
from privity.attest.examine import examine_statement
from privity.attest.meaning import meaning_of
from privity.attest.roots import Roots
from privity.cli.app import run
from privity.identity.keys import SigningKey
from privity.statement import Keyset

NONCE = bytes(range(32))
KEYSET = Keyset(ohttp=bytes(80), receipts=SigningKey(b"\4" * 32).did)
Verify = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verify:
    def run_it(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = run(["verify", "--json", *arguments])
        return code, json.loads(capsys.readouterr().out)

    return run_it


@pytest.fixture
def recorded(tmp_path: Path, privity_home: Path) -> Path:
    """A dev statement, made for a challenge, in a file; its root is trusted."""
    now = datetime.now(UTC)
    root = DevRoot.generate()
    privity_home.mkdir(parents=True)
    (privity_home / "config.toml").write_text(f'[trust]\ndev_roots = ["{root.did}"]\n')
    made = build_statement(KEYSET, [DevQuoter(root, now=now)], now=now, nonce=NONCE)
    path = tmp_path / "statement.json"
    path.write_bytes(made.to_bytes())
    return path


def failed(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"] if not check["ok"]]


def test_a_recording_is_not_called_fresh(recorded: Path, verify: Verify) -> None:
    code, verdict = verify(str(recorded))
    assert code == 0
    assert "nonce" not in [check["name"] for check in verdict["checks"]]
    assert "freshness" in verdict["not_checked"]


def test_the_challenge_one_sent_is_checked(recorded: Path, verify: Verify) -> None:
    code, verdict = verify(str(recorded), "--nonce", NONCE.hex())
    assert code == 0 and "freshness" not in verdict["not_checked"]
    code, verdict = verify(str(recorded), "--nonce", "ff" * 32)
    assert code == 1 and failed(verdict) == ["nonce"]


@pytest.mark.parametrize("kind", ["tdx", "bogus"])
def test_another_kind_than_asked_for_is_not_accepted(
    kind: str, recorded: Path, verify: Verify
) -> None:
    code, verdict = verify(str(recorded), "--kind", kind)
    assert code == 1 and failed(verdict) == ["evidence kind"]
    assert verify(str(recorded), "--kind", "dev")[0] == 0


def test_files_for_an_enclave_that_is_asked_are_refused(recorded: Path, verify: Verify) -> None:
    code, verdict = verify("http://127.0.0.1:9", "--certs", str(recorded))
    assert code == 2 and "for files" in verdict["error"]["hint"]


def test_a_file_beside_the_evidence_is_blamed_by_itself(tmp_path: Path, verify: Verify) -> None:
    report = SnpPki().report(bytes(64))
    (tmp_path / "report").write_bytes(report)
    (tmp_path / "junk").write_bytes(b"no certificate")
    code, verdict = verify(str(tmp_path / "report"), "--certs", str(tmp_path / "junk"))
    assert code == 1 and failed(verdict) == ["certificate chain"]
    assert "debug" in [check["name"] for check in verdict["checks"]]


def test_nothing_is_proved_by_a_report_that_nobody_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report").write_bytes(SnpPki().report(bytes(64)))
    assert run(["verify", str(tmp_path / "report")]) == 1
    told = capsys.readouterr().out
    assert "would prove that nobody can look into it" in told
    assert "    proves" not in told and "unproven" in told


def test_what_nobody_was_asked_is_said(tmp_path: Path, verify: Verify) -> None:
    (tmp_path / "report").write_bytes(SnpPki().report(bytes(64)))
    _, verdict = verify(str(tmp_path / "report"))
    assert {"key binding", "reference value", "revocation"} <= set(verdict["not_checked"])
    assert verdict["at"].startswith("20")


INTEL = IntelPki()
QUOTERS: list[Quoter] = [
    TdxQuoter(INTEL),
    SgxQuoter(INTEL),
    SnpPki(),
    NitroPki(),
    NvidiaPki(rims=True),
    DevQuoter(DevRoot(SigningKey(b"\1" * 32)), now=NOON),
]


@pytest.mark.parametrize("quoter", QUOTERS, ids=lambda quoter: quoter.kind)
def test_every_check_says_what_it_is_worth(quoter: Quoter) -> None:
    trust = Trust(dev_roots=(DevRoot(SigningKey(b"\1" * 32)).did,), roots=Roots(INTEL.root_der))
    statement = build_statement(KEYSET, [quoter], now=NOON, nonce=NONCE)
    examined = examine_statement(statement.to_bytes(), nonce=NONCE, trust=trust, now=NOON)
    names = {check.name for check in examined.checks} - {"endorsement kind"}
    assert len(names) > 5
    assert [name for name in names if meaning_of(name, quoter.kind) is None] == []


@pytest.mark.parametrize(
    "at",
    ["2026-06-01", "20260601", "2026-06-01T00:00:00Z", "2026-06-01T02:00:00+02:00", "1780272000"],
)
def test_a_time_is_read_as_people_write_it(at: str, recorded: Path, verify: Verify) -> None:
    _, verdict = verify(str(recorded), "--at", at)
    assert verdict["at"] == "2026-06-01T00:00:00+00:00"


@pytest.mark.parametrize("at", ["", "yesterday", "2026-13-01", "12345"])
def test_what_is_no_time_is_told(at: str, recorded: Path, verify: Verify) -> None:
    code, verdict = verify(str(recorded), "--at", at)
    assert code == 2 and "since 1970" in verdict["error"]["hint"]
