"""The words of routing: what a request wants, what is known of the rungs, what was decided."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from privity.disclosure import Disclosure
from privity.errors import InputError
from privity.infer.aliases import BUILT_IN, Alias
from privity.infer.catalogue import Offer
from privity.policy.sensitive import ROUTES, Kind
from privity.receipt import Passed, Routing
from privity.wording import shown

__all__ = [
    "Cause",
    "Choice",
    "Decision",
    "Fallback",
    "PassedOver",
    "Rules",
    "Standing",
    "Standings",
    "Wanted",
    "routing_of",
]

MOST_TOLD = 16
_MOST_WHY = 240
_MOST_TOKENS = 10**9


class Fallback(enum.StrEnum):
    """What may answer where the offer that was meant first does not. The value is its name."""

    NONE = "none"
    """Nothing else."""
    STRICTER = "stricter"
    """What shows nobody more than the one meant first would have."""
    CEILING = "ceiling"
    """Whatever the policy admits."""


class Cause(enum.StrEnum):
    """Why an offer was passed over, by kind; each calls for another error."""

    ABILITY = "ability"
    CONTEXT = "context"
    PRICE = "price"
    SENSITIVE = "sensitive"
    POLICY = "policy"
    BROKEN = "broken"
    BUDGET = "budget"
    FALLBACK = "fallback"


@dataclass(frozen=True)
class Wanted:
    """What one request asks for.

    Attributes:
        model: as the caller named it: a bare id, ``route/rung/id``, ``route/id`` or an alias;
            None or empty for the default.
        needs: what the model has to be able to do: ``tools``, ``vision``, ``embeddings``.
        prompt_tokens: an estimate, never below the truth by much.
        completion_tokens: the most that may be answered: what it may cost is reckoned by it.
        room: the tokens an answer should have room for; None for all that may be answered.
        loosest: the loosest route that what the prompt holds allows.
        because: the kinds that demand it.

    Raises:
        InputError: a route that is none, or a number of tokens that is none.
    """

    model: str | None = None
    needs: frozenset[str] = frozenset()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    loosest: str = ROUTES[-1]
    because: frozenset[Kind] = frozenset()
    room: int | None = None

    def __post_init__(self) -> None:
        if self.loosest not in ROUTES:
            raise InputError(f"{self.loosest!r:.80} is not a route")
        for tokens in (self.prompt_tokens, self.completion_tokens):
            if type(tokens) is not int or not 0 <= tokens <= _MOST_TOKENS:
                raise InputError(f"a number of tokens is 0 to {_MOST_TOKENS}")


@dataclass(frozen=True)
class Standing:
    """What is known of a rung now.

    Attributes:
        disclosure: the table that the policy admitted; None where it admitted none.
        refused: why the policy refuses it; empty where it does not.
        broken: why it cannot be had now; empty where it can.
        first_token_ms: how soon its answers begin, as measured here; None where none was.
        default: the model it answers with where none is named; empty where it does not say.
    """

    disclosure: Disclosure | None = None
    refused: str = ""
    broken: str = ""
    first_token_ms: float | None = None
    default: str = ""


Standings = Mapping[tuple[str, str], Standing]
"""By route and rung."""


@dataclass(frozen=True)
class Rules:
    """How a person wants requests routed: ``[routing]`` and ``[[alias]]`` of config.toml.

    Attributes:
        order: for a bare model id, or none, the route that is meant first, and so on.
        fallback: what may answer in place of what was meant first.
        aliases: privity's and the person's own.
        default: the model or alias where a request names none; empty for the order alone.
        rungs: the rungs as ``(route, rung)``, in the order they were configured; decides between
            those that are otherwise alike. What is not in it comes last, by name.
        currency: the one in which prices are compared; others are not converted.
    """

    order: tuple[str, ...] = ("anonymous", "confidential", "local", "zdr")
    fallback: Fallback = Fallback.STRICTER
    aliases: tuple[Alias, ...] = BUILT_IN
    default: str = ""
    rungs: tuple[tuple[str, str], ...] = ()
    currency: str = "USD"


@dataclass(frozen=True)
class Choice:
    """An offer that may answer, and why.

    Attributes:
        offer: which.
        reasons: in words, for people and receipts.
        worst: the most it may cost, in millionths of its currency's unit; 0 where it is free,
            None where its price is not known.
    """

    offer: Offer
    reasons: tuple[str, ...]
    worst: int | None = 0


@dataclass(frozen=True)
class PassedOver:
    """What would have answered the request's name and does not.

    Attributes:
        name: of an offer, or of a whole rung.
        cause: by kind.
        why: in words.
    """

    name: str
    cause: Cause
    why: str


@dataclass(frozen=True)
class Decision:
    """What may answer a request, in order.

    Attributes:
        choices: at least one; the next is for when the one before fails before its answer began.
        passed_over: what was looked at on the way and not chosen.
        asked: the model as the caller named it; empty for none.
        alias: the alias that was meant; None for none.
        fallback: the rule that decided what may follow what was meant first.
        meant: the name of what would be first if everything worked and were affordable.
        before: those of `passed_over` that came before the first of the choices.
    """

    choices: tuple[Choice, ...]
    passed_over: tuple[PassedOver, ...]
    asked: str
    alias: str | None
    fallback: Fallback
    meant: str = field(default="")
    before: tuple[PassedOver, ...] = ()

    @property
    def failed(self) -> tuple[PassedOver, ...]:
        """What came first by the person's wish, and cannot be had or is refused by the policy."""
        told = Cause.BROKEN, Cause.POLICY
        return tuple(one for one in self.before if one.cause in told)


def routing_of(decision: Decision, choice: Choice | None = None) -> Routing:
    """Return a decision as receipts keep it: words and names, and nothing of the prompt.

    Args:
        decision: which.
        choice: what is tried; None for the first of its choices.

    Guarantees:
        It is bounded, whatever peers call their models, and does not name what kinds of personal
        data the prompt holds (tests/adversary/test_router.py::test_what_a_receipt_keeps).
    """
    choice = choice or decision.choices[0]
    told = decision.passed_over[:MOST_TOLD]
    return Routing(
        asked=shown(decision.asked),
        chosen=shown(choice.offer.name),
        meant=shown(decision.meant),
        fallback=decision.fallback.value,
        reasons=tuple(shown(reason, _MOST_WHY) for reason in choice.reasons),
        passed_over=tuple(
            Passed(shown(one.name), one.cause.value, shown(one.why, _MOST_WHY)) for one in told
        ),
        more=len(decision.passed_over) - len(told),
    )
