"""An engine whose weights are sealed: fetched encrypted, opened in memory, for as long as allowed.

The artefact comes from any store, its key from a broker, against evidence. The plaintext exists in
one file that is memory alone (`privity.node.memory_file`), which the engine's process gets by its
open descriptor and nobody else. The lease is renewed while the model is served; when it is not,
the engine is ended, the memory let go, and every request answered with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from anyio import CancelScope, to_thread

from privity.attest.grant import Purpose
from privity.errors import EngineError, EvidenceError, PrivityError
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.weights import Weights
from privity.node.key_client import KeyClient, Released
from privity.node.memory_file import MemoryFile
from privity.statement import Model
from privity.vault import ArtefactKey, Reader, Source, read_header
from privity.vault.store import open_store_reader

__all__ = ["Opening", "SealedModel"]

logger = logging.getLogger("privity.enclave")


class Opening:
    """A plaintext on its way into memory. Blocks; use it in a thread.

    Args:
        source: the sealed bytes.
        released: its key, and the grant that names what it opens to.
        unsafe_swap: see `MemoryFile`.

    Attributes:
        memory: where the plaintext goes; nothing is in it before `fill`.

    Raises:
        EvidenceError: ``.check`` is ``root``: it is not the plaintext that was granted.
        OpenError, TruncatedError, MalformedError, PeerError: the artefact cannot be opened.
        EngineError: there is no memory that could hold it.
    """

    def __init__(self, source: Source, released: Released, *, unsafe_swap: bool = False) -> None:
        key = ArtefactKey(released.key)
        try:
            self._reader = Reader(source, key)
        finally:
            key.erase()
        self._root = released.signed.grant.root
        # Compared before a byte is opened, and proved while the last one is: `copy_to` refuses
        # contents that do not have the root the artefact says they have.
        if self._reader.root != self._root:
            raise _other_plaintext()
        self.memory = MemoryFile(self._reader.size, unsafe_swap=unsafe_swap)
        self._filled = False

    def fill(self) -> None:
        """Open all of it into locked memory, check its root and seal it. Again does nothing.

        Raises:
            The errors of `Opening`. The memory is then let go.
        """
        if self._filled:
            return
        try:
            if self._reader.copy_to(self.memory.lock()) != self._root:
                raise _other_plaintext()
            self.memory.seal()
        except BaseException:
            self.memory.close()
            raise
        self._filled = True


def _other_plaintext() -> EvidenceError:
    return EvidenceError("the artefact does not hold the plaintext granted", check="root")


@dataclass
class _Open:
    """What is there while the model is served."""

    memory: MemoryFile
    engine: EmbeddedEngine = field(repr=False)


class SealedModel(Engine):
    """The embedded engine over an artefact that a broker lets this enclave open.

    Args:
        url: where the sealed artefact is.
        client: asks the broker; closed with the engine.
        artefact: the id it must have; by default whatever is there.
        make_engine: makes the engine for weights in memory; by default the embedded one.
        open_source: opens the store.
        unsafe_swap: see `MemoryFile`.

    Guarantees:
        No plaintext of the weights is on any disk (tests/e2e/test_sealed_model.py). A lease that
        is not renewed ends the engine and frees the memory at once, and no request reaches the
        model afterwards (tests/unit/test_sealed_model.py), also where it is refused while the
        weights are opened or loaded (tests/adversary/test_sealed_model.py).
    """

    kind = "embedded"
    prefix_cache = PrefixCache.OFF

    def __init__(
        self,
        url: str,
        client: KeyClient,
        *,
        artefact: str | None = None,
        make_engine: Callable[[Weights], EmbeddedEngine] = EmbeddedEngine,
        open_source: Callable[[str], Source] = open_store_reader,
        unsafe_swap: bool = False,
    ) -> None:
        self._url, self._client, self._artefact = url, client, artefact
        self._make_engine, self._open_source = make_engine, open_source
        self._opening = partial(Opening, unsafe_swap=unsafe_swap)
        self._open: _Open | None = None
        self._models: tuple[Model, ...] = ()
        self._lost: PrivityError | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def base_url(self) -> str:
        """Where the engine listens; raises `EngineError` before `start` and once it was lost."""
        return self._engine().base_url

    @property
    def headers(self) -> Mapping[str, str]:
        """The engine's API key."""
        return self._engine().headers

    @property
    def models(self) -> tuple[Model, ...]:
        """The one model, by the name its owner gave it and with its root for weights."""
        return self._models

    @property
    def serving(self) -> bool:
        """Whether its key was not taken back."""
        return self._lost is None

    @property
    def pid(self) -> int:
        """The engine's process; raises `EngineError` where there is none."""
        return self._engine().pid

    async def start(self) -> None:
        """Get the key, open the artefact in memory, and load it.

        Raises:
            EvidenceError: the broker refuses, or the plaintext is not the one granted.
            PeerError: the store or the broker cannot be reached.
            EngineError: the weights cannot be loaded, or the lease was lost meanwhile.
        """
        if self._open is not None or self._lost is not None or self._closed:
            self._engine()  # raises unless it is there
            return
        source = await to_thread.run_sync(self._open_source, self._url)
        try:
            found = (await to_thread.run_sync(read_header, source)).id
            if self._artefact not in (None, found):
                raise EvidenceError("another artefact is kept there", check="artefact")
            released = await self._client.obtain(found, Purpose.SERVE)
            self._refuse_ended()
            # From here on the lease runs, and renewing it must not wait for a large download.
            self._keeper = asyncio.create_task(self._keep(released))
            opening = await to_thread.run_sync(self._opening, source, released)
            await self._load(opening, released)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                await to_thread.run_sync(close)

    async def aclose(self) -> None:
        """End the engine, free the memory and stop asking."""
        self._closed = True
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            if self._lost is None:  # else it is dropping everything already, and is let finish
                keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        await self._drop()
        await self._client.aclose()

    @asynccontextmanager
    async def turn(self, *, wide: bool = False) -> AsyncIterator[Mapping[str, object]]:
        """Wait for a slot of the engine."""
        async with self._engine().turn(wide=wide) as fields:
            yield fields

    async def _load(self, opening: Opening, released: Released) -> None:
        """Start the engine's process, open the artefact meanwhile, and have it loaded."""
        grant, memory = released.signed.grant, opening.memory

        def fill() -> None:  # in a thread, and again with each new process
            self._refuse_ended()
            opening.fill()

        try:
            self._refuse_ended()
            weights = Weights(memory.path, grant.name, root=grant.root, fd=memory.fd, fill=fill)
            engine = self._make_engine(weights)
        except BaseException:
            memory.close()
            raise
        self._open = _Open(memory, engine)
        try:
            await engine.start()
            self._models = engine.models
            self._engine()
        except BaseException as error:
            await self._drop()
            if isinstance(error, EngineError):
                self._refuse_ended()  # which is why, if it has
            raise

    async def _keep(self, released: Released) -> None:
        """Renew the lease, and drop everything when that ends."""
        try:
            await self._client.keep(released)
        except PrivityError as error:
            lost = error
        except Exception as error:  # whatever it is, the right to the plaintext is not renewed
            lost = EngineError(f"the lease could not be kept: {type(error).__name__}")
        self._lost = lost  # first: from now on no request gets in
        check = lost.check if isinstance(lost, EvidenceError) else "lease"
        logger.warning("the model is withdrawn (%s): %s", check, lost.message)
        await self._drop()

    async def _drop(self) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        with CancelScope(shield=True):  # whoever is dropped has no say in it
            try:
                await opened.engine.aclose()
            finally:
                await to_thread.run_sync(opened.memory.close)

    def _engine(self) -> EmbeddedEngine:
        self._refuse_ended()
        if self._open is None:
            raise EngineError("the sealed model is not loaded")
        return self._open.engine

    def _refuse_ended(self) -> None:
        if self._lost is not None:
            raise EngineError(
                f"this model was withdrawn from the enclave: {self._lost.message}",
                hint="its owner can grant it again; the enclave then has to be started anew",
            )
        if self._closed:
            raise EngineError("the sealed model was closed")
