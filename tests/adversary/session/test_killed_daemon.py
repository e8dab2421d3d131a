"""`privity up` as a real process, opened from config.toml, and what is left after kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.infer.receipts import ReceiptStore


@pytest.fixture
def up(world: Any, privity_home: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    privity_home.mkdir(exist_ok=True)
    (privity_home / "config.toml").write_text(
        f'policy = "dev"\n[trust]\ndev_roots = ["{world.root.did}"]\n'
        f'[[enclave]]\nurl = "{world.peer.url}"\nrelay = "{world.peer.relay}"\n'
    )
    command = [sys.executable, "-m", "privity.cli", "up", "--json", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ})
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        token = Path(ready["token_file"]).read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(
            base_url=ready["url"], headers=headers, timeout=15, trust_env=False
        ) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(15)
        process.stdout.close()


def chat(model: str) -> dict[str, Any]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}


def test_a_killed_daemon_leaves_its_job_unfinished(
    up: tuple[subprocess.Popen[bytes], httpx.Client],
) -> None:
    process, client = up
    whole = client.post("/v1/chat/completions", json=chat("tokens-3"))
    assert whole.content.endswith(b"data: [DONE]\n\n")
    got = b""
    with pytest.raises(httpx.HTTPError):
        with client.stream("POST", "/v1/chat/completions", json=chat("hang")) as response:
            for piece in response.iter_raw():
                got += piece
                os.kill(process.pid, signal.SIGKILL)
    assert b"[DONE]" not in got
    store = ReceiptStore()
    last, first = (store.get(name)[1] for name in store.ids())
    assert first.record["credentialSubject"]["outcome"] == "complete"
    subject = last.record["credentialSubject"]
    assert subject["outcome"] == "unfinished"
    assert subject["ended"] is None
    assert subject["receipt"] is None


def test_a_daemon_told_to_stop_settles_what_runs(
    up: tuple[subprocess.Popen[bytes], httpx.Client],
) -> None:
    process, client = up
    with pytest.raises(httpx.HTTPError):
        with client.stream("POST", "/v1/chat/completions", json=chat("hang")) as response:
            for _ in response.iter_raw():
                process.terminate()
    process.wait(15)
    file = ReceiptStore().get("last")[1]
    assert file.record["credentialSubject"]["outcome"] == "interrupted"
