"""Any server that speaks the OpenAI API, by its URL: Ollama, LM Studio, vLLM, llama-server, others.

It runs already and goes on running: `start` asks it what it is and what it has, `aclose` only lets
go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from privity.errors import EngineError, InputError, MalformedError
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.isolation import prefix_cache_of
from privity.statement import Model

__all__ = ["OpenAIServer"]

_TIMEOUT_S = 10.0
_MAX_ANSWER = 4 << 20
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

    async def start(self) -> None:
        """Ask it what it has.

        Raises:
            EngineError: it does not answer, or not as an OpenAI-compatible server would.
        """
        async with httpx.AsyncClient(
            base_url=self._base_url,
            headers=self._headers,
            timeout=self._timeout_s,
            trust_env=False,
            transport=self._transport,
        ) as client:
            listed = await self._ask(client, "/v1/models")
            entries = listed.get("data") if isinstance(listed, dict) else None
            if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
                raise EngineError(f"{self._base_url} does not answer as an OpenAI API would")
            owners = (_OWNERS.get(str(entry.get("owned_by"))) for entry in entries)
            self.kind = next((kind for kind in owners if kind), "openai")
            name = await self._name(client)
        if self.prefix_cache is PrefixCache.SHARED:
            # Statements and receipts repeat this name: whoever verifies one learns of it.
            name += ", prefix cache shared between callers"
        try:
            self._models = tuple(
                Model(str(entry["id"]), None, name) for entry in entries[:_MAX_MODELS]
            )
        except (KeyError, MalformedError) as error:
            raise EngineError(f"{self._base_url} lists models without proper names") from error

    async def aclose(self) -> None:
        """Do nothing: it is not ours to end."""

    async def _name(self, client: httpx.AsyncClient) -> str:
        path = _VERSION_PATHS.get(self.kind)
        if path is None:
            return self.kind
        try:
            answer = await self._ask(client, path)
        except EngineError:
            return self.kind
        version = answer.get("version") if isinstance(answer, dict) else None
        return f"{self.kind} {version[:32]}" if isinstance(version, str) else self.kind

    async def _ask(self, client: httpx.AsyncClient, path: str) -> Any:
        try:
            response = await client.get(path)
            if response.status_code in (401, 403):
                raise EngineError(
                    f"the engine at {self._base_url} wants an API key", hint="give its key too"
                )
            response.raise_for_status()
            if len(response.content) > _MAX_ANSWER:
                raise EngineError(f"{self._base_url} does not answer as an OpenAI API would")
            return response.json()
        except httpx.HTTPError as error:
            raise EngineError(
                f"the engine at {self._base_url} did not answer: {type(error).__name__}",
                hint="is it running there?",
            ) from error
        except ValueError as error:
            raise EngineError(f"{self._base_url} does not answer as an OpenAI API would") from error
