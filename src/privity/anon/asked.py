"""What a request lets an engine generate: one reading of it, for device and enclave alike.

What a request holds is reckoned from this reading, and the enclave sends the engine no other limit
than the one read here. So no spelling that an engine knows, and this page does not, is free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from privity.errors import MalformedError
from privity.identity.bounded_json import parse_object

__all__ = ["Asked", "read_request"]

_MOST = 2**31
_MAX_ANSWERS = 1024

# What engines read a limit of tokens from: OpenAI's three; llama.cpp's; Ollama's; TGI's.
_LIMITS = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
        *("n_predict", "num_predict", "max_new_tokens"),
    )
)
# How many answers are made for a prompt: also those that are made and not shown.
_ANSWERS = frozenset(("n", "n_cmpl", "best_of"))
# What makes more than one asks for.
_MORE = frozenset(("min_tokens", "min_new_tokens", "use_beam_search", "ignore_eos"))
_READ = _LIMITS | _ANSWERS | _MORE | {"prompt"}

# The one field of each path that a limit is sent to the engine in. Other paths generate nothing.
_FIELD = {
    "/v1/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/messages": "max_tokens",
    "/v1/responses": "max_output_tokens",
}


@dataclass(frozen=True)
class Asked:
    """What was read of a request.

    Attributes:
        fields: its JSON object; None where it is none.
        model: the model it names, or None.
        each: the most tokens of one answer; None where it sets no limit, or an odd one.
        answers: how many answers are made, over all its prompts; None where that is odd.
    """

    fields: Mapping[str, Any] | None = field(repr=False)
    model: str | None
    each: int | None
    answers: int | None

    @property
    def most(self) -> int | None:
        """Return the most tokens of all answers; None where there is no limit."""
        return None if self.each is None or self.answers is None else self.each * self.answers

    def generates(self, path: str) -> bool:
        """Tell whether a request of this path has an engine generate."""
        return path in _FIELD

    def for_engine(self, body: bytes, path: str) -> bytes:
        """Return the body that may go to the engine: with the limit that was read, and no other.

        Args:
            body: what was read.
            path: where it goes, such as ``/v1/responses``.

        Raises:
            MalformedError: it is not a JSON object.
        """
        if self.fields is None:
            raise MalformedError("the request is not a JSON object, or has too many parts")
        kept = {name: value for name, value in self.fields.items() if not _removed(name, value)}
        if path in _FIELD and self.each is not None:
            kept[_FIELD[path]] = self.each
        if kept == self.fields:
            return body
        try:
            return json.dumps(kept, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, RecursionError):
            raise MalformedError("the request is not JSON") from None


def read_request(body: bytes) -> Asked:
    """Read an OpenAI-shaped request; total on any bytes.

    Where it names several limits, the largest counts. One that is no whole number above 0, or is
    spelled in other cases, is odd: it is as no limit, so the request holds the highest price.
    """
    try:
        fields = parse_object(body)
    except MalformedError:
        return Asked(None, None, None, None)
    model = fields.get("model")
    odd = any(name.casefold() in _READ and name not in _READ for name in fields)
    limits = _counts(fields, _LIMITS, _MOST)
    choices = _counts(fields, _ANSWERS, _MAX_ANSWERS)
    each = None if odd or not limits else max(limits)
    answers = None
    if choices is not None and not odd:
        answers = max(choices, default=1) * _prompts(fields.get("prompt"))
    return Asked(fields, model if isinstance(model, str) else None, each, answers)


def _counts(fields: Mapping[str, Any], names: frozenset[str], most: int) -> list[int] | None:
    """Return the numbers under these names; None where one of them is odd."""
    found = [fields[name] for name in names if fields.get(name) is not None]
    return found if all(_is_count(one, most) for one in found) else None


def _prompts(prompt: Any) -> int:
    """Return how many prompts there are: a list of numbers is one, in tokens."""
    if not isinstance(prompt, list) or all(type(one) is int for one in prompt):
        return 1
    return len(prompt)


def _removed(name: str, value: Any) -> bool:
    """Tell whether a member is taken out; some engines do not tell cases apart."""
    folded = name.casefold()
    if folded in _READ and name != folded:
        return True
    if name == "n":
        return value is not None and not _is_count(value, _MAX_ANSWERS)
    return name in _LIMITS or name in _MORE or name in _ANSWERS


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 < value <= most
