"""What a provider must promise before a person's words may go to it: the ``[terms]`` table.

A provider's terms are data with a source and a date. Nothing here can check them; the ground stays
a promise. What can be checked is that a promise was made, and that it is as strong as was asked.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from privity.errors import InputError

__all__ = ["Feature", "Terms", "TermsPolicy"]

_MAX_DAYS = 36_500


class Feature(enum.StrEnum):
    """What leaves something with a provider beyond one answer, by its name in policies."""

    STORE = "store"
    """Stored responses and completions, and whatever continues one: ``previous_response_id``."""
    FILES = "files"
    """Files and containers kept at the provider, and what refers to them."""
    ASSISTANTS = "assistants"
    """Assistants, threads, agents and conversations kept at the provider."""
    BATCH = "batch"
    """Batches and answers made in the background, which wait at the provider to be fetched."""
    PROMPT_CACHING = "prompt-caching"
    """Prompt caching that the caller asks for, or for longer than the profile's terms say."""
    SERVER_TOOLS = "server-tools"
    """Tools that the provider itself runs: web search, code, other servers."""
    MEDIA_URLS = "media-urls"
    """Addresses that the provider would fetch."""


@dataclass(frozen=True)
class Terms:
    """What a provider says about what it is sent.

    Attributes:
        provider: whose terms they are.
        retention_days: how long it keeps prompts and answers; 0 is not at all, None is not stated.
        training: whether it trains on them; None is not stated.
        regions: where it processes them, such as ``eu``; empty is not stated.
        source: where it says so.
        as_of: when somebody read it there.
        agreement: what has to be agreed first for them to hold, and that the person says is; empty
            where they hold for everyone.
    """

    provider: str
    retention_days: int | None
    training: bool | None
    regions: tuple[str, ...]
    source: str
    as_of: date
    agreement: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return them as receipts and `--json` show them."""
        return {
            "agreement": self.agreement,
            "as_of": self.as_of.isoformat(),
            "provider": self.provider,
            "regions": list(self.regions),
            "retention_days": self.retention_days,
            "source": self.source,
            "training": self.training,
        }


@dataclass(frozen=True)
class TermsPolicy:
    """The least a provider must promise. The defaults are zero retention and no training.

    Attributes:
        retention_days: the longest it may say it keeps anything; None accepts any, and no answer.
        training: whether it may train on what it is sent.
        regions: where it may process it; empty accepts any.
        stateful: the features that may be used though they leave something with it.

    Raises:
        InputError: a value outside of these.
    """

    retention_days: int | None = 0
    training: bool = False
    regions: frozenset[str] = frozenset()
    stateful: frozenset[Feature] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if self.retention_days is not None and not 0 <= self.retention_days <= _MAX_DAYS:
            raise InputError(f'terms.retention_days must be 0 to {_MAX_DAYS}, or "any"')

    def __le__(self, other: TermsPolicy) -> bool:
        """Whether this one is at least as strict: it accepts nothing that `other` refuses."""
        return (
            _longest(self) <= _longest(other)
            and self.training <= other.training
            and (not other.regions or (bool(self.regions) and self.regions <= other.regions))
            and self.stateful <= other.stateful
        )

    def offences(self, terms: Terms) -> tuple[str, ...]:
        """Return in words what the terms promise too little of; none means they are enough."""
        found = []
        days = terms.retention_days
        if self.retention_days is not None and (days is None or days > self.retention_days):
            kept = "does not say how long it keeps what it is sent"
            if days is not None:
                kept = f"says it keeps what it is sent for {days} days"
            allowed = "nothing may be kept"
            if self.retention_days:
                allowed = f"at most {self.retention_days} days are allowed"
            found.append(f"{terms.provider} {kept}; {allowed}")
        if not self.training and terms.training is not False:
            may = "trains on" if terms.training else "does not say that it never trains on"
            found.append(f"{terms.provider} {may} what it is sent")
        if self.regions and not (terms.regions and set(terms.regions) <= self.regions):
            where = ", ".join(terms.regions) or "somewhere it does not say"
            found.append(
                f"{terms.provider} processes in {where}; allowed: {', '.join(sorted(self.regions))}"
            )
        return tuple(found)

    def least(self, terms: Terms) -> dict[str, Any]:
        """Return the lines of a table, no more than it takes, with which the terms are enough."""
        table: dict[str, Any] = {}
        days = terms.retention_days
        if self.retention_days is not None and (days is None or days > self.retention_days):
            table["retention_days"] = "any" if days is None else days
        if not self.training and terms.training is not False:
            table["training"] = True
        if self.regions and not (terms.regions and set(terms.regions) <= self.regions):
            table["regions"] = sorted(self.regions | set(terms.regions)) if terms.regions else []
        return table

    def with_table(self, table: object) -> TermsPolicy:
        """Return this with what a ``[terms]`` table says in place; the rest stays.

        Raises:
            InputError: it is not such a table; the message names the key.
        """
        if not isinstance(table, dict):
            raise InputError("`terms` is not a table such as `[terms]`")
        changes: dict[str, Any] = {}
        for key, value in table.items():
            reader = _READERS.get(key)
            if reader is None:
                known = ", ".join(_READERS)
                raise InputError(f"terms: {key!r:.80} is not known", hint=f"known: {known}")
            changes[key] = reader(key, value)
        return replace(self, **changes)

    def to_table(self) -> dict[str, Any]:
        """Return what `with_table` reads, JSON-ready."""
        return {
            "regions": sorted(self.regions),
            "retention_days": "any" if self.retention_days is None else self.retention_days,
            "stateful": sorted(feature.value for feature in self.stateful),
            "training": self.training,
        }


def _longest(policy: TermsPolicy) -> float:
    return float("inf") if policy.retention_days is None else policy.retention_days


def _days(key: str, value: object) -> int | None:
    if value == "any":
        return None
    if type(value) is not int:
        raise InputError(f'terms.{key} must be a number of days, or "any"')
    return value


def _yes_or_no(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"terms.{key} must be true or false")
    return value


def _texts(key: str, value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise InputError(f"terms.{key} must be a list of texts")
    return frozenset(value)


def _features(key: str, value: object) -> frozenset[Feature]:
    for item in _texts(key, value):
        if item not in list(Feature):
            known = ", ".join(Feature)
            raise InputError(f"terms.{key}: {item!r:.80} is not known", hint=f"known: {known}")
    return frozenset(Feature(item) for item in _texts(key, value))


_READERS: Mapping[str, Any] = {
    "retention_days": _days,
    "training": _yes_or_no,
    "regions": _texts,
    "stateful": _features,
}
