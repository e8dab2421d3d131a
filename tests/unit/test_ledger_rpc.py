"""The ledger's node: bounded, checked, asked again only where that changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from privity.errors import InputError, PeerError
from privity.ledger import rpc as rpc_module
from privity.ledger.contract import refusal
from privity.ledger.rpc import Refused, Rpc

pytestmark = pytest.mark.anyio

URL = "https://node.example/v3/secret-of-the-person"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "_PAUSE_S", 0)


def node(answer: Callable[[httpx.Request], httpx.Response], **settings: Any) -> Rpc:
    return Rpc(URL, transport=httpx.MockTransport(answer), **settings)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b'{"id": 99, "result": "0x1"}',
        b'{"id": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"id": 1, "result": ' + b"9" * 10_000 + b"}",
    ],
)
async def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    async with node(lambda _: httpx.Response(200, content=body)) as rpc:
        with pytest.raises(PeerError) as caught:
            await rpc.ask("eth_blockNumber")
    assert "secret-of-the-person" not in f"{caught.value}{caught.value.hint}"


async def test_an_answer_beyond_the_limit_is_not_read() -> None:
    async with node(lambda _: httpx.Response(200, content=b" " * 101), most=100) as rpc:
        with pytest.raises(PeerError, match="more than 100 bytes"):
            await rpc.ask("eth_blockNumber")


async def test_no_redirect_is_followed() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(307, headers={"location": "http://elsewhere.example/"})

    async with node(answer) as rpc:
        with pytest.raises(PeerError, match="HTTP 307"):
            await rpc.ask("eth_blockNumber")
    assert asked == ["node.example"]


@pytest.mark.parametrize(("method", "times"), [("eth_call", 3), ("eth_sendRawTransaction", 1)])
async def test_only_what_changes_nothing_is_asked_again(method: str, times: int) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("https://node.example/v3/secret-of-the-person is down")

    async with node(answer) as rpc:
        with pytest.raises(PeerError, match="cannot be reached: no connection") as caught:
            await rpc.ask(method)
    assert len(asked) == times
    assert "secret" not in f"{caught.value}{caught.value.hint}"


async def test_a_refusal_is_told_on_one_line_and_not_at_length() -> None:
    hostile = "\x1b[31m\r\n" + "x" * 10_000
    error = {"code": 3, "message": hostile, "data": "0xzz"}
    body = {"jsonrpc": "2.0", "id": 1, "error": error}
    async with node(lambda _: httpx.Response(200, json=body)) as rpc:
        with pytest.raises(Refused) as caught:
            await rpc.ask("eth_call")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    told = refusal(caught.value, "Token", "mint")
    assert isinstance(told, InputError)
    assert "gave no reason" in told.message


def test_a_reason_is_read_from_what_the_contract_returned() -> None:
    data = "0x08c379a0" + (32).to_bytes(32, "big").hex() + (3).to_bytes(32, "big").hex()
    error = Refused("refused", code=-32000, data=data + b"why".ljust(32, b"\0").hex())
    assert str(refusal(error, "Token", "mint")) == "the contract Token refused mint: why"
    other = Refused("the node is busy", code=-32005)
    assert refusal(other, "Token", "mint") is other


@pytest.mark.parametrize("url", ["", "node", "ftp://node.example", "http://", "a\0b"])
def test_what_is_no_address_of_a_node_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        Rpc(url)


def test_what_is_no_proxy_is_refused() -> None:
    with pytest.raises(InputError):
        Rpc(URL, proxy="gopher://127.0.0.1:1")
