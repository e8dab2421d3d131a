"""Floor 5: a devnet: a relay and an enclave of one's own on this machine, as real processes.

Everything runs the code that a remote enclave and relay run, over real sockets with real keys. Only
the evidence is of type ``dev``: a root key that this machine made vouches for plain software. It
protects nothing from whoever owns the machine, and says so wherever it shows.

One devnet runs per privity home. Its roles end with it, however it ends: each holds the reading end
of a pipe that only this process can keep open. A role that ends by itself ends the devnet; nothing
is restarted in silence.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privity.errors import InputError
from privity.home import home, write_private
from privity.node.role_process import RoleProcess

__all__ = ["Devnet", "DevnetSettings", "RunningDevnet", "run_devnet"]

RELAY_TARGET = "devnet"
_START_LIMIT_S = 120.0
_POLL_S = 0.2


@dataclass(frozen=True)
class DevnetSettings:
    """How to start a devnet.

    Attributes:
        engine: base URL of a running engine for the enclave, or None for the embedded one.
        enclave_port: TCP port of the enclave; 0 takes a free one.
        relay_port: TCP port of the relay; 0 takes a free one.
        anonymous: run a ledger too, two relays and two gateways, so that requests are admitted by
            proofs and paid for with credits.
        prove_queries: have each anonymous request carry a proof of what it asks too.
        tokenizer: a ``tokenizer.json`` in whose vocabulary; by default the demo model's.
        start_limit_s: seconds each role may take to be ready.
    """

    engine: str | None = None
    enclave_port: int = 0
    relay_port: int = 0
    anonymous: bool = False
    prove_queries: bool = False
    tokenizer: Path | None = None
    start_limit_s: float = _START_LIMIT_S


@dataclass(frozen=True)
class Devnet:
    """A devnet that is ready.

    Attributes:
        enclave: URL of the enclave.
        relay: URL of the relay's resource for it.
        root: did:key of the development root that vouches for it.
        models: the model ids it serves.
        pids: its processes by role.
        logs: where each role's own messages go; never a prompt or an answer.
        network: how anonymous requests find their ledger; empty where there is none.
        payments: the file that says how its enclave is paid; None where it is not.
    """

    enclave: str
    relay: str
    root: str
    models: tuple[str, ...]
    pids: Mapping[str, int]
    logs: Path
    network: Mapping[str, Any] = field(default_factory=dict)
    payments: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as ``devnet.json`` holds it."""
        network = {"anonymous": dict(self.network)} if self.network else {}
        payments = {"payments": str(self.payments)} if self.payments else {}
        return {
            **network,
            **payments,
            "kind": "dev",
            "enclave": self.enclave,
            "relay": self.relay,
            "root": self.root,
            "models": list(self.models),
            "pids": dict(self.pids),
            "logs": str(self.logs),
        }


class RunningDevnet:
    """A devnet while it runs.

    Attributes:
        devnet: where it is.
    """

    def __init__(self, devnet: Devnet, roles: Sequence[RoleProcess]) -> None:
        self.devnet = devnet
        self._roles = roles

    def wait(self) -> None:
        """Return never; raise when a role ends by itself.

        Raises:
            PeerError: a role has ended.
        """
        while True:
            for role in self._roles:
                role.check()
            time.sleep(_POLL_S)


def serve_command(role: str, *arguments: str) -> list[str]:
    """Return the command that runs a role with this very interpreter."""
    return [sys.executable, "-m", "privity.cli", "serve", role, "--lifeline", *arguments]


@contextmanager
def run_devnet(
    settings: DevnetSettings | None = None,
    *,
    folder: Path | None = None,
    command: Callable[..., list[str]] = serve_command,
) -> Iterator[RunningDevnet]:
    """Start a devnet, describe it in ``devnet.json``, and stop it on the way out.

    Args:
        settings: ports, engine and limits.
        folder: where its root key, logs and description lie; None for ``devnet/`` in the home.
        command: builds the command of a role from its name and arguments.

    Raises:
        InputError: one runs there already, or a port cannot be had.
        PeerError: a role did not start.
    """
    settings = settings or DevnetSettings()
    folder = folder or home() / "devnet"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    description = folder / "devnet.json"
    with ExitStack() as stack:
        stack.enter_context(_only_one(folder))
        description.unlink(missing_ok=True)  # of one that crashed: the lock says none runs
        running = (_start_anonymous if settings.anonymous else _start_roles)(
            settings, folder, command, stack
        )
        stack.callback(description.unlink, missing_ok=True)
        write_private(description, json.dumps(running.devnet.to_json(), indent=1).encode() + b"\n")
        yield running


def _start_roles(
    settings: DevnetSettings, folder: Path, command: Callable[..., list[str]], stack: ExitStack
) -> RunningDevnet:
    limit = settings.start_limit_s
    arguments = ["--port", str(settings.enclave_port), "--dev-root", str(folder / "root.key")]
    if settings.engine:
        arguments += ["--engine", settings.engine]
    enclave = RoleProcess("enclave", command("enclave", *arguments), folder, start_limit_s=limit)
    stack.callback(enclave.stop)
    arguments = ["--port", str(settings.relay_port)]
    arguments += ["--target", f"{RELAY_TARGET}={enclave.ready['url']}"]
    relay = RoleProcess("relay", command("relay", *arguments), folder, start_limit_s=limit)
    stack.callback(relay.stop)
    devnet = Devnet(
        enclave=str(enclave.ready["url"]),
        relay=f"{relay.ready['url']}/{RELAY_TARGET}",
        root=str(enclave.ready.get("root", "")),
        models=tuple(map(str, enclave.ready.get("models", ()))),
        pids={"devnet": os.getpid(), "enclave": enclave.pid, "relay": relay.pid},
        logs=folder,
    )
    return RunningDevnet(devnet, (enclave, relay))


def _start_anonymous(
    settings: DevnetSettings, folder: Path, command: Callable[..., list[str]], stack: ExitStack
) -> RunningDevnet:
    # Imported here: the plain devnet needs neither a chain nor the native wheel.
    from privity.node.devnet_network import start_network

    started = start_network(settings, folder, command, stack)
    devnet = Devnet(
        enclave=started.enclave_url,
        relay=started.relay_url,
        root=started.root,
        models=started.models,
        pids={"devnet": os.getpid(), **{name: role.pid for name, role in started.roles.items()}},
        logs=folder,
        network=started.network,
        payments=started.payments,
    )
    return RunningDevnet(devnet, tuple(started.roles.values()))


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system drops it with this process, however it ends."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"a devnet runs already under {folder.parent}",
                hint="use it as it is, or stop it where it was started (Ctrl-C)",
            ) from None
        yield
