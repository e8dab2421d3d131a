"""spec/device.md: an answer's head never leads a client, or a web page, anywhere."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from privity.errors import EngineError
from privity.infer.session import PrivateTransport
from privity.seal.sync_transport import SyncTransport

URL = "http://any.host/v1/chat/completions"
BODY: dict[str, Any] = {"model": "tokens-3", "messages": [{"role": "user", "content": "canary"}]}
OBEYED = [
    (b"location", b"http://127.0.0.1:9/stolen"),
    (b"access-control-allow-origin", b"*"),
    (b"alt-svc", b'h2="evil:443"'),
    (b"content-encoding", b"identity"),
    (b"refresh", b"0; url=http://evil/"),
    (b"set-cookie", b"a=b"),
    (b"www-authenticate", b"Basic"),
    (b"privity-receipt-id", b"another"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_redirect_out_of_the_seal_is_an_error_and_not_followed(
    world: Any, status: int, method: str
) -> None:
    world.enclave.head = (status, OBEYED)
    asked: list[str] = []

    class Watching(httpx.AsyncBaseTransport):
        def __init__(self, inner: PrivateTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(str(request.url))
            return await self.inner.handle_async_request(request)

    transport = Watching(world.transport())
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(EngineError, match=str(status)):
            if method == "POST":
                await client.post(URL, json=BODY)
            else:
                await client.get("http://any.host/v1/models")
    assert len(asked) == 1
    if method == "POST":
        record = world.store.get("last")[1].record
        assert record["credentialSubject"]["outcome"] == "failed"


def test_the_stock_client_does_not_send_the_prompt_again_in_the_clear(world: Any) -> None:
    world.enclave.head = (307, OBEYED)
    http = httpx.Client(transport=SyncTransport(world.transport()), follow_redirects=True)
    with (
        http,
        openai.OpenAI(
            base_url="http://x/v1", api_key="unused", http_client=http, max_retries=0
        ) as client,
    ):
        with pytest.raises((openai.APIConnectionError, EngineError)):
            client.chat.completions.create(**BODY)
    assert len(world.enclave.seen) == 1


@pytest.mark.anyio
async def test_of_an_answers_head_only_what_describes_it_passes(world: Any) -> None:
    limits = [(b"retry-after", b"3"), (b"x-ratelimit-limit-requests", b"5")]
    world.enclave.head = (200, [*OBEYED, *limits])
    async with httpx.AsyncClient(transport=world.transport()) as client:
        response = await client.post(URL, json=BODY)
    assert set(response.headers) == {
        "privity-route",
        "content-type",
        "retry-after",
        "x-ratelimit-limit-requests",
        "privity-receipt-id",
    }
    assert response.headers["privity-receipt-id"] == next(world.store.ids())
