"""The devnet's own promises, with small scripts in place of its roles."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from privity.cli.devnet import _describe as describe_devnet
from privity.errors import InputError, PeerError
from privity.node.devnet import Devnet, DevnetSettings, run_devnet
from privity.node.role_process import RoleProcess

READY = """
import json, os, sys
print(json.dumps({"ready": True, "url": "http://127.0.0.1:9", "pid": os.getpid(),
                  "root": "did:key:zRoot", "models": ["tiny"]}), flush=True)
sys.stdin.read()
"""


def command(role: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", READY, role, *arguments]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_gone(pid: int, limit_s: float = 10) -> bool:
    deadline = time.monotonic() + limit_s
    while not gone(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_describes_itself_while_it_runs_and_not_after(tmp_path: Path) -> None:
    with run_devnet(folder=tmp_path, command=command) as running:
        path = tmp_path / "devnet.json"
        description = json.loads(path.read_bytes())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert description["kind"] == "dev"
        assert description["relay"] == "http://127.0.0.1:9/devnet"
        assert description["root"] == "did:key:zRoot"
        assert description["models"] == ["tiny"]
        pids = running.devnet.pids
        assert set(pids) == {"devnet", "enclave", "relay"}
    assert not path.exists()
    assert gone(pids["enclave"]) and gone(pids["relay"])


def test_a_second_one_in_the_same_home_is_refused(tmp_path: Path) -> None:
    with run_devnet(folder=tmp_path, command=command):
        with pytest.raises(InputError, match="runs already"), run_devnet(folder=tmp_path):
            pass
        assert (tmp_path / "devnet.json").exists(), "the refused one took the running one's place"


def test_what_a_crashed_one_left_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / "devnet.json").write_text("{}")
    (tmp_path / "lock").write_text("")
    with run_devnet(folder=tmp_path, command=command) as running:
        assert running.devnet.models == ("tiny",)


def test_a_role_that_ends_ends_the_devnet_by_name(tmp_path: Path) -> None:
    with run_devnet(folder=tmp_path, command=command) as running:
        os.kill(running.devnet.pids["relay"], 9)
        with pytest.raises(PeerError, match="relay was ended by signal 9"):
            running.wait()
        enclave = running.devnet.pids["enclave"]
    assert gone(enclave)


def test_a_role_that_cannot_start_says_why(tmp_path: Path) -> None:
    def broken(role: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "import sys; sys.exit('no weights here')"]

    with (
        pytest.raises(PeerError, match="exit code 1: no weights here"),
        run_devnet(folder=tmp_path, command=broken),
    ):
        pass
    assert not (tmp_path / "devnet.json").exists()


def test_a_role_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    def mute(role: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "import time; time.sleep(60)"]

    settings = DevnetSettings(start_limit_s=0.3)
    with (
        pytest.raises(PeerError, match="not ready after"),
        run_devnet(settings, folder=tmp_path, command=mute),
    ):
        pass


@pytest.mark.parametrize("line", ["hello", "{}", '{"ready": false, "url": "x"}', "[1]"])
def test_a_ready_line_that_is_none_is_refused(tmp_path: Path, line: str) -> None:
    script = f"import sys; print({line!r}, flush=True); sys.stdin.read()"
    with pytest.raises(PeerError, match="not that it is ready"):
        RoleProcess("relay", [sys.executable, "-c", script], tmp_path, start_limit_s=10)


def test_roles_end_with_a_devnet_that_was_killed(tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from privity.node.devnet import run_devnet
command = lambda role, *rest: [sys.executable, "-c", {READY!r}, role, *rest]
with run_devnet(folder=Path({str(tmp_path)!r}), command=command):
    print("up", flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    pids = json.loads((tmp_path / "devnet.json").read_bytes())["pids"]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_gone(pids["enclave"]) and wait_gone(pids["relay"])


@pytest.mark.parametrize("paid", [True, False])
def test_what_it_prints_says_what_to_do_with_it(tmp_path: Path, paid: bool) -> None:
    payments = tmp_path / "of mine" / "payments.toml" if paid else None
    devnet = Devnet(
        "http://e", "http://r", "did:key:z", ("tiny",), {"enclave": 1, "relay": 2}, tmp_path,
        payments=payments,
    )  # fmt: skip
    *_, told = describe_devnet(devnet).split("\n\n")
    assert ('ask it:   privity ask --policy dev "What is a relay?"' in told) and "Ctrl-C" in told
    path = f"earned:   privity operator status --payments '{payments}'"
    assert (path in told, "pay:      privity wallet top-up" in told) == (paid, paid)
    assert devnet.to_json().get("payments") == (str(payments) if paid else None)
