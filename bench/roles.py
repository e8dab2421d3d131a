"""Processes that several scripts here measure: an enclave, a relay before it, a device's daemon.

All on this machine, as `privity serve` and `privity up` start them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from privity.node.role_process import RoleProcess
from privity.seal.key_config import KeyConfig

CLI = [sys.executable, "-m", "privity.cli"]
SERVE = [*CLI, "serve"]


@dataclass(frozen=True)
class SealedPath:
    """An enclave and a relay before it.

    Attributes:
        enclave: its URL.
        relay: URL of the relay's resource for it.
        root: the development root its evidence ends in.
    """

    enclave: str
    relay: str
    root: str

    @property
    def trust(self) -> str:
        """The lines of config.toml that accept it."""
        return f'[trust]\ndev_roots = ["{self.root}"]\n'


@contextmanager
def sealed_path(folder: Path, engine: str, *options: str) -> Iterator[SealedPath]:
    """Run an enclave before an engine, with more options for it, and a relay before the enclave."""
    with ExitStack() as stack:
        command = [*SERVE, "enclave", "--lifeline", "--port", "0", "--engine", engine]
        command += ["--dev-root", str(folder / "root.key"), *options]
        enclave = RoleProcess("enclave", command, folder, start_limit_s=60)
        stack.callback(enclave.stop)
        target = f"bench={enclave.ready['url']}"
        command = [*SERVE, "relay", "--lifeline", "--port", "0", "--target", target]
        relay = RoleProcess("relay", command, folder, start_limit_s=30)
        stack.callback(relay.stop)
        url, root = str(enclave.ready["url"]), str(enclave.ready["root"])
        yield SealedPath(url, f"{relay.ready['url']}/bench", root)


@contextmanager
def daemon(home: Path, *options: str) -> Iterator[httpx.Client]:
    """Run `privity up` in a person's home and return a client of it."""
    process = subprocess.Popen(
        [*CLI, "up", "--json", "--policy", "dev", "--port", "0", *options],
        stdout=subprocess.PIPE,
        env={**os.environ, "PRIVITY_HOME": str(home)},
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no output to read")
        ready = json.loads(process.stdout.readline())
        token = Path(ready["token_file"]).read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=ready["url"], headers=headers, timeout=120) as client:
            yield client
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True)
class Streamed:
    """One streamed answer: seconds to its first token, and tokens per second after it."""

    first: float
    rate: float


def stream_answer(client: httpx.Client, number: int, tokens: int) -> Streamed:
    """Ask a question that was not asked before, and time the tokens of its answer."""
    question = f"Question {number}: tell a long story about a lighthouse and number {number * 7}."
    body = {
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
    }
    times: list[float] = []
    began = time.perf_counter()
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: {") and '"content":"' in line:
                times.append(time.perf_counter())
    if len(times) < tokens * 0.9:
        raise RuntimeError(f"{len(times)} tokens of {tokens} came")
    return Streamed(times[0] - began, (len(times) - 1) / (times[-1] - times[0]))


class OneKey:
    """The key of a gateway that this script started itself."""

    def __init__(self, config: KeyConfig) -> None:
        self._config = config

    async def current(self) -> KeyConfig:
        """Return it."""
        return self._config

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        """Return the same: there is no other."""
        return self._config
