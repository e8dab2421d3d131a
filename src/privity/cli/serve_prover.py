"""`privity serve prover`: an edge prover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privity.cli import attesting, output
from privity.cli.role_options import Host, Lifeline, Port

__all__ = ["prover"]


def prover(
    query: Annotated[
        list[Path] | None,
        typer.Option(
            help="A provider's terms of queries, to prove in; may be given again. By default "
            "those of the demo model.",
            metavar="FILE",
        ),
    ] = None,
    at_once: Annotated[
        int, typer.Option(help="Proofs at one time, each on a core.", min=1, max=1024)
    ] = 1,
    dev_root: attesting.DevRoot = None,
    attester: attesting.AttesterName = None,
    collateral: attesting.Collateral = None,
    pccs: attesting.Pccs = None,
    certs: attesting.Certs = None,
    manifest: attesting.Manifest = None,
    log: attesting.LogUrl = None,
    log_key: attesting.LogKey = None,
    name: attesting.LogName = "",
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Make proofs of queries for devices that cannot spare a second.

    It is an attested enclave: devices verify its evidence as they do a model's, and send it the
    tokens of a question sealed to its keys. Its host sees which address asks and when. Its keys are
    made in memory and end with it; nothing of a question is logged or written. Where the machine
    has no hardware that attests, its evidence is of type dev, which does not stop its host.
    """
    from privity.node.prover_role import ProverSettings, serve

    settings = ProverSettings(
        attesting.attestation(
            dev_root, attester, collateral=collateral, pccs=pccs, certs=certs, manifest=manifest
        ),
        log=attesting.submission(log, log_key, name),
        queries=tuple(query or ()),
        at_once=at_once,
        host=host,
        port=port,
        lifeline=lifeline,
    )
    with output.starting("the prover") as ready:
        serve(settings, on_ready=ready)
