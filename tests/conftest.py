"""Shared fixtures: an async backend, a privity home of its own for every test, real servers."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvicorn
from starlette.applications import Starlette

from privity.node.relay import Relay
from privity.node.relay_role import RelayRole

_RECURSION = 1000

# How long an example takes says something of the machine alone.
hypothesis.settings.register_profile("privity", deadline=None)
hypothesis.settings.load_profile("privity")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="module")
def recursion_limit() -> Iterator[None]:
    """Hold the interpreter's limit: py-evm raises it, and nested JSON would end the process."""
    sys.setrecursionlimit(_RECURSION)
    yield
    sys.setrecursionlimit(_RECURSION)


@pytest.fixture(autouse=True)
def privity_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every test at an empty home, so that none reads or writes the person's own."""
    folder = tmp_path / "privity-home"
    monkeypatch.setenv("PRIVITY_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def attestation_vectors() -> Path:
    """Return the folder of real evidence from real hardware, or skip: it is not in this tree.

    ``PRIVITY_VECTORS`` names it; without that, ``shared/vectors/attestation`` beside the checkout.
    """
    beside = Path(__file__).parents[2] / "shared" / "vectors" / "attestation"
    folder = Path(os.environ.get("PRIVITY_VECTORS") or beside)
    if not (folder / "MANIFEST.json").is_file():
        pytest.skip("no folder of real evidence here: set PRIVITY_VECTORS to run this")
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Return a function that serves an ASGI app on a free loopback port and gives its URL.

    Each app has a uvicorn of its own, in a thread of this process, until the test ends. Of the
    apps in these tests only relays and Starlette's know what a lifespan is.
    """
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: Any, host: str = "127.0.0.1", **settings: Any) -> str:
        sock = socket.socket()
        sock.bind((host, 0))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on" if isinstance(app, Relay | RelayRole | Starlette) else "off",
            timeout_graceful_shutdown=1,
            **settings,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        running.append((server, thread))
        deadline = time.monotonic() + 60
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise RuntimeError("the test server did not start")
            time.sleep(0.005)
        return f"http://{host}:{sock.getsockname()[1]}"

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for _, thread in running)
