"""What one request asks for, read from its body without touching it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from privity.errors import InputError
from privity.infer.shapes.paths import SHAPES

__all__ = ["LIMITS", "ROOM", "Asked", "read_asked", "with_field"]

LIMITS: Mapping[str, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "completions": ("max_tokens",),
}
"""The fields that limit an answer, the one to write first."""

ROOM = 512
"""Tokens that an answer has room for, at least, where its request sets no limit."""

DEFAULT_COMPLETION = 4096
_BYTES_PER_TOKEN = 3
_MAX_NAME = 256
_ANY = 10**9  # tokens: more than anyone can pay for
_PICTURES = frozenset({"image_url", "image", "input_image"})
_MAX_PARTS = 100_000


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Attributes:
        path: of the request.
        body: its JSON object; None where it is not at hand, is none, or could be read in two ways.
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
    """Return what a request asks for.

    Raises:
        InputError: the model it names is no name: another one must not answer in its place.
    """
    body = _object(content)
    model = _named(body)
    if body is None:
        size = 0 if content is None else len(content)
        return Asked(path, None, "", frozenset(), size // _BYTES_PER_TOKEN, 0, limited=False)
    most, limited = _most(SHAPES.get(path, ""), body)
    return Asked(
        path,
        body,
        model,
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
    return json.dumps(body, separators=(",", ":")).encode()


def _object(content: bytes | None) -> dict[str, Any] | None:
    """Return a request's object as everybody reads it, or None.

    None too for what another reader may take for something else: a member given twice, another
    encoding than UTF-8, a number that is none.
    """
    try:
        text = content.decode() if content else "null"
        body = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_number(_: str) -> NoReturn:
    raise ValueError("not a number of JSON")


def _named(body: Mapping[str, Any] | None) -> str:
    """Return the model a request names; raises `InputError` for a name that is none."""
    model = None if body is None else body.get("model")
    if model is None:
        return ""
    if not isinstance(model, str) or len(model) > _MAX_NAME:
        raise InputError(f"`model` is not a text of at most {_MAX_NAME} characters")
    return model


def _most(shape: str, body: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the most tokens an answer may have over all its choices, and whether it says so."""
    if shape == "embeddings":
        return 0, True
    given = [_count(body[name]) for name in LIMITS.get(shape, ()) if body.get(name) is not None]
    choices = [_count(body[name]) for name in ("n", "best_of") if body.get(name) is not None]
    times = max(choices, default=1)
    if shape == "completions" and isinstance(body.get("prompt"), list):
        times *= max(len(body["prompt"]), 1)
    most = max(given, default=DEFAULT_COMPLETION) * times
    return min(most, _ANY), bool(given)


def _count(value: Any) -> int:
    """Return a number as whoever reads it generously would; what is none may be anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _ANY
    if not 0 < value < _ANY or value != int(value):
        return _ANY
    return int(value)


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
