"""A whole answer as the event stream that a client asked for. Run by the device.

Where a provider is asked for whole answers, so that the rhythm of its tokens does not show, a
client that wants a stream gets one with the whole text in one piece.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from privity.errors import PeerError
from privity.infer.shapes.events import encode_event

__all__ = ["replay"]


def replay(shape: str, answer: Mapping[str, Any], *, usage: bool = False) -> bytes:
    """Return the events of a whole answer.

    Args:
        shape: of the answer.
        answer: it.
        usage: a chat client asked for the counts of tokens at the end.

    Raises:
        PeerError: the answer is not one of this shape.
    """
    try:
        return b"".join(_EVENTS[shape](answer, usage))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise PeerError(
            f"the provider's whole answer is not one of {shape}: {type(error).__name__}"
        ) from None


def _data(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    name = value.get("type", "")
    return encode_event(text.encode("utf-8", "replace"), str(name).encode())


def _chunk(answer: Mapping[str, Any], choices: list[Any], **more: Any) -> bytes:
    kept = ("id", "created", "model", "system_fingerprint", "service_tier")
    head = {name: answer[name] for name in kept if name in answer}
    body = {**head, "object": "chat.completion.chunk", "choices": choices, **more}
    return encode_event(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))


def _chat(answer: Mapping[str, Any], usage: bool) -> Iterator[bytes]:
    for choice in answer["choices"]:
        delta = {k: v for k, v in choice["message"].items() if v is not None}
        if "tool_calls" in delta:
            delta["tool_calls"] = [
                {"index": index, **call} for index, call in enumerate(delta["tool_calls"])
            ]
        one = {"index": choice["index"], "delta": delta, "finish_reason": None}
        if choice.get("logprobs") is not None:
            one["logprobs"] = choice["logprobs"]
        yield _chunk(answer, [one])
    for choice in answer["choices"]:
        end = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        yield _chunk(answer, [end])
    if usage:
        yield _chunk(answer, [], usage=answer.get("usage"))
    yield encode_event(b"[DONE]")


def _completions(answer: Mapping[str, Any], usage: bool) -> Iterator[bytes]:
    whole = dict(answer) if usage else {k: v for k, v in answer.items() if k != "usage"}
    yield encode_event(json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace"))
    yield encode_event(b"[DONE]")


def _messages(answer: Mapping[str, Any], usage: bool) -> Iterator[bytes]:
    head = {**answer, "content": [], "stop_reason": None, "stop_sequence": None}
    yield _data({"type": "message_start", "message": head})
    for index, block in enumerate(answer["content"]):
        begin, deltas = _block(block)
        yield _data({"type": "content_block_start", "index": index, "content_block": begin})
        for delta in deltas:
            yield _data({"type": "content_block_delta", "index": index, "delta": delta})
        yield _data({"type": "content_block_stop", "index": index})
    end = {name: answer.get(name) for name in ("stop_reason", "stop_sequence")}
    yield _data({"type": "message_delta", "delta": end, "usage": answer["usage"]})
    yield _data({"type": "message_stop"})


def _block(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how a block begins, and what then comes of it."""
    kind = block["type"]
    if kind == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
    if kind == "tool_use":
        whole = json.dumps(block["input"], ensure_ascii=False)
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": whole}]
    if kind == "thinking":
        return {**block, "thinking": "", "signature": ""}, [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    return dict(block), []


def _responses(answer: Mapping[str, Any], usage: bool) -> Iterator[bytes]:
    number = -1

    def event(kind: str, **more: Any) -> bytes:
        nonlocal number
        number += 1
        return _data({"type": kind, "sequence_number": number, **more})

    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index, item in enumerate(answer["output"]):
        place = {"item_id": item.get("id", ""), "output_index": index}
        yield event("response.output_item.added", output_index=index, item=_begun(item))
        if item["type"] == "message":
            for part_index, part in enumerate(item["content"]):
                yield from _part(event, part, {**place, "content_index": part_index})
        elif item["type"] == "function_call":
            whole = item["arguments"]
            yield event("response.function_call_arguments.delta", **place, delta=whole)
            yield event(
                "response.function_call_arguments.done",
                **place,
                name=item["name"],
                arguments=whole,
            )
        yield event("response.output_item.done", output_index=index, item=item)
    status = answer["status"] if answer["status"] in ("failed", "incomplete") else "completed"
    yield event(f"response.{status}", response=answer)


def _begun(item: Mapping[str, Any]) -> dict[str, Any]:
    begun = dict(item)
    for name, empty in (("content", []), ("arguments", ""), ("status", "in_progress")):
        if name in begun:
            begun[name] = empty
    return begun


def _part(
    event: Callable[..., bytes], part: Mapping[str, Any], place: Mapping[str, Any]
) -> Iterator[bytes]:
    name = "refusal" if part["type"] == "refusal" else "text"
    kind = "response.refusal" if name == "refusal" else "response.output_text"
    more: dict[str, Any] = {} if name == "refusal" else {"logprobs": []}
    yield event("response.content_part.added", **place, part={**part, name: ""})
    yield event(f"{kind}.delta", **place, delta=part[name], **more)
    yield event(f"{kind}.done", **place, **{name: part[name]}, **more)
    yield event("response.content_part.done", **place, part=part)


_EVENTS: Mapping[str, Callable[[Mapping[str, Any], bool], Iterator[bytes]]] = {
    "chat": _chat,
    "completions": _completions,
    "messages": _messages,
    "responses": _responses,
}
