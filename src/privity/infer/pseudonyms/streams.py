"""Restores a stream of events in the shape of chat, messages or responses.

Each channel of a stream (a choice, a block, a tool call's arguments) is restored by itself. What is
still held when a channel ends is given out before the event that ends it, in an event of its own of
the same form, so that clients that add up the pieces get the whole. Channels are not forgotten:
what comes for one that ended goes on as it is, since clients would add it up all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from privity.errors import MalformedError, OversizeError
from privity.infer.pseudonyms.links import Fence
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.restore import FencedText
from privity.infer.pseudonyms.restore_json import FencedJson
from privity.infer.pseudonyms.whole import (
    AS_IT_IS,
    MAX_THOUGHT,
    WholeRestorer,
    dump,
)
from privity.infer.shapes.events import Event, EventReader, encode_event

__all__ = ["StreamRestorer"]

_MAX_CHANNELS = 4096
_CHAT_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_SOUND = ("audio.delta", "output_audio.delta", "partial_image")
_BEGINNINGS = ("response.created", "response.queued", "response.in_progress")
_PARTS = ("content_index", "summary_index")

_Restorer = FencedText | FencedJson
_Made = tuple[bytes, dict[str, Any]]


class _Channel:
    """A channel of a stream: its restorer, and how an event of it is made."""

    __slots__ = ("make", "restorer", "thought")

    def __init__(self, restorer: _Restorer) -> None:
        self.restorer = restorer
        self.make: Callable[[str], _Made] | None = None
        self.thought = ""


class StreamRestorer:
    """One stream of one shape.

    Args:
        shape: of the request, as `privity.infer.pseudonyms.walk.shape_of` names it.
        place: the map of the conversation.
        own: hosts in whose addresses originals may be put.
        as_json: the answer's text was asked for as JSON.
    """

    def __init__(
        self, shape: str, place: ConversationMap, own: frozenset[str], *, as_json: bool
    ) -> None:
        self._reader = EventReader()
        self._place, self._own, self._as_json = place, own, as_json
        self._table = place.backward()
        self._whole = WholeRestorer(place, own, as_json=as_json)
        self._channels: dict[tuple[Any, ...], _Channel] = {}
        self._items: dict[str, int] = {}
        self._begun: set[Any] = set()
        self._all_begun = False
        self._moved = 0
        self._take = {"messages": self._messages, "responses": self._responses}.get(
            shape, self._chunks
        )

    def feed(self, chunk: bytes) -> bytes:
        """Take more; return the events that may be given on."""
        return b"".join(self._event(event) for event in self._reader.feed(chunk))

    def end(self) -> bytes:
        """Return what channels that never ended still held."""
        return b"".join(self._flush(lambda key: True))

    def _event(self, event: Event) -> bytes:
        try:
            data = json.loads(event.data)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            ended = self.end() if event.data.strip() == b"[DONE]" else b""
            return ended + encode_event(event.data.replace(b"\n", b"\ndata: "), event.name)
        out: list[bytes] = []
        made, changed = self._take(event.name, data, out)
        if self._moved and isinstance(made.get("sequence_number"), int):
            made, changed = {**made, "sequence_number": made["sequence_number"] + self._moved}, True
        whole = dump(made) if changed else event.data.replace(b"\n", b"\ndata: ")
        return b"".join(out) + encode_event(whole, event.name)

    def _channel(self, key: tuple[Any, ...], *, is_json: bool) -> _Channel:
        found = self._channels.get(key)
        if found is None:
            if len(self._channels) >= _MAX_CHANNELS:
                raise OversizeError(f"an answer of more than {_MAX_CHANNELS} channels")
            chosen: _Restorer
            if is_json:
                chosen = FencedJson(self._table, self._own)
            else:
                chosen = FencedText(self._table, Fence(self._own))
            found = self._channels[key] = _Channel(chosen)
        return found

    def _flush(self, which: Callable[[tuple[Any, ...]], bool]) -> Iterator[bytes]:
        """Yield what ended channels still held, each in an event of its own."""
        for key in [key for key in self._channels if which(key)]:
            channel = self._channels[key]
            rest = channel.restorer.end()
            if rest and channel.make is not None:
                name, data = channel.make(rest)
                if isinstance(data.get("sequence_number"), int):
                    self._moved += 1
                    data["sequence_number"] += self._moved
                yield encode_event(dump(data), name)

    # Chat and text completions: chunks with choices.

    def _chunks(
        self, name: bytes, data: dict[str, Any], out: list[bytes]
    ) -> tuple[dict[str, Any], bool]:
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            made = data if "usage" in data else self._whole.value(data)
            return made, made != data
        made = {**data, "choices": [self._choice(name, data, one, out) for one in choices]}
        return made, made != data

    def _choice(self, name: bytes, data: dict[str, Any], choice: Any, out: list[bytes]) -> Any:
        if not isinstance(choice, dict):
            return choice
        index = _number(choice.get("index"))

        def chunk(inside: dict[str, Any]) -> _Made:
            bare = {k: v for k, v in data.items() if k not in ("choices", "usage")}
            empty = {"index": index, **inside, "finish_reason": None}
            return name, {**bare, "choices": [empty]}

        made = dict(choice)
        if isinstance(choice.get("text"), str):
            made["text"] = self._give((index, "text"), choice["text"], lambda t: chunk({"text": t}))
        for side in ("delta", "message"):
            if isinstance(choice.get(side), dict):
                made[side] = self._delta(index, choice[side], lambda d: chunk({"delta": d}))
        if choice.get("finish_reason"):
            rest = list(self._flush(lambda key: key[0] == index))
            out += rest
            if not rest:
                return made
            # What this very chunk has to say came before what was held behind it.
            out[-len(rest) : -len(rest)] = self._before(made, chunk)
        return made

    def _before(
        self,
        made: dict[str, Any],
        chunk: Callable[[dict[str, Any]], _Made],
    ) -> list[bytes]:
        moved: dict[str, Any] = {}
        if isinstance(made.get("delta"), dict) and made["delta"]:
            moved["delta"], made["delta"] = made["delta"], {}
        if made.get("text"):
            moved["text"], made["text"] = made["text"], ""
        if not moved:
            return []
        name, data = chunk(moved)
        return [encode_event(dump(data), name)]

    def _delta(
        self,
        index: Any,
        delta: dict[str, Any],
        make: Callable[[dict[str, Any]], _Made],
    ) -> dict[str, Any]:
        made = dict(delta)
        for key, value in delta.items():
            if isinstance(value, str) and key in _CHAT_TEXTS:
                asked = self._as_json and key == "content"
                made[key] = self._give(
                    (index, key),
                    value,
                    _under(make, key),
                    is_json=asked,
                )
            elif key == "tool_calls" and isinstance(value, list):
                made[key] = [self._tool_call(index, one, make) for one in value]
            elif key == "function_call" and isinstance(value, dict):
                made[key] = self._function(
                    (index, key), value, lambda f: make({"function_call": f})
                )
            elif key == "audio" and isinstance(value, dict) and "transcript" in value:
                said = self._give(
                    (index, key),
                    str(value["transcript"]),
                    lambda t: make({"audio": {"transcript": t}}),
                )
                made[key] = {**value, "transcript": said}
            elif isinstance(value, str) and key not in AS_IT_IS:
                made[key] = self._give((index, key), value, _under(make, key))
            # Clients add up lists and objects too: what is in them goes on as it is.
        return made

    def _tool_call(
        self,
        index: Any,
        call: Any,
        make: Callable[[dict[str, Any]], _Made],
    ) -> Any:
        if not isinstance(call, dict):
            return call
        at = _number(call.get("index"))
        made = dict(call)
        for side in ("function", "custom"):
            if isinstance(call.get(side), dict):
                made[side] = self._function(
                    (index, "tool", at),
                    call[side],
                    _under(lambda one: make({"tool_calls": [{"index": at, **one}]}), side),
                )
        return made

    def _function(
        self,
        key: tuple[Any, ...],
        function: dict[str, Any],
        make: Callable[[dict[str, Any]], _Made],
    ) -> dict[str, Any]:
        made = dict(function)
        for side in ("arguments", "input"):
            if isinstance(function.get(side), str):
                made[side] = self._give(
                    (*key, side),
                    function[side],
                    _under(make, side),
                    is_json=side == "arguments",
                )
        if isinstance(function.get("name"), str):
            made["name"] = self._whole.text(function["name"])
        return made

    # Messages: blocks with deltas.

    def _messages(
        self, name: bytes, data: dict[str, Any], out: list[bytes]
    ) -> tuple[dict[str, Any], bool]:
        kind, index = data.get("type"), _number(data.get("index"))
        message = data.get("message")
        if kind == "message_start" and isinstance(message, dict) and message.get("content"):
            self._all_begun = True
        if self._all_begun and kind in ("content_block_delta", "content_block_start"):
            return data, False
        if kind == "content_block_delta" and isinstance(data.get("delta"), dict):
            made = {**data, "delta": self._block_delta(name, data, index)}
        elif kind == "content_block_stop":
            self._forget_thought(index)
            out += self._flush(lambda key: key[0] == index)
            made = data
        elif kind in ("message_delta", "message_stop"):
            out += self._flush(lambda key: True)
            made = data
        elif kind == "content_block_start" and isinstance(data.get("content_block"), dict):
            made = {**data, "content_block": self._block_start(data["content_block"], index)}
        else:
            made = self._whole.value(data)
        return made, made != data

    def _block_start(self, block: dict[str, Any], index: Any) -> dict[str, Any]:
        """Restore the block that deltas are added to: its text is the beginning of theirs."""
        begins = {k: block[k] for k in ("text", "thinking") if isinstance(block.get(k), str)}
        made = dict(self._whole.value({k: v for k, v in block.items() if k not in begins}))
        for side, text in begins.items():
            kind = f"{side}_delta"
            made[side] = self._give(
                (index, side),
                text,
                lambda one, side=side, kind=kind: (  # type: ignore[misc]
                    b"content_block_delta",
                    {
                        "type": "content_block_delta",
                        "index": index,
                        "delta": {"type": kind, side: one},
                    },
                ),
                is_json=self._as_json and side == "text",
            )
            if side == "thinking":
                self._think(index, text, block.get("signature"))
        return {key: made[key] for key in block}

    def _block_delta(self, name: bytes, data: dict[str, Any], index: Any) -> dict[str, Any]:
        delta: dict[str, Any] = data["delta"]
        made = dict(delta)
        for side in ("text", "partial_json", "thinking"):
            if isinstance(delta.get(side), str):
                asked = side == "partial_json" or (self._as_json and side == "text")
                made[side] = self._give(
                    (index, side),
                    delta[side],
                    _under(lambda one: (name, {**data, "delta": {**delta, **one}}), side),
                    is_json=asked,
                )
        self._think(index, delta.get("thinking"), delta.get("signature"))
        if isinstance(delta.get("citation"), dict):
            made["citation"] = self._whole.value(delta["citation"])
        return made

    def _think(self, index: Any, text: Any, signature: Any) -> None:
        """Note more of a thought; keep it once it is signed."""
        channel = self._channels.get((index, "thinking"))
        if channel is None:
            return
        if isinstance(text, str):
            channel.thought = (channel.thought + text)[: MAX_THOUGHT + 1]
        if isinstance(signature, str) and signature:
            self._whole.keep(signature, channel.thought)

    def _forget_thought(self, index: Any) -> None:
        channel = self._channels.get((index, "thinking"))
        if channel is not None:
            channel.thought = ""

    # Responses: deltas, and what repeats them whole.

    def _responses(
        self, name: bytes, data: dict[str, Any], out: list[bytes]
    ) -> tuple[dict[str, Any], bool]:
        kind = str(data.get("type", ""))
        if kind.endswith(_SOUND):
            return data, False
        answer = data.get("response")
        if kind in _BEGINNINGS and isinstance(answer, dict) and answer.get("output"):
            self._all_begun = True
        if kind.endswith(".added"):
            made = self._added(data)
            return made, made != data
        key = (self._item(data), *(_number(data.get(k)) for k in _PARTS))
        if kind.endswith(".delta") and isinstance(data.get("delta"), str):
            if self._all_begun or key[0] in self._begun:
                return data, False
            asked = "arguments" in kind or (self._as_json and kind.endswith("output_text.delta"))
            said = self._give(
                (kind.removesuffix(".delta"), *key),
                data["delta"],
                lambda t: (name, {**data, "delta": t}),
                is_json=asked,
            )
            made = {**data, "delta": said}
            return made, made != data
        if kind.endswith(".done"):
            base = kind.removesuffix(".done")
            ended = (base, *key)
            out += self._flush(lambda one: one == ended)
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            out += self._flush(lambda one: True)
        made = self._whole.value(data)
        return made, made != data

    def _added(self, data: dict[str, Any]) -> dict[str, Any]:
        """Restore what deltas are added to; where it is not empty, all goes on as it is."""
        part = data.get("part", data.get("item"))
        if not isinstance(part, dict):
            return data
        texts = [
            part.get(k) for k in ("text", "refusal", "arguments", "input", "content", "summary")
        ]
        if not any(texts):
            made: dict[str, Any] = self._whole.value(data)
            return made
        item = self._item({"item_id": part.get("id"), **data})
        self._begun.add(item)
        return data

    def _item(self, data: dict[str, Any]) -> Any:
        """Return what an item is called; clients tell items apart by either of its names."""
        at, name = data.get("output_index"), data.get("item_id")
        if at is None:
            return name if isinstance(name, str) else None
        index = _number(at)
        if isinstance(name, str) and name:
            known = self._items.setdefault(name, index)
            if known != index:  # one for some clients, two for others
                self._begun |= {known, index}
            if len(self._items) > _MAX_CHANNELS:
                raise OversizeError(f"an answer of more than {_MAX_CHANNELS} items")
        return index

    def _give(
        self,
        key: tuple[Any, ...],
        text: str,
        make: Callable[[str], _Made],
        *,
        is_json: bool = False,
    ) -> str:
        channel = self._channel(key, is_json=is_json)
        channel.make = make
        return channel.restorer.feed(text)


def _number(index: Any) -> int:
    """Return a number as clients read it that take 1, 1.0 and "1" for the same."""
    try:
        number = int(index) if isinstance(index, (int, float, str)) else 0
    except (ValueError, OverflowError):
        return 0
    if number < 0:  # some clients count it from the end
        raise MalformedError("an answer with a negative index")
    return number


def _under(make: Callable[[dict[str, Any]], _Made], key: str) -> Callable[[Any], _Made]:
    """Return what makes an event of what stands under one key of it."""
    return lambda value: make({key: value})
