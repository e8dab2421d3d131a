"""Stock clients by way of the route to stand-ins that speak each provider's documented API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import anthropic
import httpx
import openai
import pytest

from privity.infer.peers import ProviderPeer
from privity.infer.providers.profile import load_profile
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.routes.zero_retention import zero_retention_route
from privity.policy import Kind, Policy
from providers.anthropic_api import anthropic_app
from providers.front import Front
from providers.openai_api import azure_app, openai_app
from providers.standin import KEY, Call, Reply, StandIn, echo
from scripted_detector import ScriptedDetector

ASKED = "Say the name Anna Schmidt, wherever she is"
TOOL = {
    "name": "look_up",
    "description": "look somebody up",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
}
APPS = {"openai": openai_app, "azure-openai": azure_app, "anthropic": anthropic_app}
MODELS = {
    "openai": "gpt-6.2-sol",
    "azure-openai": "gpt-6.2-sol",
    "anthropic": "claude-sonnet-5-5",
}


class World:
    """A stand-in, the route to it, and the route's own address for clients."""

    def __init__(self, serve: Callable[..., str], name: str, **settings: Any) -> None:
        self.standin = StandIn(lambda text, body: replace(echo(text, body), piece=3))
        url = serve(APPS[name](self.standin))
        deployments = {MODELS[name]: "my-deployment"} if name == "azure-openai" else {}
        peer = ProviderPeer("p", name, url, deployments=deployments, **settings)
        pseudonyms = Pseudonymiser(ScriptedDetector({"Anna Schmidt": Kind.PERSON}))
        route = zero_retention_route(
            peer,
            load_profile(name),
            policy=Policy.load("dev"),
            pseudonyms=lambda: pseudonyms,
        )
        self.inner = httpx.AsyncHTTPTransport()
        self.front = Front(route.transport(None, self.inner), self.inner)  # type: ignore[arg-type]
        self.url = serve(self.front.app)
        self.model = MODELS[name]

    @property
    def sent(self) -> Any:
        """The body of the last request the stand-in got."""
        assert self.standin.problems == []
        return self.standin.received[-1].json


@pytest.fixture(params=sorted(APPS))
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)


@pytest.fixture(params=[False, True], ids=["streams", "whole"])
def world(
    request: pytest.FixtureRequest, serve: Callable[..., str], provider: str, keys: None
) -> World:
    return World(serve, provider, whole=request.param)


@pytest.fixture
def chat(world: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{world.url}/v1", api_key="not the provider's") as client:
        yield client


@pytest.fixture
def messages(world: World) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=world.url, api_key="not the provider's") as client:
        yield client


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_chat_is_answered_by_every_provider(world: World, chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(model=world.model, messages=ask(ASKED))
    assert answer.choices[0].message.content == f"You said: {ASKED}"
    assert answer.choices[0].finish_reason == "stop"
    assert b"Anna" not in world.standin.bytes_received
    (left,) = world.front.left
    assert left.body == world.standin.received[-1].body
    assert left.replaced == {Kind.PERSON: 1}
    assert "Say the name" not in repr(left)


def test_chat_streams_from_every_provider(world: World, chat: openai.OpenAI) -> None:
    stream = chat.chat.completions.create(
        model=world.model,
        messages=ask(ASKED),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == f"You said: {ASKED}"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 7
    assert b"Anna" not in world.standin.bytes_received


def test_messages_are_answered_by_every_provider(
    world: World, messages: anthropic.Anthropic
) -> None:
    answer = messages.messages.create(model=world.model, max_tokens=99, messages=ask(ASKED))
    assert [block.text for block in answer.content if block.type == "text"] == [
        f"You said: {ASKED}"
    ]
    assert answer.stop_reason == "end_turn"
    assert b"Anna" not in world.standin.bytes_received


def test_messages_stream_from_every_provider(world: World, messages: anthropic.Anthropic) -> None:
    with messages.messages.stream(model=world.model, max_tokens=99, messages=ask(ASKED)) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert said == f"You said: {ASKED}"
    assert final.stop_reason == "end_turn" and final.usage.output_tokens == 7


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_through_every_provider_and_shape(
    streamed: bool, world: World, chat: openai.OpenAI, messages: anthropic.Anthropic
) -> None:
    text = f"{ASKED}; use the tool"
    tools: Any = [{"type": "function", "function": TOOL}]
    if streamed:
        with chat.chat.completions.stream(
            model=world.model, messages=ask(text), tools=tools
        ) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = (
            chat.chat.completions.create(model=world.model, messages=ask(text), tools=tools)
            .choices[0]
            .message  # type: ignore[assignment]
        )
    (call,) = message.tool_calls or []
    assert call.type == "function" and call.function.name == "look_up"
    assert json.loads(call.function.arguments) == {"text": text}

    own: Any = [
        {
            "name": TOOL["name"],
            "description": TOOL["description"],
            "input_schema": TOOL["parameters"],
        }
    ]
    settings: Any = {"model": world.model, "max_tokens": 99, "messages": ask(text), "tools": own}
    if streamed:
        with messages.messages.stream(**settings) as events:
            answer = events.get_final_message()
    else:
        answer = messages.messages.create(**settings)
    (block,) = answer.content
    assert block.type == "tool_use" and block.input == {"text": text}
    assert answer.stop_reason == "tool_use"
    assert b"Anna" not in world.standin.bytes_received


def test_responses_embeddings_and_completions_where_they_are_served(
    world: World, provider: str, chat: openai.OpenAI
) -> None:
    if provider == "anthropic":
        with pytest.raises(openai.BadRequestError, match="does not serve /v1/responses"):
            chat.responses.create(model=world.model, input=ASKED)
        assert world.standin.received == []
        return
    answer = chat.responses.create(model=world.model, input=ASKED)
    assert answer.output_text == f"You said: {ASKED}"
    assert world.sent["store"] is False
    with chat.responses.stream(model=world.model, input=ASKED) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == f"You said: {ASKED}"
    assert kinds[0] == "response.created" and "response.output_text.delta" in kinds
    whole = chat.completions.create(model=world.model, prompt=ASKED)
    assert whole.choices[0].text == f"You said: {ASKED}"
    said = chat.completions.create(model=world.model, prompt=ASKED, stream=True)
    assert "".join(c.choices[0].text for c in said if c.choices) == f"You said: {ASKED}"
    vectors = chat.embeddings.create(model=world.model, input=[ASKED, "b"])
    assert len(vectors.data) == 2 and vectors.data[1].embedding == [1.0, 0.5]
    assert b"Anna" not in world.standin.bytes_received
    assert world.standin.problems == []


def test_a_function_call_of_responses_is_streamed_and_restored(
    world: World, provider: str, chat: openai.OpenAI
) -> None:
    if provider == "anthropic":
        return
    tool: Any = {"type": "function", "strict": False, **TOOL}
    text = f"{ASKED}; use the tool"
    with chat.responses.stream(model=world.model, input=text, tools=[tool]) as stream:
        for event in stream:
            if event.type == "response.function_call_arguments.done":
                assert json.loads(event.arguments) == {"text": text}
        final = stream.get_final_response()
    (item,) = final.output
    assert item.type == "function_call" and json.loads(item.arguments) == {"text": text}


def test_whole_answers_are_asked_for_as_whole(world: World, chat: openai.OpenAI) -> None:
    whole = world.front.transport._route.peer.whole  # type: ignore[attr-defined]
    list(chat.chat.completions.create(model=world.model, messages=ask("x"), stream=True))
    assert ("stream" in world.sent) is not whole
    assert world.standin.received[-1].header("accept") == (
        "application/json" if whole else "text/event-stream"
    )


def test_models_are_listed_without_asking_anybody(
    world: World, chat: openai.OpenAI, messages: anthropic.Anthropic
) -> None:
    assert world.model in [model.id for model in chat.models.list()]
    assert world.model in [model.id for model in messages.models.list()]
    assert world.standin.received == []


def test_no_header_of_the_client_reaches_the_provider(world: World, chat: openai.OpenAI) -> None:
    chat.with_options(default_headers={"cookie": "c=1", "x-me": "Anna"}).chat.completions.create(
        model=world.model, messages=ask("x")
    )
    names = {name for name, _ in world.standin.received[-1].headers}
    allowed = {"host", "accept", "content-type", "content-length"}
    assert names - allowed <= {"authorization", "api-key", "anthropic-version"}
    assert b"not the provider's" not in world.standin.bytes_received
    assert b"privity" not in world.standin.bytes_received.lower()


@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 529])
def test_an_error_keeps_its_status_and_comes_in_the_clients_shape(
    status: int, world: World, chat: openai.OpenAI, messages: anthropic.Anthropic
) -> None:
    world.standin.script = lambda text, body: Reply(
        status=status,
        error="too many tokens requested",
        headers={"retry-after": "17", "x-internal": "1", "set-cookie": "a=b"},
    )
    with pytest.raises(openai.APIStatusError) as caught:
        chat.with_options(max_retries=0).chat.completions.create(
            model=world.model, messages=ask("zebra")
        )
    assert caught.value.status_code == status
    assert caught.value.response.headers["retry-after"] == "17"
    assert not {"x-internal", "set-cookie"} & set(caught.value.response.headers)
    assert "too many tokens requested" in caught.value.message
    with pytest.raises(anthropic.APIStatusError) as refused:
        messages.with_options(max_retries=0).messages.create(
            model=world.model, max_tokens=9, messages=ask("zebra")
        )
    assert refused.value.status_code == status
    assert isinstance(refused.value.body, dict) and refused.value.body["type"] == "error"
    assert len(world.front.left) == 2  # it left all the same


def test_what_several_tools_are_called_with_is_not_mixed_up(
    world: World, chat: openai.OpenAI
) -> None:

    def two(text: str, body: dict[str, Any]) -> Reply:
        named = json.dumps({"text": text.removeprefix("Of ")})
        return Reply("Two.", (Call("look_up", '{"text": "a"}'), Call("look_up", named)), piece=1)

    world.standin.script = two
    tools: Any = [{"type": "function", "function": TOOL}]
    with chat.chat.completions.stream(
        model=world.model, messages=ask("Of Anna Schmidt"), tools=tools
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    found = [json.loads(call.function.arguments)["text"] for call in message.tool_calls or []]
    assert found == ["a", "Anna Schmidt"]
    assert message.content == "Two."
