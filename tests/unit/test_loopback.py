"""What counts as this machine, wherever that is decided."""

from __future__ import annotations

from typing import Any

import pytest

from privity.errors import InputError
from privity.infer.engines.proxy import EngineProxy
from privity.infer.loopback import is_loopback, may_be_loopback
from privity.infer.routes.confidential import same_machine
from privity.infer.routes.local import local_disclosure
from privity.node import access
from privity.node.attestation import AttestationSettings
from privity.node.enclave_role import EnclaveSettings

HERE = ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.8.9.10", "::1", "0:0::1"]
ELSEWHERE = [
    *("", "localhost..", "localhost.example", "127.0.0.1.example", "127.0.0.1 ", "127.1"),
    *("2130706433", "0x7f.0.0.1", "0.0.0.0", "::", "::2", "::1%eth0", "[::1]", "192.168.1.7"),  # noqa: S104
    *("128.0.0.1", "127.0.0.256", "fe80::1", "::ffff:10.0.0.1"),
]


@pytest.mark.parametrize("host", [*HERE, "::ffff:127.0.0.1"])
def test_loopback_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_what_could_be_elsewhere_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *HERE,
        *(
            "::ffff:127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0x7F.1",
        ),
        *("0177.0.0.1", "017700000001", "0.0.0.0", "0", "0x", "0.1.2.3", "127.0.0.1."),  # noqa: S104
        *("::", "::%eth0", "::1%eth0", "::ffff:0.0.0.0", "::127.0.0.1", "::ffff:7f00:1"),
        *("app.localhost", "a.b.localhost.", "localhost.localdomain", "LOCALHOST.localdomain."),
        *("localhost6", "localhost6.localdomain", "ip6-localhost", "ip6-loopback"),
    ],
)
def test_what_a_resolver_may_take_for_this_machine_is_no_stranger(host: str) -> None:
    assert may_be_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "api.openai.com", "localhost.example", "mylocalhost", "127.0.0.1.example"),
        *("128.0.0.1", "1.127", "16777216", "192.168.1.7", "127.0.0.256", "127.0.0.0.1", "256.1"),
        *("0x80000000", "0200.0.0.1", "0127.1", "08.1", "9" * 25, "127.1 ", "-1"),
        *("::2:0:0", "fe80::1", "2001:db8::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "127..1"),
    ],
)
def test_what_is_no_spelling_of_this_machine_may_be_anywhere(host: str) -> None:
    assert not may_be_loopback(host)
    assert not is_loopback(host)


@pytest.mark.parametrize("host", [*HERE, "192.168.1.7", "gpu.example", "127.0.0.1.example"])
def test_all_who_decide_by_it_agree(host: str, tmp_path: Any) -> None:
    literal = f"[{host}]" if ":" in host else host
    url, here = f"http://{literal}:8000", is_loopback(host)
    assert access._is_loopback(f"{literal}:8000") == here
    assert same_machine(url, "http://127.0.0.1:9") == here
    assert (local_disclosure(url, "x") == local_disclosure("http://127.0.0.1", "x")) == here
    try:
        EnclaveSettings(AttestationSettings(tmp_path / "root"), engine=url)
    except InputError:
        assert not here
    else:
        assert here


@pytest.mark.anyio
@pytest.mark.parametrize(("host", "kept"), [("127.0.0.1", 0), ("localhost.", 0), ("gpu.x", 20)])
async def test_an_engine_on_loopback_gets_a_connection_for_each_request(
    monkeypatch: pytest.MonkeyPatch, host: str, kept: int
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "privity.infer.engines.proxy.httpx.AsyncHTTPTransport", lambda **given: asked.append(given)
    )

    class Engine:
        base_url = f"http://{host}:8000"

    engine: Any = Engine()
    EngineProxy(engine)._open()
    assert asked[0]["limits"].max_keepalive_connections == kept
