"""Rewrites a request so that nothing of it can show to other callers of the same engine.

An engine that keeps the computed beginning of one prompt and uses it for the next answers sooner
when both begin alike. Whoever measures that learns, piece by piece, what others ask. So every
request is told not to use or leave such a prefix, or gets a fresh salt that its caller cannot
choose; fields by which callers could steer caches, slots or stored conversations are taken out.

A request is also kept from making the engine reach out: an address in a prompt would tell
whoever serves it that it was asked.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from privity.errors import MalformedError
from privity.infer.engines.engine import PrefixCache

__all__ = ["MAX_REQUEST", "Isolated", "fields_for", "isolate", "prefix_cache_of"]

MAX_REQUEST = 32 << 20
"""Largest request in JSON, in bytes: it has to be held as a whole to be rewritten."""

_SALT_BYTES = 32

# By engine: llama.cpp's; vLLM's, which also moves caches between machines; OpenAI's; Ollama's.
_STEERING = frozenset(
    (
        *("cache_prompt", "id_slot", "slot_id", "n_cache_reuse"),
        *("cache_salt", "kv_transfer_params"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        *("previous_response_id", "conversation", "background", "store"),
        "keep_alive",
    )
)
_ADDRESSED = ("image_url", "video_url", "audio_url", "file_url")
_OWN_TOOLS = ("function", "custom")


@dataclass(frozen=True)
class Isolated:
    """A request that may go to the engine.

    Attributes:
        fields: its JSON object.
        model: the model it names, or None.
        wide: it may take more than one place in the engine.
    """

    fields: dict[str, Any]
    model: str | None
    wide: bool

    def encode(self, extra: Mapping[str, object]) -> bytes:
        """Return the body to send, with these fields over its own."""
        return json.dumps({**self.fields, **extra}, separators=(",", ":")).encode()


def prefix_cache_of(kind: str) -> PrefixCache:
    """Return what can be had of an engine of this kind, asked with `fields_for`."""
    if kind == "llama-server":
        return PrefixCache.OFF
    return PrefixCache.SALTED if kind == "vllm" else PrefixCache.SHARED


def fields_for(
    kind: str, *, randomness: Callable[[int], str] = secrets.token_urlsafe
) -> dict[str, object]:
    """Return the fields that keep one request's prefixes apart, in an engine of this kind.

    Kinds that know no such field get none: some refuse what they do not know.
    """
    if kind in ("embedded", "llama-server"):
        return {"cache_prompt": False}
    if kind == "vllm":
        return {"cache_salt": randomness(_SALT_BYTES)}
    return {}


def isolate(body: bytes, path: str) -> Isolated:
    """Return a caller's request without what could steer or betray others.

    Args:
        body: the JSON text.
        path: where it goes, such as ``/v1/chat/completions``.

    Raises:
        MalformedError: it is not a JSON object, or would make the engine reach out.

    Guarantees:
        No field of `_STEERING` survives, in any spelling JSON has for it, also when it is named
        twice; total on any bytes (tests/property/test_isolation.py).
    """
    fields = _parse(body)
    _check_reach(fields)
    kept = {name: value for name, value in fields.items() if name not in _STEERING}
    if path == "/v1/responses":
        kept["store"] = False  # its default is to keep the answer
    model = kept.get("model")
    if model is not None and not isinstance(model, str):
        raise MalformedError("`model` is not a string")
    # Of what takes one place there is a list; whatever is new to us may take several.
    wide = (
        path not in ("/v1/chat/completions", "/v1/completions", "/v1/responses")
        or kept.get("n") not in (None, 1)
        or kept.get("best_of") not in (None, 1)
        or isinstance(kept.get("prompt"), list)
    )
    return Isolated(kept, model, wide)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        # Written anew from what was read, so that the engine's parser sees what was checked here.
        value = json.loads(body, parse_constant=_no_constant)
        json.dumps(value).encode()
    except (ValueError, RecursionError):  # its words could quote the request
        raise MalformedError("the request is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedError("the request is not a JSON object")
    return value


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not JSON")


def _check_reach(fields: dict[str, Any]) -> None:
    """Refuse what would make the engine fetch an address or call another server."""
    tools = fields.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type", "function") not in _OWN_TOOLS:
            raise MalformedError("tools that the engine itself would call are not served")
    # A stack and not recursion: how deep it goes is the caller's choice.
    pending: list[Any] = [fields.get("messages"), fields.get("input"), fields.get("prompt")]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            if any(_is_address(value[name]) for name in _ADDRESSED if name in value):
                raise MalformedError("media is taken in the request itself, as `data:`, not by URL")
            pending += value.values()


def _is_address(value: Any) -> bool:
    """Tell whether a part of a prompt names media that lies elsewhere."""
    url = value.get("url") if isinstance(value, dict) else value
    return isinstance(url, str) and not url.lower().startswith("data:")
