"""How an allow-list for requests is written: what may stand where, and what asks for keeping.

A grammar names everything that may be in a request. What it does not name is refused: a field that
nobody here knows may ask a provider to keep something, and a list of forbidden fields would not
know it either.
"""

from __future__ import annotations

import abc
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

from privity.errors import InputError
from privity.policy import Feature

__all__ = [
    "DATA",
    "PLAIN",
    "TEXT",
    "TEXTS",
    "Fields",
    "Gated",
    "Items",
    "Kinds",
    "Only",
    "Priced",
    "Rule",
    "Url",
    "Visit",
    "either",
    "folded",
]

_NAME = re.compile(r"[a-z]{1,20}(?:_[a-z]{1,20}){0,3}")
_FAMILIES: tuple[tuple[str, Feature], ...] = (
    ("websearch", Feature.SERVER_TOOLS),
    ("webfetch", Feature.SERVER_TOOLS),
    ("codeexecution", Feature.SERVER_TOOLS),
    ("codeinterpreter", Feature.SERVER_TOOLS),
    ("bashcodeexecution", Feature.SERVER_TOOLS),
    ("texteditorcodeexecution", Feature.SERVER_TOOLS),
    ("filesearch", Feature.SERVER_TOOLS),
    ("retrieval", Feature.SERVER_TOOLS),
    ("computer", Feature.SERVER_TOOLS),
    ("browser", Feature.SERVER_TOOLS),
    ("imagegeneration", Feature.SERVER_TOOLS),
    ("mcp", Feature.SERVER_TOOLS),
    ("toolsearch", Feature.SERVER_TOOLS),
    ("programmatictoolcalling", Feature.SERVER_TOOLS),
    ("servertool", Feature.SERVER_TOOLS),
    ("shell", Feature.SERVER_TOOLS),
    ("container", Feature.FILES),
    ("file", Feature.FILES),
    ("skill", Feature.FILES),
    ("vectorstore", Feature.FILES),
    ("datasource", Feature.FILES),
    ("itemreference", Feature.STORE),
    ("store", Feature.STORE),
    ("previousresponse", Feature.STORE),
    ("contextmanagement", Feature.STORE),
    ("compaction", Feature.STORE),
    ("conversation", Feature.ASSISTANTS),
    ("thread", Feature.ASSISTANTS),
    ("assistant", Feature.ASSISTANTS),
    ("agent", Feature.ASSISTANTS),
    ("background", Feature.BATCH),
    ("batch", Feature.BATCH),
    ("promptcache", Feature.PROMPT_CACHING),
    ("cachecontrol", Feature.PROMPT_CACHING),
    ("cachedcontent", Feature.PROMPT_CACHING),
)
"""Beginnings of names that ask for a feature, however they are spelt; the first that fits."""


@dataclass(frozen=True)
class Visit:
    """Where the walk over a request is, and what it may let pass.

    Attributes:
        place: such as ``messages[3].content[0]``; made of the grammar's own names and indexes, so
            it may be shown.
        allowed: the features that the person's policy names.
    """

    place: str
    allowed: frozenset[Feature]

    def at(self, step: str | int) -> Visit:
        """Return where one step further in is."""
        if isinstance(step, int):
            return Visit(f"{self.place}[{step}]", self.allowed)
        return Visit(f"{self.place}.{step}" if self.place else step, self.allowed)

    def refuse_feature(self, feature: Feature) -> NoReturn:
        """Refuse what asks for ``feature``."""
        raise InputError(
            f"`{self.place}` asks the provider to keep or fetch something: {feature.value}",
            hint=f'leave it out, or name "{feature.value}" in `terms.stateful` of your policy',
        )

    def refuse(self, why: str) -> NoReturn:
        """Refuse what does not fit here."""
        raise InputError(
            f"`{self.place or 'the request'}` {why}",
            hint="docs/how-to/use-a-provider.md lists what may be sent to a provider",
        )

    def unknown(self, name: str, what: str) -> NoReturn:
        """Refuse a name that the grammar does not have, and say which feature it reads like."""
        feature = _like(name)
        reads = f" and reads like {feature.value}" if feature else ""
        raise InputError(
            f"`{self.place or 'the request'}` has {what} {_shown(name)}, not known here{reads}",
            hint="leave it out: what is not known may be kept by the provider",
        )


class Rule(abc.ABC):
    """What may stand at one place."""

    @abc.abstractmethod
    def check(self, value: Any, visit: Visit) -> None:
        """Return if it may.

        Raises:
            InputError: it may not; the message names the place, never what stands there.
        """


class _Data(Rule):
    """Anything: data of the person's own, such as a schema; no provider takes orders from it."""

    def check(self, value: Any, visit: Visit) -> None:
        return


class _Plain(Rule):
    """A text, a number, true, false or null, or a list of these."""

    def check(self, value: Any, visit: Visit) -> None:
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, list | dict) for item in items):
            visit.refuse("must be a plain value")


class _Text(Rule):
    def check(self, value: Any, visit: Visit) -> None:
        if value is not None and not isinstance(value, str):
            visit.refuse("must be a text")


class _Texts(Rule):
    """A text or several. Not token numbers: nobody can look into those for personal data."""

    def check(self, value: Any, visit: Visit) -> None:
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in items):
            visit.refuse("must be a text or a list of texts; token numbers cannot be looked into")


DATA, PLAIN, TEXT, TEXTS = _Data(), _Plain(), _Text(), _Texts()


@dataclass(frozen=True)
class Only(Rule):
    """One of a few values; any other asks for ``feature``."""

    values: tuple[Any, ...]
    feature: Feature

    def check(self, value: Any, visit: Visit) -> None:
        """See `Rule`."""
        same = any(
            value is one or (value == one and type(value) is type(one)) for one in self.values
        )
        if not same and self.feature not in visit.allowed:
            visit.refuse_feature(self.feature)


@dataclass(frozen=True)
class Priced(Rule):
    """One of the few values at which an answer costs what its price says, or less."""

    values: tuple[str, ...]

    def check(self, value: Any, visit: Visit) -> None:
        """See `Rule`."""
        if value is not None and not (isinstance(value, str) and value in self.values):
            visit.refuse(f"must be {' or '.join(self.values)}: prices and budgets know no other")


@dataclass(frozen=True)
class Gated(Rule):
    """What asks for a feature: refused unless the policy names it, or it is empty."""

    feature: Feature

    def check(self, value: Any, visit: Visit) -> None:
        """See `Rule`."""
        empty = value is None or value is False or value in ({}, [], "")
        if not empty and self.feature not in visit.allowed:
            visit.refuse_feature(self.feature)


class Url(Rule):
    """Media in the request itself (``data:``); any other address the provider would fetch."""

    def check(self, value: Any, visit: Visit) -> None:
        """See `Rule`."""
        if value is None:
            return
        if not isinstance(value, str):
            visit.refuse("must be a text")
        if not value.startswith("data:") and Feature.MEDIA_URLS not in visit.allowed:
            visit.refuse_feature(Feature.MEDIA_URLS)


@dataclass(frozen=True)
class Fields(Rule):
    """An object with these fields and no others."""

    fields: Mapping[str, Rule]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    def check(self, value: Any, visit: Visit) -> None:
        """See `Rule`."""
        if value is None:
            return
        if not isinstance(value, dict):
            visit.refuse("must be an object")
        for name, inner in value.items():
            rule = self.fields.get(name)
            if rule is None:
                visit.unknown(name, "a field")
            rule.check(inner, visit.at(name))


@dataclass(frozen=True)
class Items(Rule):
    """A list of one kind of thing."""

    of: Rule

    def check(self, value: Any, visit: Visit) -> None:
        """See `Rule`."""
        if value is None:
            return
        if not isinstance(value, list):
            visit.refuse("must be a list")
        for index, item in enumerate(value):
            self.of.check(item, visit.at(index))


@dataclass(frozen=True)
class Kinds(Rule):
    """An object that says by one of its fields which kind it is.

    Attributes:
        kinds: by the field's value; one that ends in ``*`` fits every value that begins so.
        by: the field.
        default: the kind of one that has no such field; empty where it must have it.
        like_nothing: the feature an unknown kind counts as; None refuses it whatever is allowed.
    """

    kinds: Mapping[str, Rule]
    by: str = "type"
    default: str = ""
    like_nothing: Feature | None = field(default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", MappingProxyType(dict(self.kinds)))

    def check(self, value: Any, visit: Visit) -> None:
        """See `Rule`."""
        if not isinstance(value, dict):
            visit.refuse("must be an object")
        kind = value.get(self.by, self.default)
        if not isinstance(kind, str) or not kind:
            visit.refuse(f"must have a `{self.by}`")
        rule = self.kinds.get(kind) or next(
            (r for k, r in self.kinds.items() if k.endswith("*") and kind.startswith(k[:-1])), None
        )
        if rule is not None:
            rule.check(value, visit)
            return
        feature = _like(kind) or self.like_nothing
        if feature is None:
            visit.unknown(kind, f"a `{self.by}`")
        if feature not in visit.allowed:
            visit.at(self.by).refuse_feature(feature)


@dataclass(frozen=True)
class _Either(Rule):
    text: Rule
    other: Rule

    def check(self, value: Any, visit: Visit) -> None:
        rule = self.text if value is None or isinstance(value, str) else self.other
        rule.check(value, visit)


def either(other: Rule, text: Rule = TEXT) -> Rule:
    """Return what lets a text pass by one rule and everything else by the other."""
    return _Either(text, other)


def folded(name: str) -> str:
    """Return a name without the ways it can be spelt differently: case, width, separators."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(char for char in plain if char.isalnum())


def _like(name: str) -> Feature | None:
    plain = folded(name)
    return next((feature for family, feature in _FAMILIES if plain.startswith(family)), None)


def _shown(name: str) -> str:
    """Return a name if it could be of an API; a prompt in its place is not shown."""
    return f"`{name}`" if _NAME.fullmatch(name) else "(a name no API has)"
