"""What commands that read or write a ledger are told of it: its node, its contracts, its blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from privity.ledger import CONFIRMATIONS

__all__ = [
    "ConfiguredConfirmations",
    "ConfiguredContracts",
    "ConfiguredLedger",
    "Confirmations",
    "ContractsFile",
    "LedgerAccess",
    "LedgerUrl",
    "LookEvery",
    "chosen_ledger",
]

LedgerUrl = Annotated[
    str, typer.Option("--ledger", help="JSON-RPC of a ledger's node.", metavar="URL")
]
ContractsFile = Annotated[
    Path,
    typer.Option("--contracts", help="The file that says where the contracts are.", metavar="FILE"),
]
Confirmations = Annotated[
    int, typer.Option(help="Blocks after one before it is believed.", min=0, max=1000)
]
LookEvery = Annotated[
    float,
    typer.Option("--every", help="Seconds between two looks at the ledger.", min=0.1, max=3600),
]
ConfiguredLedger = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        help="JSON-RPC of a ledger's node; by default the configured one.",
        metavar="URL",
    ),
]
ConfiguredContracts = Annotated[
    Path | None,
    typer.Option(
        "--contracts",
        help="The file that says where the contracts are; by default the configured one.",
        metavar="FILE",
    ),
]
ConfiguredConfirmations = Annotated[
    int | None,
    typer.Option(
        "--confirmations",
        help=f"Blocks after one before it is believed; by default as configured, else "
        f"{CONFIRMATIONS}.",
        min=0,
        max=1000,
    ),
]


@dataclass(frozen=True)
class LedgerAccess:
    """Which ledger, and how it is reached."""

    url: str = field(repr=False)  # it may hold a key
    contracts: Path
    confirmations: int
    proxy: str = field(default="", repr=False)


def chosen_ledger(
    url: str | None, contracts: Path | None, confirmations: int | None = None
) -> LedgerAccess:
    """Return which ledger is meant: options first, then what is configured.

    Raises:
        InputError: nothing says so, or one of the two is missing.
    """
    from privity.errors import InputError
    from privity.home import home
    from privity.infer.config import load_config

    peer = load_config().network
    if url is not None and contracts is not None:
        proxy = "" if peer is None else peer.proxy
        asked = CONFIRMATIONS if confirmations is None else confirmations
        return LedgerAccess(url, contracts, asked, proxy)
    if peer is None:
        raise InputError(
            "nothing says which ledger is meant",
            hint="give --ledger and --contracts, or an [anonymous] table in config.toml",
        )
    return LedgerAccess(
        url or peer.ledger,
        contracts or home() / peer.contracts,
        peer.confirmations if confirmations is None else confirmations,
        peer.proxy,
    )
