"""Reads a provider's profile from its TOML file, and nothing else: an unknown key is an error."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from privity.errors import InputError
from privity.infer.catalogue import Price
from privity.infer.peers import check_url
from privity.infer.providers.profile import Agreement, Dialect, Profile, ProviderModel, Region
from privity.infer.providers.shapes import GRAMMARS
from privity.infer.shapes.paths import SHAPES
from privity.policy import Terms

__all__ = ["parse_profile"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_HEADER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OWN_HEADERS = frozenset(
    {"authorization", "host", "cookie", "content-length", "content-type", "transfer-encoding"}
)
_MAX_DAYS = 36_500
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+|/\{deployment\})+")


def parse_profile(data: bytes, what: str) -> Profile:
    """Return the profile that a file holds.

    Args:
        data: the file.
        what: what to call it in errors.

    Raises:
        InputError: it is not one; the message names the key.
    """
    try:
        table = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not TOML: {error}") from None
    try:
        return _profile(_Table(table, ""))
    except InputError as error:
        raise InputError(f"{what}: {error.message}", hint=error.hint) from None


class _Table:
    """A table whose keys are taken one by one; what is left over at the end is unknown."""

    def __init__(self, table: Mapping[str, Any], at: str) -> None:
        self._left = dict(table)
        self._known: list[str] = []
        self._at = at

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        self._known.append(key)
        if key not in self._left:
            if default is None:
                raise InputError(f"`{self.place(key)}` is missing")
            return default
        value = self._left.pop(key)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise InputError(f"`{self.place(key)}` must be {_KINDS[kind]}")
        return value

    def maybe(self, key: str, kind: type) -> Any:
        self._known.append(key)
        return self.take(key, kind) if key in self._left else None

    def texts(self, key: str) -> tuple[str, ...]:
        items = self.take(key, list, [])
        if not all(isinstance(item, str) and item for item in items):
            raise InputError(f"`{self.place(key)}` must be a list of texts")
        return tuple(items)

    def mapping(self, key: str) -> dict[str, str]:
        items = self.take(key, dict, {})
        if not all(isinstance(item, str) for item in items.values()):
            raise InputError(f"`{self.place(key)}` must be a table of texts")
        return dict(items)

    def table(self, key: str) -> _Table:
        return _Table(self.take(key, dict, {}), self.place(key))

    def tables(self, key: str) -> list[_Table]:
        items = self.take(key, list, [])
        if not all(isinstance(item, dict) for item in items):
            raise InputError(f"`{self.place(key)}` must be a list of tables: `[[{key}]]`")
        return [_Table(item, f"{self.place(key)}[{n}]") for n, item in enumerate(items)]

    def place(self, key: str) -> str:
        return f"{self._at}.{key}" if self._at else key

    def done(self) -> None:
        for key in self._left:
            raise InputError(
                f"`{self.place(key)!s:.80}` is not known",
                hint=f"known here: {', '.join(dict.fromkeys(self._known))}",
            )


_KINDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    date: "a date such as 2026-01-31",
}


def _profile(table: _Table) -> Profile:
    name = table.take("name", str)
    _check(_NAME.fullmatch(name), "`name` must be lower-case letters, digits, `.` and `-`")
    title = table.maybe("title", str) or name
    speaks = table.take("speaks", str)
    _check(speaks in ("chat", "messages"), '`speaks` must be "chat" or "messages"')
    url = table.maybe("url", str) or ""
    if url:
        check_url(url)
    key_env = table.take("key_env", str)
    _check(_ENV.fullmatch(key_env), "`key_env` must be the name of an environment variable")
    profile = Profile(
        name=name,
        title=title,
        speaks=speaks,
        url=url,
        hosts=_hosts(table.texts("hosts"), url),
        key_env=key_env,
        api_version=table.maybe("api_version", str) or "",
        agreements=_agreements(table, title),
        models=tuple(_model(one) for one in table.tables("model")),
        dialect=_dialect(table.table("dialect"), speaks),
        regions=_regions(table),
        any_region=bool(table.maybe("any_region", bool)),
        named_only=bool(table.maybe("named_only", bool)),
    )
    table.done()
    return profile


def _hosts(hosts: tuple[str, ...], url: str) -> tuple[str, ...]:
    if hosts or not url:
        return tuple(host.lower() for host in hosts)
    return ((urlsplit(url).hostname or "").lower(),)


def _agreements(table: _Table, title: str) -> dict[str, Agreement]:
    found: dict[str, Agreement] = {}
    for one in table.tables("terms"):
        name = one.maybe("agreement", str) or ""
        days = one.maybe("retention_days", int)
        _check(
            days is None or 0 <= days <= _MAX_DAYS, f"`{one.place('retention_days')}` is no count"
        )
        terms = Terms(
            provider=title,
            retention_days=days,
            training=one.maybe("training", bool),
            regions=one.texts("regions"),
            source=one.take("source", str),
            as_of=one.take("as_of", date),
            agreement=name,
        )
        excludes = tuple(pattern.lower() for pattern in one.texts("excludes"))
        one.done()
        _check(name not in found, f"the terms of the agreement {name!r:.40} are there twice")
        found[name] = Agreement(terms, excludes)
    _check("" in found, "`[[terms]]` without an `agreement`: the terms for everyone, are missing")
    return found


def _model(table: _Table) -> ProviderModel:
    model = ProviderModel(
        id=table.take("id", str),
        context=table.maybe("context", int),
        output=table.maybe("output", int),
        price=_price(table),
        rank=table.maybe("rank", float),
        can=frozenset(table.texts("can")),
        uncached=bool(table.maybe("uncached", bool)),
    )
    table.done()
    return model


def _price(table: _Table) -> Price | None:
    given = table.maybe("price", dict)
    if given is None:
        return None
    one = _Table(given, table.place("price"))
    price = Price(
        one.take("currency", str), one.take("prompt", float), one.take("completion", float)
    )
    one.done()
    fair = all(0 <= one < float("inf") for one in (price.prompt, price.completion))
    _check(fair, f"`{table.place('price')}` is no price")
    return price


def _dialect(table: _Table, speaks: str) -> Dialect:
    usual = "/v1/messages" if speaks == "messages" else "/v1/chat/completions"
    paths = table.mapping("paths") or {usual: usual}
    dialect = Dialect(
        paths=_paths(paths, table.place("paths")),
        dated_paths=_paths(table.mapping("dated_paths"), table.place("dated_paths")),
        key_header=table.maybe("key_header", str) or "authorization",
        version_header=table.maybe("version_header", str) or "",
        sampling=frozenset(table.texts("sampling")),
        no_store=frozenset(table.texts("no_store")),
        dated_no_store=frozenset(table.texts("dated_no_store")),
        no_cache=table.take("no_cache", dict, {}),
        fields=frozenset(table.texts("fields")),
    )
    table.done()
    _check(usual in dialect.paths, f"a provider that speaks {speaks} must serve {usual}")
    _check(_HEADER.fullmatch(dialect.key_header), "`dialect.key_header` must be a header's name")
    version = dialect.version_header
    named = not version or (_HEADER.fullmatch(version) and version not in _OWN_HEADERS)
    _check(named, "`dialect.version_header` must be the name of a header that privity does not set")
    _check(
        dialect.key_header not in _OWN_HEADERS - {"authorization"}, "`dialect.key_header` is set"
    )
    placed = dialect.fields & {name for one in GRAMMARS.values() for name in one.fields}
    _check(not placed, "`dialect.fields` names one that the API has already")
    return dialect


def _paths(paths: Mapping[str, str], place: str) -> dict[str, str]:
    for ours, theirs in paths.items():
        _check(ours in SHAPES, f"`{place}` names a path that is not served: {ours!r:.60}")
        _check(_PATH.fullmatch(theirs), f"`{place}` has a path that is none: {theirs!r:.60}")
    return dict(paths)


def _regions(table: _Table) -> dict[str, Region]:
    regions = {}
    whole = table.take("regions", dict, {})
    for name, value in whole.items():
        _check(isinstance(value, dict), f"`regions.{name!s:.40}` must be a table")
        one = _Table(value, f"regions.{name!s:.40}")
        region = Region(one.maybe("url", str) or "", one.mapping("fields"))
        one.done()
        if region.url:
            check_url(region.url)
        regions[name] = region
    return regions


def _check(holds: object, message: str) -> None:
    if not holds:
        raise InputError(message)
