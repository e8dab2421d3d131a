"""The conversation of a request: who said what, in chat and in messages.

A chat has system messages anywhere, results of tools as messages of their own, and several messages
of one role in a row. In messages the system's words stand before the conversation, results stand in
the person's next turn, and turns of one role in a row are one turn.
"""

from __future__ import annotations

from typing import Any

from privity.errors import InputError
from privity.infer.shapes.content import block_of_part, part_of_block, text_part
from privity.infer.shapes.members import Members, named
from privity.infer.shapes.tools import Calls

__all__ = ["FAILED", "chat_turns", "messages_turns"]

FAILED = "The tool failed."
"""What a chat, which has no other way to say so, is told before the result of a failed call."""

Blocks = list[dict[str, Any]]


def messages_turns(chat: list[Any], *, system_turns: bool) -> tuple[Blocks, list[dict[str, Any]]]:
    """Return a chat's system prompt and its turns, as messages have them.

    Args:
        chat: the chat's messages.
        system_turns: the model takes system turns within the conversation, where they follow a
            user's and precede an assistant's or end it. Where it does not, what a system says later
            moves to the end of the system prompt, as Anthropic's own endpoint for chat does it.

    Raises:
        InputError: something has no counterpart, there is nothing to answer, or the last word is
            the assistant's, which a chat would answer and messages would go on writing.
    """
    calls = Calls("messages")
    system: Blocks = []
    turns: list[dict[str, Any]] = []
    for at, message in enumerate(chat):
        members = Members(message, f"messages[{at}].")
        role = members.must("role")
        if role in ("system", "developer"):
            words = _texts(members.take("content"), f"{members.where}content")
            members.end()
            in_turn = bool(words) and system_turns and bool(turns) and _ends(chat, at)
            if in_turn and turns[-1]["role"] == "user":
                turns.append({"role": "system", "content": words})
            elif in_turn and turns[-1]["role"] == "system":
                turns[-1]["content"] += words
            else:
                system += words
            continue
        role, blocks = _turn(role, members, calls)
        members.end()
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:  # a turn that holds nothing says nothing
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise InputError("messages holds nothing to answer")
    _not_prefilled(turns)
    return system, turns


def _turn(role: str, members: Members, calls: Calls) -> tuple[str, Blocks]:
    """Return whose turn a chat's message belongs to, and what it adds there."""
    if role == "user":
        return role, _user_blocks(members)
    if role == "assistant":
        return role, _assistant_blocks(members, calls)
    if role == "tool":
        return "user", [_tool_result(members, calls)]
    members.refuse("role", f"may not be {named(role)}")


def _ends(chat: list[Any], at: int) -> bool:
    """Return whether an assistant's message is next of those that are not a system's, or none."""
    for after in chat[at + 1 :]:
        role = after.get("role") if isinstance(after, dict) else None
        if role not in ("system", "developer"):
            return bool(role == "assistant")
    return True


def _not_prefilled(turns: list[dict[str, Any]]) -> None:
    if turns[-1]["role"] == "assistant":
        raise InputError(
            "the last of messages is the assistant's: one shape answers it, the other continues it",
            hint="end with a message of the user, or ask a provider that speaks your client's API",
        )


def _texts(content: Any, where: str) -> Blocks:
    if isinstance(content, str):
        return [text_part(content)] if content else []
    texts = [_text(part, f"{where}[{at}].") for at, part in enumerate(_list(content, where))]
    return [text_part(text) for text in texts if text]


def _text(part: Any, where: str) -> str:
    members = Members(part, where)
    members.forgo("prompt_cache_breakpoint", "cache_control")
    members.only("citations", [[]], "has no counterpart in chat completions")
    kind = members.must("type")
    if kind not in ("text", "refusal"):
        members.refuse("type", f"may not be {named(kind)}", "text is taken")
    text = members.must(kind)  # what an assistant said when it refused is what it said
    members.end()
    return text


def _list(content: Any, where: str) -> list[Any]:
    if not isinstance(content, list):
        raise InputError(f"{where} is neither text nor a list")
    return content


def _user_blocks(members: Members) -> Blocks:
    content, where = members.take("content"), f"{members.where}content"
    if isinstance(content, str):
        return [text_part(content)] if content else []
    found = [block_of_part(p, f"{where}[{at}].") for at, p in enumerate(_list(content, where))]
    return [block for block in found if block is not None]


def _assistant_blocks(members: Members, calls: Calls) -> Blocks:
    content = members.take("content")
    blocks = [] if content is None else _texts(content, f"{members.where}content")
    if refusal := members.text("refusal"):
        blocks.append(text_part(refusal))
    # Thoughts without their signature are not taken back, and later answers do not need them.
    members.forgo("reasoning_content", "reasoning", "annotations")
    for at, call in enumerate(members.items("tool_calls") or ()):
        blocks.append(calls.block(call, f"{members.where}tool_calls[{at}]."))
    return blocks


def _tool_result(members: Members, calls: Calls) -> dict[str, Any]:
    call_id = calls.id(members.must("tool_call_id"))
    content = _texts(members.take("content"), f"{members.where}content")
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id}
    return {**result, "content": content} if content else result


def chat_turns(system: Any, turns: list[Any]) -> list[dict[str, Any]]:
    """Return a system prompt and turns of messages as the messages of a chat.

    Raises:
        InputError: something has no counterpart, there is nothing to answer, or the last word is
            the assistant's, which messages would go on writing and a chat would answer.
    """
    calls = Calls("chat")
    chat = [] if system is None else _said("system", _texts(system, "system"))
    before = len(chat)
    for at, turn in enumerate(turns):
        members = Members(turn, f"messages[{at}].")
        role, content = members.must("role"), members.take("content")
        where = f"{members.where}content"
        members.end()
        if role == "system":
            chat += _said("system", _texts(content, where))
            continue
        blocks = (
            [text_part(content)] * bool(content)
            if isinstance(content, str)
            else _list(content, where)
        )
        if role == "user":
            chat += _user_messages(blocks, where, calls)
        elif role == "assistant":
            chat += _assistant_message(blocks, where, calls)
        else:
            members.refuse("role", f"may not be {named(role)}")
    if len(chat) == before:
        raise InputError("messages holds nothing to answer")
    _not_prefilled(chat)
    return chat


def _said(role: str, parts: Blocks) -> list[dict[str, Any]]:
    """Return a message with these parts, as plain text where it is one part of text."""
    if not parts:
        return []
    if len(parts) == 1 and parts[0]["type"] == "text":
        return [{"role": role, "content": parts[0]["text"]}]
    return [{"role": role, "content": parts}]


def _user_messages(blocks: list[Any], where: str, calls: Calls) -> list[dict[str, Any]]:
    """Return results of tools each as a message, and the rest as one that follows them."""
    results, parts = [], []
    for at, block in enumerate(blocks):
        place = f"{where}[{at}]."
        if isinstance(block, dict) and block.get("type") == "tool_result":
            results.append(_tool_message(Members(block, place), calls))
        else:
            part = part_of_block(block, place)
            if part != text_part(""):
                parts.append(part)
    return results + _said("user", parts)


def _tool_message(members: Members, calls: Calls) -> dict[str, Any]:
    members.forgo("type", "cache_control")
    call_id = calls.id(members.must("tool_use_id"))
    content = members.take("content")
    parts = [] if content is None else _texts(content, f"{members.where}content")
    if members.flag("is_error"):
        parts.insert(0, text_part(FAILED))
    members.end()
    said = _said("tool", parts) or [{"role": "tool", "content": ""}]
    return {**said[0], "tool_call_id": call_id}


def _assistant_message(blocks: list[Any], where: str, calls: Calls) -> list[dict[str, Any]]:
    texts, called = [], []
    for at, block in enumerate(blocks):
        place = f"{where}[{at}]."
        members = Members(block, place)
        kind = members.must("type")
        if kind == "text":
            texts += [text_part(text)] if (text := _text(block, place)) else []
        elif kind == "tool_use":
            called.append(calls.call(members))
        elif kind not in ("thinking", "redacted_thinking"):
            # Thoughts are signed for the model that had them, and no other takes them.
            members.refuse("type", f"may not be {named(kind)}")
    said = _said("assistant", texts)
    if called:
        said = [{**(said[0] if said else {"role": "assistant"}), "tool_calls": called}]
    return said
