"""What every command that runs a job can be told: the policy, the route, the enclave, the model."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

__all__ = [
    "EnclaveOption",
    "ModelOption",
    "PolicyOption",
    "RelayOption",
    "RouteKind",
    "RouteOption",
]


class RouteKind(enum.StrEnum):
    """Which way to have it answered; never changed in silence for another."""

    AUTO = "auto"
    LOCAL = "local"
    CONFIDENTIAL = "confidential"


PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        help="A preset or a policy file; by default that of config.toml, else `confidential`.",
        metavar="NAME|FILE",
    ),
]
RouteOption = Annotated[
    RouteKind,
    typer.Option(help="auto: your enclave, or the devnet's, if there is one; else this device."),
]
EnclaveOption = Annotated[
    str | None, typer.Option(help="An enclave: its URL, or its name in config.toml.", metavar="URL")
]
RelayOption = Annotated[
    str | None, typer.Option(help="The relay's resource for that enclave.", metavar="URL")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="A model's id; by default the route's first.")
]
