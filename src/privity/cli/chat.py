"""`privity chat`: a conversation in the terminal. Its history is in memory only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from privity.infer.client import AnswerStream
    from privity.infer.routes.route import Route
    from privity.policy import AdmittedRoute

__all__ = ["chat"]

_HELP = (
    "/receipt shows the last receipt, /new forgets the conversation, /quit ends; "
    "Ctrl-C stops an answer"
)


def chat(
    policy: PolicyOption = None,
    route: RouteOption = RouteKind.AUTO,
    enclave: EnclaveOption = None,
    relay: RelayOption = None,
    model: ModelOption = None,
    system: Annotated[
        str | None, typer.Option("--system", "-s", help="Instructions for the whole chat.")
    ] = None,
    max_tokens: MaxTokensOption = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Write one JSON line per answer; read one question a line."),
    ] = False,
) -> None:
    """Talk with a model; each answer leaves a receipt.

    Nothing of the conversation is written anywhere. It is sent again with each question, as every
    chat is, sealed.
    """
    from privity.cli.job import draw_route, settings, verified_route
    from privity.infer.client import Asker

    with Asker(settings(policy, route, enclave, relay)) as asker:
        admitted = verified_route(asker, quiet=as_json)
        if not as_json:
            draw_route(admitted)
            output.note(_HELP)
        opening = [{"role": "system", "content": system}] if system else []
        ask = partial(asker.stream, model=model, max_tokens=max_tokens)
        _Conversation(ask, admitted, opening, as_json=as_json).run()


class _Conversation:
    """The turns so far, and the loop that adds to them."""

    def __init__(
        self,
        ask: Callable[[list[dict[str, str]]], AnswerStream],
        admitted: AdmittedRoute[Route],
        opening: list[dict[str, str]],
        *,
        as_json: bool,
    ) -> None:
        self._ask = ask
        self._admitted = admitted
        self._opening = opening
        self._messages = list(opening)
        self._as_json = as_json
        self._receipt_id: str | None = None

    def run(self) -> None:
        while (line := self._read_line()) is not None:
            if line in ("/quit", "/exit"):
                return
            if line == "/receipt":
                self._show_receipt()
            elif line == "/new":
                self._messages = list(self._opening)
                output.note("forgotten")
            elif line.startswith("/"):
                output.note(_HELP)
            elif line:
                self._turn(line)

    def _read_line(self) -> str | None:
        """Return the next line without its blanks, or None at the end of input."""
        if not sys.stdin.isatty():
            line = sys.stdin.readline()
            return line.strip() if line else None
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - line editing; its history stays in memory
        try:
            return input("\n> ").strip()
        except EOFError:
            output.out()
            return None
        except KeyboardInterrupt:
            output.out()
            return ""

    def _turn(self, line: str) -> None:
        """Ask, write the answer, and keep both; a turn that failed is taken back."""
        from privity.errors import PrivityError

        question = {"role": "user", "content": line}
        try:
            with self._ask([*self._messages, question]) as stream:
                self._receipt_id = stream.receipt_id
                self._write(stream)
                self._messages += [question, {"role": "assistant", "content": stream.text}]
        except PrivityError as error:
            if self._as_json:
                raise
            output.print_error(str(error), error.hint)

    def _write(self, stream: AnswerStream) -> None:
        from privity.cli.ask import receipt_line
        from privity.cli.job import write_text

        if self._as_json:
            stream.answer()
            output.json_line({"answer": stream.text, "receipt": stream.receipt_id})
            return
        try:
            for piece in stream:
                write_text(piece)
            output.out()
        except KeyboardInterrupt:
            output.out(" [stopped]")
            stream.close()
        output.note(receipt_line(stream.receipt_id, self._admitted))

    def _show_receipt(self) -> None:
        from privity.cli.receipts import print_receipt
        from privity.infer.receipts import ReceiptStore

        if self._receipt_id is None:
            output.note("no receipt yet")
            return
        print_receipt(*ReceiptStore().get(self._receipt_id))
