"""What the tests of the zero-retention route share: routes, requests, and the end of a wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from privity.infer.peers import ProviderPeer
from privity.infer.providers.profile import load_profile
from privity.infer.routes.zero_retention import ZeroRetentionRoute, zero_retention_route
from privity.policy import Feature, Mode, Policy, SensitivePolicy, TermsPolicy
from providers.front import Double
from providers.standin import KEY

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
MODELS = {"openai": "gpt-6.2-sol", "anthropic": "claude-sonnet-5-5"}
CANARY = "kanarienvogel"


def set_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the keys where the profiles look for them."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)


class Wire(httpx.AsyncBaseTransport):
    """The provider's end: keeps what comes, answers what it is told."""

    def __init__(self, reply: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.reply = reply

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert self.reply is not None, "something was sent"
        return self.reply(request)


def policy(*features: Feature, mode: Mode = Mode.WARN) -> Policy:
    dev = Policy.load("dev")
    return Policy(
        dev.name,
        dev.ceilings,
        terms=TermsPolicy(stateful=frozenset(features)),
        sensitive=SensitivePolicy(mode=mode),
    )


def route(
    provider: str = "openai",
    *,
    rules: Policy | None = None,
    pseudonyms: Any = None,
    **settings: Any,
) -> ZeroRetentionRoute:
    return zero_retention_route(
        ProviderPeer("p", provider, **settings),
        load_profile(provider),
        policy=rules or policy(),
        pseudonyms=lambda: pseudonyms or Double(),  # type: ignore[arg-type,return-value]
    )


async def send(
    wire: Wire,
    path: str,
    body: Any,
    to: ZeroRetentionRoute | None = None,
    method: str = "POST",
    **request: Any,
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    transport = (to or route()).transport(None, wire)  # type: ignore[arg-type]
    asked = httpx.Request(method, f"https://enclave.privity{path}", content=content, **request)
    return await transport.handle_async_request(asked)


def chat(text: str = "x", **more: Any) -> dict[str, Any]:
    return {"model": MODELS["openai"], "messages": [{"role": "user", "content": text}], **more}


def messages(text: str = "x", **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": text}]
    return {"model": MODELS["anthropic"], "max_tokens": 9, "messages": turns, **more}


def responses(text: Any = "x", **more: Any) -> dict[str, Any]:
    return {"model": MODELS["openai"], "input": text, **more}


def whole(body: Any, status: int = 200, kind: str = "application/json", **more: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": kind, **more}
    return lambda request: httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


def part(block: dict[str, Any], role: str = "user") -> list[Any]:
    return [{"role": role, "content": [block]}]


COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "ja"},
        }
    ],
}


class Drip(httpx.AsyncByteStream):
    """A body that goes on, slowly or for ever."""

    def __init__(self, pieces: list[bytes], then: Callable[[], Awaitable[None]] | None) -> None:
        self.pieces = pieces
        self.then = then
        self.closed = False
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.given += len(piece)
            yield piece
        while self.then is not None:
            await self.then()
            self.given += 1 << 20
            yield b" " * (1 << 20)

    async def aclose(self) -> None:
        self.closed = True


def dripping(drip: Drip, kind: str, status: int = 200) -> Any:
    return lambda request: httpx.Response(status, headers={"content-type": kind}, stream=drip)
