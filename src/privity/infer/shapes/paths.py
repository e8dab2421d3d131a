"""Which shape is spoken at which path: the one table of both."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["SHAPES", "shape_by_end"]

SHAPES: Mapping[str, str] = MappingProxyType(
    {
        "/v1/chat/completions": "chat",
        "/v1/messages": "messages",
        "/v1/responses": "responses",
        "/v1/completions": "completions",
        "/v1/embeddings": "embeddings",
    }
)
"""The shape of a request, by its path; other paths have none that is known here."""

_ENDS = (
    *((path.removeprefix("/v1"), shape) for path, shape in SHAPES.items()),
    ("/messages/count_tokens", "messages"),
)


def shape_by_end(path: str) -> str:
    """Return the shape by the end of a path, whatever stands before it; empty for none.

    Providers serve the same shapes below other beginnings; a query says nothing about the shape.
    """
    bare = path.partition("?")[0].rstrip("/")
    return next((shape for end, shape in _ENDS if bare.endswith(end)), "")
