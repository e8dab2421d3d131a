"""`privity pseudonyms`: what is recognised as personal in a text, and what is kept of stand-ins."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from privity.cli import output

__all__ = ["app"]

app = typer.Typer(
    help="Show what in a text is personal; forget kept stand-ins.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document.")]
_PATH = "/v1/chat/completions"


@app.command()
def check(
    text: Annotated[
        str | None, typer.Argument(help="A text; `-` or nothing reads standard input.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what would be replaced in a text before it left for a provider.

    Nothing is sent, and no provider has to be configured. Your own vocabulary counts.
    """
    from privity.cli.preview import draw_departure, spans_document
    from privity.infer.config import load_config
    from privity.infer.provider_rung import LazyPseudonyms
    from privity.policy import Mode

    given = sys.stdin.read() if text in (None, "-") else text
    body = {"messages": [{"role": "user", "content": given or ""}]}
    with output.progress("looking for personal data", quiet=as_json):
        departure = LazyPseudonyms(load_config()).get().replace(_PATH, body, Mode.REPLACE)
    if as_json:
        after = departure.body["messages"][0]["content"]
        output.emit_json({"text": after, "spans": spans_document(departure)})
    elif departure.spans:
        draw_departure(departure)
    else:
        output.out("nothing personal was recognised, which does not mean that there is nothing")


@app.command()
def forget(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Forget the stand-ins of every conversation that were kept sealed.

    Conversations that go on get new stand-ins. What a running daemon has in memory it forgets when
    it stops.
    """
    from privity.infer.pseudonyms.kept import sealed_maps

    if not yes and not output.confirm("Forget what stands for what, in every conversation?"):
        output.note("nothing was forgotten")
        raise typer.Exit(output.FAILURE)
    sealed_maps().forget_all()
    if as_json:
        output.emit_json({"forgotten": True})
    else:
        output.out("forgotten; a daemon that runs keeps its own in memory until it stops")
