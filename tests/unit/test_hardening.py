"""A hardened process writes no memory to disk and shows none to others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, json, resource, sys
from privity.infer.engines.hardening import harden
done = harden(unsafe_inspectable="inspectable" in sys.argv)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "gaps": done.gaps(), "locked": done.locked, "undumpable": done.undumpable,
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "vmlck_kb": int(status["VmLck"].split()[0]),
}))
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def hardened(*arguments: str) -> dict[str, object]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    return dict(json.loads(run.stdout))


def test_no_core_dumps_and_no_other_reader() -> None:
    seen = hardened()
    assert seen["core"] == [0, 0]
    assert seen["dumpable"] == 0 and seen["undumpable"] is True


def test_locked_memory_is_what_the_kernel_says() -> None:
    seen = hardened()
    assert seen["locked"] == (seen["vmlck_kb"] != 0)
    assert any("swap" in gap for gap in seen["gaps"]) != seen["locked"]  # type: ignore[attr-defined]


def test_inspectable_only_when_asked_by_its_name() -> None:
    seen = hardened("inspectable")
    assert seen["dumpable"] == 1 and seen["undumpable"] is False
    assert seen["core"] == [0, 0]


def test_a_crash_leaves_no_core_dump(tmp_path: Path) -> None:
    code = "from privity.infer.engines.hardening import harden; harden(); import os; os.abort()"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert run.returncode == -signal.SIGABRT
    assert not list(tmp_path.iterdir())
