"""A chain of one's own on this machine, for tests and the devnet: it begins empty and ends with us.

`anvil` (Foundry's node) where there is one. Without it, the embedded EVM of `embedded_chain`, which
is slower and lasts, too, only as long as its process.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from privity.errors import InputError, MissingDependency, PeerError
from privity.ledger.wire import Address, text_of

__all__ = ["CHAIN_ID", "LocalChain", "find_anvil", "need_chain", "run_chain"]

CHAIN_ID = 31337
"""The number of a chain of anvil's; the embedded one has another."""

_START_S = 30.0
_IN_TREE = "tests/interop/node/node_modules/@foundry-rs"
_PLATFORMS = ("anvil-linux-amd64", "anvil-linux-arm64", "anvil-darwin-arm64", "anvil-darwin-amd64")
# Ends the node when this process ends, however it ends: then the pipe that is read is closed.
_LEASH = """
exec 3<&0
"$@" </dev/null 3<&- &
node=$!
(while read -r _; do :; done <&3; kill "$node" 2>/dev/null) &
exec 3<&-
wait "$node"
"""


def find_anvil() -> Path:
    """Return where anvil is: ``PRIVITY_ANVIL``, then ``PATH``, then what npm installs in the tree.

    Raises:
        InputError: ``PRIVITY_ANVIL`` names no program.
        MissingDependency: there is none.
    """
    named = os.environ.get("PRIVITY_ANVIL")
    if named:
        path = Path(named)
        if not os.access(path, os.X_OK) or not path.is_file():
            raise InputError(f"PRIVITY_ANVIL names {named}, which is no program")
        return path
    found = shutil.which("anvil")
    if found:
        return Path(found)
    tree = Path(__file__).parents[3] / _IN_TREE
    for platform in _PLATFORMS:
        path = tree / platform / "bin" / "anvil"
        # Several may be unpacked beside each other; this machine runs one of them.
        if path.is_file() and _runs(path):
            return path
    raise MissingDependency(
        "anvil, the local chain, is not on this machine",
        hint="`npm ci --prefix tests/interop/node` in a checkout of privity; or install Foundry, "
        "or npm install -g @foundry-rs/anvil, or say where it is: PRIVITY_ANVIL=/path/to/anvil",
    )


@dataclass(frozen=True)
class LocalChain:
    """A running chain.

    Attributes:
        url: its JSON-RPC, on loopback.
        program: ``anvil`` or ``embedded``.
    """

    url: str
    program: str

    def ask(self, method: str, *params: object) -> object:
        """Ask the chain something that only a local chain does, such as ``evm_increaseTime``.

        Raises:
            PeerError: it is gone, or refuses.
        """
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        try:
            with httpx.Client(trust_env=False, timeout=30.0) as http:
                answer = http.post(self.url, json=body).json()
        except (httpx.HTTPError, ValueError) as error:
            raise PeerError(f"the local chain does not answer: {type(error).__name__}") from None
        if not isinstance(answer, dict) or "result" not in answer:
            raise PeerError(f"the local chain refused {method}")
        return answer["result"]

    def fund(self, address: Address, wei: int = 10**21) -> None:
        """Give an account what fees are paid in."""
        self.ask("anvil_setBalance", address, text_of(wei))


@contextmanager
def run_chain(
    port: int = 0, *, embedded: bool | None = None, args: Sequence[str] = ()
) -> Iterator[LocalChain]:
    """Run a local chain until the block ends; it ends also when this process is killed.

    Args:
        port: on loopback; 0 takes a free one.
        embedded: True for the embedded EVM, False for anvil, None for whichever there is.
        args: more arguments for anvil.

    Raises:
        MissingDependency: there is no such chain on this machine.
        PeerError: it does not start.
    """
    port = port or _free_port()
    command, program = _command(port, embedded, args)
    with tempfile.TemporaryDirectory(prefix="privity-chain-") as folder:
        environment = {"HOME": folder, "PATH": os.environ.get("PATH", os.defpath)}
        process = subprocess.Popen(  # noqa: S603 - found by its name, or named
            ["/bin/sh", "-c", _LEASH, "chain", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is the parent's, which ends it in order
        )
        try:
            chain = LocalChain(f"http://127.0.0.1:{port}", program)
            _wait(process, chain)
            yield chain
        finally:
            _end(process)


def need_chain() -> None:
    """Refuse where no local chain can be run, before anything else is started.

    Raises:
        InputError: ``PRIVITY_ANVIL`` names no program.
        MissingDependency: there is neither anvil nor the embedded chain.
    """
    _command(0, None, ())


def _command(port: int, embedded: bool | None, args: Sequence[str]) -> tuple[list[str], str]:
    """Return how a chain is started, and which it is."""
    if embedded is not True:
        try:
            anvil = find_anvil()
        except MissingDependency:
            if embedded is False or not _has_evm():
                raise
        else:
            quiet = ["--silent", "--host", "127.0.0.1", "--port", str(port)]
            return [str(anvil), *quiet, "--chain-id", str(CHAIN_ID), *args], "anvil"
    if not _has_evm():
        raise MissingDependency(
            "the embedded chain needs eth-tester and py-evm, which are not installed",
            hint="pip install 'eth-tester[py-evm]' web3",
        )
    return [sys.executable, "-m", "privity.ledger.embedded_chain", str(port)], "embedded"


def _has_evm() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("eth_tester", "eth", "web3"))


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], chain: LocalChain) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(PeerError):
            chain.ask("eth_chainId")
            return
        time.sleep(0.05)
    raise PeerError(
        f"{chain.program}, the local chain, did not start",
        hint="another program may hold its port",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()  # the leash: ends the node
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _runs(path: Path) -> bool:
    try:
        run = subprocess.run([path, "--version"], capture_output=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0
