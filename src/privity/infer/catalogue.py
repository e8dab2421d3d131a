"""What can be asked for: every model that is reachable, on which route, at which price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Offer", "Price"]


@dataclass(frozen=True, slots=True)
class Price:
    """What a provider asks for tokens, in millionths of its currency's unit per token.

    So 2.50 per million tokens is ``Price("USD", 2.5, …)``.
    """

    currency: str
    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of so many tokens, in units of the currency."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Offer:
    """One model on one rung of the ladder.

    Attributes:
        model: its id there.
        route: ``local``, ``confidential`` or ``zdr``.
        rung: the name of the engine, enclave or provider.
        context: the most tokens of prompt and answer together; None where nobody says.
        price: None where nothing is asked.
        rank: how capable it is beside others, higher is more; None where nothing is known.
        can: what it takes and does: ``tools``, ``vision``, ``embeddings``; empty where nobody says.
    """

    model: str
    route: str
    rung: str
    context: int | None = None
    price: Price | None = None
    rank: float | None = None
    can: frozenset[str] = frozenset()

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
