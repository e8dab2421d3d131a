"""Refuses what would leave something with a provider beyond one answer. Run by the device.

First of all that happens to a request, before anything of it is replaced or sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from privity.errors import InputError, MalformedError, OversizeError
from privity.identity.jcs import loads_strict
from privity.infer.providers.grammar import PLAIN, Fields, Visit
from privity.infer.providers.shapes import DROPPED, GRAMMARS
from privity.infer.shapes.paths import SHAPES
from privity.policy import Feature

__all__ = ["MAX_REQUEST", "check", "read_request", "shape_of"]

MAX_REQUEST = 32 << 20
"""Largest request, in bytes."""

_UNSERVED: tuple[tuple[str, Feature], ...] = (
    ("/v1/responses/", Feature.STORE),
    ("/v1/chat/completions/", Feature.STORE),
    ("/v1/files", Feature.FILES),
    ("/v1/uploads", Feature.FILES),
    ("/v1/containers", Feature.FILES),
    ("/v1/vector_stores", Feature.FILES),
    ("/v1/skills", Feature.FILES),
    ("/v1/videos", Feature.FILES),
    ("/v1/fine_tuning", Feature.FILES),
    ("/v1/evals", Feature.STORE),
    ("/v1/assistants", Feature.ASSISTANTS),
    ("/v1/threads", Feature.ASSISTANTS),
    ("/v1/conversations", Feature.ASSISTANTS),
    ("/v1/agents", Feature.ASSISTANTS),
    ("/v1/sessions", Feature.ASSISTANTS),
    ("/v1/batches", Feature.BATCH),
    ("/v1/messages/batches", Feature.BATCH),
)


def shape_of(path: str) -> str:
    """Return the shape of what is sent to ``path``.

    Raises:
        InputError: nothing else is sent to a provider; the message names the feature it belongs to.
    """
    shape = SHAPES.get(path)
    if shape is not None:
        return shape
    feature = _feature_of_path(path)
    what = f" ({feature.value})" if feature else ""
    raise InputError(
        f"this path is not sent to a provider{what}",
        hint=f"served are {', '.join(SHAPES)}",
    )


def _feature_of_path(path: str) -> Feature | None:
    """Return the feature an API path belongs to, if it is known to keep something."""
    plain = path.rstrip("/").lower() + "/"
    for beginning, feature in _UNSERVED:
        if plain.startswith(beginning if beginning.endswith("/") else beginning + "/"):
            return feature
    return None


def read_request(content: bytes) -> dict[str, Any]:
    """Return a request's body, which every reader must read alike.

    Raises:
        InputError: not a JSON object, a field twice, too large, or text that is no Unicode.

    Guarantees:
        Total on any bytes; no part of them is in the error
        (tests/adversary/test_zero_retention_guard.py).
    """
    try:
        body = loads_strict(content, max_bytes=MAX_REQUEST)
        if b"\\ud" in content.lower():  # half a character can neither be replaced nor sent
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except OversizeError as error:
        raise InputError(f"the request is too large for a provider: {error.message}") from None
    except (MalformedError, UnicodeError):
        raise InputError(
            "the request is not JSON that every reader reads alike",
            hint="a field named twice, nesting without end, or bytes that are no text",
        ) from None
    if not isinstance(body, dict):
        raise InputError("the request is not a JSON object")
    return body


def check(
    shape: str,
    body: Mapping[str, Any],
    *,
    allowed: frozenset[Feature] = frozenset(),
    extra: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request without what says who asks, if it asks for nothing that is kept.

    Args:
        shape: of the request: ``chat``, ``messages``, ``responses``, …
        body: as the client sent it.
        allowed: the features that the person's policy names.
        extra: further fields that the provider's profile lists; plain values only.

    Raises:
        InputError: it asks for a feature that is not allowed, or has something that is not known;
            the message names the place and the feature, and nothing that stands there.

    Guarantees:
        What passes has no field and no kind of part that is not in the allow-list of its shape, in
        any spelling and at any depth (tests/adversary/test_zero_retention_guard.py).
    """
    kept = {name: value for name, value in body.items() if name not in DROPPED[shape]}
    grammar = GRAMMARS[shape]
    if extra:
        more = {name: PLAIN for name in extra if name not in grammar.fields}
        grammar = Fields(dict(grammar.fields) | more)
    grammar.check(kept, Visit("", allowed))
    return kept
