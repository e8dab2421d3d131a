"""A provider's refusal, as the client hears it: its status, its kind, and words that are safe.

Providers quote in their errors what they were sent, a key or a prompt, and apps write errors into
logs. So a provider's words pass on only where they share none with the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from privity.errors import MalformedError
from privity.infer.shapes.errors import error_answer
from privity.infer.shapes.members import read_json

__all__ = ["NO_KEY", "Failure", "Key", "answer", "failure_of", "is_answer", "parse", "reports"]

_LONGEST = 300
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_PLACE = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]{0,39}(?:(?:\.[A-Za-z0-9_]{1,40})|(?:\[[0-9]{1,6}\])){0,8}"
)
_WORD = re.compile(r"\w{3,}")
_PRINTABLE = re.compile(r"[\x20-\x7e\u00a0-\u024f\u2018-\u201d]{1,300}")
# Words that errors are made of, which a prompt may well hold too.
_ORDINARY = frozenset(
    """
    and any are array before body boolean but can cannot content context does exceed exceeded
    exceeds expected extra failed field fields for found from greater has have input inputs
    integer invalid its least length less limit limited long max maximum may message messages
    minimum missing model models more must name not number object one only output over parameter
    parameters per permitted please property range rate reached reduce request requested
    requests required resulted role size string supported than that the there this token tokens
    too tool tools type unknown unsupported use used using value values was with you your
    """.split()
)
# What an answer of each shape has, whole, and an event of its streams.
_WHOLE = {"messages": "content", "responses": "output", "embeddings": "data"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Key:
    """What a request was authorised with.

    Attributes:
        source: where it came from, in words.
        value: itself. Not shown.
    """

    source: str
    value: str = field(repr=False)

    @property
    def folded(self) -> str:
        """Itself, as it is compared."""
        return self.value.casefold()


NO_KEY = Key("the key", "")


@dataclass(frozen=True)
class Failure:
    """What a provider said went wrong, made safe to pass on.

    Attributes:
        kind: such as ``rate_limit_error``.
        message: what to say.
    """

    kind: str
    message: str


def failure_of(
    told: object, status: int, *, title: str, sent: Mapping[str, Any], key: Key = NO_KEY
) -> Failure:
    """Return what a provider's error says, without anything it may quote.

    Args:
        told: the parsed body of the error, whatever it is.
        status: the HTTP status; 0 within a stream.
        title: what people call the provider.
        sent: the request's body, whose words must not come back.
        key: what the request was authorised with, which must not come back either.

    Guarantees:
        Total, whatever the provider sent; shorter than `_LONGEST` and a line; shares no word of
        three letters or more with a text of the request, but for ordinary words of errors, nor
        with the key
        (tests/adversary/test_zero_retention_answers.py::test_an_error_never_quotes_the_prompt).
    """
    fields, quotes = _error_fields(told), _Quotes(_words_of(sent), key.folded)
    kind = fields.get("type")
    named = isinstance(kind, str) and _KIND.fullmatch(kind) and not quotes(kind)
    kind = str(kind) if named else _kind_of(status)
    if status in (401, 403):
        return Failure(kind, f"{title} refused {key.source} ({status})")
    parts = [
        f"{before}{value}"
        for name, form, before in (("code", _KIND, ""), ("param", _PLACE, "field "))
        if isinstance(value := fields.get(name), str)
        and form.fullmatch(value)
        and not quotes(value)
    ]
    said = fields.get("message")
    message = f"{title} {'refused the request' if 400 <= status < 500 else 'failed'}"
    message += f" ({', '.join([str(status) if status else 'in its stream', kind, *parts])})"
    if isinstance(said, str) and _PRINTABLE.fullmatch(said) and not quotes(said):
        message += f": {said}"
    return Failure(kind, message[:_LONGEST])


@dataclass(frozen=True)
class _Quotes:
    """Tells whether a text shares a word with a request or with a key."""

    words: frozenset[str] = field(repr=False)
    key: str = field(repr=False)

    def __call__(self, said: str) -> bool:
        found = set(_WORD.findall(said.casefold())) - _ORDINARY
        return not self.words.isdisjoint(found) or any(word in self.key for word in found)


def answer(failure: Failure, shape: str, status: int) -> bytes:
    """Return the body of an error answer in the client's shape."""
    return error_answer(shape, status, failure.message, failure.kind)


def parse(body: bytes) -> object:
    """Return a body as JSON, or None for one that is none."""
    try:
        return read_json(body, exact=False)
    except MalformedError:
        return None


def reports(told: Mapping[str, Any], name: bytes = b"") -> bool:
    """Whether an answer, or an event of this name, reports an error: in any spelling of its JSON.

    Guarantees:
        Decided on what was parsed
        (tests/adversary/test_provider_answers.py::test_an_error_in_a_stream_quotes_nothing_however_it_is_spelt).
    """
    if name.strip().lower() == b"error" or told.get("type") == "error":
        return True
    choices = told.get("choices")
    places = [told, *(choices if isinstance(choices, list) else ())]
    return any(
        value is not None and key.casefold() == "error"
        for place in places
        if isinstance(place, dict)
        for key, value in place.items()
    )


def is_answer(told: Mapping[str, Any], shape: str, *, event: bool) -> bool:
    """Whether this is an answer of this shape, or an event of one, as far as that can be told."""
    if event and shape in ("messages", "responses"):
        return isinstance(told.get("type"), str)
    return isinstance(told.get(_WHOLE.get(shape, "choices")), list)


def _error_fields(told: object) -> Mapping[str, Any]:
    """Return the fields of an error, wherever providers put it."""
    if isinstance(told, dict):
        inner = told.get("error")
        if isinstance(inner, dict):
            return inner
        if isinstance(inner, str):
            return {"message": inner}
        return told
    return {}


def _kind_of(status: int) -> str:
    return _KINDS.get(status, "api_error" if status < 400 or status >= 500 else _KINDS[400])


def _words_of(sent: Mapping[str, Any]) -> frozenset[str]:
    """Return the words in all texts of a request, and in all names below its own fields."""
    found: set[str] = set()
    for name, value in sent.items():
        if name != "model":
            for text in _texts(value):
                found.update(_WORD.findall(text.casefold()))
    return frozenset(found - _ORDINARY)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
