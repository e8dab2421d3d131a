"""What every stand-in for a provider has in common: a record of what came, and a script."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

KEY = "sk-stand-in-0123456789"


@dataclass(frozen=True)
class Call:
    """A call of a tool that an answer makes: its name and its arguments, as JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Reply:
    """What to answer.

    Attributes:
        text: the answer.
        calls: the tools it calls.
        status: another status makes it an error.
        error: the error's message.
        piece: how many characters a streamed piece has.
        cut: the stream ends after so many events, without its end mark.
        failed: an error within the stream after so many events.
        headers: further headers.
        raw: sent in place of all that.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    status: int = 200
    error: str = ""
    piece: int = 7
    cut: int | None = None
    failed: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: Response | None = None

    def pieces(self) -> list[str]:
        """Return the text as it is streamed."""
        return [self.text[i : i + self.piece] for i in range(0, len(self.text), self.piece)]


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def line(self) -> bytes:
        """All of it, head and body."""
        return repr((self.method, self.path, self.query, self.headers)).encode() + self.body

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """Return a header's value."""
        return next((value for one, value in self.headers if one == name), None)


Script = Callable[[str, dict[str, Any]], Reply]


def echo(text: str, body: dict[str, Any]) -> Reply:
    """Say the last text back; where there are tools and it asks for one, call the first with it."""
    tools = body.get("tools") or []
    if tools and "tool" in text:
        first = tools[0]
        name = first.get("name") or first["function"]["name"]
        return Reply(calls=(Call(name, json.dumps({"text": text}, ensure_ascii=False)),))
    return Reply(f"You said: {text}")


class StandIn:
    """The record and the script of one stand-in."""

    def __init__(self, script: Script = echo, record: Path | None = None) -> None:
        self.script = script
        self.record = record
        self.received: list[Received] = []
        self.problems: list[str] = []

    @property
    def bytes_received(self) -> bytes:
        """All that ever came, heads and bodies."""
        return b"\n".join(one.line for one in self.received)

    async def take(self, request: Request, types: TypeAdapter[Any]) -> dict[str, Any]:
        """Record a request, and return its body if the SDK's types know all of it."""
        body = await request.body()
        raw = request.scope["raw_path"].decode()
        headers = [(k.decode(), v.decode()) for k, v in request.scope["headers"]]
        query = request.scope["query_string"].decode()
        self.received.append(Received(request.method, raw, query, headers, body))
        if self.record is not None:  # at once: whoever reads it need not stop this first
            with self.record.open("ab") as file:
                file.write(self.received[-1].line + b"\n")
        parsed = json.loads(body)
        try:
            types.validate_python(parsed)
        except ValidationError as error:
            places = [f"{one['type']} {one['loc']}" for one in error.errors()]
            self.problems.append("; ".join(places))
            raise Refused(400, "invalid_request_error", places[0][:200]) from None
        assert isinstance(parsed, dict)
        return parsed

    def reply(self, text: str, body: dict[str, Any]) -> Reply:
        """Return what the script says to the last text of a request."""
        return self.script(text, body)


class Refused(Exception):
    """An error of the API."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


def last_text(content: Any) -> str:
    """Return the text of a message's content, in any of the shapes."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(filter(None, (last_text(one) for one in content)))
    if isinstance(content, dict):
        return str(content.get("text") or last_text(content.get("content")))
    return ""


def streamed(events: list[bytes], reply: Reply, error: bytes) -> Response:
    """Return the events as a stream, broken off where the script says so."""

    async def run() -> AsyncIterator[bytes]:
        for index, event in enumerate(events):
            if reply.cut == index:
                return
            if reply.failed == index:
                yield error
                return
            yield event

    return StreamingResponse(run(), media_type="text/event-stream", headers=reply.headers)


def event(data: dict[str, Any], name: str = "") -> bytes:
    """Return one event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def error_response(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response:
    """Return an error."""
    return JSONResponse(body, status, headers)
