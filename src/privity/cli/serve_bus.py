"""`privity serve bus`: relay messages, and keep them for those who are away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privity.cli import output
from privity.cli.ledger_options import Confirmations, LookEvery
from privity.cli.role_options import Lifeline
from privity.ledger import CONFIRMATIONS

__all__ = ["bus"]


def bus(
    listen: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to listen, as a multiaddress; by default a free port of this machine. May "
            "be given again.",
            metavar="MULTIADDR",
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="A node to stay connected to, with its name. May be given again.",
            metavar="MULTIADDR",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Keep messages in this file for those who are away: 1 GiB, 14 days at most.",
            metavar="FILE",
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep messages of this channel alone. May be given again.", metavar="NAME"
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Key file that the node's name comes from, made if there is none; by default it "
            "has a new name at each start, and peers have to be told.",
            metavar="FILE",
        ),
    ] = None,
    ledger: Annotated[
        str,
        typer.Option(
            help="JSON-RPC of a ledger's node: only its members may send, each within its rate.",
            metavar="URL",
        ),
    ] = "",
    contracts: Annotated[
        Path | None,
        typer.Option(help="The file that says where the contracts are.", metavar="FILE"),
    ] = None,
    account: Annotated[
        Path | None,
        typer.Option(
            help="Key of the account that slashes who sends more than they may; by default nobody "
            "is slashed from here.",
            metavar="FILE",
        ),
    ] = None,
    confirmations: Confirmations = CONFIRMATIONS,
    every: LookEvery = 5.0,
    lifeline: Lifeline = False,
) -> None:
    """Relay messages of the bus, and keep them for those who are away.

    It reads none of them. Without a ledger anybody may send any number: for closed networks.
    """
    from privity.node.bus_role import BusSettings, serve
    from privity.node.watched_members import LedgerSettings

    settings = BusSettings(
        **({"listen": tuple(listen)} if listen else {}),
        peers=tuple(peer or ()),
        store=store,
        channels=tuple(channel or ()),
        key=key,
        ledger=LedgerSettings.given(
            ledger, contracts, account, confirmations=confirmations, every_s=every
        ),
        lifeline=lifeline,
    )
    serve(settings, on_ready=output.json_line)
