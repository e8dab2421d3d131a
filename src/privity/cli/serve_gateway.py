"""`privity serve gateway`: admit sealed requests by their proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privity.cli import output
from privity.cli.ledger_options import Confirmations, ContractsFile, LedgerUrl, LookEvery
from privity.cli.role_options import Host, Lifeline, Port
from privity.ledger import CONFIRMATIONS

__all__ = ["gateway"]


def gateway(
    enclave: Annotated[str, typer.Option(help="Base URL of the enclave behind it.", metavar="URL")],
    scope: Annotated[
        str,
        typer.Option(
            help="The provider's account on the ledger: what proofs have to be made for.",
            metavar="ADDRESS",
        ),
    ],
    store: Annotated[
        str,
        typer.Option(
            help="Where signals are remembered, the same for all gateways of a provider: "
            "sqlite:PATH, postgresql://… or redis://….",
            metavar="URL",
        ),
    ],
    ledger: LedgerUrl,
    contracts: ContractsFile,
    account: Annotated[
        Path | None,
        typer.Option(
            help="Key of the account that slashes who sends two messages under one id; by default "
            "nobody is slashed from here.",
            metavar="FILE",
        ),
    ] = None,
    confirmations: Confirmations = CONFIRMATIONS,
    every: LookEvery = 5.0,
    query: Annotated[
        Path | None,
        typer.Option(
            help="The vocabulary and the buckets in which each request must carry a proof of what "
            "it asks; by default none is wanted.",
            metavar="FILE",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Admit sealed requests by proofs of membership, and pass them on.

    It opens nothing, and keeps no address. Several gateways of one provider share a store, so that
    no message is used at two of them.
    """
    from privity.anon.query_terms import QueryTerms
    from privity.node.gateway_role import GatewaySettings, serve
    from privity.node.watched_members import LedgerSettings

    settings = GatewaySettings(
        enclave=enclave,
        scope=scope,
        store=store,
        ledger=LedgerSettings(ledger, contracts, account, confirmations, every),
        query=None if query is None else QueryTerms.from_file(query),
        host=host,
        port=port,
        lifeline=lifeline,
    )
    serve(settings, on_ready=output.json_line)
