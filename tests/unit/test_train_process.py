"""The training process before it trains: what it refuses, how it is confined, when it ends."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from privity.errors import EngineError, InputError, MalformedError, MissingDependency
from privity.infer.engines.weights import Weights
from privity.node import train_process
from privity.node.train_process import TrainingOrder
from privity.node.training_child import Base, TrainingChild
from privity.train.dataset import with_settings
from privity.train.settings import LoraSettings
from privity.vault import root_of

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a trainer runs on Linux alone"
)

RECORD = b'{"text":"canary4711"}\n'


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(3 << 20))
    made = Base.load(Weights(path, "model"))
    yield made
    made.close()


@pytest.fixture
def child(base: Base) -> Iterator[TrainingChild]:
    made = TrainingChild(base, threads=1, unsafe_inspectable=True)
    yield made
    made.close()


def test_weights_in_memory_are_measured_and_cannot_change(base: Base) -> None:
    assert base.root == root_of(b"GGUF" + bytes(3 << 20))
    for change in (lambda: os.pwrite(base.fd, b"x", 0), lambda: os.ftruncate(base.fd, 5)):
        with pytest.raises(PermissionError):
            change()
    with pytest.raises(InputError, match="cannot read"):
        Base.load(Weights(Path("/nowhere/model.gguf"), "model"))


def test_settings_that_are_none_fail_without_a_word_of_them(child: TrainingChild) -> None:
    with pytest.raises(EngineError) as caught:
        child.run(b'{"settings":{"canary4711":1}}\n' + RECORD)
    assert caught.value.message == "training failed"
    assert "canary4711" not in caught.value.hint


def test_other_base_weights_than_the_owner_named_are_refused(child: TrainingChild) -> None:
    settings = LoraSettings(base="tree-sha256:" + "0" * 64)
    with pytest.raises(EngineError, match="other base weights"):
        child.run(with_settings(RECORD, settings))


@pytest.mark.parametrize("head", [b"", b'{"settings":{}}\n'])
def test_without_base_weights_that_the_owner_named_nothing_is_trained(
    child: TrainingChild, head: bytes
) -> None:
    with pytest.raises(EngineError, match="name no base weights"):
        child.run(head + RECORD)


class Said:
    """Stands for the way out of the process."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def line(self, value: dict[str, Any]) -> None:
        self.lines.append(value)


def said_of(data: bytes, monkeypatch: pytest.MonkeyPatch, *, base: str, fails: Any) -> list[Any]:
    def train(*_: Any, **__: Any) -> None:
        raise fails

    monkeypatch.setattr(train_process, "_end_with", lambda source: None)
    monkeypatch.setattr(train_process, "go_offline", lambda: None)
    monkeypatch.setattr(train_process, "load_base", lambda path: object())
    monkeypatch.setattr(train_process, "train_lora", train)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=lambda n: None))
    order, said = TrainingOrder("/dev/null", "m", base, len(data), 1), Said()
    train_process._train(order, io.BytesIO(data), said)  # type: ignore[arg-type]
    return said.lines


@pytest.mark.parametrize(
    "fails",
    [
        EngineError("training diverged", hint="canary4711"),
        MalformedError("nothing to learn in the first 2 tokens"),
        MissingDependency("canary4711 is not installed"),
        ValueError("canary4711"),
        MemoryError(),
        None,
    ],
)
def test_whatever_goes_wrong_with_records_is_one_answer(
    fails: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = "tree-sha256:" + "0" * 64
    data = with_settings(RECORD, LoraSettings(base=root))
    if fails is None:  # a record that is none
        data += b'{"canary4711":1}\n'
    assert said_of(data, monkeypatch, base=root, fails=fails) == [{"failed": "training"}]


def test_weights_that_the_owner_did_not_name_are_not_even_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = with_settings(RECORD, LoraSettings(base="tree-sha256:" + "0" * 64))
    said = said_of(data, monkeypatch, base="tree-sha256:" + "1" * 64, fails=ValueError())
    assert said == [{"failed": "other base"}]
    monkeypatch.setattr(train_process, "load_base", pytest.fail)
    order, again = TrainingOrder("/dev/null", "m", "r", len(data), 1), Said()
    train_process._train(order, io.BytesIO(data), again)  # type: ignore[arg-type]
    assert again.lines == said


PLAYED = """
import sys
sys.stdin.buffer.readline()
sys.stdout.write({said!r})
sys.stdout.flush()
"""


@pytest.mark.parametrize(
    "said",
    [
        '{"error":"canary4711","hint":""}\n',
        '{"step":1,"steps":2}\n{"error":"canary4711","hint":""}\n',
        '{"step":2,"steps":9}\n',
        '{"step":1,"steps":4711}\n{"step":2,"steps":4712}\n',
        '{"step":1,"steps":999999999}\n',
        '{"step":1,"steps":1,"canary":4711}\n',
        '{"failed":"canary4711"}\n',
        "[" * 100_000 + "\n",
        "",
    ],
)
def test_a_process_that_was_taken_over_says_nothing_in_words_or_numbers(
    base: Base, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that parses weights and records could be: what it says is held to its form."""
    start = subprocess.Popen
    script = PLAYED.format(said='{"ready":true}\n' + said)

    def played(command: list[str], **rest: Any) -> Any:
        return start([sys.executable, "-c", script], **rest)

    monkeypatch.setattr(subprocess, "Popen", played)
    child, steps = TrainingChild(base, threads=1), []
    try:
        with pytest.raises(EngineError) as caught:
            child.run(RECORD, lambda *at: steps.append(at))
    finally:
        child.close()
    assert caught.value.message == "training failed"
    assert "canary4711" not in caught.value.hint
    assert steps in ([], [(1, 2)], [(1, 4711)])


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_the_extra_it_says_what_is_missing(child: TrainingChild, base: Base) -> None:
    with pytest.raises(EngineError, match="is not installed") as caught:
        child.run(with_settings(RECORD, LoraSettings(base=base.root)))
    assert "train" in caught.value.hint


def test_one_that_is_ended_says_nothing_of_what_it_held(child: TrainingChild) -> None:
    child.stop()
    with pytest.raises(EngineError, match="training failed") as caught:
        child.run(RECORD)
    assert "canary4711" not in str(caught.value)


def order(size: int) -> bytes:
    return TrainingOrder("/dev/null", "m", "r", size, 1, unsafe_inspectable=True).to_line()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_it_is_confined_before_it_reads_a_record(child: TrainingChild) -> None:
    child._tell(order(1000), RECORD)  # and waits for the rest
    deadline = time.monotonic() + 60
    while status(child.pid)["Seccomp"] != "2" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert status(child.pid)["Seccomp"] == "2" and status(child.pid)["NoNewPrivs"] == "1"
    limits = Path(f"/proc/{child.pid}/limits").read_text().splitlines()
    for name in ("Max core file size", "Max file size"):
        line = next(line for line in limits if line.startswith(name))
        assert line.removeprefix(name).split()[:2] == ["0", "0"]
    held = {os.readlink(link) for link in Path(f"/proc/{child.pid}/fd").iterdir()}
    kinds = {name.partition(":")[0] for name in held}
    assert kinds == {"pipe", "/memfd", "/dev/null"}


def test_its_environment_says_nothing_of_who_started_it(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVITY_ENGINE_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    child = TrainingChild(base, threads=1, unsafe_inspectable=True)
    try:
        deadline = time.monotonic() + 60
        while b"OMP_" not in (found := Path(f"/proc/{child.pid}/environ").read_bytes()):
            assert time.monotonic() < deadline
        names = {entry.split(b"=")[0].decode() for entry in found.split(b"\0") if entry}
        assert names <= {"PATH", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LC_CTYPE"}
    finally:
        child.close()


PARENT = """
import os, sys, time
from privity.node.training_child import Base, TrainingChild
base = Base(os.open("/dev/null", os.O_RDONLY), "m", "r")
child = TrainingChild(base, threads=1, unsafe_inspectable=True)
child._tell(sys.argv[1].encode())
print(child.pid, flush=True)
time.sleep(60)
"""


def test_it_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, order(1000).decode()], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert status(pid)["Name"]
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and status(pid)["State"][0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)
