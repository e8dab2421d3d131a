"""Asks models over one session, and reads their answers as they come."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from privity.errors import EngineError, MalformedError
from privity.infer.catalogue import Shelf
from privity.infer.decision import PassedOver
from privity.infer.opening import SessionSettings, open_session
from privity.infer.routes.route import Route
from privity.infer.session import RECEIPT_ID_HEADER, ROUTE_HEADER, PrivateTransport
from privity.policy import AdmittedRoute
from privity.receipt import DeviceRecord, ReceiptFile, verify_record
from privity.seal.sync_transport import SyncTransport

if TYPE_CHECKING:
    from privity.infer.routes.zero_retention import Preview

__all__ = ["TIMEOUT", "Answer", "AnswerStream", "Asker", "Meant"]

BASE_URL = "http://enclave.privity/v1"
"""Any host would do: the route decides where a request goes."""

CHAT_PATH = "/v1/chat/completions"

TIMEOUT = httpx.Timeout(600, connect=15)
"""A model may think for minutes before its first word; connecting may not take that long."""

Message = Mapping[str, Any]


class Answer(str):
    """A model's answer: a string that holds its receipt.

    Attributes:
        receipt_id: the receipt's name in the store, for ``privity receipts show``.
        receipt: the receipt file, as stored.
    """

    __slots__ = ("receipt", "receipt_id")
    receipt_id: str
    receipt: ReceiptFile

    def __new__(cls, text: str, receipt_id: str, receipt: ReceiptFile) -> Self:
        """Return ``text`` with its receipt; run by `AnswerStream.answer`."""
        answer = super().__new__(cls, text)
        answer.receipt_id = receipt_id
        answer.receipt = receipt
        return answer

    @property
    def text(self) -> str:
        """The answer as a plain string."""
        return str.__str__(self)


@dataclass(frozen=True)
class Meant:
    """What a request would take if it were sent now.

    Attributes:
        admitted: the route, verified and admitted.
        name: of the model there, such as ``zdr/openai/gpt-5``: a request that names it goes there
            or nowhere. Empty where there is one way only, and requests go as they are.
        failed: what came before it by the person's wish, and why that is not to be had.
    """

    admitted: AdmittedRoute[Route]
    name: str = ""
    failed: tuple[PassedOver, ...] = ()


class AnswerStream:
    """A model's answer as it comes: iterate it for pieces of text.

    Close it, or use it in ``with``, to stop the answer early; the receipt then says
    ``interrupted``.

    Attributes:
        receipt_id: the receipt's name in the store.
        usage: the token counts the engine reported, once they came.
        finish_reason: why the model stopped, such as ``stop`` or ``length``, once it did.
        route: what answered, such as ``confidential/home`` or ``zdr/openai/gpt-5``.
    """

    def __init__(self, asker: Asker, response: httpx.Response, *, close_asker: bool) -> None:
        self._asker = asker
        self._response = response
        self._close_asker = close_asker
        self._parts: list[str] = []
        self.receipt_id = response.headers[RECEIPT_ID_HEADER]
        self.route = response.headers.get(ROUTE_HEADER, "")
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self._pieces = self._read()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def text(self) -> str:
        """The text that has come so far."""
        return "".join(self._parts)

    @property
    def receipt(self) -> ReceiptFile:
        """The receipt file as it stands: ``unfinished`` until the answer has ended."""
        return self._asker.transport.journal.store.get(self.receipt_id)[1]

    @property
    def record(self) -> DeviceRecord:
        """What this device signed of the job as it ran, not as it was meant.

        Raises:
            ReceiptError: the stored record is not one that this device signed.
        """
        journal = self._asker.transport.journal
        now, document = journal.clock(), self.receipt.record
        record = verify_record(document, device=None, now=now).record
        if record.route == "anonymous":
            return record  # signed with a key of its own: spec/anonymous.md
        return verify_record(document, device=journal.key.did, now=now).record

    def answer(self) -> Answer:
        """Read to the end and return the whole answer.

        Raises:
            PrivityError: the answer broke off, or its receipt does not verify.
        """
        for _ in self._pieces:
            continue
        return Answer(self.text, self.receipt_id, self.receipt)

    def close(self) -> None:
        """Stop the answer if it has not ended, and free what it held."""
        self._pieces.close()
        self._response.close()
        if self._close_asker:
            self._asker.close()

    def _read(self) -> Generator[str, None, None]:
        try:
            for line in _lines(self._response.iter_bytes()):
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    continue  # the stream itself is read to its end
                piece = self._piece(data)
                if piece:
                    self._parts.append(piece)
                    yield piece
        finally:
            self._response.close()
            if self._close_asker:
                self._asker.close()

    def _piece(self, data: bytes) -> str:
        try:
            event = json.loads(data.decode())
            if "error" in event:
                raise EngineError(_engine_message(event["error"]))
            self.usage = event.get("usage") or self.usage
            choice = (event.get("choices") or [{}])[0]
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            return (choice.get("delta") or {}).get("content") or ""
        except (ValueError, AttributeError, TypeError, IndexError) as error:
            raise MalformedError("the engine's stream is not OpenAI-shaped") from error


class Asker:
    """Asks models by one session: one policy, one route, warm connections. Thread-safe.

    Args:
        settings: what was asked for; None takes what ``config.toml`` says.
        transport: a session of one's own in place of one opened from the settings.
    """

    def __init__(
        self,
        settings: SessionSettings | None = None,
        *,
        transport: PrivateTransport | None = None,
    ) -> None:
        self.transport = transport or open_session(settings)
        self._sync = SyncTransport(self.transport)
        self._http = httpx.Client(
            transport=self._sync, base_url=BASE_URL, timeout=TIMEOUT, trust_env=False
        )

    def route(self, body: Mapping[str, Any] | None = None) -> AdmittedRoute[Route]:
        """Find, verify and admit the route now, without sending anything of a prompt.

        Args:
            body: the request it is for, as `body` makes it; None for no particular one.

        Raises:
            PolicyRefusal: the policy does not allow it; `.report` holds its disclosure.
            EvidenceError: the enclave did not prove what it must.
            PeerError: it cannot be reached.
        """
        return self.meant(body).admitted

    def meant(self, body: Mapping[str, Any] | None = None) -> Meant:
        """Return what `route` does, with the name of what would answer there.

        Raises:
            PrivityError: as `route`.
        """
        return self._sync.call(self._meant(body))

    async def _meant(self, body: Mapping[str, Any] | None) -> Meant:
        ladder = self.transport.ladder
        if body is None:
            return Meant(await ladder.current())
        plan = await ladder.plan(CHAT_PATH, json.dumps(body).encode())
        step = plan.steps[0]
        admitted = await step.rung.keeper.current()
        failed = () if plan.decision is None else plan.decision.failed
        return Meant(admitted, "" if step.offer is None else step.offer.name, failed)

    def shelves(self) -> tuple[Shelf, ...]:
        """Return what every rung has and discloses now; nothing of a prompt is sent."""
        return self._sync.call(self.transport.ladder.shelves())

    def preview(self, body: Mapping[str, Any]) -> Preview | None:
        """Return what would leave for a provider if this were sent; None where none gets it.

        Args:
            body: as `body` makes it.

        Raises:
            PrivityError: as for the request itself; nothing is sent either way.
        """
        return self._sync.call(self._preview(body))

    async def _preview(self, body: Mapping[str, Any]) -> Preview | None:
        content = json.dumps(body).encode()
        plan = await self.transport.ladder.plan(CHAT_PATH, content)
        step = plan.steps[0]
        admitted = await step.rung.keeper.current()
        if step.offer is None or step.rung.route != "zdr":
            return None
        from privity.infer.routes.zero_retention import ZeroRetentionRoute

        if not isinstance(admitted.route, ZeroRetentionRoute):
            return None
        sent = self.transport.ladder.fitted(plan, step, content) or content
        return await admitted.route.preview(CHAT_PATH, sent)

    def body(
        self,
        messages: Sequence[Message],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> dict[str, Any]:
        """Return the request that `stream` sends for these arguments."""
        body: dict[str, Any] = {"messages": list(messages), "stream": True}
        body["stream_options"] = {"include_usage": True}
        named = model or self._default_model()
        if named is not None:
            body["model"] = named
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if temperature is not None:
            body["temperature"] = temperature
        return body

    def stream(
        self,
        messages: Sequence[Message],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        close_asker: bool = False,
    ) -> AnswerStream:
        """Ask for the continuation of a chat, and return the answer as it comes.

        Args:
            messages: OpenAI-shaped, such as ``{"role": "user", "content": "…"}``.
            model: by default the route's first.
            max_tokens: the most the answer may have.
            temperature: 0 is greedy.
            close_asker: close this asker with the stream.

        Raises:
            PrivityError: nothing was sent, or nothing was answered.
        """
        body = self.body(messages, model=model, max_tokens=max_tokens, temperature=temperature)
        request = self._http.build_request("POST", "/chat/completions", json=body)
        response = self._http.send(request, stream=True)
        if response.status_code != 200:
            raise _engine_error(response)
        return AnswerStream(self, response, close_asker=close_asker)

    def close(self) -> None:
        """Close the connections, and a local engine that was started."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _default_model(self) -> str | None:
        """Return the only rung's first model; a ladder of more chooses by itself."""
        if not self.transport.ladder.takes_all:
            return None
        models = self.route().route.models
        if not models:
            raise EngineError("this route has no model", hint="name one with `model`")
        return models[0].id


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Split at line feeds alone: JSON text may hold U+2028 and U+0085, which end no event line."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _engine_error(response: httpx.Response) -> EngineError:
    """Read an error answer; what the engine says is shown, for it speaks to the person."""
    response.read()
    try:
        message = _engine_message(response.json()["error"], _who(response))
    except (ValueError, KeyError, TypeError):
        message = f"{_who(response)} answered with status {response.status_code}"
    wait = response.headers.get("retry-after", "")
    response.close()
    return EngineError(message, hint=f"try again in {wait} seconds" if wait.isdigit() else "")


def _who(response: httpx.Response) -> str:
    """Return what answered, in a word."""
    zdr = response.headers.get(ROUTE_HEADER, "").startswith("zdr/")
    return "the provider" if zdr else "the engine"


def _engine_message(error: Any, who: str = "the engine") -> str:
    text = error.get("message") if isinstance(error, dict) else error
    return f"{who} refused: {text}"[:500]
