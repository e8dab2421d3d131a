"""What becomes of each member of a request that is asked of a provider of the other shape."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from privity.errors import InputError
from privity.infer.shapes.requests import chat_to_messages, messages_to_chat, wants_usage
from privity.infer.shapes.turns import FAILED
from sdk_types import chat_request, messages_request

HELLO = {"role": "user", "content": "hello"}
PNG = "data:image/png;base64,aGk="
PDF = "data:application/pdf;base64,aGk="
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": [1, 2.5]}'},
}
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def to_messages(*messages: Any, **more: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": list(messages or [HELLO]), **more}
    request = chat_to_messages(body)
    messages_request().validate_python(request)
    return request


def to_chat(*messages: Any, **more: Any) -> dict[str, Any]:
    body = {"model": "m", "max_tokens": 9, "messages": list(messages or [HELLO]), **more}
    request = messages_to_chat(body)
    chat_request().validate_python(request)
    return request


def test_a_plain_question() -> None:
    turns = [{"role": "user", "content": [text("hello")]}]
    assert to_messages() == {"model": "m", "max_tokens": 4096, "messages": turns}
    assert to_chat() == {"model": "m", "max_completion_tokens": 9, "messages": [HELLO]}


def test_the_system_speaks_first() -> None:
    chat = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [text("two")]},
        HELLO,
        {"role": "assistant", "content": "hi"},
        HELLO,
        {"role": "system", "content": "three"},
    ]
    request = to_messages(*chat)
    assert request["system"] == [text("one"), text("two"), text("three")]
    assert [turn["role"] for turn in request["messages"]] == ["user", "assistant", "user"]
    placed = chat_to_messages({"model": "m", "messages": chat}, system_turns=True)
    messages_request().validate_python(placed)
    assert placed["system"] == [text("one"), text("two")]
    assert placed["messages"][-1] == {"role": "system", "content": [text("three")]}


@pytest.mark.parametrize("after", [[HELLO], [{"role": "assistant", "content": "a"}, HELLO]])
def test_a_system_turn_stands_only_where_the_api_takes_it(after: list[Any]) -> None:
    said = [HELLO, {"role": "system", "content": "s"}, {"role": "developer", "content": "t"}]
    body = {"model": "m", "messages": [*said, *after]}
    request = chat_to_messages(body, system_turns=True)
    if after[0] is HELLO:
        assert request["system"] == [text("s"), text("t")]
    else:
        assert request["messages"][1] == {"role": "system", "content": [text("s"), text("t")]}


def test_system_turns_stay_where_they_are_in_a_chat() -> None:
    later = {"role": "system", "content": [text("later")]}
    chat = to_chat(HELLO, later, system=[text("a"), {**text("b"), "cache_control": None}])
    assert chat["messages"] == [
        {"role": "system", "content": [text("a"), text("b")]},
        HELLO,
        {"role": "system", "content": "later"},
    ]


def test_a_round_of_tools() -> None:
    chat = [
        HELLO,
        {"role": "assistant", "content": "wait", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "red"},
        {"role": "tool", "tool_call_id": "call_2", "content": [text("a"), text("b")]},
        HELLO,
    ]
    turns = to_messages(*chat, tools=[TOOL])["messages"]
    use = {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": [1, 2.5]}}
    assert turns[1]["content"] == [text("wait"), use, {**use, "id": "call_2"}]
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [text("red")]},
        {"type": "tool_result", "tool_use_id": "call_2", "content": [text("a"), text("b")]},
        text("hello"),
    ]
    arguments = '{"at":[1,2.5]}'
    for call in chat[1]["tool_calls"]:
        call["function"] = {**call["function"], "arguments": arguments}
    assert to_chat(*turns)["messages"] == chat


def test_a_tool_that_failed_is_said_to_have() -> None:
    use = {"type": "tool_use", "id": "t", "name": "look", "input": {}, "caller": {"type": "direct"}}
    result = {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": "no"}
    called = {"role": "assistant", "content": [use]}
    chat = to_chat(HELLO, called, {"role": "user", "content": [text("so?"), result]})
    assert chat["messages"][2:] == [
        {"role": "tool", "tool_call_id": "t", "content": [text(FAILED), text("no")]},
        {"role": "user", "content": "so?"},
    ]
    silent = {"type": "tool_result", "tool_use_id": "t"}
    told = to_chat(HELLO, called, {"role": "user", "content": [silent]})
    assert told["messages"][-1] == {"role": "tool", "tool_call_id": "t", "content": ""}


@pytest.mark.parametrize("odd", ["functions.look:0", "x" * 65, "ü", "\ud800"])
def test_ids_that_the_provider_does_not_take_are_made_anew_alike(odd: str) -> None:
    call = {"role": "assistant", "tool_calls": [{**CALL, "id": odd}]}
    turns = to_messages(HELLO, call, {"role": "tool", "tool_call_id": odd, "content": "x"})
    made = turns["messages"][1]["content"][0]["id"]
    assert made == turns["messages"][2]["content"][0]["tool_use_id"] != odd
    assert made.startswith("toolu_") and made.isascii() and len(made) <= 40


def test_what_else_a_turn_holds() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}}
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}
    note = "data:text/plain;charset=utf-8;base64," + base64.b64encode("é".encode()).decode()
    plain = {"type": "file", "file": {"filename": "a.txt", "file_data": note}}
    turn = {"role": "user", "content": [image, text("what"), pdf, plain, text("")]}
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    blocks = to_messages(turn)["messages"][0]["content"]
    assert blocks == [
        {"type": "image", "source": source},
        text("what"),
        {
            "type": "document",
            "source": {**source, "media_type": "application/pdf"},
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "é"},
            "title": "a.txt",
        },
    ]
    back = to_chat({"role": "user", "content": blocks})["messages"][0]["content"]
    assert back == [
        {"type": "image_url", "image_url": {"url": PNG}},
        text("what"),
        pdf,
        text("a.txt\né"),
    ]


def test_turns_in_a_row_are_one_and_empty_ones_none() -> None:
    turns = to_messages(HELLO, HELLO, {"role": "assistant", "content": ""}, HELLO)["messages"]
    assert turns == [{"role": "user", "content": [text("hello")] * 3}]


def test_earlier_thoughts_and_refusals() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    said = {"role": "assistant", "content": [thought, hidden, text("yes")]}
    assert to_chat(HELLO, said, HELLO)["messages"][1] == {"role": "assistant", "content": "yes"}
    only = {"role": "assistant", "content": [thought]}
    assert to_chat(HELLO, only, HELLO)["messages"] == [HELLO, HELLO]
    refused = {"role": "assistant", "refusal": "no", "reasoning_content": "hm", "annotations": []}
    turns = to_messages(HELLO, refused, HELLO)["messages"]
    assert turns[1] == {"role": "assistant", "content": [text("no")]}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"stop": "x"}, {"stop_sequences": ["x"]}),
        ({"stop": ["x", "y"]}, {"stop_sequences": ["x", "y"]}),
        ({"stop": []}, {}),
        ({"temperature": 1, "top_p": 1.0, "n": 1, "logprobs": False, "store": False}, {}),
        ({"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}}, {}),
        ({"modalities": ["text"], "verbosity": "medium", "metadata": {}, "seed": None}, {}),
        ({"prompt_cache_key": "k", "prompt_cache_retention": "in_memory"}, {}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"safety_identifier": "u", "user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
        ({"stream": False}, {}),
        (
            {"reasoning_effort": "high"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"response_format": {"type": "text"}}, {}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "description": "d"},
                }
            },
            {
                "output_config": {
                    "format": {"type": "json_schema", "schema": {"description": "d", **SCHEMA}}
                }
            },
        ),
        ({"tool_choice": "auto", "parallel_tool_calls": False, "tools": []}, {}),
    ],
)
def test_members_of_a_chat(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert to_messages(**given) == {**to_messages(), **made}


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ({}, None),
        ({"parallel_tool_calls": True}, None),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
            {"type": "tool", "name": "look"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_tools_of_a_chat(choice: dict[str, Any], made: dict[str, Any] | None) -> None:
    bare = {"type": "function", "function": {"name": "b", "description": "d", "strict": True}}
    request = to_messages(tools=[TOOL, bare], **choice)
    empty = {"type": "object", "properties": {}}
    assert request["tools"] == [
        {"name": "look", "input_schema": empty},
        {"name": "b", "description": "d", "input_schema": empty, "strict": True},
    ]
    assert request.get("tool_choice") == made


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"stop_sequences": ["x"]}, {"stop": ["x"]}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"metadata": {"user_id": "u"}, "cache_control": {"type": "ephemeral"}}, {"user": "u"}),
        ({"service_tier": "auto", "speed": "standard"}, {"service_tier": "auto"}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, {}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, {"reasoning_effort": "high"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"tools": [], "tool_choice": {"type": "auto"}}, {}),
        (
            {
                "tools": [{"name": "look", "input_schema": {"type": "object"}, "type": "custom"}],
                "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
            },
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "look", "parameters": {"type": "object"}},
                    }
                ],
                "tool_choice": {"type": "function", "function": {"name": "look"}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
def test_members_of_messages(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert to_chat(**given) == {**to_chat(), **made}


def test_an_older_api_takes_how_to_sample() -> None:
    body = {"model": "m", "messages": [HELLO], "temperature": 0.2, "top_p": 0.5}
    request = chat_to_messages(body, sampling=True, max_tokens=7)
    assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.2, 0.5, 7)
    with pytest.raises(InputError, match="temperature is not between 0 and 1"):
        chat_to_messages({**body, "temperature": 1.5}, sampling=True)
    with pytest.raises(InputError, match="temperature is not taken"):
        chat_to_messages(body)


def test_whether_a_chat_asks_for_counts() -> None:
    assert wants_usage({"stream_options": {"include_usage": True}})
    assert not any(map(wants_usage, ({}, {"stream_options": None}, {"stream_options": {}})))
