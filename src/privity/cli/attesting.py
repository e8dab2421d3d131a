"""The options with which every role says how it attests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from privity.node.attestation import AttestationSettings
    from privity.node.publication import LogSubmission

__all__ = [
    "AttesterName",
    "Certs",
    "Collateral",
    "DevRoot",
    "LogKey",
    "LogName",
    "LogUrl",
    "Manifest",
    "Pccs",
    "attestation",
    "submission",
]

DevRoot = Annotated[
    Path | None,
    typer.Option(
        help="Key file of the development root that vouches for it where no hardware does, made "
        "if there is none; by default that of your devnet.",
        metavar="FILE",
    ),
]
AttesterName = Annotated[
    list[str] | None,
    typer.Option(
        help="dstack, nitro, tsm, nvidia or dev; may be given again. By default what the machine "
        "has, and dev where it has nothing.",
        metavar="NAME",
    ),
]
Collateral = Annotated[
    Path | None,
    typer.Option(help="Intel's collateral to send along, for TDX.", metavar="FILE"),
]
Pccs = Annotated[
    str | None,
    typer.Option(help="A service to fetch that from, once, at the start.", metavar="URL"),
]
Certs = Annotated[
    list[Path] | None,
    typer.Option(help="AMD's certificates to send along, for SNP.", metavar="FILE"),
]
Manifest = Annotated[
    Path | None,
    typer.Option(help="A signed manifest that approves this code.", metavar="FILE"),
]
LogUrl = Annotated[str | None, typer.Option(help="The log that its keys go into.", metavar="URL")]
LogKey = Annotated[
    Path | None,
    typer.Option(help="Key that signs entries, where the log asks for one.", metavar="FILE"),
]
LogName = Annotated[
    str,
    typer.Option(
        help="Its name in the log: host and port of the URL people reach it by. By default the "
        "address it listens on.",
        metavar="HOST[:PORT]",
    ),
]


def submission(log: str | None, key: Path | None, name: str) -> LogSubmission | None:
    """Return these options as the roles take them; raises `InputError` for a key without a log."""
    from privity.errors import InputError
    from privity.node.publication import LogSubmission

    if log is None and (key is not None or name):
        raise InputError("--log-key and --name are of a log", hint="say which with --log")
    return None if log is None else LogSubmission(log, key, name)


def attestation(
    dev_root: Path | None,
    attester: Sequence[str] | None,
    *,
    collateral: Path | None = None,
    pccs: str | None = None,
    certs: Sequence[Path] | None = None,
    manifest: Path | None = None,
) -> AttestationSettings:
    """Return these options as the roles take them."""
    from privity.attest.quoters.choose import AttesterSettings
    from privity.home import home
    from privity.node.attestation import AttestationSettings

    return AttestationSettings(
        dev_root=dev_root or home() / "devnet" / "root.key",
        names=tuple(attester or ()),
        attesters=AttesterSettings(
            collateral=collateral, pccs=pccs, certificates=tuple(certs or ())
        ),
        manifest=manifest,
    )
