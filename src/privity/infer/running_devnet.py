"""The devnet that runs under this privity home, as ``devnet/devnet.json`` describes it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from privity.errors import InputError
from privity.infer import tables as toml
from privity.infer.peers import EnclavePeer, NetworkPeer, read_network

__all__ = ["Devnet", "load_devnet"]


@dataclass(frozen=True)
class Devnet:
    """A devnet that is running on this machine.

    Attributes:
        peer: its enclave, behind its relay.
        root: the did:key of its development root.
        network: its ledger, where it has the anonymous route; None where it has not.
    """

    peer: EnclavePeer
    root: str
    network: NetworkPeer | None = None


def load_devnet(folder: Path) -> Devnet | None:
    """Return the devnet that runs under this home, or None.

    A description whose processes are gone is what a crashed devnet left behind: None.

    Raises:
        InputError: the description exists and is not one.
    """
    path = folder / "devnet" / "devnet.json"
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}: {error}", hint="stop the devnet, delete it"
        ) from error
    try:
        pids = data["pids"]
        numbers = list(pids.values()) if isinstance(pids, dict) else list(pids)
        devnet = Devnet(
            EnclavePeer(toml.text(data, "enclave"), toml.text(data, "relay"), "devnet"),
            toml.text(data, "root"),
            read_network(
                toml.section(
                    data, "anonymous", {"ledger", "contracts", "provider", "confirmations"}
                )
            ),
        )
        alive = all(_runs(int(pid)) for pid in numbers)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} does not describe a devnet: {error!r}") from error
    return devnet if alive else None


def _runs(pid: int) -> bool:
    """Tell whether a process exists; one of another user counts, it answers EPERM."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
