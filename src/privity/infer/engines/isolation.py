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
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from privity.errors import MalformedError
from privity.identity.bounded_json import parse_object
from privity.infer.engines.engine import PrefixCache

__all__ = ["MAX_REQUEST", "Isolated", "fields_for", "isolate", "prefix_cache_of"]

MAX_REQUEST = 32 << 20
"""Largest request in JSON, in bytes: it has to be held as a whole to be rewritten."""

_SALT_BYTES = 32

# By engine: llama.cpp's; vLLM's, which also moves caches between machines; SGLang's; OpenAI's;
# Ollama's; Infinity's, which makes every text an address.
_STEERING = frozenset(
    (
        *("cache_prompt", "id_slot", "slot_id", "n_cache_reuse", "n_cmpl"),
        *("cache_salt", "kv_transfer_params", "priority", "request_id", "prompt_embeds"),
        *("rid", "extra_key", "session_params"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        *("previous_response_id", "conversation", "background", "store"),
        "keep_alive",
        "modality",
    )
)
_OWN_TOOLS = ("function", "custom")
# Members that describe JSON, in which `url` is a name like any other.
_SCHEMAS = frozenset(("tools", "functions", "response_format"))
_MEDIA = frozenset(("data", "file_data", "image", "audio", "video"))
_SCHEME = re.compile(r"\s*(?!data:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True)
class Isolated:
    """A request that may go to the engine.

    Attributes:
        fields: its JSON object.
        model: the model it names, or None.
        wide: it may take more than one place in the engine.
        text: `fields` as JSON.
    """

    fields: Mapping[str, Any] = field(repr=False)
    model: str | None
    wide: bool
    text: bytes = field(repr=False)

    def encode(self, extra: Mapping[str, object]) -> bytes:
        """Return the body to send, with these fields over its own."""
        if not extra.keys().isdisjoint(self.fields):
            return _dump({**self.fields, **extra})
        if not extra or not self.fields:
            return _dump(extra) if extra else self.text
        return b"%b,%b" % (self.text[:-1], _dump(extra)[1:])


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
        MalformedError: it is not a JSON object, has too many parts, or would make the engine
            reach out.

    Guarantees:
        No field of `_STEERING` survives, in any spelling JSON or an engine has for it, also when
        it is named twice; total on any bytes (tests/property/test_isolation.py). Its
        limits bound for how long it keeps others waiting (bench/large_requests.py).
    """
    fields = parse_object(body)
    _check_reach(fields, path)
    kept = {name: value for name, value in fields.items() if not _steers(name)}
    if path == "/v1/responses":
        kept["store"] = False  # its default is to keep the answer
    model = kept.get("model")
    if model is None:
        kept.pop("model", None)
    elif not isinstance(model, str):
        raise MalformedError("`model` is not a string")
    # Of what takes one place there is a list; whatever is new to us may take several.
    wide = (
        path not in ("/v1/chat/completions", "/v1/completions", "/v1/responses")
        or any(fields.get(name) not in (None, 1) for name in ("n", "n_cmpl", "best_of"))
        or isinstance(kept.get("prompt"), list)
    )
    try:
        # Written anew from what was read, so that the engine's parser sees what was checked here.
        text = _dump(kept)
    except (ValueError, RecursionError):
        raise MalformedError("the request is not JSON") from None
    return Isolated(kept, model, wide, text)


def _steers(name: str) -> bool:
    """Tell whether a member is taken out; Ollama's parser does not tell cases apart."""
    folded = name.casefold()
    return folded in _STEERING or (folded == "model" and name != "model")


def _dump(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def _check_reach(fields: dict[str, Any], path: str) -> None:
    """Refuse what would make the engine fetch an address or call another server."""
    pending: list[Any] = []
    for name, value in fields.items():
        _check_member(name, value)
        if name == "tools" and isinstance(value, list):
            _check_tools(value)
        elif name == "text" and isinstance(value, dict):
            pending.append({part: value[part] for part in value if part != "format"})
        elif name == "tools" or name not in _SCHEMAS:
            pending.append(value)
    # A stack and not recursion: how deep it goes is the caller's choice.
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            # What a model asked of the caller's own tools is told to it as text.
            told = path.startswith("/v1/messages") and value.get("type") == "tool_use"
            for name, part in value.items():
                _check_member(name, part)
                if isinstance(part, dict | list) and not (told and name == "input"):
                    pending.append(part)


def _check_tools(tools: list[Any]) -> None:
    for tool in tools:
        if isinstance(tool, dict):
            if tool.get("type", "function") not in _OWN_TOOLS:
                raise MalformedError("tools that the engine itself would call are not served")
            for name, value in tool.items():
                _check_member(name, value)


def _check_member(name: str, value: Any) -> None:
    """Refuse a member that names something elsewhere; cases are not told apart, as in `_steers`."""
    name = name.casefold()
    if name == "mcp_servers" or name.startswith("bootstrap_"):
        raise MalformedError("the engine calls no other servers")
    if name == "url" or name.endswith("_url"):
        # `image_url` and its like may hold an object, whose own `url` is looked at in its turn.
        held = isinstance(value, dict) and name != "url"
        away = not held and value is not None and not _is_data(value)
    elif name == "source":
        kind = value.get("type") if isinstance(value, dict) else None
        away = isinstance(kind, str) and kind.casefold() == "url"
    else:
        away = name in _MEDIA and isinstance(value, str) and bool(_SCHEME.match(value))
    if away:
        raise MalformedError("media is taken in the request itself, as `data:`, not by URL")


def _is_data(value: Any) -> bool:
    return isinstance(value, str) and value[:5].lower() == "data:"
