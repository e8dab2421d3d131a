"""Any server that speaks the OpenAI API, by its URL: Ollama, LM Studio, vLLM, llama-server, others.

It runs already and goes on running: `start` asks it what it is and what it has, `aclose` only lets
go.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from privity.errors import EngineError, InputError, MalformedError
from privity.infer.engines.asking import Questions, words_of
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.isolation import prefix_cache_of
from privity.infer.engines.ollama import Installed, installed, is_elsewhere
from privity.statement import Model

__all__ = ["OpenAIServer"]

_TIMEOUT_S = 10.0
_MAX_MODELS = 256
# How each says whose a model is, in the list every one of them has.
_OWNERS = {
    "llamacpp": "llama-server",
    "vllm": "vllm",
    "library": "ollama",
    "organization_owner": "lm-studio",
}
_VERSION_PATHS = {"vllm": "/version", "ollama": "/api/version"}


class OpenAIServer(Engine):
    """A server of somebody's, found by URL.

    Args:
        base_url: with or without ``/v1``.
        api_key: sent as a bearer token, if it wants one.
        timeout_s: seconds it may take to say what it has.
        transport: how to reach it; by default directly, whatever proxies the environment names.

    Raises:
        InputError: not an http or https URL.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise InputError(f"{base_url!r} is not the http URL of an engine")
        self._base_url = base_url.rstrip("/").removesuffix("/v1")
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._transport = transport
        self._models: tuple[Model, ...] = ()
        self._forwarded: tuple[Installed, ...] = ()
        self._version = ""
        self.kind = "openai"

    @property
    def base_url(self) -> str:
        """Where it listens, without ``/v1``."""
        return self._base_url

    @property
    def headers(self) -> Mapping[str, str]:
        """Its API key, if there is one."""
        return self._headers

    @property
    def models(self) -> tuple[Model, ...]:
        """What it listed at `start`; nobody can know the digests of its weights."""
        return self._models

    @property
    def prefix_cache(self) -> PrefixCache:
        """By its kind; `SHARED` where it has no way to keep callers apart."""
        return prefix_cache_of(self.kind)

    @property
    def version(self) -> str:
        """Its release as it said at `start`; empty where it does not say."""
        return self._version

    @property
    def forwarded(self) -> tuple[Installed, ...]:
        """The models that it lists but forwards to servers elsewhere: no part of `models`."""
        return self._forwarded

    def questions(self) -> Questions:
        """Return connections for questions about itself, to be entered and left."""
        return Questions(
            self._base_url, self._headers, timeout_s=self._timeout_s, transport=self._transport
        )

    def has(self, model: str) -> bool:
        """Tell whether a request may name this model: one of `models`, without its tag too.

        Whoever sends a prompt asks this first: an Ollama takes names that it does not list, and
        forwards them.
        """
        listed = {one.id for one in self._models}
        if self.kind != "ollama":
            return model in listed
        folded = {name.casefold() for name in listed}
        return model.casefold() in folded or f"{model}:latest".casefold() in folded

    async def start(self) -> None:
        """Ask it what it has.

        Raises:
            EngineError: it does not answer, or not as an OpenAI-compatible server would.

        Guarantees:
            A model that an Ollama forwards to another server is not among `models`
            (tests/unit/test_ollama.py::test_a_forwarded_model_is_not_a_local_one).
        """
        async with self.questions() as ask:
            listed = await ask.get("/v1/models")
            entries = listed.get("data") if isinstance(listed, dict) else None
            if entries is None and isinstance(listed, dict) and listed.get("object") == "list":
                entries = []  # as an Ollama without any model writes it
            if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
                raise EngineError(f"{self._base_url} does not answer as an OpenAI API would")
            owners = (_OWNERS.get(str(entry.get("owned_by"))) for entry in entries)
            self.kind = next((kind for kind in owners if kind), "openai")
            await self._ask_ollama(ask)
            self._version = await self._ask_version(ask)
        name = f"{self.kind} {self._version}".strip()
        away = {one.id for one in self._forwarded}
        if self.prefix_cache is PrefixCache.SHARED:
            # Statements and receipts repeat this name: whoever verifies one learns of it.
            name += ", prefix cache shared between callers"
        try:
            self._models = tuple(
                Model(str(entry["id"]), None, name)
                for entry in entries[:_MAX_MODELS]
                if entry["id"] not in away and not self._forwards(str(entry["id"]))
            )
        except (KeyError, MalformedError) as error:
            raise EngineError(f"{self._base_url} lists models without proper names") from error

    async def aclose(self) -> None:
        """Do nothing: it is not ours to end."""

    def _forwards(self, name: str) -> bool:
        return self.kind == "ollama" and is_elsewhere(name)

    async def _ask_ollama(self, ask: Questions) -> None:
        """Ask Ollama's own API whether this is one, and which models it does not run itself."""
        if self.kind not in ("ollama", "openai"):
            return
        try:
            listed = await installed(ask)
        except EngineError:
            if self.kind == "ollama":
                raise  # without its answer nobody knows where its prompts would go
            return
        self.kind = "ollama"
        self._forwarded = tuple(one for one in listed if one.elsewhere)

    async def _ask_version(self, ask: Questions) -> str:
        path = _VERSION_PATHS.get(self.kind)
        if path is None:
            return ""
        try:
            answer = await ask.get(path)
        except EngineError:
            return ""
        version = answer.get("version") if isinstance(answer, dict) else None
        return words_of(version)[:32]
