"""A provider's answer on its way to the client: read, translated and restored as it comes.

Nothing of it is kept: what has passed is gone.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import httpx

from privity.errors import OversizeError, PeerError, TruncatedError
from privity.infer.providers import failure
from privity.infer.providers.limits import limits
from privity.infer.providers.replay import replay
from privity.infer.shapes.answers import chat_answer_to_messages, messages_answer_to_chat
from privity.infer.shapes.errors import error_event
from privity.infer.shapes.events import Event, EventReader, encode_event
from privity.infer.shapes.requests import wants_usage
from privity.infer.shapes.streams import ChatStreamToMessages, MessagesStreamToChat

__all__ = ["MAX_STREAM", "MAX_WHOLE", "Exchange", "Restorer", "client_answer", "client_failure"]

MAX_WHOLE = 64 << 20
"""Largest whole answer, in bytes."""
MAX_STREAM = 512 << 20
"""Most bytes of a streamed answer."""
_MAX_FAILURE = 65_536
_WHOLE_S = 900.0  # for all of a whole answer, however it drips
_FAILURE_S = 15.0
_REST_S = 1.0
_ENDS: Mapping[str, frozenset[str]] = {
    "messages": frozenset({"message_stop"}),
    "responses": frozenset({"response.completed", "response.incomplete", "response.failed"}),
}
_DONE = b"[DONE]"  # of all other shapes
_TYPE = re.compile(r"[a-z_.]{1,64}")
_EVENTS, _JSON = "text/event-stream", "application/json"


class Restorer(Protocol):
    """Puts the originals back into an answer in the client's shape, as it comes."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return what the client may have now."""

    def end(self) -> bytes:
        """Return what was held back."""


class _Translator(Protocol):
    def feed(self, event: Event) -> bytes: ...

    def end(self) -> bytes: ...


@dataclass(frozen=True)
class Exchange:
    """What a provider was asked, as far as its answer depends on it.

    Attributes:
        shape: the client's.
        spoken: the shape the provider answers in.
        title: what people call the provider.
        body: as the client asked it, with what left in place of what it replaced. Not shown.
        streamed: the provider was asked for a stream.
        key: what it was asked with.
    """

    shape: str
    spoken: str
    title: str
    body: Mapping[str, Any]
    streamed: bool
    key: failure.Key = failure.NO_KEY

    def __repr__(self) -> str:
        return f"Exchange({self.shape!r} of {self.title!r} in {self.spoken!r})"

    @property
    def model(self) -> str:
        """The name of the model, as the client knows it."""
        return str(self.body.get("model", ""))


async def client_answer(
    response: httpx.Response, exchange: Exchange, restorer: Callable[[str], Restorer]
) -> tuple[str, httpx.AsyncByteStream]:
    """Return the media type and the bytes that the client gets of a provider's answer.

    Args:
        response: with status 200; closed with what is returned, or here.
        exchange: what was asked.
        restorer: makes what restores an answer of a media type.

    Raises:
        PeerError: the answer is of another kind than was asked for, or does not come.
        OversizeError: it is larger than `MAX_WHOLE`.
        MalformedError: it is not what the provider's API says it is.
    """
    try:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = _EVENTS if exchange.streamed else _JSON
        if kind != wanted or _encoded(response):
            raise PeerError(
                f"{exchange.title} answered with another content type than was asked for",
                hint="is its URL that of the API?",
            )
        if exchange.streamed:
            return _EVENTS, _Events(response, exchange, restorer(_EVENTS))
        content = await read(response, MAX_WHOLE, _WHOLE_S, exchange.title)
    except BaseException:
        await response.aclose()
        raise
    await response.aclose()
    return _whole(content, exchange, restorer(_JSON))


async def client_failure(
    response: httpx.Response, exchange: Exchange
) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body and the headers of a provider's refusal, as the client gets them."""
    content = b""
    try:
        # What it says is of use, not needed: one that sends no end of it is not waited for.
        with contextlib.suppress(PeerError, OversizeError):
            content = await read(response, _MAX_FAILURE, _FAILURE_S, exchange.title)
    finally:
        await response.aclose()
    status = response.status_code
    found = _found(failure.parse(content), status, exchange)
    return failure.answer(found, exchange.shape, status), limits(response)


async def read(response: httpx.Response, most: int, seconds: float, title: str) -> bytes:
    """Return all of a response's body.

    Raises:
        OversizeError: it is larger than ``most``.
        PeerError: it does not come within ``seconds``, or breaks off.
    """
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for chunk in _chunks(response):
                body += chunk
                if len(body) > most:
                    raise OversizeError(f"{title} sent more than {most} bytes")
    except TimeoutError:
        raise PeerError(f"{title} did not send its answer within {seconds:g} seconds") from None
    except httpx.HTTPError as error:
        raise TruncatedError(
            f"{title} broke off its answer: {type(error).__name__}",
            hint="what came so far is not the whole",
        ) from None
    return bytes(body)


def _encoded(response: httpx.Response) -> bool:
    """Return whether an answer is compressed, which was not asked for."""
    return response.headers.get("content-encoding", "identity").lower() not in ("", "identity")


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise PeerError("the provider's connection is not asynchronous")
    return aiter(response.stream)


def _found(told: object, status: int, exchange: Exchange) -> failure.Failure:
    """Return what a provider's error says, without what it may quote."""
    return failure.failure_of(
        told, status, title=exchange.title, sent=exchange.body, key=exchange.key
    )


def _without_quotes(response: Mapping[str, Any], exchange: Exchange) -> dict[str, Any]:
    """Return a response that failed, without what its error may quote."""
    rest = {key: value for key, value in response.items() if key.casefold() != "error"}
    said = _found(response.get("error"), 0, exchange).message
    return {**rest, "error": {"code": "server_error", "message": said}}


def _json(value: Mapping[str, Any]) -> bytes:
    """Return what was decided on as it passes on: other readers read it as it was read here."""
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        raise PeerError("the provider's answer is nested too deep") from None


def _checked(content: bytes, exchange: Exchange) -> dict[str, Any]:
    """Return a whole answer, which is an answer and not an error."""
    told = failure.parse(content)
    if not isinstance(told, dict):
        raise PeerError(f"{exchange.title} answered something that is no JSON object")
    if exchange.spoken == "responses" and told.get("status") == "failed":
        told = _without_quotes(told, exchange)
    elif failure.reports(told):
        kind = _found(told, 200, exchange).kind
        raise PeerError(f"{exchange.title} sent an error in place of an answer: {kind}")
    if not failure.is_answer(told, exchange.spoken, event=False):
        raise PeerError(f"{exchange.title} sent what is no answer of {exchange.spoken}")
    return told


def _whole(
    content: bytes, exchange: Exchange, restorer: Restorer
) -> tuple[str, httpx.AsyncByteStream]:
    """Return a whole answer in the client's shape, as a stream if it asked for one."""
    told = _checked(content, exchange)
    if exchange.spoken != exchange.shape:
        if exchange.spoken == "messages":
            told = messages_answer_to_chat(told, model=exchange.model)
        else:
            told = chat_answer_to_messages(told, model=exchange.model)
    content = restorer.feed(_json(told)) + restorer.end()
    if exchange.body.get("stream") is not True:
        return _JSON, httpx.ByteStream(content)
    restored = failure.parse(content)
    if not isinstance(restored, dict):
        raise PeerError(f"{exchange.title} answered something that is no JSON object")
    events = replay(exchange.shape, restored, usage=wants_usage(exchange.body))
    return _EVENTS, httpx.ByteStream(events)


class _Events(httpx.AsyncByteStream):
    """A streamed answer, event by event, whose end has to be there."""

    def __init__(self, response: httpx.Response, exchange: Exchange, restorer: Restorer) -> None:
        self._response = response
        self._exchange = exchange
        self._restorer = restorer
        self._translator = _translator(exchange)
        self._ended = False
        self._failed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange, reader, size = self._exchange, EventReader(), 0
        chunks = _chunks(self._response)
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > MAX_STREAM:
                    raise OversizeError(f"{exchange.title} sent more than {MAX_STREAM} bytes")
                out = self._restorer.feed(b"".join(map(self._pass, reader.feed(chunk))))
                if out:
                    yield out
                if self._ended or self._failed:
                    break
        except httpx.HTTPError as error:
            raise self._cut_off(type(error).__name__) from None
        if not self._ended:
            rest = self._restorer.end()
            if rest:
                yield rest
            raise self._cut_off("it reports an error" if self._failed else "no end")
        if self._translator is not None:
            last = self._restorer.feed(self._translator.end())
            if last:
                yield last
        last = self._restorer.end()
        if last:
            yield last
        await self._drain(chunks)

    async def aclose(self) -> None:
        await self._response.aclose()

    def _pass(self, event: Event) -> bytes:
        """Return what the client gets of an event, before it is restored."""
        if self._ended or self._failed:
            return b""
        spoken, data = self._exchange.spoken, event.data.strip()
        if data == _DONE and spoken not in _ENDS:
            self._ended = True
            return self._as_asked(Event(data))
        told = failure.parse(data)
        fields = told if isinstance(told, dict) else {}
        if spoken == "responses":
            fields = self._settled(fields)
        if failure.reports(fields, event.name):
            return self._error(fields)
        if not data:
            return b""
        if not failure.is_answer(fields, spoken, event=True):
            return self._error(fields)
        kind = fields.get("type", "")
        ends = _ENDS.get(spoken)
        self._ended = ends is not None and kind in ends
        named = ends is not None and event.name and _TYPE.fullmatch(kind)
        return self._as_asked(Event(_json(fields), kind.encode() if named else b""))

    def _as_asked(self, event: Event) -> bytes:
        """Return an event in the client's shape."""
        if self._translator is not None:
            return self._translator.feed(event)
        return encode_event(event.data, event.name)

    def _error(self, told: Mapping[str, Any]) -> bytes:
        """Return what the client gets of an error within a stream, without what it may quote."""
        self._failed = True
        found = _found(told, 0, self._exchange)
        if self._exchange.shape != "responses":
            return error_event(self._exchange.shape, found.message, found.kind)
        body = {"type": "error", "code": found.kind, "message": found.message, "param": None}
        return encode_event(json.dumps({**body, "sequence_number": 0}).encode(), b"error")

    def _settled(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return an event of responses, the one in it without quotes if it failed."""
        if told.get("type") == "response.failed":  # its error is in the response, nowhere else
            told = {k: v for k, v in told.items() if k in ("type", "sequence_number", "response")}
        inner = told.get("response")
        if isinstance(inner, dict) and (inner.get("status") == "failed" or failure.reports(inner)):
            return {**told, "response": _without_quotes(inner, self._exchange)}
        return told

    def _cut_off(self, why: str) -> TruncatedError:
        return TruncatedError(
            f"{self._exchange.title} broke off its answer: {why}",
            hint="what came so far is not the whole",
        )

    async def _drain(self, chunks: AsyncIterator[bytes]) -> None:
        """Wait a moment for the end of the body, so that the connection can be used again."""
        size = 0
        with contextlib.suppress(httpx.HTTPError), anyio.move_on_after(_REST_S):
            async for chunk in chunks:
                size += len(chunk)
                if size > _MAX_FAILURE:
                    break


def _translator(exchange: Exchange) -> _Translator | None:
    if exchange.spoken == exchange.shape:
        return None
    if exchange.spoken == "messages":
        return MessagesStreamToChat(model=exchange.model, usage=wants_usage(exchange.body))
    return ChatStreamToMessages(model=exchange.model)
