"""`privity serve log` and `privity serve witness`: run a log, or watch that logs only grow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from privity.cli import output
from privity.cli.role_options import Host, Lifeline, Port

__all__ = ["log", "witness"]


def log(
    folder: Annotated[
        Path, typer.Argument(help="A folder `privity log init` made.", metavar="FOLDER")
    ],
    key: Annotated[
        Path | None,
        typer.Option(
            help="The log's key file; by default log.key in the privity home.", metavar="FILE"
        ),
    ] = None,
    submitter: Annotated[
        list[str] | None,
        typer.Option(help="A did:key that may add entries; may be given again.", metavar="DID"),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="A witness to ask for cosignatures; may be given again.", metavar="VKEY=URL"
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Take entries into a log, and serve its files.

    Witnesses cosign it. Without --submitter anyone who reaches it may add, so it then listens on
    loopback alone.
    """
    from privity.cli.log import log_key
    from privity.errors import InputError
    from privity.infer.loopback import is_loopback
    from privity.node.listen import bind, end_with_stdin, serve_app
    from privity.node.log import LogSettings, log_app

    if not submitter and not is_loopback(host):
        raise InputError(
            "a log that anyone may add to is for loopback alone",
            hint="list who may add with --submitter",
        )
    settings = LogSettings(
        submitters=frozenset(submitter) if submitter else None,
        witnesses=tuple(_witness(text) for text in witness or []),
    )
    with log_app(folder, log_key(key), settings) as app:
        sock = bind(host, port)
        if lifeline:
            end_with_stdin()
        vkey = app.key.vkey
        serve_app(app, sock, on_ready=lambda url: _ready(url, vkey))


def witness(
    name: Annotated[
        str, typer.Option(help="The witness's name: its URL without the scheme.", metavar="NAME")
    ],
    log: Annotated[
        list[str],
        typer.Option(help="Verifier key of a log it watches; may be given again.", metavar="VKEY"),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where it remembers; by default witness/ in the privity home.", metavar="FOLDER"
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Its key file, used for nothing else; by default witness.key in the privity home.",
            metavar="FILE",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Cosign checkpoints of logs that only grew.

    Those of a forked one are refused. Run it where the log's operator has no say; that is all it is
    for.
    """
    from privity.cli.log import log_key
    from privity.home import home
    from privity.node.listen import bind, end_with_stdin, serve_app
    from privity.node.witness import witness_app

    signing = log_key(key or home() / "witness.key")
    with witness_app(name, signing, log, folder or home() / "witness") as app:
        sock = bind(host, port)
        if lifeline:
            end_with_stdin()
        vkey = app.key.vkey
        serve_app(app, sock, on_ready=lambda url: _ready(url, vkey))


def _witness(text: str) -> tuple[str, str]:
    from privity.errors import InputError

    # The name in a verifier key may itself hold an equals sign.
    vkey, separator, rest = text.partition("=http")
    if not separator:
        raise InputError(
            f"{text!r} is not VKEY=URL", hint="such as w.example+…+…=https://w.example"
        )
    return vkey, "http" + rest


def _ready(url: str, vkey: str) -> None:
    output.json_line({"ready": True, "url": url, "pid": os.getpid(), "vkey": vkey})
