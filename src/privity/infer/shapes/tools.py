"""Tools a model may call, and its calls: functions of chat, custom tools of messages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from privity.errors import InputError, MalformedError
from privity.infer.shapes.members import Members, named, read_json, write_json

__all__ = ["Calls", "chat_tools", "messages_tools"]

_NO_TOOLS = "asks for a tool, and there are none"


class Calls:
    """The ids of calls, as the provider takes them; each the same in a call and in its result.

    Args:
        shape: ``chat``, where OpenAI takes at most 40 characters, or ``messages``, where Anthropic
            takes letters, digits, ``_`` and ``-`` alone. Engines give ids of other forms.
    """

    def __init__(self, shape: str) -> None:
        self._fits = re.compile(r"[A-Za-z0-9_-]{1,64}" if shape == "messages" else r".{1,40}")
        self._prefix = "toolu_" if shape == "messages" else "call_"

    def id(self, given: str) -> str:
        """Return the id, or where it does not fit one that is made of it."""
        if self._fits.fullmatch(given):
            return given
        digest = hashlib.sha256(given.encode(errors="surrogatepass")).hexdigest()
        return self._prefix + digest[:32]

    def block(self, call: Any, where: str) -> dict[str, Any]:
        """Return a call of chat as a block of messages."""
        members = Members(call, where)
        kind = members.text("type") or "function"
        if kind != "function":
            members.refuse("type", f"may not be {named(kind)}", "functions are taken")
        function = Members(members.take("function"), f"{where}function.")
        name, text = function.must("name"), function.text("arguments") or "{}"
        try:
            arguments = read_json(text)
        except MalformedError:
            arguments = None
        if not isinstance(arguments, dict):
            function.refuse("arguments", "is not the JSON text of an object")
        call_id = self.id(members.must("id"))
        members.forgo("index")
        function.end()
        members.end()
        return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}

    def call(self, members: Members) -> dict[str, Any]:
        """Return a block of messages, whose type was read, as a call of chat."""
        members.forgo("cache_control")
        members.only("caller", [{"type": "direct"}], "has no counterpart in chat completions")
        given, name = self.id(members.must("id")), members.must("name")
        try:
            arguments = write_json(members.mapping("input") or {})
        except MalformedError:
            members.refuse("input", "has no JSON")
        members.end()
        return {
            "id": given,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }


def messages_tools(members: Members) -> dict[str, Any]:
    """Return ``tools`` and ``tool_choice`` of a chat request as those of messages."""
    members.only("functions", [[]], "is the old form of `tools`")
    members.only("function_call", (), "is the old form of `tool_choice`")
    tools = [
        _custom_tool(Members(tool, f"tools[{at}]."))
        for at, tool in enumerate(members.items("tools") or ())
    ]
    choice = _messages_choice(members.take("tool_choice"), bool(tools))
    parallel = members.flag("parallel_tool_calls")
    if not tools:
        return {}
    if parallel is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tools": tools, **({"tool_choice": choice} if choice else {})}


def _custom_tool(members: Members) -> dict[str, Any]:
    kind = members.must("type")
    if kind != "function":
        members.refuse("type", f"may not be {named(kind)}", "functions are taken")
    function = Members(members.take("function"), f"{members.where}function.")
    members.end()
    tool: dict[str, Any] = {"name": function.must("name")}
    if description := function.text("description"):
        tool["description"] = description
    schema = function.mapping("parameters") or {"properties": {}}
    tool["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    if (strict := function.flag("strict")) is not None:
        tool["strict"] = strict
    function.end()
    return tool


def _messages_choice(choice: Any, tools: bool) -> dict[str, Any] | None:
    if choice is None or (not tools and choice in ("auto", "none")):
        return None
    if not tools:
        raise InputError(f"tool_choice {_NO_TOOLS}")
    if isinstance(choice, str):
        words = {"auto": "auto", "none": "none", "required": "any"}
        if choice not in words:
            raise InputError(f"tool_choice may not be {named(choice)}", hint=", ".join(words))
        return {"type": words[choice]}
    members = Members(choice, "tool_choice.")
    kind = members.must("type")
    if kind != "function":
        members.refuse("type", f"may not be {named(kind)}", "a function is taken")
    function = Members(members.take("function"), "tool_choice.function.")
    name = function.must("name")
    function.end()
    members.end()
    return {"type": "tool", "name": name}


def chat_tools(members: Members) -> dict[str, Any]:
    """Return ``tools`` and ``tool_choice`` of a messages request as those of chat."""
    tools = [
        _function(Members(tool, f"tools[{at}]."))
        for at, tool in enumerate(members.items("tools") or ())
    ]
    choice = members.members("tool_choice")
    fields: dict[str, Any] = {"tools": tools} if tools else {}
    if choice is None:
        return fields
    kind = choice.must("type")
    words: Mapping[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
    if kind == "tool":
        chosen: Any = {"type": "function", "function": {"name": choice.must("name")}}
    elif kind in words:
        chosen = words[kind]
    else:
        choice.refuse("type", f"may not be {named(kind)}", "one of: auto, any, tool, none")
    single = choice.flag("disable_parallel_tool_use")
    choice.end()
    if not tools:
        if kind not in ("auto", "none"):
            raise InputError(f"tool_choice {_NO_TOOLS}")
        return {}
    fields["tool_choice"] = chosen
    if single is not None:
        fields["parallel_tool_calls"] = not single
    return fields


def _function(members: Members) -> dict[str, Any]:
    kind = members.text("type")
    if kind not in (None, "custom"):
        members.refuse("type", f"may not be {named(kind)}", "the provider runs no tools of its own")
    members.forgo("cache_control", "eager_input_streaming")
    members.only("input_examples", [[]], "has no counterpart in chat completions")
    members.only("defer_loading", [False], "has no counterpart in chat completions")
    members.only("allowed_callers", [["direct"]], "has no counterpart in chat completions")
    function: dict[str, Any] = {"name": members.must("name")}
    if description := members.text("description"):
        function["description"] = description
    schema = members.mapping("input_schema")
    if schema is None:
        members.refuse("input_schema", "is missing")
    function["parameters"] = schema
    if (strict := members.flag("strict")) is not None:
        function["strict"] = strict
    members.end()
    return {"type": "function", "function": function}
