"""What every role that is run in the foreground can be told: where it listens, when it ends."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Host", "Lifeline", "Port"]

Host = Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")]
Port = Annotated[int, typer.Option(help="TCP port; 0 takes a free one.", min=0, max=65535)]
Lifeline = Annotated[
    bool, typer.Option("--lifeline", help="End when standard input ends.", hidden=True)
]
