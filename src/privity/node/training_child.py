"""The parent's end of the training process: gives it weights, hears it out, and ends it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privity.errors import EngineError, InputError, MalformedError
from privity.infer.engines.weights import Weights
from privity.node.train_process import Failure, TrainingOrder
from privity.train.bundle import MAX_BYTES, Bundle
from privity.vault.root import root_of_file

__all__ = ["Base", "Outcome", "TrainingChild", "memory_file"]

_MAX_LINE = 1 << 24
_MAX_STEPS = 100_000
# All that is said, by what went wrong; of what went wrong with the records nothing is.
_TOLD = {
    Failure.NO_BASE: (
        "the owner's settings name no base weights, without which records are not trained on",
        "seal the records again: privity train seal names them",
    ),
    Failure.OTHER_BASE: (
        "the dataset is to be trained on other base weights than these",
        "take those that the owner named",
    ),
    Failure.NOT_INSTALLED: (
        "a part of the train extra is not installed",
        "pip install 'privity[train]', or make train-setup",
    ),
    Failure.BASE: (
        "the base weights cannot be read, or are of a type that adapters are not made for",
        "it takes GGUF files of llama, mistral, qwen2 and qwen3",
    ),
    Failure.TRAINING: (
        "training failed",
        "why is not told to whoever runs it, since it could tell of the records",
    ),
}
_STOP_LIMIT_S = 2.0


def memory_file(name: str) -> int:
    """Return a file in memory, without a name in any folder, which no program started gets."""
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


@dataclass(frozen=True)
class Base:
    """Base weights in memory, where nobody changes them after they were measured.

    Attributes:
        fd: a file without a name, sealed against writing.
        name: what the model is called.
        root: names the weights.
    """

    fd: int
    name: str
    root: str

    @classmethod
    def load(cls, weights: Weights) -> Base:
        """Copy a file of weights into memory and measure the copy.

        Raises:
            InputError: it cannot be read, or this is not Linux.
        """
        fd = memory_file("base")
        try:
            with (
                weights.path.open("rb", buffering=0) as file,
                open(fd, "wb", closefd=False) as copy,
            ):
                while data := file.read(1 << 24):
                    copy.write(data)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            return cls(fd, weights.model, root_of_file(Path(f"/proc/self/fd/{fd}")))
        except OSError as error:
            os.close(fd)
            raise InputError(f"cannot read {weights.path}: {error.strerror}") from error

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.fd)


@dataclass(frozen=True)
class Outcome:
    """What a training process handed over.

    Attributes:
        bundle: the adapter.
        records: how many records it read.
        steps: how many steps it took.
        losses: of each step; None unless the owner's settings let them leave.
    """

    bundle: Bundle
    records: int
    steps: int
    losses: tuple[float, ...] | None = field(repr=False)


class TrainingChild:
    """A training process, from its start to its end.

    Args:
        base: the weights; they stay the caller's.
        threads: processor threads for computing.
        unsafe_inspectable: see `hardening.harden`.
    """

    def __init__(self, base: Base, *, threads: int, unsafe_inspectable: bool = False) -> None:
        self._base, self._threads = base, threads
        self._inspectable = unsafe_inspectable
        self._stopping = threading.Lock()
        # Isolated (-I): no variable of the environment and no folder says which code it runs.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-m", "privity.node.train_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={
                "PATH": os.defpath,
                "OMP_NUM_THREADS": str(threads),
                # Threads that wait for one another by spinning stand still on a busy machine.
                "OMP_WAIT_POLICY": "PASSIVE",
            },
            pass_fds=(base.fd,),
            start_new_session=True,  # Ctrl-C is the parent's, which ends it in order
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def run(self, dataset: bytes, on_step: Callable[[int, int], None] | None = None) -> Outcome:
        """Train on these records. Blocks; `stop`, from another thread, ends it.

        Args:
            dataset: as `parse_dataset` reads it.
            on_step: told after each step how many are done, of how many.

        Raises:
            EngineError: it refused, failed, or was ended. Whatever goes wrong with the records has
                one text, and comes after the same steps unless the process broke off.
        """
        order = TrainingOrder(
            base=f"/proc/self/fd/{self._base.fd}",
            name=self._base.name,
            root=self._base.root,
            dataset_bytes=len(dataset),
            threads=self._threads,
            unsafe_inspectable=self._inspectable,
        )
        try:
            self._tell(order.to_line())
            if "error" in (reply := self._hear()):  # it was given no record yet
                raise EngineError(str(reply["error"]), hint=str(reply["hint"]))
            if reply != {"ready": True}:
                raise ValueError("not an answer")
            self._tell(dataset)
            return self._await_outcome(on_step)
        except (OSError, KeyError, TypeError, ValueError, RecursionError, MalformedError):
            raise _failure(Failure.TRAINING) from None

    def _await_outcome(self, on_step: Callable[[int, int], None] | None) -> Outcome:
        """Hear the steps out, which are counted here too, and how it ended."""
        done, steps = 0, None
        while "step" in (reply := self._hear()):
            steps = int(reply["steps"]) if steps is None else steps
            done += 1
            if reply != {"step": done, "steps": steps} or not done <= steps <= _MAX_STEPS:
                raise ValueError("not a step")
            if on_step is not None:
                on_step(done, steps)
        if "failed" in reply:
            raise _failure(Failure(reply["failed"]))
        return self._outcome(reply)

    def stop(self) -> None:
        """End it, and what it holds; does nothing to one that has ended."""
        with self._stopping:
            self._process.kill()
            self._process.wait(_STOP_LIMIT_S)

    def close(self) -> None:
        """End it and close the pipes; only once `run` has returned."""
        self.stop()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def _tell(self, *parts: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise EngineError("the training process has no input")
        try:
            for part in parts:
                pipe.write(part)
            pipe.flush()
        except BrokenPipeError:
            return  # it says why, or it ended

    def _hear(self) -> dict[str, Any]:
        line = self._process.stdout.readline(_MAX_LINE) if self._process.stdout else b""
        reply = json.loads(line)
        if not isinstance(reply, dict):
            raise ValueError("not an answer")
        return reply

    def _outcome(self, reply: dict[str, Any]) -> Outcome:
        size, losses = int(reply["bundle_bytes"]), reply.get("losses")
        if not 0 < size <= MAX_BYTES:
            raise ValueError("an adapter of an impossible size")
        data = self._process.stdout.read(size) if self._process.stdout else b""
        return Outcome(
            bundle=Bundle.parse(data),
            records=int(reply["records"]),
            steps=int(reply["steps"]),
            losses=None if losses is None else tuple(float(one) for one in losses),
        )


def _failure(which: Failure) -> EngineError:
    told, hint = _TOLD[which]
    return EngineError(told, hint=hint)
