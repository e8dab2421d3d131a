"""`privity chat`: a conversation in the terminal. Its history is in memory only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
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
from privity.cli.hints import hinting

if TYPE_CHECKING:
    from privity.infer.asker import Meant, Message
    from privity.infer.client import AnswerStream, Asker

__all__ = ["chat"]

_HELP = (
    "/receipt shows the last receipt, /new forgets the conversation, /quit ends; "
    "Ctrl-C stops an answer"
)


def chat(
    ctx: typer.Context,
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
    from privity.cli.job import settings
    from privity.infer.client import Asker

    opening = [{"role": "system", "content": system}] if system else []
    with Asker(settings(policy, route, enclave, relay)) as asker:
        hinted = hinting(policy, ctx.find_root().command)
        conversation = _Conversation(
            asker, model, max_tokens, opening, hinted=hinted, as_json=as_json
        )
        conversation.run()


class _Conversation:
    """The turns so far, who is privy to them, and the loop that adds to them."""

    def __init__(
        self,
        asker: Asker,
        model: str | None,
        max_tokens: int | None,
        opening: list[dict[str, str]],
        *,
        hinted: Callable[[str], str],
        as_json: bool,
    ) -> None:
        self._asker = asker
        self._hinted = hinted
        self._model = model
        self._max_tokens = max_tokens
        self._shown: Meant | None = None  # whose table the person has before them
        self._opening = opening
        self._messages = list(opening)
        self._as_json = as_json
        self._receipt_id: str | None = None

    def run(self) -> None:
        self._meant(self._opening)
        if not self._as_json:
            output.note(_HELP)
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

    def _meant(self, messages: Sequence[Message]) -> Meant:
        """Return what these messages would take now, drawn unless that is on the screen already.

        Where there is more than one way, each turn may take another: what it holds decides too.
        """
        from privity.cli.job import draw_route, tell_failed, verified_route
        from privity.wording import printable

        asker, shown = self._asker, self._shown
        if asker.transport.ladder.takes_all and shown is not None:
            return shown
        body = None
        if not asker.transport.ladder.takes_all:
            body = asker.body(messages, model=self._model, max_tokens=self._max_tokens)
        meant = verified_route(asker, body, quiet=self._as_json)
        same = shown is not None and meant.name == shown.name
        if shown and same and meant.admitted.disclosure <= shown.admitted.disclosure:
            return shown
        if not self._as_json:
            if meant.name:
                tell_failed(meant.failed, meant.name)
                output.note(f"{'now asks' if shown else 'asks'} {printable(meant.name)}\n")
            draw_route(meant.admitted)
        self._shown = meant
        return meant

    def _turn(self, line: str) -> None:
        """Ask, write the answer, and keep both; a turn that failed is taken back."""
        from privity.errors import PrivityError

        question = {"role": "user", "content": line}
        messages = [*self._messages, question]
        try:
            meant = self._meant(messages)
            with output.waiting("waiting for the answer", quiet=self._as_json) as came:
                with self._asker.stream(
                    messages, model=self._model, max_tokens=self._max_tokens
                ) as stream:
                    self._receipt_id = stream.receipt_id
                    self._write(stream, meant, came)
                    self._messages += [question, {"role": "assistant", "content": stream.text}]
        except KeyboardInterrupt:
            if self._as_json:
                raise
            output.note("stopped; the question is taken back")
        except PrivityError as error:
            if self._as_json:
                raise
            output.print_error(str(error), self._hinted(error.hint))

    def _write(self, stream: AnswerStream, meant: Meant, came: Callable[[], None]) -> None:
        from privity.cli.ask import receipt_line
        from privity.cli.job import (
            failed_json,
            given_up,
            ran,
            tell_failed,
            tell_otherwise,
            write_text,
        )

        if self._as_json:
            stream.answer()
            told = {"answer": stream.text, "answered_by": stream.route}
            told_more = {"not_by": failed_json(meant, ran(stream)), "receipt": stream.receipt_id}
            output.json_line(told | told_more)
            return
        tell_failed(given_up(meant, ran(stream)), stream.route)
        try:
            for piece in stream:
                came()
                write_text(piece)
            came()
            output.out()
        except KeyboardInterrupt:
            came()
            output.out(" [stopped]")
            stream.close()
        how = ran(stream)
        if tell_otherwise(meant, how):
            self._shown = None  # what is on the screen now is another table
        output.note(receipt_line(stream.receipt_id, meant, how))

    def _show_receipt(self) -> None:
        from privity.cli.receipts import print_receipt
        from privity.infer.receipts import ReceiptStore

        if self._receipt_id is None:
            output.note("no receipt yet")
            return
        print_receipt(*ReceiptStore().get(self._receipt_id))
