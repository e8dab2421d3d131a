"""Requests for an answer: chat completions as messages, and messages as chat completions.

Whatever a request asks for is either asked of the provider too, or refused by name. Left out are
only hints that change no answer: what a provider may keep of the prompt to save work, labels, and
thoughts of earlier turns, which are signed for the model that had them. spec/shapes.md has the
list, member by member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privity.errors import InputError
from privity.infer.shapes.members import Members, named
from privity.infer.shapes.tools import chat_tools, messages_tools
from privity.infer.shapes.turns import chat_turns, messages_turns

__all__ = ["chat_to_messages", "messages_to_chat", "wants_usage"]

MAX_TOKENS = 4096
"""How long an answer may get where a chat does not say and nothing is known of the model."""

_NONE = "has no counterpart in messages"
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_EFFORT = {effort: effort for effort in _EFFORTS}
_FORMAT_NAME = "answer"


def wants_usage(body: Mapping[str, Any]) -> bool:
    """Return whether a chat request asks for the counts of tokens in its stream."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def chat_to_messages(
    body: Mapping[str, Any],
    *,
    max_tokens: int = MAX_TOKENS,
    sampling: bool = False,
    system_turns: bool = False,
) -> dict[str, Any]:
    """Return a chat completions request as a messages request.

    Args:
        body: the request.
        max_tokens: how long the answer may get where the request does not say: messages always
            say, so this is the model's own limit.
        sampling: the API version takes ``temperature`` and ``top_p``, as 2023-06-01 does for older
            models; 2026-10-21 refuses them, so there only what is so anyway passes.
        system_turns: the model takes system turns within the conversation.

    Raises:
        InputError: something that was asked for has no counterpart; it names what.

    Guarantees:
        Every request fits the types of Anthropic's SDK, with no member they do not have
        (tests/property/test_shapes.py). Nothing is left out but what the page lists
        (tests/adversary/test_shapes.py::test_no_member_of_a_request_is_left_out_unseen).
    """
    members = Members(body)
    system, turns = messages_turns(members.items("messages") or [], system_turns=system_turns)
    request: dict[str, Any] = {
        "model": members.must("model"),
        "max_tokens": _limit(members, max_tokens),
        "messages": turns,
    }
    if system:
        request["system"] = system
    request |= messages_tools(members) | _sampled(members, sampling)
    if stop := _stops(members):
        request["stop_sequences"] = stop
    request |= _output(members) | _messages_asked_how(members)
    _only_what_is_so_anyway(members)
    members.end()
    return request


def _messages_asked_how(members: Members) -> dict[str, Any]:
    """Return for whom, on which tier and how the answer is to come."""
    found: dict[str, Any] = {}
    if user := _user(members):
        found["metadata"] = {"user_id": user}
    tiers = {"auto": "auto", "default": "standard_only"}
    if tier := members.choice("service_tier", tiers):
        found["service_tier"] = tier
    if stream := _streamed(members):
        found["stream"] = stream
    return found


def _limit(members: Members, otherwise: int) -> int:
    new, old = members.whole("max_completion_tokens"), members.whole("max_tokens")
    if new is not None and old is not None and new != old:
        members.refuse("max_tokens", "is not what max_completion_tokens says")
    limit = old if new is None else new
    if limit is not None and limit < 1:
        members.refuse("max_tokens", "is less than 1")
    return otherwise if limit is None else limit


def _sampled(members: Members, sampling: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        value = members.number(name)
        if value is None or (not sampling and value == 1):
            continue  # 1 is what both have where nobody says
        if not sampling:
            members.refuse(name, "is not taken by this provider's API", "leave it out")
        if not 0 <= value <= 1:
            members.refuse(name, "is not between 0 and 1, which is all that messages take")
        found[name] = value
    return found


def _stops(members: Members) -> list[str]:
    stop = members.take("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if stops is None:
        return []
    if not isinstance(stops, list) or not all(isinstance(s, str) and s.strip() for s in stops):
        members.refuse("stop", "is not text, or a list of texts that are more than white space")
    return list(stops)


def _output(members: Members) -> dict[str, Any]:
    """Return how much the model is to think, and the form of its answer."""
    found: dict[str, Any] = {}
    config: dict[str, Any] = {}
    effort = members.choice("reasoning_effort", {"none": "none", **_EFFORT})
    if effort == "none":
        found["thinking"] = {"type": "disabled"}
    elif effort is not None:
        found["thinking"] = {"type": "adaptive"}
        config["effort"] = effort
    schema = _schema(members.members("response_format"))
    if schema is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
    return {**found, "output_config": config} if config else found


def _schema(form: Members | None) -> dict[str, Any] | None:
    if form is None:
        return None
    kind = form.must("type")
    if kind == "text":
        form.end()
        return None
    if kind != "json_schema":
        form.refuse("type", f"may not be {named(kind)}", "say which JSON: json_schema")
    inner = Members(form.take("json_schema"), "response_format.json_schema.")
    form.end()
    schema = inner.mapping("schema")
    if schema is None:
        inner.refuse("schema", "is missing")
    inner.flag("strict")  # it always is
    inner.text("name")  # a label
    description = inner.text("description")
    inner.end()
    return {"description": description, **schema} if description else schema


def _user(members: Members) -> str | None:
    new, old = members.text("safety_identifier"), members.text("user")
    if new and old and new != old:
        members.refuse("user", "is not what safety_identifier says; messages have one of them")
    return new or old


def _streamed(members: Members) -> bool | None:
    stream = members.flag("stream")
    options = members.members("stream_options")
    if options is not None:
        if not stream:
            members.refuse("stream_options", "is for streams")
        options.flag("include_usage")  # messages always count; whoever translates the answer asks
        options.only("include_obfuscation", [False], _NONE)
        options.end()
    return stream


def _only_what_is_so_anyway(members: Members) -> None:
    members.only("n", [1], "is more than one answer")
    members.only("logprobs", [False], _NONE)
    members.only("top_logprobs", [0], _NONE)
    members.only("frequency_penalty", [0, 0.0], _NONE)
    members.only("presence_penalty", [0, 0.0], _NONE)
    members.only("logit_bias", [{}], _NONE)
    members.only("verbosity", ["medium"], _NONE)
    members.only("modalities", [["text"]], _NONE)
    members.only("metadata", [{}], _NONE)
    members.only("store", [False], "asks the provider to keep the answer")
    members.forgo(
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    )


def messages_to_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a messages request as a chat completions request.

    A stream is asked to end with the counts of tokens, which messages always have.

    Raises:
        InputError: something that was asked for has no counterpart; it names what.

    Guarantees:
        Every request fits the types of OpenAI's SDK, with no member they do not have
        (tests/property/test_shapes.py). Nothing is left out but what the page lists
        (tests/adversary/test_shapes.py::test_no_member_of_a_request_is_left_out_unseen).
    """
    members = Members(body)
    limit = members.whole("max_tokens")
    if limit is None or limit < 1:
        members.refuse("max_tokens", "is missing, or asks for no answer")
    request: dict[str, Any] = {
        "model": members.must("model"),
        "messages": chat_turns(members.take("system"), members.items("messages") or []),
        "max_completion_tokens": limit,
    }
    request |= chat_tools(members)
    request |= _taken_over(members)
    request |= _answer_form(members)
    request |= _chat_asked_how(members)
    members.only("speed", ["standard"], "has no counterpart in chat completions")
    members.forgo("cache_control")
    members.end()
    return request


def _taken_over(members: Members) -> dict[str, Any]:
    """Return how an answer is drawn and where it stops, which is the same in both."""
    found: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        if (value := members.number(name)) is not None:
            found[name] = value
    stops = members.items("stop_sequences") or []
    if not all(isinstance(stop, str) for stop in stops):
        members.refuse("stop_sequences", "holds more than texts")
    if stops:
        found["stop"] = list(stops)
    return found


def _chat_asked_how(members: Members) -> dict[str, Any]:
    """Return for whom, on which tier and how the answer is to come."""
    found: dict[str, Any] = {}
    if (metadata := members.members("metadata")) is not None:
        if user := metadata.text("user_id"):
            found["user"] = user
        metadata.end()
    if tier := members.choice("service_tier", {"auto": "auto", "standard_only": "default"}):
        found["service_tier"] = tier
    if members.flag("stream"):
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return found


def _answer_form(members: Members) -> dict[str, Any]:
    found: dict[str, Any] = {}
    effort = _effort(members.members("thinking"))
    config = members.members("output_config")
    if config is not None:
        effort = config.choice("effort", _EFFORT) or effort
        if (form := config.members("format")) is not None:
            kind, schema = form.must("type"), form.mapping("schema")
            form.end()
            if kind != "json_schema" or schema is None:
                raise InputError("output_config.format is not a json_schema with its schema")
            inner = {"name": _FORMAT_NAME, "schema": schema, "strict": True}
            found["response_format"] = {"type": "json_schema", "json_schema": inner}
        config.end()
    if effort is not None:
        found["reasoning_effort"] = effort
    return found


def _effort(thinking: Members | None) -> str | None:
    """Return the effort nearest to a budget of thoughts; None leaves it to the model."""
    if thinking is None:
        return None
    kind = thinking.must("type")
    budget = thinking.whole("budget_tokens")
    thinking.forgo("display")  # a chat shows no thoughts of the provider's either way
    thinking.end()
    if kind == "adaptive":
        return None
    if kind == "disabled":
        return "none"
    if kind != "enabled" or budget is None or budget < 1:
        thinking.refuse("type", f"may not be {named(kind)}, or has no budget")
    return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
