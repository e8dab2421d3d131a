"""Attacks on the zero-retention route: errors in disguise, addresses, terms, and prices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.disclosure import Asset, Ground, Party
from privity.errors import InputError, PeerError, PrivityError, TruncatedError
from privity.infer.peers import ProviderPeer
from privity.infer.providers.profile import load_profile
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.routes.zero_retention import Left, ZeroRetentionRoute, zero_retention_route
from privity.policy import Kind, Mode, Policy, TermsPolicy
from providers.standin import KEY
from scripted_detector import ScriptedDetector
from zero_retention import (
    CANARY,
    CHAT,
    COMPLETION,
    MESSAGES,
    MODELS,
    RESPONSES,
    Wire,
    chat,
    messages,
    policy,
    responses,
    route,
    send,
    set_keys,
    whole,
)

pytestmark = pytest.mark.anyio

SAID = f"{CANARY} of Anna Schmidt"
EVENTS, JSON = "text/event-stream", "application/json"
NOTHING = {Ground.NOTHING}
Quote = Callable[[str], bytes]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    set_keys(monkeypatch)


def replacing(provider: str, **settings: Any) -> ZeroRetentionRoute:
    names = Pseudonymiser(ScriptedDetector({"Anna Schmidt": Kind.PERSON}))
    return route(provider, rules=policy(mode=Mode.REPLACE), pseudonyms=names, **settings)


def quoting(kind: str, quote: Quote) -> Callable[[httpx.Request], httpx.Response]:
    """Answer with what was asked, as the provider read it."""

    def answer(request: httpx.Request) -> httpx.Response:
        sent = json.loads(request.content)
        text = sent["messages"][-1]["content"] if "messages" in sent else sent["input"]
        said = quote(text if isinstance(text, str) else text[0]["text"])
        return httpx.Response(200, headers={"content-type": kind}, stream=httpx.ByteStream(said))

    return answer


async def got(
    to: ZeroRetentionRoute, path: str, body: dict[str, Any], kind: str, quote: Quote
) -> bytes:
    """Return all that the client gets, be it an answer or an error."""
    wire, out = Wire(quoting(kind, quote)), b""
    try:
        response = await send(wire, path, body, to)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for chunk in response.stream:
            out += chunk
    except PrivityError as error:
        out += f"{error!r} {error.message} {error.hint}".encode()
    assert len(wire.requests) == 1
    return out


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def an_event(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + as_json(value) + b"\n\n"


def bad(text: str) -> dict[str, str]:
    return {"message": f"bad: {text}", "code": "server_error"}


IN_STREAMS: dict[str, tuple[str, str, Quote]] = {
    "escaped key": (
        *("openai", CHAT),
        lambda t: b'data: {"\\u0065rror": ' + as_json(bad(t)) + b"}\n\n",
    ),
    "other case": ("openai", CHAT, lambda t: an_event({"Error": bad(t), "choices": []})),
    "beside choices": ("openai", CHAT, lambda t: an_event({"choices": [], "error": bad(t)})),
    "in a choice": (
        *("openai", CHAT),
        lambda t: an_event({"choices": [{"index": 0, "delta": {}, "error": bad(t)}]}),
    ),
    "named twice": (
        *("openai", CHAT),
        lambda t: (
            b'data: {"choices": [], "error": ' + as_json(bad(t)) + b', "error": null}\n\n'
            b"data: [DONE]\n\n"
        ),
    ),
    "no chunk": ("openai", CHAT, lambda t: an_event(bad(t))),
    "no JSON": ("openai", CHAT, lambda t: f"data: bad: {t}\n\n".encode()),
    "a name": ("openai", CHAT, lambda t: an_event({"choices": []}, f"bad {t}")),
    "event of chat": ("openai", CHAT, lambda t: an_event({"choices": [], "m": t}, "error")),
    "event": ("anthropic", MESSAGES, lambda t: an_event({"message": f"bad: {t}"}, "error")),
    "event without JSON": (
        *("anthropic", MESSAGES),
        lambda t: f"event: error\ndata: bad: {t}\n\n".encode(),
    ),
    "event in capitals": ("anthropic", MESSAGES, lambda t: an_event(bad(t), "Error")),
    "without a type": ("anthropic", MESSAGES, lambda t: an_event({"detail": t}, "ping")),
    "translated": ("anthropic", CHAT, lambda t: an_event({"message": f"bad: {t}"}, "error")),
    "translated back": ("openai", MESSAGES, lambda t: an_event({"Error": bad(t), "choices": []})),
    "event of responses": ("openai", RESPONSES, lambda t: an_event(bad(t), "error")),
    "failed, and said twice": (
        *("openai", RESPONSES),
        lambda t: an_event(
            {
                "type": "response.failed",
                "error": bad(t),
                "message": t,
                "response": {"status": "failed", "error": bad(t), "Error": bad(t)},
            }
        ),
    ),
    "failed, and called complete": (
        *("openai", RESPONSES),
        lambda t: an_event(
            {"type": "response.completed", "response": {"status": "failed", "error": bad(t)}},
            "response.completed",
        ),
    ),
    "failed midway": (
        *("openai", RESPONSES),
        lambda t: an_event({"type": "response.in_progress", "response": {"error": bad(t)}}),
    ),
}


def body_of(provider: str, path: str, *, stream: bool) -> dict[str, Any]:
    body = {CHAT: chat, MESSAGES: messages, RESPONSES: responses}[path](SAID, stream=stream)
    return body | {"model": MODELS[provider]}


@pytest.mark.parametrize("case", IN_STREAMS)
async def test_an_error_in_a_stream_quotes_nothing_however_it_is_spelt(case: str) -> None:
    provider, path, quote = IN_STREAMS[case]
    body = body_of(provider, path, stream=True)
    out = await got(replacing(provider), path, body, EVENTS, quote)
    assert CANARY.encode() not in out and b"Schmidt" not in out, out


def failed(text: str) -> dict[str, Any]:
    return {
        "id": "r",
        "object": "response",
        "status": "failed",
        "output": [],
        "error": bad(text),
    }


WHOLE: dict[str, tuple[str, str, Quote]] = {
    "error": ("openai", CHAT, lambda t: as_json({"error": bad(t)})),
    "error as a text": ("openai", CHAT, lambda t: as_json({"error": t})),
    "escaped key": (
        *("openai", CHAT),
        lambda t: b'{"\\u0065rror": ' + as_json(bad(t)) + b"}",
    ),
    "beside choices": ("openai", CHAT, lambda t: as_json({**COMPLETION, "error": bad(t)})),
    "detail": ("openai", CHAT, lambda t: as_json({"detail": t})),
    "error of messages": (
        *("anthropic", MESSAGES),
        lambda t: as_json({"type": "error", "error": bad(t)}),
    ),
    "no message": ("anthropic", MESSAGES, lambda t: as_json({"message": t})),
    "translated": ("anthropic", CHAT, lambda t: as_json({"type": "error", "error": bad(t)})),
    "translated back": ("openai", MESSAGES, lambda t: as_json({"error": bad(t)})),
    "failed response": ("openai", RESPONSES, lambda t: as_json(failed(t))),
    "error in a response": (
        *("openai", RESPONSES),
        lambda t: as_json({**failed(t), "status": "completed"}),
    ),
    "error for a response": ("openai", RESPONSES, lambda t: as_json({"error": bad(t)})),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", WHOLE)
async def test_a_whole_answer_that_is_an_error_quotes_nothing(case: str, streamed: bool) -> None:
    provider, path, quote = WHOLE[case]
    body = body_of(provider, path, stream=streamed)
    out = await got(replacing(provider, whole=True), path, body, JSON, quote)
    assert CANARY.encode() not in out and b"Schmidt" not in out, out


async def test_a_failed_response_still_says_that_it_failed() -> None:
    wire = Wire(whole(failed("quota")))
    told = json.loads(await (await send(wire, RESPONSES, responses())).aread())
    assert told["status"] == "failed" and told["output"] == []
    assert told["error"]["code"] == "server_error"
    assert told["error"]["message"].startswith("OpenAI failed")


async def test_an_error_for_an_answer_is_an_error_that_names_its_kind() -> None:
    wire = Wire(whole({"error": {"type": "overloaded_error", "message": "later"}}))
    with pytest.raises(PeerError, match="error in place of an answer: overloaded_error"):
        await send(wire, CHAT, chat())


@pytest.mark.parametrize(
    ("provider", "path", "spoken", "mark"),
    [
        ("openai", CHAT, "chat", b"event: message_stop\ndata: {}\n\n"),
        ("openai", CHAT, "chat", an_event({"type": "response.completed", "choices": []})),
        ("openai", CHAT, "chat", an_event({"choices": []}, "message_stop")),
        ("openai", RESPONSES, "responses", b"data: [DONE]\n\n"),
        ("openai", RESPONSES, "responses", an_event({"type": "message_stop"}, "message_stop")),
        ("openai", RESPONSES, "responses", an_event({"type": "x"}, "response.completed")),
        ("anthropic", MESSAGES, "messages", b"data: [DONE]\n\n"),
        ("anthropic", MESSAGES, "messages", an_event({"type": "ping"}, "message_stop")),
        ("anthropic", MESSAGES, "messages", an_event({"type": "response.completed"})),
    ],
)
async def test_an_answer_is_not_ended_by_the_end_of_another_shape(
    provider: str, path: str, spoken: str, mark: bytes
) -> None:
    chunk = {
        "chat": {"choices": [{"index": 0, "delta": {"content": "half"}}]},
        "responses": {"type": "response.output_text.delta", "delta": "half"},
        "messages": {"type": "content_block_delta", "delta": {"text": "half"}},
    }[spoken]
    wire = Wire(whole(an_event(chunk) + mark, kind=EVENTS))
    response = await send(wire, path, body_of(provider, path, stream=True), route(provider))
    got = b""
    with pytest.raises((PeerError, TruncatedError)):
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for piece in response.stream:
            got += piece
    ends = {"chat": b"data: [DONE]", "messages": b"event: message_stop"}
    assert ends.get(spoken, b"event: response.completed") not in got


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("retry-after", "17", True),
        ("retry-after", "0.5", True),
        ("retry-after", "Sat, 21 Nov 2026 11:30:00 GMT", True),
        ("x-ratelimit-remaining-requests", "59", True),
        ("x-ratelimit-limit-tokens", "1500000", True),
        ("x-ratelimit-reset-tokens", "6m0s", True),
        ("x-ratelimit-reset-requests", "1h2m3.5s", True),
        ("x-ratelimit-reset-requests", "20ms", True),
        ("x-ratelimit-reset", "2026-11-21T11:30:00Z", True),
        ("retry-after", CANARY, False),
        ("x-ratelimit-reset", KEY, False),
        ("x-ratelimit-reset", "sms", False),
        ("x-ratelimit-reset", "1" * 20, False),
        ("x-ratelimit-limit-tokens", "10 of 4917112345678", False),
        ("retry-after", "Sat, 21 Nov 2026 11:30:00 Anna", False),
        ("x-ratelimit-anna", "17", False),
        ("x-ratelimit-remaining-kanarienvogel", "17", False),
        ("x-ratelimit-", "17", False),
    ],
)
@pytest.mark.parametrize("status", [200, 429])
async def test_headers_that_pass_say_only_how_much_and_when(
    status: int, name: str, value: str, passes: bool
) -> None:
    body = COMPLETION if status == 200 else {"error": {"message": "x"}}
    response = await send(Wire(whole(body, status, **{name: value})), CHAT, chat())
    assert response.headers.get(name) == (value if passes else None)
    await response.aread()


# What left


@pytest.mark.parametrize(
    "reply",
    [
        whole(COMPLETION),
        whole({"error": {"message": "x"}}, 500),
        whole(b"<html>", kind="text/html"),
        whole(b"", 302, location="https://evil.example"),
        whole(b"[]"),
        whole({"error": "no"}),
        None,
    ],
)
async def test_what_leaves_is_told_before_it_does(reply: Any) -> None:
    told: list[Left] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert [one.body for one in told] == [request.content]
        if reply is None:
            raise httpx.ReadError("gone")
        response: httpx.Response = reply(request)
        return response

    wire = Wire(answer)
    try:
        body = chat("Anna Schmidt")
        response = await send(
            wire, CHAT, body, replacing("openai"), extensions={"note_left": told.append}
        )
        await response.aread()
    except PrivityError:
        assert reply is None or reply(wire.requests[0]).status_code < 400
    assert len(told) == 1 and told[0].replaced == {Kind.PERSON: 1}
    assert b"Anna" not in told[0].body
    assert wire.requests[0].extensions == {}


async def test_what_cannot_be_noted_does_not_leave() -> None:
    def full(left: Left) -> None:
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="disk"):
        await send(Wire(), CHAT, chat(), extensions={"note_left": full})


async def test_what_is_refused_is_not_noted() -> None:
    told: list[Left] = []
    with pytest.raises(InputError):
        await send(Wire(), CHAT, chat(store=True), extensions={"note_left": told.append})
    assert told == []


# Addresses and terms

PROFILE = """
name = "mine"
speaks = "chat"
{url}
key_env = "OPENAI_API_KEY"
[[terms]]
source = "s"
as_of = 2026-01-01
retention_days = 0
training = false
[[model]]
id = "m"
"""


def own(folder: Path, url: str = "", *, asked: str | None = None) -> ZeroRetentionRoute:
    file = folder / "p.toml"
    file.write_text(PROFILE.format(url=f'url = "{url}"' if url else ""))
    return zero_retention_route(
        ProviderPeer("p", str(file), url=asked),
        load_profile(file),
        policy=policy(),
        pseudonyms=lambda: pytest.fail("nothing is asked"),  # type: ignore[arg-type,return-value]
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://0.0.0.0:8443",
        "https://[::]",
        "https://[::ffff:0.0.0.0]",
        "https://127.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://0177.0.0.1",
        "https://localhost.localdomain",
        "https://app.localhost",
    ],
)
def test_an_address_of_this_machine_rests_on_nothing_however_it_is_spelt(
    url: str, tmp_path: Path
) -> None:
    for found in (own(tmp_path, url), own(tmp_path, "https://real.example", asked=url)):
        assert found.disclosure[Party.PROVIDER, Asset.PROMPT].grounds == NOTHING
        assert found.terms.retention_days is None and found.terms.training is None


def test_a_profile_without_an_address_vouches_for_none(tmp_path: Path) -> None:
    found = own(tmp_path, asked="https://evil.example")
    assert found.disclosure[Party.PROVIDER, Asset.PROMPT].grounds == NOTHING
    assert found.terms.retention_days is None
    found = own(tmp_path, "https://real.example")
    assert found.disclosure[Party.PROVIDER, Asset.PROMPT].grounds == {Ground.PROMISE}
    assert found.terms.retention_days == 0


@pytest.mark.parametrize(
    ("url", "whose", "source"),
    [
        ("http://127.0.0.1:9", "stand-in for OpenAI", "a stand-in on this machine"),
        ("https://evil.example", "evil.example, not OpenAI", "not an address of OpenAI"),
        ("http://api.openai.com", "OpenAI in the clear", "sent in the clear"),
    ],
)
def test_what_is_not_the_provider_does_not_carry_its_terms(
    url: str, whose: str, source: str
) -> None:
    terms = route(url=url, agreement="zdr").terms
    assert (terms.provider, terms.retention_days, terms.training) == (whose, None, None)
    assert (terms.regions, terms.agreement) == ((), "")
    assert source in terms.source and "https://" not in terms.source
    assert TermsPolicy().offences(terms)
    assert Policy.load("zero-retention").terms.offences(terms)
    assert not Policy.load("dev").terms.offences(terms)


def test_the_current_folder_does_not_choose_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    for folder, host in ((home, "good"), (here, "evil")):
        folder.mkdir(mode=0o700)
        (folder / "p.toml").write_text(PROFILE.format(url=f'url = "https://{host}.example"'))
    monkeypatch.setenv("PRIVITY_HOME", str(home))
    monkeypatch.chdir(here)
    for named in ("p.toml", "./p.toml", Path("p.toml")):
        assert load_profile(named).url == "https://good.example"
    assert load_profile(here / "p.toml").url == "https://evil.example"


# Prices


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        (CHAT, "service_tier", ["priority", "Priority", "fast", "scale", "new", 1, ["priority"]]),
        (RESPONSES, "service_tier", ["priority", "fast", "ultrafast", "scale"]),
        (RESPONSES, "reasoning", [{"mode": "pro"}, {"mode": "new"}]),
        (MESSAGES, "service_tier", ["priority"]),
        (MESSAGES, "speed", ["fast", "FAST", True, ["fast"]]),
    ],
)
async def test_what_makes_an_answer_dearer_than_its_price_is_refused(
    path: str, field: str, values: list[Any]
) -> None:
    make = {CHAT: chat, MESSAGES: messages, RESPONSES: responses}[path]
    for value in values:
        with pytest.raises(InputError, match=field):
            to = route("anthropic" if path == MESSAGES else "openai")
            await send(Wire(), path, make(**{field: value}), to)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        *((CHAT, {"service_tier": tier}) for tier in (None, "auto", "default", "flex")),
        (RESPONSES, {"service_tier": "flex", "reasoning": {"mode": "standard"}}),
        (MESSAGES, {"service_tier": "standard_only", "speed": "standard"}),
    ],
)
async def test_what_costs_what_the_price_says_passes(path: str, more: dict[str, Any]) -> None:
    make = {CHAT: chat, MESSAGES: messages, RESPONSES: responses}[path]
    wire = Wire(whole({"error": {"message": "x"}}, 400))
    await send(wire, path, make(**more), route("anthropic" if path == MESSAGES else "openai"))
    assert json.loads(wire.requests[0].content).items() >= more.items()
