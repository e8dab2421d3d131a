"""What privity asks of whatever runs a model: an OpenAI-shaped HTTP server, and care with caches.

An engine is started, asked over HTTP at its `base_url`, and closed. Whether one caller's prompt can
show in another caller's timing depends on the engine's prefix cache, so each says what it can do
about that: see `PrefixCache`.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from privity.statement import Model

__all__ = ["Engine", "PrefixCache"]


class PrefixCache(enum.Enum):
    """What an engine does with the computed beginnings of prompts, between callers."""

    OFF = "off"
    """Nothing computed for one request is used for another."""
    SALTED = "salted"
    """Used again under the same salt alone, and every request gets a fresh one."""
    SHARED = "shared"
    """Used for anyone: an answer that begins sooner tells that someone asked the same before."""


class Engine(abc.ABC):
    """Something OpenAI-shaped that answers on a URL.

    Attributes:
        kind: what it is, such as ``embedded`` or ``ollama``.
    """

    kind: str

    @property
    @abc.abstractmethod
    def base_url(self) -> str:
        """Where it listens, without ``/v1``; raises `EngineError` before `start`."""

    @property
    @abc.abstractmethod
    def headers(self) -> Mapping[str, str]:
        """What to send with every request: its API key, if it has one."""

    @property
    @abc.abstractmethod
    def models(self) -> tuple[Model, ...]:
        """What it serves, as of `start`."""

    @property
    @abc.abstractmethod
    def prefix_cache(self) -> PrefixCache:
        """What it does with prefixes when asked with `isolation.fields_for` and `turn`."""

    @property
    def serving(self) -> bool:
        """Whether it may still answer: False once what it serves was taken from it for good."""
        return True

    @abc.abstractmethod
    async def start(self) -> None:
        """Make it ready to answer, without blocking the event loop.

        Raises:
            EngineError: it cannot be started, or does not answer.
            MissingDependency: a part of it is not installed.
        """

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Let go of it; what `start` started ends. Does nothing the second time."""

    @asynccontextmanager
    async def turn(self, *, wide: bool = False) -> AsyncIterator[Mapping[str, object]]:
        """Wait for a place to run one request, and clear it of that request afterwards.

        Args:
            wide: the request may use more places than one: several choices or prompts.

        Yields:
            Fields to put into the request's JSON.
        """
        yield {}
