"""Reads ``[routing]`` and ``[[alias]]`` of config.toml.

::

    [routing]
    order    = ["anonymous", "confidential", "local", "zdr"]   # for a model named without its route
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

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from privity.errors import InputError
from privity.infer import tables as toml
from privity.infer.aliases import BUILT_IN, Alias, Prefer
from privity.infer.budget import MICRO, Budget
from privity.infer.decision import Rules
from privity.policy.sensitive import ROUTES

__all__ = ["read_aliases", "read_budget", "read_routing"]

_ROUTING = {"order", "fallback", "default", "budget"}
_LIMITS = ("per_request", "per_day", "per_month")
_ALIAS = {"name", "prefer", "routes", "models", "needs"}
_MOST_ALIASES = 256
_MOST_UNITS = 10**9


def read_routing(config: Mapping[str, Any]) -> tuple[Rules, Budget | None]:
    """Return the rules that ``[routing]`` and ``[[alias]]`` give, and the budget, None for none.

    What is absent stays as privity has it.

    Args:
        config: the whole of config.toml.

    Raises:
        InputError: what it says of routing is wrong; the message names the table and the key.
    """
    where = "[routing] "
    table, rules = toml.section(config, "routing", _ROUTING), Rules()
    order = toml.texts(table, "order", where) if "order" in table else rules.order
    if sorted(order) != sorted(ROUTES):
        # One that is left out: never to be used, or last? Whoever wrote it has to say.
        raise InputError(
            f"{where}order must name each of {', '.join(ROUTES)} once",
            hint="what a policy refuses is never used, wherever it stands in the order",
        )
    budget = read_budget(table)
    read = Rules(
        order,
        toml.choice(table, "fallback", rules.fallback, where),
        read_aliases(config.get("alias", [])),
        toml.text_or(table, "default", rules.default, where),
        currency=rules.currency if budget is None else budget.currency,
    )
    return read, budget


def read_budget(table: Mapping[str, Any]) -> Budget | None:
    """Return the budget that a ``[routing]`` table has in it; None for none.

    Raises:
        InputError: it is not such a table; the message names the key.
    """
    if "budget" not in table:
        return None
    where = "[routing.budget] "
    given = table["budget"]
    if not isinstance(given, Mapping):
        raise InputError(f"{where}must be a table")
    toml.known(given, {"currency", *_LIMITS}, where)
    limits = {key: _amount(given, key, where) for key in _LIMITS if key in given}
    if not limits:
        raise InputError(f"{where}sets no limit", hint=f"set one of {', '.join(_LIMITS)}")
    return Budget(toml.text(given, "currency", where), **limits)


def read_aliases(tables: object) -> tuple[Alias, ...]:
    """Return privity's aliases, and those that the ``[[alias]]`` tables give.

    Raises:
        InputError: they are not such tables; the message names the alias and the key.
    """
    given = toml.tables(tables, "alias")
    if len(given) > _MOST_ALIASES:
        raise InputError(f"there are {_MOST_ALIASES} [[alias]] tables at most")
    found = {alias.name: alias for alias in BUILT_IN}
    for table in given:
        alias = _alias(table)
        if alias.name in found:
            raise InputError(f"[[alias]] {alias.name!r} is there twice")
        found[alias.name] = alias
    return tuple(found.values())


def _alias(table: Mapping[str, Any]) -> Alias:
    toml.known(table, _ALIAS, "[[alias]] ")
    name = toml.text(table, "name", "[[alias]] ")
    where = f"[[alias]] {name!r:.80} "
    models = toml.texts(table, "models", where)
    if "models" in table and not models:
        raise InputError(f"{where}models lists none", hint="leave it out to mean any")
    return Alias(
        name,
        toml.choice(table, "prefer", Prefer.ORDER, where),
        frozenset(toml.texts(table, "routes", where) if "routes" in table else ROUTES),
        models,
        frozenset(toml.texts(table, "needs", where)),
    )


def _amount(table: Mapping[str, Any], key: str, where: str) -> int:
    """Return an amount in millionths; what has more than six decimals is none."""
    value = table[key]
    wrong = InputError(
        f"{where}{key} must be an amount such as 5 or 0.50, with six decimals at most"
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
