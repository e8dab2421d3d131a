"""A stand-in that speaks OpenAI's documented API, or Azure's form of it; it is neither."""

from __future__ import annotations

import base64
import struct
from functools import cache
from typing import Any

from openai.types import completion_create_params, embedding_create_params
from openai.types.responses import response_create_params
from pydantic import TypeAdapter
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
from sdk_types import chat_request, strict

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
_RESPONSE_USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 18,
}


@cache
def responses_request() -> TypeAdapter[Any]:
    """Return what reads a request of the responses API, and refuses any other."""
    return TypeAdapter(strict(response_create_params.ResponseCreateParams))


@cache
def completions_request() -> TypeAdapter[Any]:
    """Return what reads a request of the completions API, and refuses any other."""
    return TypeAdapter(strict(completion_create_params.CompletionCreateParams))


@cache
def embeddings_request() -> TypeAdapter[Any]:
    """Return what reads a request of the embeddings API, and refuses any other."""
    return TypeAdapter(strict(embedding_create_params.EmbeddingCreateParams))


def openai_app(standin: StandIn) -> Starlette:
    """Return OpenAI's form: ``/v1`` and a bearer key."""

    def check(request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            told = request.headers.get("authorization")
            raise Refused(401, "invalid_request_error", f"Incorrect API key provided: {told}")

    return _app(standin, check, {"": "/v1"})


def azure_app(standin: StandIn, *, token: str = "") -> Starlette:
    """Return Azure's form: its v1 surface and the one with deployments and a version."""

    def check(request: Request) -> None:
        dated = not request.url.path.startswith("/openai/v1/")
        if dated and not request.query_params.get("api-version"):
            raise Refused(404, "not_found", "Resource not found")
        if token and request.headers.get("authorization") == f"Bearer {token}":
            return
        if request.headers.get("api-key") != KEY:
            raise Refused(401, "401", "Access denied due to invalid subscription key")

    prefixes = {"v1": "/openai/v1", "dated": "/openai/deployments/{deployment}", "r": "/openai"}
    return _app(standin, check, prefixes)


def _app(standin: StandIn, check: Any, prefixes: dict[str, str]) -> Starlette:
    handlers = {
        "/chat/completions": (chat_request, _chat),
        "/responses": (responses_request, _responses),
        "/completions": (completions_request, _completions),
        "/embeddings": (embeddings_request, _embeddings),
    }

    def endpoint(types: Any, handle: Any) -> Any:
        async def serve(request: Request) -> Response:
            try:
                body = await standin.take(request, types())
                check(request)
                return handle(standin, body)
            except Refused as refused:
                return _error(refused.status, refused.kind, refused.message, {})

        return serve

    return Starlette(
        routes=[
            Route(prefix + path, endpoint(types, handle), methods=["POST"])
            for prefix in prefixes.values()
            for path, (types, handle) in handlers.items()
        ]
    )


def _error(status: int, kind: str, message: str, headers: dict[str, str]) -> Response:
    body = {"error": {"message": message, "type": kind, "param": "messages", "code": None}}
    return error_response(status, body, headers)


def _chat(standin: StandIn, body: dict[str, Any]) -> Response:
    reply = standin.reply(last_text(body["messages"][-1].get("content")), body)
    if reply.raw is not None:
        return reply.raw
    if reply.status != 200:
        return _error(reply.status, "invalid_request_error", reply.error, reply.headers)
    head = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": body["model"]}
    calls = [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(reply.calls)
    ]
    finish = "tool_calls" if calls else "stop"
    if not body.get("stream"):
        message = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return JSONResponse(whole, headers=reply.headers)

    def chunk(delta: dict[str, Any], end: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": end, "logprobs": None}]
        return event({**head, "object": "chat.completion.chunk", "choices": choices, **more})

    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": piece}) for piece in reply.pieces()]
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]
        begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        events.append(chunk({"tool_calls": [begun]}))
        for at in range(0, len(arguments), reply.piece):
            part = {"index": index, "function": {"arguments": arguments[at : at + reply.piece]}}
            events.append(chunk({"tool_calls": [part]}))
    events.append(chunk({}, finish))
    if (body.get("stream_options") or {}).get("include_usage"):
        counts = {**head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
        events.append(event(counts))
    events.append(b"data: [DONE]\n\n")
    return streamed(events, reply, event({"error": {"message": reply.error, "type": "x"}}))


def _responses(standin: StandIn, body: dict[str, Any]) -> Response:
    given = body["input"]
    reply = standin.reply(last_text(given if isinstance(given, str) else given[-1]), body)
    if reply.raw is not None:
        return reply.raw
    if reply.status != 200:
        return _error(reply.status, "invalid_request_error", reply.error, reply.headers)
    items: list[dict[str, Any]] = []
    if reply.text:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        items.append(
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        )
    items += [
        {
            "type": "function_call",
            "id": f"fc_{index}",
            "call_id": f"call_{index}",
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for index, call in enumerate(reply.calls)
    ]
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": body["model"],
        "status": "completed",
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "store": body.get("store", True),
        "usage": _RESPONSE_USAGE,
    }
    if not body.get("stream"):
        return JSONResponse(whole, headers=reply.headers)
    return streamed(_response_events(whole, reply), reply, _response_error(reply))


def _response_error(reply: Reply) -> bytes:
    told = {"type": "error", "code": "server_error", "message": reply.error, "param": None}
    return event({**told, "sequence_number": 9}, "error")


def _response_events(whole: dict[str, Any], reply: Reply) -> list[bytes]:
    events: list[bytes] = []

    def add(kind: str, **fields: Any) -> None:
        events.append(event({"type": kind, "sequence_number": len(events), **fields}, kind))

    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    add("response.created", response=begun)
    add("response.in_progress", response=begun)
    for index, item in enumerate(whole["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            part = item["content"][0]
            add(
                "response.output_item.added",
                output_index=index,
                item={**item, "status": "in_progress", "content": []},
            )
            add(
                "response.content_part.added",
                **place,
                content_index=0,
                part={**part, "text": ""},
            )
            for piece in reply.pieces():
                add(
                    "response.output_text.delta",
                    **place,
                    content_index=0,
                    delta=piece,
                    logprobs=[],
                )
            add(
                "response.output_text.done",
                **place,
                content_index=0,
                text=part["text"],
                logprobs=[],
            )
            add("response.content_part.done", **place, content_index=0, part=part)
        else:
            empty = {**item, "arguments": "", "status": "in_progress"}
            add("response.output_item.added", output_index=index, item=empty)
            text = item["arguments"]
            for at in range(0, len(text), reply.piece):
                add(
                    "response.function_call_arguments.delta",
                    **place,
                    delta=text[at : at + reply.piece],
                )
            add(
                "response.function_call_arguments.done",
                **place,
                name=item["name"],
                arguments=text,
            )
        add("response.output_item.done", output_index=index, item=item)
    add("response.completed", response=whole)
    return events


def _completions(standin: StandIn, body: dict[str, Any]) -> Response:
    prompt = body["prompt"]
    reply = standin.reply(prompt if isinstance(prompt, str) else prompt[-1], body)
    if reply.status != 200:
        return _error(reply.status, "invalid_request_error", reply.error, reply.headers)
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}

    def choice(text: str, end: str | None) -> list[dict[str, Any]]:
        return [{"index": 0, "text": text, "finish_reason": end, "logprobs": None}]

    if not body.get("stream"):
        return JSONResponse({**head, "choices": choice(reply.text, "stop"), "usage": USAGE})
    events = [event({**head, "choices": choice(piece, None)}) for piece in reply.pieces()]
    events += [event({**head, "choices": choice("", "stop")}), b"data: [DONE]\n\n"]
    return streamed(events, reply, b"")


def _embeddings(standin: StandIn, body: dict[str, Any]) -> Response:
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors: list[Any] = [[float(len(text)), 0.5] for text in given]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack("<2f", *v)).decode() for v in vectors]
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return JSONResponse({"object": "list", "data": data, "model": body["model"], "usage": usage})
