"""Whole answers: of messages as a chat completion, and of chat completions as a message.

Answers are a provider's: whatever they hold, they are translated or refused as `MalformedError`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from privity.errors import MalformedError
from privity.infer.shapes.members import count, named, read_json, text_of, write_json

__all__ = [
    "chat_answer_to_messages",
    "chat_usage",
    "finish_of",
    "messages_answer_to_chat",
    "messages_usage",
    "refusal_of",
    "stop_of",
    "thoughts_of",
]

_FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # not at its end either
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Why a message ended, in a chat's words."""

_STOP: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
"""Why a chat completion ended, in a message's words."""

_TIERS = {"standard": "default", "priority": "priority"}
_THOUGHTS = ("reasoning_content", "reasoning")  # OpenAI has none; engines name them so


def finish_of(reason: object) -> str:
    """Return a ``stop_reason`` as a ``finish_reason``.

    Raises:
        MalformedError: it is none that is known.
    """
    if not isinstance(reason, str) or reason not in _FINISH:
        raise MalformedError(f"an answer ended for a reason that is not known: {named(reason)}")
    return _FINISH[reason]


def stop_of(reason: object, *, called: bool) -> str:
    """Return a ``finish_reason`` as a ``stop_reason``.

    Args:
        reason: as the provider says.
        called: tools are called; a provider that was told which one to call says ``stop``.

    Raises:
        MalformedError: it is none that is known.
    """
    if not isinstance(reason, str) or reason not in _STOP:
        raise MalformedError(f"an answer ended for a reason that is not known: {named(reason)}")
    return "tool_use" if called and reason == "stop" else _STOP[reason]


def chat_usage(usage: object) -> dict[str, Any]:
    """Return the counts of a message as those of a chat completion, 0 where nobody says."""
    read, written = count(usage, "cache_read_input_tokens"), count(usage, _WRITTEN)
    prompt = count(usage, "input_tokens") + read + written
    completion = count(usage, "output_tokens")
    thought = count(usage, "output_tokens_details", "thinking_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


_WRITTEN = "cache_creation_input_tokens"


def messages_usage(usage: object) -> dict[str, Any]:
    """Return the counts of a chat completion as those of a message, 0 where nobody says."""
    prompt = count(usage, "prompt_tokens")
    # Parts of the prompt, where a provider counts them so; never more than it.
    read = min(count(usage, "prompt_tokens_details", "cached_tokens"), prompt)
    written = min(count(usage, "prompt_tokens_details", "cache_write_tokens"), prompt - read)
    completion = count(usage, "completion_tokens")
    thought = count(usage, "completion_tokens_details", "reasoning_tokens")
    return {
        "input_tokens": prompt - read - written,
        "output_tokens": completion,
        "cache_read_input_tokens": read,
        _WRITTEN: written,
        "output_tokens_details": {"thinking_tokens": min(thought, completion)},
    }


def refusal_of(details: object) -> str | None:
    """Return what a message says about why it stopped, None where it says nothing."""
    return (text_of(details, "explanation") or None) if isinstance(details, Mapping) else None


def thoughts_of(said: Mapping[str, Any]) -> str:
    """Return the thoughts in a chat's message or delta, empty where there are none."""
    return next((text for name in _THOUGHTS if (text := text_of(said, name))), "")


def messages_answer_to_chat(
    body: Mapping[str, Any], *, model: str, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Return an answer of messages as a chat completion.

    Thoughts become ``reasoning_content``, without their signature.

    Args:
        body: the answer.
        model: the name the client is to see.
        clock: what time it is: a message does not say when it was made.

    Raises:
        MalformedError: it is not an answer of messages, or has parts that no request asks for.

    Guarantees:
        Total, and what it returns is read by OpenAI's client (tests/property/test_shapes.py,
        tests/unit/test_shapes_clients.py).
    """
    _check(body)
    finish = finish_of(body.get("stop_reason"))
    message = _message(_list(body.get("content"), "content"))
    if finish == "content_filter":
        message["refusal"] = refusal_of(body.get("stop_details"))
    answer = {
        "id": text_of(body, "id"),
        "object": "chat.completion",
        "created": int(clock()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": chat_usage(body.get("usage")),
    }
    return _with_tier(answer, body)


def _message(blocks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the blocks of an answer as a chat's message."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            texts.append(text_of(block, "text"))
        elif kind == "thinking":
            thoughts.append(text_of(block, "thinking"))
        elif kind == "tool_use":
            calls.append(_call(block))
        elif kind != "redacted_thinking":  # which only the provider can read
            raise MalformedError(f"an answer holds a block that is not known: {named(kind)}")
    text = "".join(texts)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not calls else None,
        "refusal": None,
    }
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message


def _with_tier(answer: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    usage = body.get("usage")
    tier = usage.get("service_tier") if isinstance(usage, Mapping) else None
    if isinstance(tier, str) and tier in _TIERS:
        answer["service_tier"] = _TIERS[tier]
    return answer


def _check(body: object) -> None:
    """Refuse what is JSON and no answer: whoever parsed it knows no more than that."""
    if not isinstance(body, Mapping):
        raise MalformedError("an answer is not an object")


def _list(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise MalformedError(f"`{name}` of an answer is not a list of objects")
    return value


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = block.get("input")
    if not isinstance(arguments, Mapping):
        raise MalformedError("the input of a call is not an object")
    function = {"name": _must(block, "name"), "arguments": write_json(arguments)}
    return {"id": _must(block, "id"), "type": "function", "function": function}


def _must(value: Mapping[str, Any], name: str) -> str:
    text = text_of(value, name)
    if not text:
        raise MalformedError(f"a call of an answer has no `{name}`")
    return text


def chat_answer_to_messages(body: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Return a chat completion as an answer of messages.

    A call that the limit of tokens cut off, so that its arguments are no JSON, is left out: the
    stop reason says that the answer is not whole.

    Args:
        body: the answer.
        model: the name the client is to see.

    Raises:
        MalformedError: it is not a chat completion, or has parts that no request asks for.

    Guarantees:
        Total, and what it returns is read by Anthropic's client (tests/property/test_shapes.py,
        tests/unit/test_shapes_clients.py).
    """
    _check(body)
    message, reason = _only_choice(body)
    refusal = text_of(message, "refusal")
    content: list[dict[str, Any]] = []
    if thoughts := thoughts_of(message):
        content.append({"type": "thinking", "thinking": thoughts, "signature": ""})
    content += [
        {"type": "text", "text": text} for text in (text_of(message, "content"), refusal) if text
    ]
    calls = _list(message.get("tool_calls") or [], "tool_calls")
    content += [block for call in calls if (block := _tool_use(call, cut=reason == "length"))]
    stop = "refusal" if refusal else stop_of(reason, called=bool(calls))
    return {
        "id": text_of(body, "id"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": messages_usage(body.get("usage")),
    }


def _only_choice(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], object]:
    """Return the one message of a chat completion, and why it ended."""
    choices = _list(body.get("choices"), "choices")
    message = choices[0].get("message") if len(choices) == 1 else None
    if not isinstance(message, Mapping):
        raise MalformedError("an answer that was asked for once does not hold one message")
    if message.get("function_call") is not None or message.get("audio") is not None:
        raise MalformedError("an answer holds what was not asked for: sound, or an old form")
    return message, choices[0].get("finish_reason")


def _tool_use(call: Mapping[str, Any], *, cut: bool) -> dict[str, Any] | None:
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, Mapping):
        raise MalformedError("an answer holds a call that is not one of a function")
    try:
        arguments = read_json(text_of(function, "arguments") or "{}")
    except MalformedError:
        arguments = None
    if not isinstance(arguments, dict):
        if cut:
            return None
        raise MalformedError("the arguments of a call are not an object")
    name, call_id = _must(function, "name"), _must(call, "id")
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
