"""What can be asked for: every model that is reachable, on which route, at which price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from privity.disclosure import Disclosure
from privity.errors import PrivityError
from privity.wording import summarise

__all__ = ["Offer", "Price", "Shelf"]


@dataclass(frozen=True, slots=True)
class Price:
    """What a provider asks for tokens, in millionths of its currency's unit per token.

    So 2.50 per million tokens is ``Price("USD", 2.5, …)``.

    Attributes:
        currency: three capital letters.
        prompt: for each token that is sent.
        completion: for each token that is answered.
    """

    currency: str
    prompt: float
    completion: float


@dataclass(frozen=True, slots=True)
class Offer:
    """One model on one rung of the ladder.

    Attributes:
        model: its id there.
        route: ``local``, ``anonymous``, ``confidential`` or ``zdr``.
        rung: the name of the engine, enclave or provider.
        context: the most tokens of prompt and answer together; None where nobody says.
        price: None where nothing is asked.
        rank: how capable it is beside others, higher is more; None where nothing is known.
        can: what it takes and does: ``chat``, ``tools``, ``vision``, ``embeddings``, ``reasoning``;
            empty where nobody says.
        note: what a person should know of it, such as a context that is cut short.
    """

    model: str
    route: str
    rung: str
    context: int | None = None
    price: Price | None = None
    rank: float | None = None
    can: frozenset[str] = frozenset()
    note: str = ""

    @property
    def name(self) -> str:
        """The name that says it all: ``zdr/openai/gpt-5``."""
        return f"{self.route}/{self.rung}/{self.model}"

    def to_json(self) -> dict[str, Any]:
        """Return it as `privity models --json` shows it."""
        price = self.price
        return {
            "can": sorted(self.can),
            "context": self.context,
            "model": self.model,
            "name": self.name,
            "note": self.note,
            "price": None
            if price is None
            else {
                "completion_per_million": price.completion,
                "currency": price.currency,
                "prompt_per_million": price.prompt,
            },
            "route": self.route,
            "rung": self.rung,
        }


@dataclass(frozen=True)
class Shelf:
    """What one rung of the ladder has to offer now, or why it has nothing.

    Attributes:
        route: ``local``, ``anonymous``, ``confidential`` or ``zdr``.
        rung: the name of the engine, enclave or provider.
        offers: its models.
        disclosure: who would be privy to a job there; None where that could not be found out.
        problem: why it cannot be asked; None where it can.
        version: the release of an engine, where it says.
    """

    route: str
    rung: str
    offers: tuple[Offer, ...] = ()
    disclosure: Disclosure | None = None
    problem: PrivityError | None = None
    version: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as `privity models --json` shows it."""
        problem, disclosure = self.problem, self.disclosure
        return {
            "disclosure": None if disclosure is None else disclosure.to_json(),
            "offers": [offer.to_json() for offer in self.offers],
            "problem": None
            if problem is None
            else {"hint": problem.hint, "message": problem.message},
            "route": self.route,
            "rung": self.rung,
            "summary": None if disclosure is None else summarise(disclosure),
            "version": self.version,
        }
