"""The list of models of a ladder with more than one rung, as the OpenAI API has it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import httpx

from privity.infer.ladder import Ladder
from privity.infer.shapes.errors import own_error

__all__ = ["listing"]

_PATH = "/v1/models"


async def listing(ladder: Ladder, request: httpx.Request) -> httpx.Response:
    """Answer a request without a body: ``/v1/models``, or one model of it. Nothing leaves for it.

    Every model is there by the name that says it all, such as ``zdr/openai/gpt-5``; by its bare id
    too, where the ladder would take that; and the aliases.
    """
    path = request.url.path
    if request.method != "GET" or not (path == _PATH or path.startswith(_PATH + "/")):
        return _error(
            "there is nothing at this address without a body", f"GET {_PATH} lists the models"
        )
    entries = await _entries(ladder)
    if path == _PATH:
        return _json(200, {"object": "list", "data": list(entries.values())})
    wanted = unquote(path.removeprefix(_PATH + "/"))
    if wanted in entries:
        return _json(200, entries[wanted])
    return _error("no rung of the ladder has this model", f"GET {_PATH} lists those there are")


async def _entries(ladder: Ladder) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for alias in ladder.aliases:
        entries[alias] = _entry(alias, "privity")
    for shelf in await ladder.shelves():
        for offer in shelf.offers if shelf.problem is None else ():
            owner = f"{offer.route}/{offer.rung}"
            entries.setdefault(offer.model, _entry(offer.model, owner))
            entries[offer.name] = _entry(offer.name, owner)
    return entries


def _entry(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def _error(message: str, hint: str) -> httpx.Response:
    return _answer(404, own_error(message, "not_found", hint))


def _json(status: int, body: dict[str, Any]) -> httpx.Response:
    return _answer(status, json.dumps(body, ensure_ascii=False).encode())


def _answer(status: int, data: bytes) -> httpx.Response:
    stream = httpx.ByteStream(data)
    return httpx.Response(status, headers={"content-type": "application/json"}, stream=stream)
