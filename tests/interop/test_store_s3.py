"""Artefacts in an S3-compatible server (moto), and uploads and downloads that are killed."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from privity.errors import InputError, PeerError
from privity.vault import ArtefactKey, Meta, Reader, seal_stream
from privity.vault.store import open_store_reader
from privity.vault.transfer import pull, push

pytest.importorskip("moto", reason="moto, the S3-compatible server, is not installed")

KEY = ArtefactKey(b"\5" * 32)
PART = 1 << 20
CONTENTS = bytes(range(256)) * (4096 * 12) + b"end"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                assert httpx.put(f"{url}/bucket").status_code == 200
                break
            except httpx.TransportError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def environ(server: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    given = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **given}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artefact") / "a.sealed"
    with path.open("wb") as sink:
        seal_stream(io.BytesIO(CONTENTS), sink, meta=Meta("m", "model"), recipients=[], key=KEY)
    return path


def read_through(url: str) -> bytes:
    sink = io.BytesIO()
    source = open_store_reader(url)
    try:
        Reader(source, KEY).copy_to(sink)
    finally:
        source.close()
    return sink.getvalue()


@pytest.mark.usefixtures("environ")
def test_an_artefact_is_pushed_read_in_place_and_pulled(sealed: Path, tmp_path: Path) -> None:
    url = "s3://bucket/models/tiny model"
    told: list[int] = []
    size = sealed.stat().st_size
    assert push(sealed, url, part_bytes=PART, progress=told.append).moved == size
    assert told == sorted(told) and told[-1] == size
    assert push(sealed, url, part_bytes=PART).moved == 0
    assert read_through(url) == CONTENTS
    told.clear()
    assert pull(url, tmp_path / "back", progress=told.append).moved == size
    assert (tmp_path / "back").read_bytes() == sealed.read_bytes()
    assert told == sorted(told) and told[-1] == size


@pytest.mark.usefixtures("environ")
def test_a_plain_object_that_is_an_artefact_is_read_too(
    server: str, sealed: Path, tmp_path: Path
) -> None:
    assert httpx.put(f"{server}/bucket/one.sealed", content=sealed.read_bytes()).is_success
    assert read_through("s3://bucket/one.sealed") == CONTENTS
    pull("s3://bucket/one.sealed", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == sealed.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("environ")
def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no artefact at s3://bucket/none"):
        pull("s3://bucket/none", tmp_path / "back")


@pytest.mark.usefixtures("environ")
def test_a_push_to_a_bucket_that_is_not_there_says_so(sealed: Path) -> None:
    with pytest.raises(PeerError, match="s3://nobucket/x: there is no such bucket"):
        push(sealed, "s3://nobucket/x")


def test_a_server_that_is_gone_is_an_error_about_it(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-word")
    with pytest.raises(PeerError, match="nobody listens") as caught:
        push(sealed, "s3://bucket/x")
    assert "secret-word" not in str(caught.value)


# Parts are slowed down, so that the kill falls between them.
_CHILD = """
import sys, time
from pathlib import Path
from privity.vault import transfer
def told(done):
    print(done, flush=True)
    time.sleep(0.15)
what, first, second = sys.argv[1:]
if what == "push":
    transfer.push(Path(first), second, progress=told, part_bytes=1 << 20)
else:
    transfer.pull(first, Path(second), progress=told)
"""


def run_and_kill(environ: dict[str, str], *arguments: str) -> None:
    """Run a push or a pull in a process of its own, and kill it after three parts."""
    command = [sys.executable, "-c", _CHILD, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as child:
        assert child.stdout is not None
        for _ in range(3):
            assert child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("remote", [True, False], ids=["s3", "folder"])
def test_a_killed_push_goes_on_where_it_stopped(
    environ: dict[str, str], sealed: Path, tmp_path: Path, remote: bool
) -> None:
    url = "s3://bucket/killed" if remote else str(tmp_path / "store")
    run_and_kill(environ, "push", str(sealed), url)
    with pytest.raises(InputError, match="no artefact"):  # half of one is none
        open_store_reader(url)
    size = sealed.stat().st_size
    moved = push(sealed, url, part_bytes=PART)
    assert moved.moved <= size - 3 * PART
    assert read_through(url) == CONTENTS


@pytest.mark.parametrize("remote", [True, False], ids=["s3", "folder"])
def test_a_killed_pull_goes_on_where_it_stopped(
    environ: dict[str, str], sealed: Path, tmp_path: Path, remote: bool
) -> None:
    url = "s3://bucket/pulled" if remote else str(tmp_path / "store")
    push(sealed, url, part_bytes=PART)
    target = tmp_path / "back"
    run_and_kill(environ, "pull", url, str(target))
    assert not target.exists()
    moved = pull(url, target)
    assert moved.moved <= sealed.stat().st_size - 3 * PART
    assert target.read_bytes() == sealed.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".back")] == []
