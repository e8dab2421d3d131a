"""The request types of the providers' own SDKs, made strict: no member they do not have passes.

The SDKs publish what a request may hold as TypedDicts. Taken as they are, pydantic ignores members
that a TypedDict does not name, and looks into an ``Iterable`` only when somebody reads it. Here
each is rebuilt closed, and with lists in place of iterables.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from functools import cache
from os import PathLike
from typing import (
    IO,
    Annotated,
    Any,
    Literal,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typing_extensions
from anthropic.types import message_create_params
from openai.types.chat import completion_create_params
from pydantic import BaseModel, ConfigDict, TypeAdapter

_REQUIRED = (Required, typing_extensions.Required)
_made: dict[Any, Any] = {}


def strict(hint: Any) -> Any:
    """Return the type with every TypedDict in it closed, and iterables as lists."""
    if typing_extensions.is_typeddict(hint):
        return _closed(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Literal, None):
        return list[str] if getattr(hint, "__name__", "") == "SequenceNotStr" else hint
    if origin in (*_REQUIRED, typing_extensions.NotRequired, Annotated):
        return strict(args[0])
    if origin in (Union, types.UnionType):
        # Models and files are a convenience of the SDK, not JSON.
        return Union[tuple(strict(one) for one in args if not _of_python(one))]  # noqa: UP007
    if origin in (list, Iterable) or getattr(origin, "__name__", "") == "SequenceNotStr":
        return list[strict(args[0])]
    if origin is dict:
        return dict[args[0], strict(args[1])]
    return hint


def _of_python(hint: Any) -> bool:
    """Return whether a type is a model, a union of models, or a file."""
    if get_origin(hint) in (Annotated, Union):
        return all(
            _of_python(one) for one in get_args(hint)[: None if get_origin(hint) is Union else 1]
        )
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, (BaseModel, IO, PathLike))


def _closed(hint: Any) -> Any:
    if hint not in _made:
        name = f"{hint.__name__}_{len(_made)}"
        _made[hint] = dict  # should a type hold itself
        # The SDKs mark what is required, as text that `__required_keys__` does not see.
        fields = {
            name: strict(member)
            if get_origin(member) in _REQUIRED
            else typing_extensions.NotRequired[strict(member)]
            for name, member in get_type_hints(hint, include_extras=True).items()
        }
        closed = typing_extensions.TypedDict(name, fields)
        own = getattr(hint, "__pydantic_config__", {})
        closed.__pydantic_config__ = ConfigDict(extra=own.get("extra", "forbid"), strict=True)
        _made[hint] = closed
    return _made[hint]


@cache
def chat_request() -> TypeAdapter[Any]:
    """Return what reads a request of OpenAI's chat completions, and refuses any other."""
    return TypeAdapter(strict(completion_create_params.CompletionCreateParams))


@cache
def messages_request() -> TypeAdapter[Any]:
    """Return what reads a request of Anthropic's messages, and refuses any other."""
    return TypeAdapter(strict(message_create_params.MessageCreateParams))
