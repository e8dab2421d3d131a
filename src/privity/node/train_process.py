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
    where the owner's settings say so, the losses (tests/e2e/test_private_training.py).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from privity.errors import InputError, PrivityError
from privity.infer.engines.hardening import harden
from privity.node.confinement import confine
from privity.train.base import go_offline, load_base
from privity.train.dataset import parse_dataset
from privity.train.lora import train_lora

__all__ = ["TrainingOrder"]


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
        _run(order, source, answers)
    except PrivityError as error:  # these quote nothing of what was read
        answers.line({"error": error.message, "hint": error.hint})
    except BaseException as error:  # and of others the words could
        answers.line({"error": f"training stopped: {type(error).__name__}", "hint": ""})
    os._exit(0)


def _run(order: TrainingOrder, source: BinaryIO, answers: _Answers) -> None:
    data = source.read(order.dataset_bytes)
    if len(data) != order.dataset_bytes:
        os._exit(1)  # the parent is gone
    threading.Thread(target=_end_with, args=(source,), daemon=True).start()
    dataset = parse_dataset(data)
    del data
    if dataset.settings.base not in (None, order.root):
        raise InputError("the dataset is to be trained on other base weights than these")
    go_offline()
    base = load_base(order.base)
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
