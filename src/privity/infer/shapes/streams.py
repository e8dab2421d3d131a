"""Streamed answers: of messages as chunks of a chat completion, and the other way, event by event.

Each class watches one answer. What a provider sends is translated, refused as `MalformedError`, or
known to carry nothing for the client. An answer is given its end mark where the provider gave it
one, and only there: one that was cut off stays cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from privity.errors import MalformedError, TruncatedError
from privity.infer.shapes.answers import finish_of, refusal_of, stop_of, thoughts_of
from privity.infer.shapes.errors import MAX_MESSAGE, error_event
from privity.infer.shapes.events import Event, encode_event
from privity.infer.shapes.members import named, read_object, text_of, write_json
from privity.infer.shapes.writers import DONE, MOST_BLOCKS, ChunkWriter, MessageWriter

__all__ = ["ChatStreamToMessages", "MessagesStreamToChat"]


def _refused(value: object) -> tuple[str, str]:
    """Return what a provider's error in a stream says, and its type."""
    error = value if isinstance(value, Mapping) else {}
    message, kind = error.get("message", value), error.get("type")
    return (
        message[:MAX_MESSAGE] if isinstance(message, str) else "the provider says no more",
        kind if isinstance(kind, str) and len(kind) <= 64 else "api_error",
    )


def _place(value: Mapping[str, Any], most: int = MOST_BLOCKS) -> int:
    index = value.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < most:
        raise MalformedError("a part of a streamed answer does not say which it belongs to")
    return index


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise MalformedError(f"{what} of a streamed answer is not an object")
    return value


class _Stream:
    """Whether an answer has ended, and how."""

    def __init__(self) -> None:
        self._over = False
        self._failed = False

    @property
    def failed(self) -> bool:
        """Whether the provider ended the answer with an error, which the client was told."""
        return self._failed

    def _carries(self, event: Event) -> bool:
        """Return whether an event has to be read: not after an error, nor where it is empty."""
        if self._failed or not event.data.strip():
            return False
        if self._over:
            raise MalformedError("a streamed answer goes on after its end")
        return True

    def _fail(self, shape: str, error: object) -> bytes:
        self._failed = True
        return error_event(shape, *_refused(error))

    def end(self) -> bytes:
        """Return what is left to say where the stream ends: nothing.

        Raises:
            TruncatedError: the answer has not ended.
        """
        if not self._over and not self._failed:
            raise TruncatedError("the provider's answer stopped before its end")
        return b""


@dataclass(slots=True)
class _Block:
    """A block of messages that has begun."""

    kind: str
    call: int = -1
    input: str = "{}"  # what to say of it where no delta does
    said: bool = False


_SECRET = "redacted_thinking"  # noqa: S105  (thoughts that only the provider can read)
_DELTAS = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}


class MessagesStreamToChat(_Stream):
    """The events of a message, as chunks of a chat completion.

    Thoughts become ``reasoning_content``, without their signature.

    Args:
        model: the name the client is to see.
        usage: the client asked for the counts: `privity.infer.shapes.requests.wants_usage`.
        clock: what time it is: a message does not say when it was made.

    Guarantees:
        Total: whatever comes, it is translated or `MalformedError` (tests/property/test_shapes.py).
        ``[DONE]`` follows ``message_stop`` alone
        (tests/adversary/test_shapes.py::test_an_answer_cut_off_anywhere_gets_no_end_mark).
    """

    def __init__(
        self, *, model: str, usage: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self._out = ChunkWriter(model, int(clock()))
        self._wanted = usage
        self._begun = False
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self._finished = False

    def feed(self, event: Event) -> bytes:
        """Return what the client gets of this event, maybe nothing.

        Raises:
            MalformedError: it is not what may come here.
        """
        if not self._carries(event):
            return b""
        fields = read_object(event.data)
        kind = fields.get("type")
        if kind == "error":
            return self._fail("chat", fields.get("error"))
        if kind == "message_start":
            return self._start(_mapping(fields.get("message"), "message_start"))
        if kind == "ping":
            return b""
        if not self._begun:
            raise MalformedError("a streamed answer does not begin with message_start")
        if kind == "content_block_start":
            return self._begin(_place(fields), _mapping(fields.get("content_block"), "a block"))
        if kind == "content_block_delta":
            return self._more(_place(fields), _mapping(fields.get("delta"), "a delta"))
        if kind == "content_block_stop":
            return self._close(_place(fields))
        if kind == "message_delta":
            return self._finish(fields)
        if kind == "message_stop":
            return self._stop()
        return b""  # kinds of event may be added, says the API, and carry no content

    def _start(self, message: Mapping[str, Any]) -> bytes:
        if self._begun:
            raise MalformedError("a streamed answer begins twice")
        self._begun = True
        self._out.id = text_of(message, "id")
        self._count(message.get("usage"))
        return self._out.delta({"role": "assistant", "content": "", "refusal": None})

    def _count(self, usage: object) -> None:
        """Take counts over earlier ones: they are totals."""
        if isinstance(usage, Mapping):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _begin(self, place: int, block: Mapping[str, Any]) -> bytes:
        kind = block.get("type")
        if place in self._blocks or self._finished:
            raise MalformedError("a block of a streamed answer begins where none may")
        if kind == "tool_use":
            return self._call(place, block)
        if kind not in ("text", "thinking", _SECRET):
            raise MalformedError(f"an answer holds a block that is not known: {named(kind)}")
        self._blocks[place] = _Block(str(kind))
        return b"" if kind == _SECRET else self._said(str(kind), text_of(block, str(kind)))

    def _call(self, place: int, block: Mapping[str, Any]) -> bytes:
        given, name = text_of(block, "id"), text_of(block, "name")
        if not given or not name or self._calls >= MOST_BLOCKS:
            raise MalformedError("a call of a streamed answer has no id or name")
        arguments = write_json(_mapping(block.get("input") or {}, "the input of a call"))
        self._blocks[place] = _Block("tool_use", self._calls, arguments)
        self._calls += 1
        return self._out.call(self._calls - 1, {"name": name, "arguments": ""}, given)

    def _said(self, kind: str, text: str) -> bytes:
        name = "reasoning_content" if kind == "thinking" else "content"
        return self._out.delta({name: text}) if text else b""

    def _more(self, place: int, delta: Mapping[str, Any]) -> bytes:
        block = self._blocks.get(place)
        kind = delta.get("type")
        if block is None or not isinstance(kind, str) or _DELTAS.get(kind) != block.kind:
            raise MalformedError(f"a delta is of no block that is open: {named(kind)}")
        if kind == "text_delta":
            return self._said("text", text_of(delta, "text"))
        if kind == "thinking_delta":
            return self._said("thinking", text_of(delta, "thinking"))
        if kind != "input_json_delta":
            return b""  # signatures and citations, for which a chat has no place
        return self._argue(block, text_of(delta, "partial_json"))

    def _argue(self, block: _Block, text: str) -> bytes:
        if not text:
            return b""
        block.said = True
        return self._out.call(block.call, {"arguments": text})

    def _close(self, place: int) -> bytes:
        block = self._blocks.pop(place, None)
        if block is None:
            raise MalformedError("a block of a streamed answer ends that is not open")
        # A chat's arguments are JSON even where there are none.
        silent = block.kind == "tool_use" and not block.said
        return self._argue(block, block.input) if silent else b""

    def _finish(self, fields: Mapping[str, Any]) -> bytes:
        delta = _mapping(fields.get("delta"), "message_delta")
        self._count(fields.get("usage"))
        reason = delta.get("stop_reason")
        if reason is None:
            return b""
        if self._finished or self._blocks:
            raise MalformedError("a streamed answer finishes twice, or with a block open")
        self._finished = True
        finish = finish_of(reason)
        refusal = refusal_of(delta.get("stop_details")) if finish == "content_filter" else None
        return self._out.delta({"refusal": refusal} if refusal else {}, finish)

    def _stop(self) -> bytes:
        if not self._finished:
            raise MalformedError("a streamed answer stops without saying why")
        self._over = True
        counts = self._out.usage(self._usage) if self._wanted else b""
        return counts + encode_event(DONE)


class ChatStreamToMessages(_Stream):
    """The chunks of a chat completion, as events of a message.

    Calls whose deltas alternate stay open side by side, each under its own index.

    Args:
        model: the name the client is to see.

    Guarantees:
        Total: whatever comes, it is translated or `MalformedError` (tests/property/test_shapes.py).
        ``message_stop`` follows ``[DONE]`` alone
        (tests/adversary/test_shapes.py::test_an_answer_cut_off_anywhere_gets_no_end_mark).
    """

    def __init__(self, *, model: str) -> None:
        super().__init__()
        self._out = MessageWriter(model)
        self._begun = False
        self._open: tuple[str, int] | None = None  # the block of text or thoughts that is open
        self._calls: dict[int, int] = {}  # the block of each call
        self._usage: object = None
        self._reason: str | None = None
        self._refused = False

    def feed(self, event: Event) -> bytes:
        """Return what the client gets of this event, maybe nothing.

        Raises:
            MalformedError: it is not what may come here.
        """
        if not self._carries(event):
            return b""
        if event.data.strip() == DONE:
            return self._stop()
        chunk = read_object(event.data)
        if chunk.get("error"):
            return self._fail("messages", chunk["error"])
        if chunk.get("usage") is not None:
            self._usage = chunk["usage"]
        choices = chunk.get("choices")
        if not isinstance(choices, list) or len(choices) > 1:
            raise MalformedError("a chunk of a streamed answer does not hold one choice")
        if not choices:
            return b""  # counts, or what a filter said of the prompt
        choice = _mapping(choices[0], "a choice")
        _place(choice, 1)
        said = b""
        if not self._begun:
            self._begun = True
            said = self._out.start(text_of(chunk, "id"), self._usage)
        said += self._delta(_mapping(choice.get("delta") or {}, "a delta"))
        return said + self._finish(choice.get("finish_reason"))

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        thoughts, text = thoughts_of(delta), text_of(delta, "content")
        refusal = text_of(delta, "refusal")
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list) or delta.get("function_call") or delta.get("audio"):
            raise MalformedError("a delta holds what was not asked for")
        if self._reason is not None and (thoughts or text or refusal or calls):
            raise MalformedError("a streamed answer goes on after it finished")
        self._refused |= bool(refusal)
        said = self._say("thinking", thoughts) + self._say("text", text + refusal)
        for call in calls:
            said += self._call(_mapping(call, "a call"))
        return said

    def _say(self, kind: str, text: str) -> bytes:
        if not text:
            return b""
        said = b""
        if self._open is None or self._open[0] != kind:
            empty = {"thinking": "", "signature": ""} if kind == "thinking" else {"text": ""}
            said = self._close()
            index, begun = self._out.begin({"type": kind, **empty})
            self._open = (kind, index)
            said += begun
        return said + self._out.delta(self._open[1], {"type": f"{kind}_delta", kind: text})

    def _close(self) -> bytes:
        """Close the block of text or thoughts, if one is open."""
        open_block, self._open = self._open, None
        return b"" if open_block is None else self._out.close(open_block[1])

    def _call(self, call: Mapping[str, Any]) -> bytes:
        place = _place(call)
        function = _mapping(call.get("function") or {}, "the function of a call")
        said = b""
        if place not in self._calls:
            given, name = text_of(call, "id"), text_of(function, "name")
            if not given or not name or call.get("type", "function") not in ("function", None):
                raise MalformedError("a call of a streamed answer has no id or name")
            said = self._close()
            block = {"type": "tool_use", "id": given, "name": name, "input": {}}
            self._calls[place], begun = self._out.begin(block)
            said += begun
        text = text_of(function, "arguments")
        delta = {"type": "input_json_delta", "partial_json": text}
        return said + (self._out.delta(self._calls[place], delta) if text else b"")

    def _finish(self, reason: object) -> bytes:
        if reason is None:
            return b""
        if self._reason is not None:
            raise MalformedError("a streamed answer finishes twice")
        stop = stop_of(reason, called=bool(self._calls))
        self._reason = "refusal" if self._refused else stop
        return self._close() + b"".join(self._out.close(index) for index in self._calls.values())

    def _stop(self) -> bytes:
        if self._reason is None:
            raise MalformedError("a streamed answer stops without saying why")
        self._over = True
        return self._out.stop(self._reason, self._usage)
