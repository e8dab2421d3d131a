"""Entries of a registry that lead into the relay's own network, by address or by name."""

from __future__ import annotations

import httpx
import pytest

from privity.node.registry_targets import PublicAddresses, is_public
from privity.node.relay import RelayLimits

pytestmark = pytest.mark.anyio

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.1.2.3",
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "no address",
    "",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]


class Seen(httpx.AsyncBaseTransport):
    """Keeps what would be connected to."""

    def __init__(self, failing: str = "") -> None:
        self.requests: list[httpx.Request] = []
        self._failing = failing

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host == self._failing:
            raise httpx.ConnectError("refused")
        return httpx.Response(200)


def guarded(seen: Seen, *answers: list[str], **named: str) -> PublicAddresses:
    rest = list(answers)

    async def look_up(host: str, port: int) -> list[str]:
        return rest.pop(0)

    return PublicAddresses(RelayLimits(), named, inner=seen, look_up=look_up)


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_of_a_private_address_is_not_reached(address: str) -> None:
    seen = Seen()
    with pytest.raises(httpx.ConnectError):
        await guarded(seen, [address]).handle_async_request(
            httpx.Request("GET", "http://listed.test/.well-known/ohttp-gateway")
        )
    assert seen.requests == []


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8545/",
        "http://[::1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://localhost/",
    ],
)
async def test_what_is_written_as_an_address_is_not_reached(url: str) -> None:
    seen = Seen()
    guard = PublicAddresses(RelayLimits(), {}, inner=seen)
    with pytest.raises(httpx.ConnectError):
        await guard.handle_async_request(httpx.Request("GET", url))
    assert seen.requests == []


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    seen = Seen()
    # A second look-up would answer another: there is none.
    guard = guarded(seen, ["8.8.8.8"], ["127.0.0.1"])
    request = httpx.Request("POST", "https://listed.test/base/x", content=b"sealed")
    await guard.handle_async_request(request)
    (sent,) = seen.requests
    assert sent.url.host == "8.8.8.8" and sent.url.path == "/base/x"
    assert sent.headers["host"] == "listed.test"
    assert sent.extensions["sni_hostname"] == "listed.test"
    assert sent.stream is request.stream


async def test_private_addresses_among_public_ones_are_left_out() -> None:
    seen = Seen(failing="8.8.8.8")
    guard = guarded(seen, ["127.0.0.1", "8.8.8.8", "10.0.0.1", "1.1.1.1"])
    await guard.handle_async_request(httpx.Request("GET", "http://listed.test/"))
    assert [one.url.host for one in seen.requests] == ["8.8.8.8", "1.1.1.1"]


async def test_a_named_target_opens_nothing_beside_it() -> None:
    seen = Seen()
    guard = guarded(seen, ["10.0.0.5"], ["10.0.0.5"], home="http://inside.test:9001")
    own = "http://inside.test:9001/.well-known/ohttp-gateway"
    await guard.handle_async_request(httpx.Request("GET", own))
    assert [str(one.url) for one in seen.requests] == [own]
    for url in (
        "http://inside.test:9001/admin/.well-known/ohttp-gateway",
        "http://inside.test:9002/.well-known/ohttp-gateway",
    ):
        with pytest.raises(httpx.ConnectError):
            await guard.handle_async_request(httpx.Request("GET", url))
