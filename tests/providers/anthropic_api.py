"""A stand-in that speaks Anthropic's documented API; it is not Anthropic."""

from __future__ import annotations

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from providers.standin import (
    KEY,
    Refused,
    Reply,
    StandIn,
    error_response,
    event,
    last_text,
    streamed,
)
from sdk_types import messages_request

VERSIONS = ("2023-06-01", "2026-10-21")


def anthropic_app(standin: StandIn) -> Starlette:
    """Return the API: ``/v1/messages``, a bearer key and a version header."""

    async def messages(request: Request) -> Response:
        try:
            body = await standin.take(request, messages_request())
            _check(request, body)
        except Refused as refused:
            return _error(refused.status, refused.kind, refused.message, {})
        return _messages(standin, body)

    return Starlette(routes=[Route("/v1/messages", messages, methods=["POST"])])


def _check(request: Request, body: dict[str, Any]) -> None:
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    if KEY not in (key, request.headers.get("x-api-key")):
        raise Refused(401, "authentication_error", f"invalid bearer token {key}")
    if request.headers.get("anthropic-version") not in VERSIONS:
        raise Refused(400, "invalid_request_error", "anthropic-version: header is required")


def _error(status: int, kind: str, message: str, headers: dict[str, str]) -> Response:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return error_response(status, body, headers)


def _messages(standin: StandIn, body: dict[str, Any]) -> Response:
    reply = standin.reply(last_text(body["messages"][-1]["content"]), body)
    if reply.raw is not None:
        return reply.raw
    if reply.status != 200:
        return _error(reply.status, "invalid_request_error", reply.error, reply.headers)
    blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    blocks += [
        {
            "type": "tool_use",
            "id": f"toolu_{index}",
            "name": call.name,
            "input": json.loads(call.arguments),
        }
        for index, call in enumerate(reply.calls)
    ]
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": "tool_use" if reply.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }
    if not body.get("stream"):
        return JSONResponse(whole, headers=reply.headers)
    told = {"type": "error", "error": {"type": "overloaded_error", "message": reply.error}}
    return streamed(_events(whole, reply), reply, event(told, "error"))


def _events(whole: dict[str, Any], reply: Reply) -> list[bytes]:
    events: list[bytes] = []

    def add(kind: str, **fields: Any) -> None:
        events.append(event({"type": kind, **fields}, kind))

    head = {**whole, "content": [], "stop_reason": None}
    add("message_start", message={**head, "usage": {"input_tokens": 11, "output_tokens": 1}})
    add("ping")
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            add("content_block_start", index=index, content_block={**block, "text": ""})
            deltas = [{"type": "text_delta", "text": piece} for piece in reply.pieces()]
        else:
            add("content_block_start", index=index, content_block={**block, "input": {}})
            text = json.dumps(block["input"], ensure_ascii=False)
            deltas = [
                {"type": "input_json_delta", "partial_json": text[at : at + reply.piece]}
                for at in range(0, len(text), reply.piece)
            ]
        for delta in deltas:
            add("content_block_delta", index=index, delta=delta)
        add("content_block_stop", index=index)
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    add("message_delta", delta=end, usage={"output_tokens": 7})
    add("message_stop")
    return events
