"""Which strings of a request are somebody's words: every one that is not of the protocol itself.

The default is to look. Only names of the protocol (a role, a type, an identifier that the provider
made) pass without; whatever is not known is looked into, keys of objects too. What cannot be looked
into, such as a picture or a list of token numbers, is refused: it is not passed on trust.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from privity.errors import MalformedError
from privity.infer.shapes.paths import shape_by_end

__all__ = ["Place", "Visitor", "opening", "shape_of", "walk"]

_MAX_DEPTH = 48
_MAX_TEXTS = 200_000
_MAX_CHARS = 8 << 20
_MEDIA_HINT = (
    "pictures, sound and files cannot be looked into on this device: take a local or confidential "
    "route, or leave them out"
)
_PASSED = frozenset(
    # Names of the protocol, and identifiers that the provider made.
    "role type id object model tool_call_id call_id tool_use_id item_id encrypted_content "
    "signature "
    "status finish_reason encoding_format service_tier truncation detail phase "
    "media_type previous_response_id reasoning_effort effort verbosity modality".split()
)
_SCHEMA_WORDS = frozenset("type format $ref $schema pattern".split())
_MEDIA = frozenset(
    "image_url input_image image input_audio audio file input_file document video input_video "
    "container_upload image_file computer_screenshot".split()
)
_ENCODED = re.compile(r"\s*data:[^,]{0,200};base64,|[A-Za-z0-9+/_-]{4000}")
_BIG = 1_000_000
"""From here on a number in free data may be somebody's: an account, a phone."""
_NAME = re.compile(r"[\w.:/+=-]*\Z")
_SIMPLE_KEY = re.compile(r"[a-z][a-z_]{0,40}\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands.

    Attributes:
        pointer: as RFC 6901 writes it; after a ``#``, inside the JSON that a string holds.
        role: of the message it is in; empty outside of one.
        context: the key it stands under in free data, which says what it is.
        quick: it is a key that looks like a name in a program: it is only compared.
    """

    pointer: str
    role: str = ""
    context: str = ""
    quick: bool = False


class Visitor(Protocol):
    """Is given each text, and says what to put there."""

    def __call__(self, text: str, place: Place) -> str:
        """Return what to put there."""


def shape_of(path: str) -> str:
    """Return the shape of requests to a path.

    Raises:
        MalformedError: it is none that can be walked.
    """
    shape = shape_by_end(path)
    if shape:
        return shape
    raise MalformedError(
        "requests to this path cannot be looked into",
        hint="paths are chat/completions, messages, responses, completions and embeddings",
    )


def walk(path: str, body: Mapping[str, Any], visit: Visitor, *, media: bool) -> dict[str, Any]:
    """Return a request with each of its texts visited.

    Args:
        path: of the request.
        body: what it is to hold.
        visit: is given each text.
        media: what cannot be looked into passes.

    Raises:
        MalformedError: it cannot be walked wholly.
    """
    return _Walk(shape_of(path), visit, media).body(body)


def opening(path: str, body: Mapping[str, Any]) -> str:
    """Return what a conversation began with, which stays while it grows."""
    shape = shape_of(path)
    if shape == "embeddings":
        # Vectors are compared with one another: one map for all.
        return json.dumps([shape])
    system = [body.get("system"), body.get("instructions")]
    first: Any = body.get("prompt") if shape == "completions" else None
    turns = body.get("input" if shape == "responses" else "messages")
    if isinstance(turns, str):
        first = turns
    elif isinstance(turns, Sequence):
        for turn in turns:
            if not isinstance(turn, Mapping):
                continue
            if turn.get("role") in ("system", "developer"):
                system.append(turn.get("content"))
            elif turn.get("role") == "user":
                first = turn.get("content")
                break
    return json.dumps([system, first], sort_keys=True, default=str)


class _Walk:
    def __init__(self, shape: str, visit: Visitor, media: bool) -> None:
        self._shape = shape
        self._visit = visit
        self._media = media
        self._texts = 0
        self._chars = 0

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if not self._media and any(_has_numbers(body.get(key)) for key in ("prompt", "input")):
            raise MalformedError(
                "a prompt of token numbers cannot be looked into", hint="send it as text"
            )
        out = {}
        for key, value in body.items():
            pointer = "/" + _pointer(key)
            if key in ("tools", "functions", "response_format", "text", "output_config"):
                out[key] = self._schema(value, pointer, 1)
            elif key in ("metadata",):
                out[key] = self._free(value, Place(pointer), 1)
            elif key in ("tool_choice", "stream_options", "cache_control") or key in _PASSED:
                out[key] = self._known(value, Place(pointer), 1)
            else:
                context = key if key in ("user", "safety_identifier") else ""
                out[key] = self._value(value, Place(pointer, context=context), 1, key)
        return out

    def _known(self, value: Any, place: Place, depth: int) -> Any:
        """Walk what the protocol defines; a word there is one of its names."""
        word = isinstance(value, str) and _NAME.match(value)
        return value if word else self._value(value, place, depth, "")

    def _value(self, value: Any, place: Place, depth: int, key: str) -> Any:
        self._deep(depth)
        if isinstance(value, str):
            known = key in _PASSED and _NAME.match(value) is not None
            return value if known else self._text(value, place, depth)
        if isinstance(value, Mapping):
            return self._object(value, place, depth)
        if isinstance(value, list):
            return [self._value(one, _at(place, i), depth + 1, key) for i, one in enumerate(value)]
        return self._plain(value)

    def _object(self, value: Mapping[str, Any], place: Place, depth: int) -> dict[str, Any]:
        place = Place(place.pointer, _role(value, place.role))
        self._refuse_media(value)
        out: dict[str, Any] = {}
        for key, one in value.items():
            inner = _at(place, key)
            if key in ("input", "arguments") and isinstance(one, Mapping):
                out[key] = self._free(one, inner, depth + 1)
            elif key in ("input_schema", "parameters", "schema", "json_schema"):
                out[key] = self._schema(one, inner.pointer, depth + 1)
            elif key == "thinking" and isinstance(value.get("signature"), str):
                signed = Place(inner.pointer, inner.role, f"thinking {value['signature']}")
                out[key] = self._value(one, signed, depth + 1, key)
            else:
                out[key] = self._value(one, inner, depth + 1, key)
        return out

    def _refuse_media(self, value: Mapping[str, Any]) -> None:
        kind = value.get("type")
        if self._media or not isinstance(kind, str) or kind not in _MEDIA:
            return
        source = value.get("source")
        if kind == "document" and isinstance(source, Mapping) and source.get("type") == "text":
            return
        raise MalformedError("a part of this request cannot be looked into", hint=_MEDIA_HINT)

    def _text(self, text: str, place: Place, depth: int) -> str:
        """Visit a string; where it is JSON of its own, visit what is in it."""
        self._count(text)
        if not self._media and _ENCODED.match(text):
            raise MalformedError("a part of this request cannot be looked into", hint=_MEDIA_HINT)
        if text[:200].lstrip()[:1] in ("{", "["):
            data, twice = _parse(text)
            if isinstance(data, (dict, list)):
                inner = Place(place.pointer + "#", place.role)
                made = self._free(data, inner, depth + 1)
                if made == data and not twice:
                    return text
                spaced = '": ' in text
                separators = (", ", ": ") if spaced else (",", ":")
                return json.dumps(made, ensure_ascii=False, separators=separators)
        return self._visit(text, place)

    def _free(self, value: Any, place: Place, depth: int) -> Any:
        """Walk data of no known form: arguments, results, metadata."""
        self._deep(depth)
        if isinstance(value, str):
            return self._text(value, place, depth)
        if isinstance(value, Mapping):
            return self._free_object(value, place, depth)
        if isinstance(value, list):
            return [self._free(one, _at(place, i), depth + 1) for i, one in enumerate(value)]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _BIG:
            made = self._visit(str(value), place)
            if made == str(value):
                return value
            return int(made) if re.fullmatch(r"-?[1-9][0-9]*", made) else made
        return self._plain(value)

    def _free_object(self, value: Mapping[str, Any], place: Place, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, one in value.items():
            self._count(key)
            inner = Place(f"{place.pointer}/{_pointer(key)}", place.role, key)
            quick = _SIMPLE_KEY.match(key) is not None
            named = self._visit(key, Place(inner.pointer + " (key)", place.role, quick=quick))
            out[named] = self._free(one, inner, depth + 1)
        return out

    def _schema(self, value: Any, pointer: str, depth: int) -> Any:
        """Walk definitions: descriptions, enums, examples and names of properties are texts."""
        self._deep(depth)
        if isinstance(value, str):
            return self._text(value, Place(pointer), depth)
        if isinstance(value, list):
            return [self._schema(v, f"{pointer}/{i}", depth + 1) for i, v in enumerate(value)]
        if isinstance(value, Mapping):
            out: dict[str, Any] = {}
            for key, one in value.items():
                inner = f"{pointer}/{_pointer(key)}"
                passed = key in _SCHEMA_WORDS and isinstance(one, str)
                named = self._visit(key, Place(inner + " (key)", quick=True))
                out[named] = one if passed else self._schema(one, inner, depth + 1)
            return out
        return self._plain(value)

    def _plain(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        raise MalformedError("a request holds something that is no JSON")

    def _deep(self, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise MalformedError(f"a request of more than {_MAX_DEPTH} levels")

    def _count(self, text: str) -> None:
        self._texts += 1
        self._chars += len(text)
        if self._texts > _MAX_TEXTS or self._chars > _MAX_CHARS:
            raise MalformedError("a request with too much text to be looked into")


def _role(value: Mapping[str, Any], outer: str) -> str:
    """Return who wrote what an object holds."""
    kind = value.get("type")
    if isinstance(kind, str) and kind.endswith(("_result", "_output")):
        return "tool"
    if isinstance(kind, str) and (kind.endswith("_call") or kind in ("reasoning", "tool_use")):
        return "assistant"
    role = value.get("role", outer)
    return role if isinstance(role, str) else ""


def _at(place: Place, key: object) -> Place:
    return Place(f"{place.pointer}/{_pointer(key)}", place.role, place.context)


def _pointer(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _has_numbers(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return any(isinstance(one, int) or _has_numbers(one) for one in value)


def _parse(text: str) -> tuple[Any, bool]:
    """Return the JSON that a text is, and whether a key in it comes twice; or None."""
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        made = dict(found)
        twice = twice or len(made) != len(found)
        return made

    try:
        return json.loads(text, object_pairs_hook=pairs), twice
    except (ValueError, RecursionError):
        return None, False
