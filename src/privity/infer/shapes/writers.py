"""What a client reads of a streamed answer: chunks of a chat completion, events of a message."""

from __future__ import annotations

from typing import Any

from privity.errors import MalformedError
from privity.infer.shapes.answers import chat_usage, messages_usage
from privity.infer.shapes.events import encode_event
from privity.infer.shapes.members import write_json

__all__ = ["DONE", "MOST_BLOCKS", "ChunkWriter", "MessageWriter"]

DONE = b"[DONE]"
"""The end mark of a chat's stream."""

MOST_BLOCKS = 4096
"""Most texts, thoughts and calls of one answer."""


class ChunkWriter:
    """Writes one chat completion as chunks.

    Args:
        model: the name the client is to see.
        created: when it was made, in seconds since 1970.
    """

    def __init__(self, model: str, created: int) -> None:
        self._model = model
        self._created = created
        self.id = ""

    def _write(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        chunk = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
            **more,
        }
        return encode_event(write_json(chunk).encode())

    def delta(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        """Return a chunk with this delta."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._write([choice])

    def call(self, index: int, function: dict[str, str], call_id: str = "") -> bytes:
        """Return a chunk with a piece of a call: at first its id, then its arguments."""
        head: dict[str, Any] = {"id": call_id, "type": "function"} if call_id else {}
        return self.delta({"tool_calls": [{"index": index, **head, "function": function}]})

    def usage(self, usage: object) -> bytes:
        """Return the chunk with the counts, which are a message's."""
        return self._write([], usage=chat_usage(usage))


class MessageWriter:
    """Writes one message as events.

    Args:
        model: the name the client is to see.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._next = 0

    def _event(self, kind: str, **fields: object) -> bytes:
        return encode_event(write_json({"type": kind, **fields}).encode(), kind.encode())

    def start(self, answer_id: str, usage: object) -> bytes:
        """Return the first event; the counts, a chat's, are repeated at the end."""
        message: dict[str, Any] = {
            "id": answer_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": messages_usage(usage),
        }
        return self._event("message_start", message=message)

    def begin(self, block: dict[str, Any]) -> tuple[int, bytes]:
        """Return the index of a new block, and the event that begins it.

        Raises:
            MalformedError: there are too many.
        """
        index = self._next
        if index >= MOST_BLOCKS:
            raise MalformedError(f"a streamed answer of more than {MOST_BLOCKS} parts")
        self._next += 1
        return index, self._event("content_block_start", index=index, content_block=block)

    def delta(self, index: int, delta: dict[str, Any]) -> bytes:
        """Return a piece of a block."""
        return self._event("content_block_delta", index=index, delta=delta)

    def close(self, index: int) -> bytes:
        """Return the end of a block."""
        return self._event("content_block_stop", index=index)

    def stop(self, reason: str, usage: object) -> bytes:
        """Return why the answer ended, its counts, which are a chat's, and its end mark."""
        delta = {"stop_reason": reason, "stop_sequence": None}
        counts = self._event("message_delta", delta=delta, usage=messages_usage(usage))
        return counts + self._event("message_stop")
