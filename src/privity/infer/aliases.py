"""Names a person gives to a choice of models, such as ``private/best``.

An alias says which offers may answer and which of them is meant first. No peer can take one over:
an alias is looked up before any model's id.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from privity.errors import InputError
from privity.policy.sensitive import ROUTES

__all__ = ["BUILT_IN", "Alias", "Prefer"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._:-]{0,63})?")
_OURS = "private"
_MOST_MODELS = 64


class Prefer(enum.StrEnum):
    """Which of several offers is meant first. The value is the name in config.toml."""

    ORDER = "order"
    """As the alias lists its models; then as ``[routing] order`` lists the routes."""
    BEST = "best"
    """The most capable first, as far as somebody vouches for that."""
    FAST = "fast"
    """The rung that was measured to begin its answers soonest first."""
    CHEAP = "cheap"
    """What would cost least first."""
    STRICT = "strict"
    """The strictest route first."""


@dataclass(frozen=True)
class Alias:
    """A name for a choice of models.

    Attributes:
        name: what a request asks for; ``private/…`` is privity's own.
        prefer: which of them is meant first.
        routes: the routes that may answer.
        models: the only models that may: bare ids, ``route/id`` or ``route/rung/id``; empty is any.
        needs: what the model has to be able to do, besides what the request itself needs.

    Raises:
        InputError: a name that could be taken for another thing, or a value outside of these.
    """

    name: str
    prefer: Prefer = Prefer.ORDER
    routes: frozenset[str] = frozenset(ROUTES)
    models: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.partition("/")[0] in ROUTES:
            raise InputError(
                f"{self.name!r:.80} cannot name an alias",
                hint="take letters, digits, `.`, `_`, `:` and `-`, with one `/` at most; "
                f"what begins with {', '.join(ROUTES)} names a model",
            )
        if self.name.partition("/")[0] == _OURS and self.name not in _OWN_NAMES:
            raise InputError(f"{self.name!r:.80}: names in `private/` are privity's own")
        if not self.routes or not self.routes <= set(ROUTES):
            raise InputError(f"alias {self.name!r}: its routes must be some of {', '.join(ROUTES)}")
        if len(self.models) > _MOST_MODELS:
            raise InputError(f"alias {self.name!r} lists more than {_MOST_MODELS} models")


_OWN_NAMES = frozenset({f"{_OURS}/{kind}" for kind in ("fast", "best", "cheap", "strict")})

BUILT_IN = (
    Alias("private/fast", Prefer.FAST),
    Alias("private/best", Prefer.BEST),
    Alias("private/cheap", Prefer.CHEAP),
    Alias("private/strict", Prefer.STRICT),
)
"""The aliases everyone has."""
