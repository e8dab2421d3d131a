"""Reads ``[routing]`` and ``[[alias]]`` of config.toml.

::

    [routing]
    order    = ["confidential", "local", "zdr"]   # for a model named without its route
    fallback = "stricter"                         # or "none", or "ceiling"
    default  = "private/best"                     # where a request names no model

    [routing.budget]
    currency    = "USD"
    per_request = 0.50
    per_day     = 5
    per_month   = 50

    [[alias]]
    name   = "work/careful"
    prefer = "best"                               # or "order", "fast", "cheap", "strict"
    routes = ["local", "confidential"]            # may be absent, as may those below
    models = ["confidential/home/llama-3.1-70b"]
    needs  = ["tools"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from privity.errors import InputError
from privity.infer.aliases import BUILT_IN, Alias, Prefer
from privity.infer.budget import MICRO, Budget
from privity.infer.decision import Fallback, Rules
from privity.policy.sensitive import ROUTES

__all__ = ["read_aliases", "read_budget", "read_routing"]

_ROUTING = ("order", "fallback", "default", "budget")
_BUDGET = ("currency", "per_request", "per_day", "per_month")
_ALIAS = ("name", "prefer", "routes", "models", "needs")
_MOST_ALIASES = 256
_MOST_UNITS = 10**9


def read_routing(table: Mapping[str, Any], aliases: Sequence[Alias] = BUILT_IN) -> Rules:
    """Return the rules that a ``[routing]`` table gives; what is absent stays as privity has it.

    Args:
        table: the table; its ``budget`` is read by `read_budget`.
        aliases: from `read_aliases`.

    Raises:
        InputError: it is not such a table; the message names the key.
    """
    _known(table, _ROUTING, "[routing]")
    rules = Rules(aliases=tuple(aliases))
    order = _texts(table, "order", "[routing]") if "order" in table else rules.order
    if sorted(order) != sorted(ROUTES):
        # One that is left out: never to be used, or last? Whoever wrote it has to say.
        raise InputError(
            f"[routing] order must name each of {', '.join(ROUTES)} once",
            hint="what a policy refuses is never used, wherever it stands in the order",
        )
    fallback = rules.fallback
    if "fallback" in table:
        fallback = _one_of(table, "fallback", Fallback, "[routing]")
    default = _text(table, "default", "[routing]") if "default" in table else rules.default
    budget = read_budget(table.get("budget"))
    currency = rules.currency if budget is None else budget.currency
    return Rules(order, fallback, tuple(aliases), default, currency=currency)


def read_budget(table: Mapping[str, Any] | None) -> Budget | None:
    """Return the budget that ``[routing.budget]`` gives; None for an absent one.

    Raises:
        InputError: it is not such a table; the message names the key.
    """
    if table is None:
        return None
    where = "[routing.budget]"
    _known(table, _BUDGET, where)
    limits = {key: _amount(table, key, where) for key in _BUDGET[1:] if key in table}
    if not limits:
        raise InputError(f"{where} sets no limit", hint=f"set one of {', '.join(_BUDGET[1:])}")
    return Budget(_text(table, "currency", where), **limits)


def read_aliases(tables: object) -> tuple[Alias, ...]:
    """Return privity's aliases, and those that the ``[[alias]]`` tables give.

    Raises:
        InputError: they are not such tables; the message names the alias and the key.
    """
    if not isinstance(tables, list) or len(tables) > _MOST_ALIASES:
        raise InputError(f"each alias is an [[alias]] table, and {_MOST_ALIASES} are the most")
    found = {alias.name: alias for alias in BUILT_IN}
    for table in tables:
        alias = _alias(table)
        if alias.name in found:
            raise InputError(f"[[alias]] {alias.name!r} is there twice")
        found[alias.name] = alias
    return tuple(found.values())


def _alias(table: Any) -> Alias:
    _known(table, _ALIAS, "[[alias]]")
    name = _text(table, "name", "[[alias]]")
    where = f"[[alias]] {name!r:.80}"
    given: dict[str, Any] = {}
    if "prefer" in table:
        given["prefer"] = _one_of(table, "prefer", Prefer, where)
    if "routes" in table:
        given["routes"] = frozenset(_texts(table, "routes", where))
    if "models" in table:
        given["models"] = _texts(table, "models", where)
        if not given["models"]:
            raise InputError(f"{where} models lists none", hint="leave it out to mean any")
    if "needs" in table:
        given["needs"] = frozenset(_texts(table, "needs", where))
    return Alias(name, **given)


def _known(table: Any, names: Sequence[str], where: str) -> None:
    if not isinstance(table, Mapping):
        raise InputError(f"{where} must be a table")
    unknown = sorted(str(key) for key in table.keys() - set(names))
    if unknown:
        raise InputError(
            f"unknown setting {where} {unknown[0]!r:.80}", hint=f"known: {', '.join(names)}"
        )


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{where} {key} must be a text")
    return value


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise InputError(f"{where} {key} must be a list of texts")
    return tuple(value)


def _one_of(table: Mapping[str, Any], key: str, kind: Any, where: str) -> Any:
    value = _text(table, key, where)
    if value not in list(kind):
        raise InputError(
            f"{where} {key}: {value!r:.80} is not known", hint=f"known: {', '.join(kind)}"
        )
    return kind(value)


def _amount(table: Mapping[str, Any], key: str, where: str) -> int:
    """Return an amount in millionths; what has more than six decimals is none."""
    value = table[key]
    wrong = InputError(
        f"{where} {key} must be an amount such as 5 or 0.50, with six decimals at most"
    )
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise wrong from None
    if not amount.is_finite() or not 0 <= amount <= _MOST_UNITS:
        raise wrong
    micro = amount * MICRO
    if micro != micro.to_integral_value():
        raise wrong
    return int(micro)
