"""Which strings of a request are somebody's words: every one that is not of the protocol itself.

The default is to look. Only words of the protocol pass without, and they are closed sets
(`protocol`); an identifier that the provider made, and a number, are compared with what is known to
be personal; whatever else there is is looked into, keys of objects too. What cannot be looked into,
such as a picture or a list of token numbers, is refused: it is not passed on trust.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from privity.errors import MalformedError
from privity.infer.pseudonyms.protocol import (
    COUNTS,
    FIELDS,
    KEYWORDS,
    LIMITS,
    NAMES,
    OPAQUE,
    WORDS,
    is_type,
)
from privity.infer.shapes.paths import shape_by_end

__all__ = ["Place", "Visitor", "opening", "shape_of", "walk"]

_MAX_DEPTH = 48
_MAX_TEXTS = 200_000
_MAX_CHARS = 8 << 20
_MEDIA_HINT = (
    "pictures, sound and files cannot be looked into on this device: take a local or confidential "
    "route, or leave them out"
)
_MEDIA = frozenset(
    "image_url input_image image input_audio audio file input_file document video input_video "
    "container_upload image_file computer_screenshot".split()
)
_ENCODED = re.compile(r"\s*data:[^,]{0,200};base64,|[A-Za-z0-9+/_-]{4000}")
_BIG = 1_000_000
"""From here on a number in free data may be somebody's: an account, a phone."""
_SMALL = 1000
"""Below, a number of the protocol says nothing."""
_LONG = 120
"""What a provider encrypted or signed is longer."""
_SCHEMAS = ("https://json-schema.org/", "http://json-schema.org/")
_NAME = re.compile(r"[\w.:/+=-]*\Z")
_SIMPLE_KEY = re.compile(r"[a-z][a-z_]{0,40}\Z|[0-9]{1,6}\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands.

    Attributes:
        pointer: as RFC 6901 writes it; after a ``#``, inside the JSON that a string holds.
        role: of the message it is in; empty outside of one.
        context: the key it stands under in free data, which says what it is.
        quick: it is a key, an identifier or a number of the protocol: it is only compared.
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
            elif key == "model" and isinstance(value, str) and _NAME.match(value):
                out[key] = value  # one of those that the provider is set up for
            elif key in ("tool_choice", "stream_options", "cache_control"):
                out[key] = self._value(value, Place(pointer), 1, "type")
            else:
                context = key if key in ("user", "safety_identifier") else ""
                out[key] = self._value(value, Place(pointer, context=context), 1, key)
        return out

    def _value(self, value: Any, place: Place, depth: int, key: str) -> Any:
        self._deep(depth)
        if isinstance(value, str):
            return self._name(value, place, depth, key)
        if isinstance(value, Mapping):
            return self._object(value, place, depth)
        if isinstance(value, list):
            return [self._value(one, _at(place, i), depth + 1, key) for i, one in enumerate(value)]
        small = _SMALL if key not in COUNTS else _BIG
        return self._number(value, place, small, math.inf, strict=True)

    def _name(self, value: str, place: Place, depth: int, key: str) -> str:
        """Look at a string; where it is a name of the protocol, it is at most compared."""
        if key not in NAMES or _NAME.match(value) is None:
            return self._text(value, place, depth)
        if value in WORDS or (key in OPAQUE and len(value) > _LONG):
            return value
        return self._visit(value, Place(place.pointer, place.role, quick=True))

    def _object(self, value: Mapping[str, Any], place: Place, depth: int) -> dict[str, Any]:
        place = Place(place.pointer, _role(value, place.role))
        self._refuse_media(value)
        out: dict[str, Any] = {}
        for key, one in value.items():
            inner = _at(place, key)
            if key not in FIELDS:
                out[self._key(key, inner)] = self._value(one, inner, depth + 1, key)
            elif key in ("input", "arguments") and isinstance(one, Mapping):
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
        return self._number(value, place, 0, _BIG)

    def _free_object(self, value: Mapping[str, Any], place: Place, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, one in value.items():
            inner = Place(f"{place.pointer}/{_pointer(key)}", place.role, key)
            out[self._key(key, inner)] = self._free(one, inner, depth + 1)
        return out

    def _key(self, key: str, place: Place) -> str:
        """Look at a key of data; a name in a program and a small number are only compared."""
        self._count(key)
        quick = _SIMPLE_KEY.match(key) is not None
        return self._visit(key, Place(place.pointer + " (key)", place.role, quick=quick))

    def _schema(self, value: Any, pointer: str, depth: int, key: str = "") -> Any:
        """Walk definitions: descriptions, patterns, examples, names of properties are texts."""
        self._deep(depth)
        if key in KEYWORDS:
            return self._free(value, Place(pointer), depth)
        if isinstance(value, str):
            return self._schema_text(value, Place(pointer), depth, key)
        if isinstance(value, list):
            return [self._schema(v, f"{pointer}/{i}", depth + 1, key) for i, v in enumerate(value)]
        if isinstance(value, Mapping):
            out: dict[str, Any] = {}
            for name, one in value.items():
                inner = f"{pointer}/{_pointer(name)}"
                named = self._visit(name, Place(inner + " (key)", quick=True))
                out[named] = self._schema(one, inner, depth + 1, name)
            return out
        # A limit is compared only: the largest safe integer is nobody's account.
        least, whole = (_BIG, math.inf) if key in LIMITS else (0, _BIG)
        return self._number(value, Place(pointer), least, whole, strict=True)

    def _schema_text(self, text: str, place: Place, depth: int, key: str) -> str:
        if key in ("type", "format") and is_type(text):
            return text
        if key == "$schema" and text.startswith(_SCHEMAS) and _NAME.match(text.rstrip("#")):
            return self._visit(text, Place(place.pointer, quick=True))
        if key == "$ref" and text.startswith("#") and _NAME.match(text[1:].replace("$", "")):
            return self._visit(text, Place(place.pointer, quick=True))
        return self._text(text, place, depth)

    def _number(
        self, value: Any, place: Place, least: float, whole: float, *, strict: bool = False
    ) -> Any:
        """Look at a number as it would be written, and return one, or what stands for it.

        Args:
            value: null, true and false are returned as they are.
            place: of it.
            least: below, it is passed.
            whole: below, it is only compared.
            strict: what is returned has to be a number.
        """
        if value is None or isinstance(value, bool):
            return value
        if not isinstance(value, (int, float)):
            raise MalformedError("a request holds something that is no JSON")
        if (isinstance(value, float) and not math.isfinite(value)) or abs(value) < least:
            return value
        text = _written(value)
        quick = Place(place.pointer, place.role, quick=True)
        made = self._visit(text, quick if abs(value) < whole else place)
        if made == text:
            return value
        if re.fullmatch(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", made):
            return json.loads(made)
        return int("".join(re.findall("[0-9]", made)) or "0") if strict else made

    def _deep(self, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise MalformedError(f"a request of more than {_MAX_DEPTH} levels")

    def _count(self, text: str) -> None:
        self._texts += 1
        self._chars += len(text)
        if self._texts > _MAX_TEXTS or self._chars > _MAX_CHARS:
            raise MalformedError("a request with too much text to be looked into")


def _written(value: float) -> str:
    """Return a number as a person would write it: without an exponent, whole where it is."""
    try:
        whole = isinstance(value, int) or value.is_integer()
        return str(int(value)) if whole else repr(value)
    except ValueError:  # of more digits than Python writes
        raise MalformedError("a request holds a number without end") from None


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
