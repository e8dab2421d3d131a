"""What one request asks for, read from its body without touching it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from privity.infer.shapes.paths import SHAPES

__all__ = ["LIMITS", "Asked", "read_asked", "with_field"]

LIMITS: Mapping[str, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "completions": ("max_tokens",),
}
"""The fields that limit an answer, the one to write first."""

DEFAULT_COMPLETION = 4096
_BYTES_PER_TOKEN = 3
_MAX_NAME = 256
_MAX_CHOICES = 128
_PICTURES = frozenset({"image_url", "image", "input_image"})
_MAX_PARTS = 100_000


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Attributes:
        path: of the request.
        body: its JSON object; None where it is not at hand, or is none.
        model: the model or alias it names; empty where it names none.
        needs: what the model has to be able to do.
        prompt_tokens: an estimate that is rarely below the truth.
        completion_tokens: the most the answer may have, over all its choices.
        limited: whether the request itself says so.
    """

    path: str
    body: Mapping[str, Any] | None
    model: str
    needs: frozenset[str]
    prompt_tokens: int
    completion_tokens: int
    limited: bool

    def __repr__(self) -> str:
        return f"Asked({self.path!r}, model={self.model!r})"  # the body is the prompt

    @property
    def shape(self) -> str:
        """``chat``, ``messages``, …; empty for a path that is not known here."""
        return SHAPES.get(self.path, "")


def read_asked(path: str, content: bytes | None) -> Asked:
    """Return what a request asks for; total, whatever its bytes."""
    body = _object(content)
    if body is None:
        size = 0 if content is None else len(content)
        return Asked(path, None, "", frozenset(), size // _BYTES_PER_TOKEN, 0, limited=False)
    model = body.get("model")
    most, limited = _most(SHAPES.get(path, ""), body)
    return Asked(
        path,
        body,
        model if isinstance(model, str) and len(model) <= _MAX_NAME else "",
        _needs(path, body),
        len(content or b"") // _BYTES_PER_TOKEN + 1,
        most,
        limited,
    )


def with_field(content: bytes, name: str, value: object) -> bytes:
    """Return a JSON object's text with one field set; all else as it was read.

    Args:
        content: the text of the object, as `read_asked` found it to be one.
        name: of the field.
        value: its new value, in place of what stood there.
    """
    body = json.loads(content)
    body[name] = value
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _object(content: bytes | None) -> dict[str, Any] | None:
    try:
        body = json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _most(shape: str, body: Mapping[str, Any]) -> tuple[int, bool]:
    if shape == "embeddings":
        return 0, True
    given = (body.get(name) for name in LIMITS.get(shape, ()))
    most = next((value for value in given if type(value) is int and value > 0), None)
    choices = body.get("n", 1)
    times = choices if type(choices) is int and 0 < choices <= _MAX_CHOICES else 1
    return (DEFAULT_COMPLETION if most is None else most) * times, most is not None


def _needs(path: str, body: Mapping[str, Any]) -> frozenset[str]:
    needs = set()
    if path == "/v1/embeddings":
        needs.add("embeddings")
    if body.get("tools"):
        needs.add("tools")
    if any(kind in _PICTURES for kind in _part_types(body)):
        needs.add("vision")
    return frozenset(needs)


def _part_types(body: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the ``type`` of each content part, a bounded number of them."""
    pending: list[Any] = [body.get("messages"), body.get("input")]
    for _ in range(_MAX_PARTS):
        if not pending:
            return
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str):
                yield kind
            pending.append(value.get("content"))
