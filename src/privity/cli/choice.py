"""What every command that runs a job can be told: the policy, the route, the enclave, the model."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

__all__ = [
    "EnclaveOption",
    "JsonOption",
    "MaxTokensOption",
    "ModelOption",
    "PolicyOption",
    "RelayOption",
    "RouteKind",
    "RouteOption",
    "complete_policy",
    "complete_receipt",
]


def complete_policy(incomplete: str) -> list[str]:
    """Offer the presets to shell completion; run on a key press, so it must be quick."""
    from privity.policy import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def complete_receipt(incomplete: str) -> list[str]:
    """Offer the ids of the newest receipts to shell completion."""
    from itertools import islice

    from privity.infer.receipts import ReceiptStore

    ids = ["last", *islice(ReceiptStore().ids(), 50)]
    return [receipt_id for receipt_id in ids if receipt_id.startswith(incomplete)]


class RouteKind(enum.StrEnum):
    """Which way to have it answered; never changed in silence for another."""

    AUTO = "auto"
    LOCAL = "local"
    ANONYMOUS = "anonymous"
    CONFIDENTIAL = "confidential"
    ZDR = "zdr"


PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        help="A preset or a policy file; by default that of config.toml, else `confidential`.",
        metavar="NAME|FILE",
        autocompletion=complete_policy,
    ),
]
RouteOption = Annotated[
    RouteKind,
    typer.Option(
        help="auto: what the policy admits of your enclaves, engines and providers, as `[routing]` "
        "orders them; zdr: a provider, on its promise of zero retention."
    ),
]
EnclaveOption = Annotated[
    str | None, typer.Option(help="An enclave: its URL, or its name in config.toml.", metavar="URL")
]
RelayOption = Annotated[
    str | None, typer.Option(help="The relay's resource for that enclave.", metavar="URL")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A model's id, or an alias such as private/best; by default the first there is.",
    ),
]
MaxTokensOption = Annotated[
    int | None, typer.Option(help="The most tokens an answer may have.", min=1)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]
