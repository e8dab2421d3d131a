"""What the stock clients see of an answer that came in the other shape.

The provider is a stand-in in this process; its answers follow the APIs' documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from privity.errors import MalformedError, TruncatedError
from privity.infer.shapes.answers import chat_answer_to_messages, messages_answer_to_chat
from privity.infer.shapes.errors import error_answer, error_event
from privity.infer.shapes.streams import ChatStreamToMessages, MessagesStreamToChat
from shapes_recorded import (
    CHAT_ANSWER,
    CHAT_CHUNKS,
    CHAT_STREAM,
    MESSAGES_ANSWER,
    MESSAGES_EVENTS,
    MESSAGES_STREAM,
    call_piece,
    chunk,
    events_of,
    stream_of,
)

ASK: Any = [{"role": "user", "content": "weather?"}]
SAID = "I look it up — gleich."
WEATHER = {"city": 'Pa"ris', "n": 1}


def translated(translator: Any, body: bytes) -> bytes:
    said = b"".join(translator.feed(event) for event in events_of(body))
    return said + bytes(translator.end())


def to_chat(body: bytes, *, usage: bool = True) -> bytes:
    return translated(MessagesStreamToChat(model="mine", usage=usage, clock=lambda: 5.0), body)


def to_messages(body: bytes) -> bytes:
    return translated(ChatStreamToMessages(model="mine"), body)


Client = Callable[..., Any]


@pytest.fixture
def served() -> Iterator[Client]:
    """Return a client of a kind, which is answered with this body."""
    opened: list[Any] = []

    def make(kind: Any, body: bytes, status: int = 200) -> Any:
        media = "text/event-stream" if body[:1] in b"de:" else "application/json"
        response = httpx2.Response(status, content=body, headers={"content-type": media})
        http = httpx2.Client(transport=httpx2.MockTransport(lambda _: response))
        client = kind(
            base_url="http://device.test/v1", api_key="k", max_retries=0, http_client=http
        )
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


def calls_seen(message: Any) -> list[tuple[str, str, Any]]:
    return [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in message.tool_calls
    ]


def check_chat(answer: Any) -> None:
    assert (answer.object, answer.model, answer.id) == ("chat.completion", "mine", "msg_01")
    message = answer.choices[0].message
    assert (message.content, answer.choices[0].finish_reason) == (SAID, "tool_calls")
    assert calls_seen(message) == [("toolu_1", "weather", WEATHER), ("toolu_2", "now", {})]
    assert message.reasoning_content == "Where? Paris."
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (30, 25, 55)
    assert usage.prompt_tokens_details.cached_tokens == 7
    assert usage.prompt_tokens_details.cache_write_tokens == 3
    assert usage.completion_tokens_details.reasoning_tokens == 5


def test_the_openai_client_reads_a_message(served: Client) -> None:
    made = messages_answer_to_chat(MESSAGES_ANSWER, model="mine", clock=lambda: 5.0)
    client = served(openai.OpenAI, json.dumps(made).encode())
    answer = client.chat.completions.create(model="m", messages=ASK)
    check_chat(answer)
    assert (answer.created, answer.service_tier) == (5, "default")
    assert type(answer).model_validate(made, strict=True)


def test_the_openai_client_reads_a_streamed_message(served: Client) -> None:
    client = served(openai.OpenAI, to_chat(MESSAGES_STREAM))
    with client.chat.completions.create(model="m", messages=ASK, stream=True) as stream:
        chunks = list(stream)
    for one in chunks:
        assert type(one).model_validate(one.model_dump(exclude_unset=True), strict=True)
        assert (one.id, one.model, one.created) == ("msg_01", "mine", 5)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = [c.choices[0].delta.content for c in chunks[1:-1] if c.choices[0].delta.content]
    assert text == ["I look it up", " — gleich."]
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-2:] == [None, "tool_calls"]
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 55


def test_the_openai_client_gathers_a_streamed_message(served: Client) -> None:
    client = served(openai.OpenAI, to_chat(MESSAGES_STREAM))
    with client.chat.completions.stream(model="m", messages=ASK) as stream:
        answer = stream.get_final_completion()
    check_chat(answer)


def test_counts_are_sent_where_they_were_asked_for() -> None:
    assert b'"usage"' not in to_chat(MESSAGES_STREAM, usage=False)
    assert to_chat(MESSAGES_STREAM, usage=False).endswith(b"data: [DONE]\n\n")


def check_message(answer: Any) -> None:
    assert (answer.type, answer.model, answer.id) == ("message", "mine", "chatcmpl-1")
    assert answer.stop_reason == "tool_use"
    text, first, second = answer.content
    assert text.text == SAID
    assert (first.id, first.name, first.input) == ("call_1", "weather", WEATHER)
    assert (second.id, second.name, second.input) == ("call_2", "now", {})
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens) == (20, 25)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (7, 3)
    assert usage.output_tokens_details.thinking_tokens == 5


def test_the_anthropic_client_reads_a_chat(served: Client) -> None:
    made = chat_answer_to_messages(CHAT_ANSWER, model="mine")
    client = served(anthropic.Anthropic, json.dumps(made).encode())
    answer = client.messages.create(model="m", max_tokens=9, messages=ASK)
    check_message(answer)
    assert type(answer).model_validate(made, strict=True)


def test_the_anthropic_client_reads_a_streamed_chat(served: Client) -> None:
    client = served(anthropic.Anthropic, to_messages(CHAT_STREAM))
    with client.messages.create(model="m", max_tokens=9, messages=ASK, stream=True) as stream:
        events = list(stream)
    for event in events:
        assert type(event).model_validate(event.model_dump(exclude_unset=True), strict=True)
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    started = [e.index for e in events if e.type == "content_block_start"]
    ended = [e.index for e in events if e.type == "content_block_stop"]
    assert started == [0, 1, 2] == sorted(ended)
    # A text ends before a call begins; calls that alternate are open side by side.
    places = [(e.type[14:], e.index) for e in events if e.type.startswith("content_block_st")]
    assert places[:3] == [("start", 0), ("stop", 0), ("start", 1)]


def test_the_anthropic_client_gathers_a_streamed_chat(served: Client) -> None:
    client = served(anthropic.Anthropic, to_messages(CHAT_STREAM))
    with client.messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
        texts = list(stream.text_stream)
        check_message(stream.get_final_message())
    assert texts == ["I look it up", " — gleich."]


def test_thoughts_of_an_engine_are_thoughts() -> None:
    said = {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
    body = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    answer = chat_answer_to_messages(body, model="mine")
    assert answer["content"][0] == {"type": "thinking", "thinking": "hm", "signature": ""}
    chunks = [chunk({"reasoning": "h"}), chunk({"reasoning": "m"}), chunk({"content": "yes"})]
    stream = to_messages(stream_of([*chunks, chunk({}, "stop")], named=False))
    events = [json.loads(event.data) for event in events_of(stream)]
    assert [e["delta"] for e in events if e["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "text_delta", "text": "yes"},
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *(("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length")),
        *(("model_context_window_exceeded", "length"), ("refusal", "content_filter")),
        *(("pause_turn", "length"), ("tool_use", "tool_calls")),
    ],
)
def test_why_a_message_ended(reason: str, finish: str) -> None:
    details = {"type": "refusal", "category": None, "explanation": "not that"}
    body = {**MESSAGES_ANSWER, "stop_reason": reason, "stop_details": details}
    choice = messages_answer_to_chat(body, model="m")["choices"][0]
    assert choice["finish_reason"] == finish
    assert choice["message"]["refusal"] == ("not that" if reason == "refusal" else None)
    delta = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_details": details}}
    stream = to_chat(stream_of([MESSAGES_EVENTS[0], delta, MESSAGES_EVENTS[-1]], named=True))
    last = json.loads(events_of(stream)[-3].data)["choices"][0]
    assert (last["finish_reason"], last["delta"].get("refusal")) == (
        finish,
        choice["message"]["refusal"],
    )


@pytest.mark.parametrize(
    ("finish", "called", "reason"),
    [
        *(("stop", False, "end_turn"), ("length", False, "max_tokens")),
        *(("content_filter", False, "refusal"), ("tool_calls", True, "tool_use")),
        ("stop", True, "tool_use"),  # what OpenAI says where the call was demanded
    ],
)
def test_why_a_chat_ended(finish: str, called: bool, reason: str) -> None:
    calls = CHAT_ANSWER["choices"][0]["message"]["tool_calls"] if called else None
    message = {"role": "assistant", "content": "x", "tool_calls": calls}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    assert chat_answer_to_messages(body, model="m")["stop_reason"] == reason
    piece = call_piece(0, "{}", id="c", name="n") if called else {"content": "x"}
    stream = to_messages(stream_of([chunk(piece), chunk({}, finish)], named=False))
    assert json.loads(events_of(stream)[-2].data)["delta"]["stop_reason"] == reason


def test_a_refusal_of_a_chat_is_read_and_named() -> None:
    message = {"role": "assistant", "content": None, "refusal": "not that"}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    answer = chat_answer_to_messages(body, model="m")
    assert answer["content"] == [{"type": "text", "text": "not that"}]
    assert answer["stop_reason"] == "refusal"
    chunks = [chunk({"refusal": "not "}), chunk({"refusal": "that"}), chunk({}, "stop")]
    events = [json.loads(e.data) for e in events_of(to_messages(stream_of(chunks, named=False)))]
    assert events[-2]["delta"]["stop_reason"] == "refusal"
    deltas = [e["delta"]["text"] for e in events if e["type"] == "content_block_delta"]
    assert deltas == ["not ", "that"]


def test_a_call_that_the_limit_cut_off_is_left_out() -> None:
    calls = [*CHAT_ANSWER["choices"][0]["message"]["tool_calls"]]
    calls.append({"id": "c", "type": "function", "function": {"name": "n", "arguments": '{"a'}})
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
    answer = chat_answer_to_messages(body, model="m")
    assert answer["stop_reason"] == "max_tokens"
    assert [block["id"] for block in answer["content"]] == ["call_1", "call_2"]
    body["choices"][0]["finish_reason"] = "tool_calls"
    with pytest.raises(MalformedError):
        chat_answer_to_messages(body, model="m")


STATUS = [
    (400, openai.BadRequestError, anthropic.BadRequestError),
    (401, openai.AuthenticationError, anthropic.AuthenticationError),
    (403, openai.PermissionDeniedError, anthropic.PermissionDeniedError),
    (404, openai.NotFoundError, anthropic.NotFoundError),
    (429, openai.RateLimitError, anthropic.RateLimitError),
    (502, openai.InternalServerError, anthropic.InternalServerError),
]


@pytest.mark.parametrize(("status", "of_openai", "of_anthropic"), STATUS)
def test_the_clients_read_errors(
    served: Client, status: int, of_openai: Any, of_anthropic: Any
) -> None:
    client = served(openai.OpenAI, error_answer("chat", status, "not now", "busy"), status)
    with pytest.raises(of_openai, match="not now") as seen:
        client.chat.completions.create(model="m", messages=ASK)
    assert seen.value.code == "busy"
    client = served(anthropic.Anthropic, error_answer("messages", status, "not now", "x"), status)
    with pytest.raises(of_anthropic, match="not now") as told:
        client.messages.create(model="m", max_tokens=9, messages=ASK)
    assert told.value.body["type"] == "error"


def test_the_clients_read_an_error_in_a_stream(served: Client) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "too much"}}
    body = to_chat(stream_of([*MESSAGES_EVENTS[:4], error], named=True))
    client = served(openai.OpenAI, body)
    with (
        client.chat.completions.create(model="m", messages=ASK, stream=True) as stream,
        pytest.raises(openai.APIError, match="too much"),
    ):
        list(stream)
    broken = [*CHAT_CHUNKS[:4], {"error": {"message": "too much", "type": "server_error"}}]
    client = served(anthropic.Anthropic, to_messages(stream_of(broken, named=False)))
    with (
        client.messages.create(model="m", max_tokens=9, messages=ASK, stream=True) as messages,
        pytest.raises(anthropic.APIError, match="too much"),
    ):
        list(messages)
    assert b"[DONE]" not in body


def test_an_error_ends_a_stream_and_says_so() -> None:
    reader = ChatStreamToMessages(model="m")
    assert not reader.failed
    told = b"".join(reader.feed(e) for e in events_of(b'data: {"error": "no"}\n\ndata: [DONE]\n\n'))
    assert told == error_event("messages", "no")
    assert (reader.failed, reader.end()) == (True, b"")


def test_a_provider_has_no_word_left_when_it_ended() -> None:
    reader = MessagesStreamToChat(model="m")
    with pytest.raises(TruncatedError):
        reader.end()
