"""The process that trains: it alone sees records and weights together, and can write nothing.

A process of its own, for three reasons. The libraries of training are large and parse files in
native code, and the enclave's keys must not lie in memory they could be made to read. A revoked
lease ends it at once, with all it holds. And it is cut off from files, sockets and other programs
before it is told a byte of the dataset, which the enclave's own process cannot be.

Its order comes as one JSON line on standard input, the dataset behind it; it answers with JSON
lines on standard output, the archive of the adapter behind the last. It ends when its standard
input does, which is to say with its parent.

Guarantees:
    Nothing but steps counted leaves it before the adapter, and then the adapter, the counts and,
    where the owner's settings say so, the losses (tests/e2e/test_private_training.py). Base weights
    other than the owner's settings name are not read, and whatever goes wrong once records are
    read is one answer (tests/unit/test_train_process.py).
"""

from __future__ import annotations

import enum
import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from privity.errors import EngineError, MissingDependency, PrivityError
from privity.infer.engines.hardening import harden
from privity.node.confinement import confine
from privity.train.base import Base, go_offline, load_base
from privity.train.dataset import parse_dataset, settings_of
from privity.train.lora import train_lora

__all__ = ["Failure", "TrainingOrder"]


class Failure(enum.StrEnum):
    """Why nothing came of a run, as far as whoever runs it is told."""

    NO_BASE = "no base"
    """The owner's settings name no base weights."""
    OTHER_BASE = "other base"
    """They name others than these."""
    NOT_INSTALLED = "not installed"
    """The `train` extra is missing."""
    BASE = "base"
    """The base weights, which are those that the owner named, cannot be loaded."""
    TRAINING = "training"
    """Anything after that: it may tell of the records, so no more is said."""


@dataclass(frozen=True)
class TrainingOrder:
    """What to do.

    Attributes:
        base: path of the base weights, such as ``/proc/self/fd/7``.
        name: what the adapter calls its base.
        root: names the base weights.
        dataset_bytes: how many bytes of the dataset follow.
        threads: processor threads for computing.
        unsafe_inspectable: see `hardening.harden`.
    """

    base: str
    name: str
    root: str
    dataset_bytes: int
    threads: int
    unsafe_inspectable: bool = False

    def to_line(self) -> bytes:
        """Return the line for the process's standard input."""
        return json.dumps(asdict(self)).encode() + b"\n"


class _Answers:
    """The one way out of this process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def line(self, value: dict[str, Any]) -> None:
        self.write(json.dumps(value).encode() + b"\n")

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def main() -> None:
    """Read the order, cut off what is not needed, train, and answer."""
    answers = _Answers(os.dup(1))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    source = sys.stdin.buffer
    order = TrainingOrder(**json.loads(source.readline()))
    try:
        harden(unsafe_inspectable=order.unsafe_inspectable)
        confine()
    except PrivityError as error:  # no record was read yet
        answers.line({"error": error.message, "hint": error.hint})
        os._exit(0)
    answers.line({"ready": True})
    _train(order, source, answers)
    os._exit(0)


class _FailedError(Exception):
    """Carries a `Failure` to the one place that answers."""


def _train(order: TrainingOrder, source: BinaryIO, answers: _Answers) -> None:
    data = source.read(order.dataset_bytes)
    if len(data) != order.dataset_bytes:
        os._exit(1)  # the parent is gone
    threading.Thread(target=_end_with, args=(source,), daemon=True).start()
    try:
        _run(data, _load(data, order), order, answers)
    except _FailedError as failed:
        answers.line({"failed": failed.args[0]})
    except BaseException:
        answers.line({"failed": Failure.TRAINING})


def _load(data: bytes, order: TrainingOrder) -> Base:
    """Return the base weights, if they are those that the first line of the dataset names."""
    required = settings_of(data).base
    if required != order.root:
        raise _FailedError(Failure.NO_BASE if required is None else Failure.OTHER_BASE)
    go_offline()
    try:
        return load_base(order.base)
    except MissingDependency:
        raise _FailedError(Failure.NOT_INSTALLED) from None
    except EngineError:
        raise _FailedError(Failure.BASE) from None


def _run(data: bytes, base: Base, order: TrainingOrder, answers: _Answers) -> None:
    dataset = parse_dataset(data)
    import torch

    torch.set_num_threads(order.threads)

    def progress(step: int, steps: int) -> None:
        answers.line({"step": step, "steps": steps})

    trained = train_lora(base, dataset, name=order.name, progress=progress)
    archive = trained.bundle.to_bytes()
    done: dict[str, Any] = {"records": trained.records, "steps": trained.steps}
    if trained.losses is not None:
        done["losses"] = list(trained.losses)
    answers.line({"bundle_bytes": len(archive), **done})
    answers.write(archive)


def _end_with(source: BinaryIO) -> None:
    while source.read(4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
