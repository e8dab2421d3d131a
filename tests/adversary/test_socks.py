"""Through a SOCKS proxy, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from keys import Published
from privity.errors import InputError, PeerError
from privity.node.relay_role import RelaySettings, make_relay
from privity.seal.connections import Connections
from privity.seal.gateway import Gateway
from privity.seal.hops import RelayKeys, exit_url, through_relay
from privity.seal.key_config import GatewayKeys
from privity.seal.transport import SealedTransport
from two_hops import SECOND, TARGET, Socks

Serve = Callable[[Any], str]
NAME = "relay.hidden.example"  # no name server knows it

pytestmark = pytest.mark.anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the names that this process looks up, none of which it should."""
    asked: list[Any] = []
    real = socket.getaddrinfo

    def keep(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", keep)
    return asked


@pytest.mark.parametrize("isolate", [False, True])
async def test_names_are_resolved_by_the_proxy_and_nothing_goes_around_it(
    serve: Serve, tmp_path: Path, resolved: list[Any], isolate: bool
) -> None:
    keys = GatewayKeys.generate()
    second = make_relay(RelaySettings({TARGET: serve(Gateway(app, keys))}, tmp_path / "two"))
    first = make_relay(RelaySettings({SECOND: serve(second)}))
    reached: list[int] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["client"][1])
        await first(scope, receive, send)

    port = int(serve(watched).rpartition(":")[2])
    async with Socks({NAME: port}).running() as proxy:
        inner = Connections(proxy=proxy.url, isolate=isolate)
        url = f"http://{NAME}:4711"
        relay_keys = RelayKeys(inner, url, SECOND, second.keys_digest or b"")
        path = through_relay(inner, url, SECOND, relay_keys, TARGET)
        transport = SealedTransport(Published(keys), exit_url(TARGET), inner=path)
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(2):
                assert (await client.post("https://e.test/", content=b"q")).content == b"answer"
    assert proxy.asked == [(NAME, 4711)] * 3  # for the keys and twice for the question
    assert len(reached) == 3
    assert NAME not in resolved
    assert NAME.encode() not in resolved
    await first.aclose()
    if isolate:  # each its own circuit: no two names, nor passwords, are alike
        assert len({part for login in proxy.logins for part in login}) == 6
    else:
        assert proxy.logins == []


@pytest.mark.parametrize("behave", ["silent", "garbage", "refuse", "gone"])
async def test_a_proxy_that_fails_is_no_reason_to_go_directly(serve: Serve, behave: str) -> None:
    reached: list[str] = []

    async def relay(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await app(scope, receive, send)

    url = serve(relay)  # which could be reached directly
    async with Socks({"127.0.0.1": 1}, behave).running() as proxy:
        where = "socks5h://127.0.0.1:9" if behave == "gone" else proxy.url
        inner = Connections(proxy=where)
        if behave != "silent":  # which is waited for as long as Tor may take
            with pytest.raises(PeerError):
                await RelayKeys(inner, url, SECOND, bytes(32)).current()
        request = httpx.Request(
            "GET", url, extensions={"timeout": {"connect": 0.3, "read": 5.0, "write": 5.0}}
        )
        with pytest.raises((PeerError, httpx.TransportError)):
            await inner.handle_async_request(request)
    assert reached == []


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://127.0.0.1:9050",  # by convention the client resolves the names
        "socks4://127.0.0.1:9050",
        "http://127.0.0.1:8080",
        "127.0.0.1:9050",
        "socks5h://127.0.0.1",
        "socks5h://",
        "not a url",
    ],
)
async def test_only_a_proxy_that_resolves_names_is_taken(proxy: str) -> None:
    with pytest.raises(InputError, match="proxy"):
        Connections(proxy=proxy)


async def test_streams_are_isolated_by_a_proxy_alone() -> None:
    with pytest.raises(InputError, match="isolate"):
        Connections(isolate=True)
    with pytest.raises(InputError, match="isolate"):
        Connections(proxy="socks5h://me:secret@127.0.0.1:9050", isolate=True)


async def test_the_proxy_of_the_environment_is_not_followed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    inner = Connections()
    response = await inner.handle_async_request(httpx.Request("GET", serve(app)))
    assert await response.aread() == b"answer"
