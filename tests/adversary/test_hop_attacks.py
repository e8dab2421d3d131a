"""Two relays in a row under attack: other keys, cut chains, other targets, other fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.errors import (
    AdmissionError,
    EvidenceError,
    InputError,
    OversizeError,
    PeerError,
    StaleKeyError,
    TruncatedError,
)
from privity.node.relay_role import RelaySettings, make_relay
from privity.seal import chunked_ohttp, problem
from privity.seal.connections import Connections
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.hops import RelayKeys, exit_url, through_relay
from privity.seal.key_config import KEYS_TYPE, GatewayKeys, preferred
from privity.seal.transport import SealedTransport
from privity.statement import PATH as STATEMENT_PATH
from two_hops import (
    ADMISSION,
    ANSWER,
    PLAIN,
    QUESTION,
    SECOND,
    TARGET,
    Enclave,
    ask,
    chain,
    warm,
)
from wire import Wire

Serve = Callable[[Any], str]

pytestmark = pytest.mark.anyio


async def test_a_relay_with_substituted_keys_is_refused(serve: Serve, tmp_path: Path) -> None:
    """The first relay gives keys of its own, by which it would read what is for the second."""
    own = GatewayKeys.generate()
    asked: list[str] = []

    async def first(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["method"])
        kind = [(b"content-type", KEYS_TYPE.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        await send({"type": "http.response.body", "body": own.configs_bytes})

    inner = Connections()
    url = serve(first)
    digest = hashlib.sha256(GatewayKeys.generate().configs_bytes).digest()
    keys = RelayKeys(inner, url, SECOND, digest)
    path = through_relay(inner, url, SECOND, keys, TARGET)
    request = httpx.Request("POST", exit_url(TARGET), content=b"sealed")
    with pytest.raises(EvidenceError) as caught:
        await path.handle_async_request(request)
    assert caught.value.check == "relay-keys"
    assert asked == ["GET"]  # nothing was sealed to them
    # The same keys are taken where the registry names them.
    named = RelayKeys(inner, url, SECOND, hashlib.sha256(own.configs_bytes).digest())
    assert await named.current() == preferred(own.configs)


async def test_keys_that_do_not_end_are_refused(serve: Serve) -> None:
    async def first(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"k" * 60000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    keys = RelayKeys(Connections(), serve(first), SECOND, bytes(32))
    with pytest.raises(OversizeError):
        await keys.current()


@pytest.mark.parametrize("where", ["client_wire", "middle_wire", "exit_wire"])
async def test_a_truncated_chain_is_an_error(serve: Serve, tmp_path: Path, where: str) -> None:
    async with chain(serve, Enclave(pieces=300, pause=0.003), tmp_path) as laid:
        keys = await warm(laid)
        wire: Wire = getattr(laid, where)
        wire.cut_after = len(wire.down) + 2500
        transport = laid.transport(PLAIN, keys=keys)
        async with httpx.AsyncClient(transport=transport, timeout=20) as client:
            async with client.stream("POST", "https://e.test/", content=QUESTION) as answer:
                received = b""
                with pytest.raises(TruncatedError):
                    async for piece in answer.aiter_raw():
                        received += piece
        assert 0 < len(received) < 300 * len(ANSWER)


async def test_an_exit_that_ends_its_own_seal_early_is_found_out(
    serve: Serve, tmp_path: Path
) -> None:
    """The second relay can end what it seals; not what the enclave sealed."""
    keys = GatewayKeys.generate()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        """Give the first half of an answer and a clean end."""
        sent: list[Any] = []

        async def keep(message: Any) -> None:
            sent.append(message)

        await Gateway(Enclave(pieces=9), keys)(scope, receive, keep)
        whole = b"".join(message.get("body", b"") for message in sent)
        await send(sent[0])
        await send({"type": "http.response.body", "body": whole[: len(whole) // 2]})

    async with chain(serve, None, tmp_path, gateway=gateway) as laid:
        laid.keys = keys
        with pytest.raises(TruncatedError):
            await ask(laid)


def _refusing(answer: problem.Problem) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        status = {"type": "http.response.start", "status": answer.status}
        await send({**status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    return app


@pytest.mark.parametrize("check", [*problem.ADMISSION_CHECKS, "another"])
async def test_what_a_gateway_does_not_admit_is_said_to_the_client(
    serve: Serve, tmp_path: Path, check: str
) -> None:
    answer = problem.Problem(403, f"{problem.ADMISSION}{check}", "not admitted")
    async with chain(serve, None, tmp_path, gateway=_refusing(answer)) as laid:
        with pytest.raises(AdmissionError, match="was not admitted") as caught:
            await ask(laid)
    assert caught.value.check == check
    assert bool(caught.value.hint) == (check != "another")


async def test_the_first_relay_cannot_refuse_in_the_name_of_the_gateway(serve: Serve) -> None:
    """A client that believed it would prove again, and use up what it may prove."""
    answer = problem.Problem(403, f"{problem.ADMISSION}root", "not admitted")
    assert await _refused_by_first(serve, answer) is PeerError


async def test_a_second_relay_without_its_key_is_not_an_enclave_without_its_own(
    serve: Serve,
) -> None:
    assert await _refused_by_first(serve, problem.STALE_KEY) is PeerError


async def _refused_by_first(serve: Serve, answer: problem.Problem) -> type[Exception]:
    keys = GatewayKeys.generate()

    async def first(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await _refusing(answer)(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": keys.configs_bytes})

    inner, url = Connections(), serve(first)
    relay_keys = RelayKeys(inner, url, SECOND, hashlib.sha256(keys.configs_bytes).digest())
    path = through_relay(inner, url, SECOND, relay_keys, TARGET)
    with pytest.raises(PeerError) as caught:
        await path.handle_async_request(httpx.Request("POST", exit_url(TARGET), content=b"x"))
    return type(caught.value)


async def test_a_stale_key_of_the_enclave_is_refreshed_through_the_chain(
    serve: Serve, tmp_path: Path
) -> None:
    async with chain(serve, Enclave(), tmp_path) as laid:
        laid.keys = GatewayKeys.generate()
        with pytest.raises(StaleKeyError):
            await ask(laid)


NOT_ITS_TARGETS = [
    ("POST", "/other"),
    ("POST", "/"),
    ("POST", GATEWAY_PATH),
    ("POST", f"/{TARGET}/v1/chat/completions"),
    ("POST", f"/{TARGET}{GATEWAY_PATH}"),
    ("POST", "/http://127.0.0.1:9/"),
    ("POST", f"/{TARGET}%2f..%2fsecret"),
    ("GET", "/healthz"),
    ("GET", GATEWAY_PATH),
    ("GET", f"/{TARGET}/healthz"),
    ("GET", f"/{TARGET}{STATEMENT_PATH}?nonce=short"),
    ("DELETE", f"/{TARGET}"),
]


@pytest.mark.parametrize(("method", "path"), NOT_ITS_TARGETS)
async def test_an_exit_goes_to_its_targets_and_nowhere_else(
    serve: Serve, tmp_path: Path, method: str, path: str
) -> None:
    reached: list[str] = []

    async def target(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    settings = RelaySettings({TARGET: serve(target)}, tmp_path / "keys")
    relay = make_relay(settings)
    url = serve(relay)
    keys = RelayKeys(Connections(), url, "any", relay.keys_digest or b"")
    keys._url = url + GATEWAY_PATH  # straight from the relay
    sealed = SealedTransport(keys, url + GATEWAY_PATH, shape=PLAIN)
    headers = {"content-type": chunked_ohttp.REQUEST_TYPE, "host": "127.0.0.1:9"}
    async with httpx.AsyncClient(transport=sealed) as client:
        answer = await client.request(method, f"http://127.0.0.1:9{path}", headers=headers)
    assert answer.status_code in (404, 405)
    assert reached == []


async def test_an_exit_carries_only_what_is_sealed_again(serve: Serve, tmp_path: Path) -> None:
    async with chain(serve, Enclave(), tmp_path) as laid:
        keys = await warm(laid)
        url = f"{laid.client_wire.url}/{SECOND}"
        sealed = SealedTransport(keys, url, inner=laid.connections, shape=PLAIN)
        async with httpx.AsyncClient(transport=sealed) as client:
            answer = await client.post(f"http://exit/{TARGET}", json={"q": "in the clear"})
        assert answer.status_code == problem.NOT_SEALED.status
        assert not laid.exit_wire.up


BAD_FIELDS = [
    ("privity-admission", "a" * 310),
    ("privity-admission", "a" * 312),
    ("privity-admission", "a" * 310 + "="),
    ("privity-admission", "a" * 310 + "+"),
    ("privity-admission", ""),
    ("privity-query-proof", ""),
    ("privity-query-proof", "a" * (24 * 1024 + 1)),
    ("privity-query-proof", "canary cookie"),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
async def test_admission_fields_carry_nothing_else(
    serve: Serve, tmp_path: Path, name: str, value: str
) -> None:
    headers = {"content-type": chunked_ohttp.REQUEST_TYPE, name: value, "cookie": "canary"}
    async with chain(serve, Enclave(), tmp_path) as laid, httpx.AsyncClient() as client:
        relay = laid.middle_wire.url
        answer = await client.post(f"{relay}/{TARGET}", content=b"sealed", headers=headers)
        assert (answer.status_code, answer.content) == (400, problem.UNADMITTABLE.body)
        assert not laid.exit_wire.up
        headers = {**headers, "privity-admission": ADMISSION, "privity-query-proof": "q" * 24576}
        await client.post(f"{relay}/{TARGET}", content=b"sealed", headers=headers)
        assert ADMISSION.encode() in laid.exit_wire.up
        assert b"q" * 24576 in laid.exit_wire.up
        assert b"canary" not in laid.exit_wire.up


async def test_what_was_sealed_before_a_restart_is_not_carried_on(
    serve: Serve, tmp_path: Path
) -> None:
    """The first relay keeps what it carried, and sends it again to see what leaves."""
    reached: list[str] = []

    async def target(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    settings = RelaySettings({TARGET: serve(target)}, tmp_path / "keys")
    noon = 1_800_000_000.0

    async def carried(relay: Any, dated: float) -> bytes:
        """Return what a client seals to ``relay`` at that time."""
        taken: list[bytes] = []

        async def keep(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                async with httpx.AsyncClient(transport=httpx.ASGITransport(relay)) as http:
                    return await http.get(f"http://r{GATEWAY_PATH}")
            taken.append(await request.aread())
            return httpx.Response(503)

        inner = httpx.MockTransport(keep)
        keys = RelayKeys(inner, "http://first", SECOND, relay.keys_digest)
        path = through_relay(inner, "http://first", SECOND, keys, TARGET, clock=lambda: dated)
        headers = {"content-type": chunked_ohttp.REQUEST_TYPE}
        with pytest.raises(PeerError):
            await path.handle_async_request(
                httpx.Request("POST", exit_url(TARGET), headers=headers, content=b"sealed")
            )
        return taken[0]

    async def sent(relay: Any, message: bytes) -> int:
        headers = {"content-type": chunked_ohttp.REQUEST_TYPE}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(relay)) as http:
            answer = await http.post(f"http://r{GATEWAY_PATH}", content=message, headers=headers)
        return answer.status_code

    before = make_relay(settings, clock=lambda: noon)
    message = await carried(before, noon)
    assert await sent(before, message) == 200
    assert len(reached) == 1
    assert await sent(before, message) == problem.REPLAYED.status
    after = make_relay(settings, clock=lambda: noon + 70)
    assert after.keys_digest == before.keys_digest
    assert await sent(after, message) == 200  # it opens: the refusal is inside the seal
    assert len(reached) == 1
    await sent(after, await carried(after, noon + 71))
    assert len(reached) == 2
    await before.aclose()
    await after.aclose()


async def test_only_what_a_relay_carries_goes_in(tmp_path: Path) -> None:
    keys = RelayKeys(Connections(), "http://127.0.0.1:9", SECOND, bytes(32))
    path = through_relay(Connections(), "http://127.0.0.1:9", SECOND, keys, TARGET)
    for method, url in [
        ("POST", "http://exit/other"),
        ("POST", f"http://elsewhere/{TARGET}"),
        ("PUT", exit_url(TARGET)),
        ("GET", exit_url(TARGET) + "/metrics"),
        ("POST", exit_url(TARGET) + "?q=1"),
    ]:
        with pytest.raises(InputError, match="carries"):
            await path.handle_async_request(httpx.Request(method, url))


def test_problem_documents_cannot_name_what_is_no_check() -> None:
    for check in ("", "A", "x" * 33, "root\n", "root canary", "../x"):
        body = json.dumps({"type": problem.ADMISSION + check}).encode()
        assert isinstance(problem.refusal(403, problem.MEDIA_TYPE, body), PeerError)
