"""`privity serve gateway`: admit sealed requests by their proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privity.cli import output

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
    ledger: Annotated[str, typer.Option(help="JSON-RPC of a ledger's node.", metavar="URL")],
    contracts: Annotated[
        Path, typer.Option(help="The file that says where the contracts are.", metavar="FILE")
    ],
    account: Annotated[
        Path | None,
        typer.Option(
            help="Key of the account that slashes who sends two messages under one id; by default "
            "nobody is slashed from here.",
            metavar="FILE",
        ),
    ] = None,
    confirmations: Annotated[
        int, typer.Option(help="Blocks after one before it is believed.", min=0, max=1000)
    ] = 12,
    every: Annotated[
        float, typer.Option(help="Seconds between two looks at the ledger.", min=0.1, max=3600)
    ] = 5.0,
    query: Annotated[
        Path | None,
        typer.Option(
            help="The vocabulary and the buckets in which each request must carry a proof of what "
            "it asks; by default none is wanted.",
            metavar="FILE",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.", min=0, max=65535)] = 0,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", help="End when standard input ends.", hidden=True)
    ] = False,
) -> None:
    """Admit sealed requests by proofs of membership, and pass them on.

    It opens nothing, and keeps no address. Several gateways of one provider share a store, so that
    no message is used at two of them.
    """
    from privity.anon.query_terms import QueryTerms
    from privity.node.gateway_role import GatewaySettings, serve

    settings = GatewaySettings(
        enclave=enclave,
        scope=scope,
        store=store,
        ledger=ledger,
        contracts=contracts,
        account=account,
        confirmations=confirmations,
        every_s=every,
        query=None if query is None else QueryTerms.from_file(query),
        host=host,
        port=port,
        lifeline=lifeline,
    )
    serve(settings, on_ready=output.json_line)
