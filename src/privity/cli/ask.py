"""`privity ask`: one question, its answer as it comes, and the receipt of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import (
    EnclaveOption,
    MaxTokensOption,
    ModelOption,
    PolicyOption,
    RelayOption,
    RouteKind,
    RouteOption,
)
from privity.cli.in_use import telling_in_use

if TYPE_CHECKING:
    from privity.cli.job import Ran
    from privity.infer.asker import Meant
    from privity.infer.client import AnswerStream, Asker
    from privity.infer.routes.route import Route
    from privity.policy import AdmittedRoute

__all__ = ["ask"]

_BROKE_OFF = "interrupted before an answer began; `privity receipts list` shows what was sent"


def ask(
    question: Annotated[
        str | None, typer.Argument(help="What to ask; `-` or nothing reads standard input.")
    ] = None,
    policy: PolicyOption = None,
    route: RouteOption = RouteKind.AUTO,
    enclave: EnclaveOption = None,
    relay: RelayOption = None,
    model: ModelOption = None,
    system: Annotated[
        str | None, typer.Option("--system", "-s", help="Instructions before the question.")
    ] = None,
    max_tokens: MaxTokensOption = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 always takes the likeliest token.", min=0, max=2)
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", "-e", help="First draw who will be privy to what, and ask."),
    ] = False,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Show exactly what would leave for a provider; nothing is sent."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --explain: draw it and go on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON document.")] = False,
) -> None:
    """Ask one question; the answer leaves a receipt.

    Who will be privy to it is verified and compared with your policy before anything is sent. The
    answer is written as it comes; the receipt of it is signed.
    """
    from privity.cli.job import settings, tell_failed, verified_route
    from privity.infer.client import Asker

    prompt = _question(question)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    asking = Asker(settings(policy, route, enclave, relay))
    with telling_in_use(policy, quiet=as_json), asking as asker:
        body = None
        if not asker.transport.ladder.takes_all:  # what is asked decides how far it may go
            body = asker.body(messages, model=model, max_tokens=max_tokens)
        meant = verified_route(asker, body, quiet=as_json)
        if not as_json:
            tell_failed(meant.failed, meant.name)
        if preview:
            _preview(asker, body, meant.admitted, as_json=as_json)
            return
        if explain:
            if not _explained(meant.admitted, yes=yes, as_json=as_json):
                output.note("nothing was sent")
                raise typer.Exit(1)
            # By its whole name it goes there or nowhere: one table was agreed to.
            model = meant.name or model
            body = None if body is None else body | {"model": model}
            _still(meant.admitted, asker.route(body))
        with output.waiting("waiting for the answer", quiet=as_json) as came:
            try:
                stream = asker.stream(
                    messages, model=model, max_tokens=max_tokens, temperature=temperature
                )
            except KeyboardInterrupt:
                came()
                if not as_json:
                    output.note(_BROKE_OFF)
                raise
            with stream:
                if as_json:
                    stream.answer()
                    output.emit_json(_document(stream, meant))
                    return
                _write(stream, meant, came)


def _preview(
    asker: Asker,
    body: dict[str, Any] | None,
    admitted: AdmittedRoute[Route],
    *,
    as_json: bool,
) -> None:
    """Show what would leave, and send nothing."""
    from privity.cli.preview import draw_preview, preview_document

    with output.progress("looking for personal data", quiet=as_json):
        found = None if body is None else asker.preview(body)
    if found is None:
        who = "stays on this device" if admitted.route.name == "local" else "leaves sealed"
        if as_json:
            output.emit_json({"body": None, "route": admitted.route.name, "sent": False})
        else:
            output.out(f"no provider gets it: on the route {admitted.route.name} it {who}")
    elif as_json:
        output.emit_json(preview_document(found))
    else:
        draw_preview(found)
    output.note("nothing was sent")


def _write(stream: AnswerStream, meant: Meant, came: Callable[[], None]) -> None:
    from privity.cli.job import given_up, ran, tell_failed, tell_otherwise, write_text

    tell_failed(given_up(meant, ran(stream)), stream.route)
    try:
        for piece in stream:
            came()
            write_text(piece)
        came()
        output.out()
    except KeyboardInterrupt:
        came()
        output.out()
        stream.close()
        output.note(f"interrupted · receipt {stream.receipt_id}")
        raise
    except BaseException:
        came()
        output.out()  # the error begins on a line of its own
        raise
    if stream.finish_reason == "length":
        output.note("the answer was cut at its limit of tokens")
    how = ran(stream)
    tell_otherwise(meant, how)
    _tell_personal(how)
    output.note(receipt_line(stream.receipt_id, meant, how))


def _tell_personal(how: Ran) -> None:
    """Say what became of the personal data in a question that went to a provider."""
    routing = how.record.routing
    if routing is None or routing.sent is None:
        return
    if routing.kept:
        what = f"{routing.kept} pieces of personal data left as they were"
        output.note(output.style(what, "yellow", stream=sys.stderr))
    if routing.replaced:
        output.note(f"{routing.replaced} pieces of personal data were replaced before it left")


def receipt_line(receipt_id: str, meant: Meant, ran: Ran) -> str:
    """Return the line that follows an answer: who gave it, and its receipt."""
    from privity.wording import DEV, printable

    # Where there is one way only, its kind says enough.
    who = printable(ran.name if meant.name else ran.record.route) + (DEV if ran.dev else "")
    short = receipt_id.rpartition("-")[2]
    line = f"{who} · receipt {receipt_id} · privity receipts show {short}"
    return output.style(line, "dim", stream=sys.stderr)


def _question(given: str | None) -> str:
    from privity.errors import InputError

    if given is None and sys.stdin.isatty():
        raise InputError("nothing was asked", hint='privity ask "What is a relay?"')
    try:
        text = sys.stdin.read() if given in (None, "-") else given
        (text or "").encode()  # what the shell passed on as it was may not be text at all
    except UnicodeError:
        raise InputError("the question is not UTF-8 text") from None
    if text is None or not text.strip():
        raise InputError("the question is empty")
    return text


def _explained(admitted: AdmittedRoute[Route], *, yes: bool, as_json: bool) -> bool:
    """Draw the disclosure; return whether to go on."""
    from privity.cli.job import draw_route

    if not as_json:
        draw_route(admitted)
    return yes or output.confirm("Send it?")


def _still(shown: AdmittedRoute[Route], now: AdmittedRoute[Route]) -> None:
    """Check that the route as it is by now discloses no more than what was drawn.

    Raises:
        PeerError: it does; whoever agreed to the one has not agreed to the other.
    """
    from privity.errors import PeerError

    if not now.disclosure <= shown.disclosure:
        raise PeerError(
            "while you read the table, the route came to disclose more than it says",
            hint="nothing was sent; ask again to see the new table",
        )


def _document(stream: AnswerStream, meant: Meant) -> dict[str, Any]:
    """Return the answer and how it came about, once it has ended."""
    from privity.cli.job import failed_json, ran

    how = ran(stream)
    return {
        "answer": stream.text,
        "finish_reason": stream.finish_reason,
        "usage": stream.usage,
        "receipt": stream.receipt_id,
        "route": how.record.route,
        "answered_by": how.name,
        "not_by": failed_json(meant, how),
        "policy": how.record.policy,
        "dev": how.dev,
        "disclosure": how.record.disclosure.to_json(),
    }
