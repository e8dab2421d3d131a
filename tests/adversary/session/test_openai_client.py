"""The stock `openai` client, against the daemon and straight through `privity`'s transport."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

import privity
from privity.infer.client import Asker
from privity.node.access import AccessControl
from privity.node.device import DeviceApp
from privity.receipt import Outcome
from privity.seal.sync_transport import SyncTransport

TOKEN = "t" * 43
MESSAGES: Any = [{"role": "user", "content": "what is sealed?"}]


@pytest.fixture
def daemon_client(world: Any) -> Iterator[openai.OpenAI]:
    app = DeviceApp(world.transport(), AccessControl(TOKEN))
    served = world.serve(app)
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


@pytest.fixture
def direct_client(world: Any) -> Iterator[openai.OpenAI]:
    http = httpx.Client(transport=SyncTransport(world.transport()), trust_env=False)
    with openai.OpenAI(
        base_url="http://any.host/v1", api_key="unused", http_client=http, max_retries=0
    ) as client:
        yield client


@pytest.fixture(params=["daemon", "direct"])
def client(request: pytest.FixtureRequest) -> openai.OpenAI:
    found: openai.OpenAI = request.getfixturevalue(f"{request.param}_client")
    return found


def outcomes(world: Any) -> list[str]:
    files = [world.store.get(name)[1] for name in world.store.ids()]
    return [file.record["credentialSubject"]["outcome"] for file in files]


def test_chat_models_and_an_engine_error(world: Any, client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tokens-3", messages=MESSAGES)
    assert whole.choices[0].message.content == "all of it"
    stream = client.chat.completions.create(model="tokens-4", messages=MESSAGES, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == "word0 word1 word2 word3 "
    assert [model.id for model in client.models.list()] == ["scripted"]
    with pytest.raises(openai.BadRequestError, match="too long"):
        client.chat.completions.create(model="refuse", messages=MESSAGES)
    assert sorted(outcomes(world)) == ["complete", "complete", "failed"]


def test_a_stream_closed_early_stops_the_engine(world: Any, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="hang", messages=MESSAGES, stream=True)
    next(stream)
    stream.close()
    assert world.enclave.cancelled.wait(60)


def test_a_stream_that_breaks_off_is_an_api_error_with_the_daemon(
    world: Any, daemon_client: openai.OpenAI
) -> None:
    """The exception the stock client raises for the daemon's error event."""
    stream = daemon_client.chat.completions.create(model="crash", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="authenticated end") as caught:
        for _ in stream:
            continue
    assert type(caught.value) is openai.APIError
    assert caught.value.code == "answer_truncated"


def test_a_whole_answer_without_receipt_is_an_api_status_error_with_the_daemon(
    world: Any, daemon_client: openai.OpenAI
) -> None:
    world.enclave.spoil = lambda job: None
    with pytest.raises(openai.InternalServerError) as caught:
        daemon_client.chat.completions.create(model="tokens-3", messages=MESSAGES)
    assert caught.value.code == "receipt_not_verified"


def test_the_daemon_tells_the_stock_client_not_to_send_a_refused_prompt_again(world: Any) -> None:
    world.enclave.spoil = lambda job: None
    served = world.serve(DeviceApp(world.transport(), AccessControl(TOKEN)))
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=TOKEN, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="tokens-3", messages=MESSAGES)
    assert len(world.enclave.seen) == 1


def test_privity_errors_come_through_the_stock_client_as_they_are(
    world: Any, direct_client: openai.OpenAI
) -> None:
    stream = direct_client.chat.completions.create(model="crash", messages=MESSAGES, stream=True)
    with pytest.raises(privity.TruncatedError):
        for _ in stream:
            continue
    world.enclave.spoil = lambda job: None
    with pytest.raises(privity.ReceiptError):
        direct_client.chat.completions.create(model="tokens-3", messages=MESSAGES)
    stream = direct_client.chat.completions.create(model="tokens-3", messages=MESSAGES, stream=True)
    with pytest.raises(privity.ReceiptError):
        for _ in stream:
            continue
    assert outcomes(world) == ["failed", "failed", "interrupted"]


def test_a_wrong_token_is_an_authentication_error(world: Any) -> None:
    served = world.serve(DeviceApp(world.transport(), AccessControl(TOKEN)))
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError, match="token"):
            client.models.list()


@pytest.mark.anyio
async def test_the_asynchronous_stock_client_streams(world: Any) -> None:
    http = httpx.AsyncClient(transport=world.transport(), trust_env=False)
    async with openai.AsyncOpenAI(
        base_url="http://any.host/v1", api_key="unused", http_client=http
    ) as client:
        stream = await client.chat.completions.create(
            model="tokens-3", messages=MESSAGES, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "word0 word1 word2 "
    assert outcomes(world) == ["complete"]


# privity's own asker, which `ask` and `stream` are made of


def test_an_asker_streams_and_holds_the_receipt(world: Any) -> None:
    with Asker(transport=world.transport()) as asker:
        assert asker.route().route.models[0].id == "scripted"
        with asker.stream(MESSAGES, max_tokens=5, temperature=0) as stream:
            first = next(stream)
            assert stream.receipt.record["credentialSubject"]["outcome"] == "unfinished"
            answer = stream.answer()
    assert first == "word0 "
    assert answer == answer.text == "word0 word1 word2 "
    assert type(answer.text) is str
    assert answer.receipt.record["credentialSubject"]["outcome"] == Outcome.COMPLETE
    assert answer.receipt_id == next(world.store.ids())
    sent = json.loads(world.enclave.seen[0]["body"])
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("scripted", 5, 0)


def test_an_asker_given_up_leaves_an_interrupted_receipt(world: Any) -> None:
    with Asker(transport=world.transport()) as asker:
        with asker.stream(MESSAGES, model="hang") as stream:
            next(stream)
        assert world.enclave.cancelled.wait(60)
    assert outcomes(world) == ["interrupted"]


def test_an_asker_raises_what_the_engine_says(world: Any) -> None:
    with Asker(transport=world.transport()) as asker:
        with pytest.raises(privity.EngineError, match="too long"):
            asker.stream(MESSAGES, model="refuse")
        with pytest.raises(privity.TruncatedError):
            asker.stream(MESSAGES, model="crash").answer()
    assert outcomes(world) == ["interrupted", "failed"]
