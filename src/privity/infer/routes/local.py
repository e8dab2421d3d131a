"""The local route: an engine on this device answers, and nothing leaves it.

Layer 1. An engine given by URL may turn out not to be on this device at all; then the table says
so, and a policy such as `local-only` refuses it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from privity.attested import AttestedEnclave
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import EngineError, InputError, TruncatedError
from privity.infer.asked import read_asked
from privity.infer.loopback import is_loopback
from privity.seal.transport import KeySource
from privity.statement import Model
from privity.wording import failure_words, printable

if TYPE_CHECKING:
    from privity.infer.engines.engine import Engine

__all__ = ["LocalRoute", "local_disclosure"]

_CONTENT = (Asset.PROMPT, Asset.ANSWER)


@dataclass(frozen=True)
class LocalRoute:
    """An engine that runs, and what asking it discloses.

    Attributes:
        engine: started; whoever started it closes it.
        disclosure: computed from where the engine listens.
    """

    engine: Engine
    disclosure: Disclosure

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    @property
    def models(self) -> tuple[Model, ...]:
        """The models the engine has."""
        return tuple(self.engine.models)

    @property
    def enclave(self) -> AttestedEnclave | None:
        """None: nobody but the device answers, so nobody else signs for it."""
        return None

    @property
    def terms(self) -> None:
        """None: nobody but the device is trusted."""

    def transport(
        self, keys: KeySource, inner: httpx.AsyncBaseTransport
    ) -> httpx.AsyncBaseTransport:
        """Return a transport to the engine; ``keys`` has no part in it."""
        return _EngineTransport(self.engine, inner)


def local_disclosure(base_url: str, kind: str) -> Disclosure:
    """Return who learns what when the engine at ``base_url`` answers.

    Args:
        base_url: where the engine listens.
        kind: what it is, such as ``ollama``; names the row of the table.
    """
    host = urlsplit(base_url).hostname or ""
    person = {(Party.PERSON, asset): Cell(View.EVERYTHING) for asset in _CONTENT}
    if is_loopback(host):
        device = {(Party.DEVICE, asset): Cell(View.EVERYTHING) for asset in _CONTENT}
        label = frozenset({f"your device · {kind}"})
        return Disclosure(person | device, {Party.DEVICE: label})
    return Disclosure(person | _elsewhere(base_url), {Party.HOST: frozenset({f"host · {kind}"})})


def _elsewhere(base_url: str) -> dict[tuple[Party, Asset], Cell]:
    """Return what an engine on another machine amounts to: its host, and perhaps the wire, read."""
    stops = frozenset({Basis(Ground.NOTHING, "a plain engine does not stop its host")})
    encrypted = urlsplit(base_url).scheme == "https"
    wire = (
        Cell(View.SIZE, frozenset({Basis(Ground.MATHEMATICS, "TLS")}))
        if encrypted
        else Cell(View.EVERYTHING, frozenset({Basis(Ground.NOTHING, "sent in the clear")}))
    )
    cells: dict[tuple[Party, Asset], Cell] = {}
    for asset in _CONTENT:
        cells[Party.HOST, asset] = Cell(View.EVERYTHING, stops)
        cells[Party.OBSERVER, asset] = wire
    cells[Party.HOST, Asset.ADDRESS] = Cell(View.EVERYTHING)
    cells[Party.OBSERVER, Asset.ADDRESS] = Cell(View.EVERYTHING)
    return cells


class _EngineTransport(httpx.AsyncBaseTransport):
    """Sends a request to the engine's own address, with its key."""

    def __init__(self, engine: Engine, inner: httpx.AsyncBaseTransport) -> None:
        self._engine = engine
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._check_model(request)
        try:
            try:
                response = await self._send(request)
            except httpx.ConnectError:
                await self._engine.start()  # an engine of ours that ended is started again
                response = await self._send(request)
        except httpx.HTTPError as error:
            raise EngineError(
                f"the {self._engine.kind} engine did not answer: {failure_words(error)}",
                hint="is it still running?",
            ) from error
        response.stream = _EngineStream(response.stream, self._engine.kind)
        return response

    async def _check_model(self, request: httpx.Request) -> None:
        """Refuse a model that the engine would pass on to a server elsewhere.

        An Ollama takes names that it does not list, and forwards what they are asked.
        """
        has = getattr(self._engine, "has", None)
        if has is None or self._engine.kind != "ollama" or request.method != "POST":
            return
        if not isinstance(request.stream, httpx.ByteStream):
            raise InputError("this request is too large to see which model it names")
        asked = read_asked(request.url.path, await request.aread())
        model = asked.model
        # Its parser does not tell cases apart: `Model` would name another one.
        others = [name for name in asked.body or () if name.casefold() == "model"]
        if others != ["model"] or not has(model):
            raise InputError(
                f"the ollama engine does not run {printable(model)[:80]!r} on this device",
                hint="`privity models --route local` lists what it runs",
            )

    async def _send(self, request: httpx.Request) -> httpx.Response:
        base = httpx.URL(self._engine.base_url)
        # Engines serve /v1; a base URL may name it or not, as with the stock client.
        prefix = base.raw_path.rstrip(b"/").removesuffix(b"/v1")
        url = request.url.copy_with(
            scheme=base.scheme,
            host=base.host,
            port=base.port,
            raw_path=prefix + request.url.raw_path,
        )
        kept = [
            (name, value)
            for name, value in request.headers.items()
            if name != "host" and not name.startswith("privity-")  # the salt opens our receipt
        ]
        kept.append(("host", base.netloc.decode("ascii")))
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                url,
                headers=[*kept, *self._engine.headers.items()],
                stream=request.stream,
                extensions=request.extensions,
            )
        )


class _EngineStream(httpx.AsyncByteStream):
    """An engine's answer, whose breaking off is privity's own error."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, kind: str) -> None:
        if not isinstance(stream, httpx.AsyncByteStream):
            raise EngineError("the engine's connection is not asynchronous")
        self._stream = stream
        self._kind = kind

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except httpx.HTTPError as error:
            raise TruncatedError(
                f"the {self._kind} engine broke off its answer: {failure_words(error)}",
                hint="what came so far is not the whole; is the engine still running?",
            ) from error

    async def aclose(self) -> None:
        await self._stream.aclose()
