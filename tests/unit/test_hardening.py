"""A hardened process writes no memory to disk and shows none to others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from privity.errors import EngineError
from privity.infer.engines import hardening
from privity.infer.engines.hardening import Hardening
from privity.infer.engines.llama_process import LlamaSettings

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


@pytest.mark.parametrize(("locked", "swaps"), [(False, True), (False, False), (True, True)])
def test_plaintext_is_refused_where_swap_could_take_it(
    locked: bool, swaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "swap_is_on", lambda: swaps)
    found = Hardening(no_core_dumps=True, undumpable=True, locked=locked)
    if locked or not swaps:
        found.refuse_swap()
        return
    with pytest.raises(EngineError, match="swap") as caught:
        found.refuse_swap()
    assert "RLIMIT_MEMLOCK" in caught.value.hint and "--unsafe-swap" in caught.value.hint


UNLOCKED = """
import sys
from privity.infer.engines import hardening, llama_process
hardening._lock = lambda libc: False
hardening.swap_is_on = lambda: True
llama_process._serve = lambda settings: type("Server", (), {"listening_address": "http://x"})
llama_process.main()
"""


@pytest.mark.parametrize("refuse", [True, False])
def test_the_engines_process_loads_nothing_sealed_where_swap_could_take_it(refuse: bool) -> None:
    settings = LlamaSettings(*("x.gguf", "x", "key", 1, 512, 1), refuse_swap=refuse)
    run = subprocess.run(
        [sys.executable, "-c", UNLOCKED], input=settings.to_line(), capture_output=True, timeout=60
    )
    said = json.loads(run.stdout)
    assert ("swap" in said.get("error", "")) == refuse
    assert ("url" in said) != refuse
