"""The stock clients read restored streams, and see the originals."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from privity.infer.pseudonyms.pseudonymiser import Departure, Pseudonymiser
from privity.policy.sensitive import Kind, Mode
from scripted_detector import ScriptedDetector

STORY = 'Anna Schmidt, anna.schmidt@firma.de, 1985-03-04, key p"w\\d!'
PERSONAL = {"Anna Schmidt": Kind.PERSON, 'p"w\\d!': Kind.SECRET}


def depart(path: str, body: dict[str, Any]) -> tuple[Departure, str]:
    departure = Pseudonymiser(ScriptedDetector(PERSONAL)).replace(path, body, Mode.REPLACE)
    said = next(text for text in departure.texts.values() if "@" in text)
    assert "Schmidt" not in said
    return departure, said


def through(departure: Departure, data: bytes, media_type: str = "text/event-stream") -> bytes:
    restorer = departure.answer(media_type)
    chunks = [data[i : i + 7] for i in range(0, len(data), 7)]
    return b"".join([*map(restorer.feed, chunks), restorer.end()])


def events(*data: dict[str, Any], named: bool = False, done: bool = False) -> bytes:
    out = b""
    for one in data:
        out += b"event: " + one["type"].encode() + b"\n" if named else b""
        out += b"data: " + json.dumps(one).encode() + b"\n\n"
    return out + (b"data: [DONE]\n\n" if done else b"")


def pieces(text: str) -> list[str]:
    return [text[i : i + 3] for i in range(0, len(text), 3)]


def openai_client(body: bytes, media_type: str = "text/event-stream") -> openai.OpenAI:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": media_type}, content=body)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(base_url="http://x.test/v1", api_key="k", http_client=client)


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice]}


@pytest.mark.parametrize("together", [False, True])
def test_chat_streams(together: bool) -> None:
    departure, said = depart(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": STORY}]}
    )
    arguments = json.dumps({"to": said})
    call = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
    *most, last = pieces(said)
    data = [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in most),
        *([] if together else [chunk({"content": last})]),
        chunk({"tool_calls": [call]}),
        *(
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            for piece in pieces(arguments)
        ),
        chunk({"content": last} if together else {}, "tool_calls"),
    ]
    body = through(departure, events(*data, done=True))
    with (
        openai_client(body) as client,
        client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "x"}]
        ) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
    assert message.content == STORY
    assert message.tool_calls is not None
    assert json.loads(message.tool_calls[0].function.arguments) == {"to": STORY}


def test_two_choices_do_not_mix() -> None:
    departure, said = depart(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": STORY}]}
    )
    data = [chunk({"content": p}, index=i) for p in pieces(said) for i in (0, 1)]
    data += [chunk({}, "stop", index=1), chunk({}, "stop", index=0)]
    body = through(departure, events(*data, done=True))
    texts = {0: "", 1: ""}
    with openai_client(body) as client:
        for one in client.chat.completions.create(model="m", messages=[], stream=True):
            texts[one.choices[0].index] += one.choices[0].delta.content or ""
    assert texts == {0: STORY, 1: STORY}


def test_an_event_that_changes_nothing_passes_byte_by_byte() -> None:
    departure, _ = depart(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": STORY}]}
    )
    data = events(chunk({"content": "Hello, world. "}), {**chunk({}), "choices": [], "usage": {}})
    assert through(departure, data) == data


def message_stream(said: str) -> bytes:
    start = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    return events(
        {"type": "message_start", "message": {**start, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": p}}
            for p in pieces(said)
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": tool},
        *(
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": p},
            }
            for p in pieces(json.dumps({"to": said}))
        ),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
        {"type": "message_stop"},
        named=True,
    )


def test_messages_streams() -> None:
    departure, said = depart("/v1/messages", {"messages": [{"role": "user", "content": STORY}]})
    body = through(departure, message_stream(said))

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with anthropic.Anthropic(base_url="http://x.test", api_key="k", http_client=client) as stock:
        with stock.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]
        ) as stream:
            message = stream.get_final_message()
    assert message.content[0].type == "text" and message.content[0].text == STORY
    assert message.content[1].type == "tool_use" and message.content[1].input == {"to": STORY}


def responses_stream(said: str) -> bytes:
    item = {"id": "i", "type": "message", "role": "assistant", "status": "completed"}
    part = {"type": "output_text", "text": said, "annotations": []}
    whole = {**item, "content": [part]}
    response = {
        "id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed",
        "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    where = {"item_id": "i", "output_index": 0, "content_index": 0}
    deltas = [{"type": "response.output_text.delta", **where, "delta": p} for p in pieces(said)]
    data: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "content": []},
        },
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        *deltas,
        {"type": "response.output_text.done", **where, "text": said, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": {**response, "output": [whole]}},
    ]
    numbered = [{**one, "sequence_number": i} for i, one in enumerate(data)]
    return events(*numbered, named=True)


def test_responses_streams() -> None:
    departure, said = depart("/v1/responses", {"input": STORY})
    body = through(departure, responses_stream(said))
    text, numbers = "", []
    with openai_client(body) as client:
        for event in client.responses.create(model="m", input="x", stream=True):
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.output_text.done":
                assert event.text == text == STORY
            if event.type == "response.completed":
                assert event.response.output_text == STORY
    assert numbers == list(range(len(numbers)))


def test_whole_answers() -> None:
    departure, said = depart("/v1/messages", {"messages": [{"role": "user", "content": STORY}]})
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {said: [{"a": said}]}}
    answer = {"type": "message", "role": "assistant", "content": [{"text": said}, tool]}
    made = json.loads(through(departure, json.dumps(answer).encode(), "application/json"))
    assert made["content"][0]["text"] == STORY
    assert made["content"][1]["input"] == {STORY: [{"a": STORY}]}
    text = json.dumps({"n": said})
    body = {
        "messages": [{"role": "user", "content": STORY}],
        "response_format": {"type": "json_object"},
    }
    departure, said = depart("/v1/chat/completions", body)
    answer = {"choices": [{"index": 0, "message": {"content": json.dumps({"n": said})}}]}
    made = json.loads(through(departure, json.dumps(answer).encode(), "application/json"))
    assert json.loads(made["choices"][0]["message"]["content"]) == {"n": STORY}
    assert text


def test_a_number_in_a_tool_call_stays_one_where_it_can() -> None:
    detector = ScriptedDetector({"4111 1111 1111 1111": Kind.CARD, "030 99887766": Kind.PHONE})
    body = {"messages": [{"role": "user", "content": "4111 1111 1111 1111, 030 99887766"}]}
    departure = Pseudonymiser(detector).replace("/v1/messages", body, Mode.REPLACE)
    card, phone = (s.after.replace(" ", "") for s in departure.spans)
    arguments = f'{{"card": {card}, "phone": {phone}}}'
    data = {"type": "content_block_delta", "index": 0, "delta": {"partial_json": arguments}}
    out = through(departure, events(data, {"type": "message_stop"}))
    whole = "".join(
        json.loads(line[6:])["delta"]["partial_json"]
        for line in out.decode().splitlines()
        if "partial_json" in line
    )
    assert json.loads(whole) == {"card": 4111111111111111, "phone": "03099887766"}
