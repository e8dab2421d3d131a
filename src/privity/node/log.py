"""Floor 5: the log role: takes entries, has witnesses cosign, and serves its folder.

Promise: an entry it has endorsed is in the log for good. Its folder is plain files (C2SP
tlog-tiles): any web server can serve a copy, and whoever reads one checks everything. Who appends
is the operator's choice; who reads is nobody's: it logs no requests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx

from privity.attest.log.checkpoint import Checkpoint, cosignatures
from privity.attest.log.entry import entry_bytes
from privity.attest.log.folder import CHECKPOINT, LogFolder
from privity.attest.log.note import Algorithm, NoteKey, Signature
from privity.attest.log.proof import LogEndorsement
from privity.attest.log.submit import ADD_PATH, Submission
from privity.attest.log.submit import MAX_BYTES as SUBMISSION_BYTES
from privity.attest.log.tiles import Tile
from privity.errors import InputError, MalformedError, OpenError, OversizeError, PeerError
from privity.identity.did_key import parse_did
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.timestamps import utc_now
from privity.node.witness_client import WitnessClient
from privity.seal import problem
from privity.seal.asgi import (
    Receive,
    Scope,
    Send,
    answer,
    answer_lifespan,
    answer_problem,
    read_body,
    refuse_websocket,
)
from privity.seal.problem import Problem, Refused

__all__ = ["LogApp", "LogSettings", "log_app"]

_FORBIDDEN = Problem(403, "urn:privity:problem:not-a-submitter", "this key may not add to this log")
_NO_ENTRY = Problem(400, "urn:privity:problem:not-an-entry", "not an entry this log takes")
_FULL = Problem(500, "urn:privity:problem:not-written", "the log could not be written")
_PATIENCE_S = 30.0
_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
_TILE = b"application/octet-stream"
_BRIEF = (b"cache-control", b"max-age=5")
_FOR_GOOD = (b"cache-control", b"public, max-age=31536000, immutable")


@dataclass(frozen=True)
class LogSettings:
    """How a log is run.

    Attributes:
        submitters: did:keys that may append; None lets anyone, for a log on loopback.
        witnesses: those asked for cosignatures: submission URL by verifier key.
        refresh: cosignatures older than this are asked for anew when somebody wants one.
    """

    submitters: frozenset[str] | None = None
    witnesses: tuple[tuple[str, str], ...] = ()
    refresh: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        try:
            for did in self.submitters or ():
                parse_did(did)
            for vkey, _ in self.witnesses:
                if NoteKey.parse(vkey).algorithm is not Algorithm.COSIGNATURE:
                    raise MalformedError("a witness's key is not one of cosignatures")
        except MalformedError as error:
            raise InputError(f"log: {error.message}") from None


class LogApp:
    """The log as an ASGI application.

    Guarantees:
        Only listed submitters append; nothing but the log's own files is served
        (tests/unit/test_log_node.py).
    """

    def __init__(
        self,
        log: LogFolder,
        settings: LogSettings,
        http: httpx.AsyncClient,
        clock: Callable[[], datetime],
    ) -> None:
        self.key = log.key
        self._log = log
        self._settings = settings
        self._clock = clock
        self._http = http
        self._turn = anyio.Lock()
        self._witnesses = [
            WitnessClient(url, NoteKey.parse(vkey), http) for vkey, url in settings.witnesses
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send, self._http.aclose)
        elif scope["type"] == "websocket":
            await refuse_websocket(send)
        else:
            try:
                headers, body = await self._serve(scope, receive)
            except Refused as refused:
                await answer_problem(send, refused.problem)
            else:
                await answer(send, 200, headers, body)

    @property
    def checkpoint(self) -> Checkpoint:
        """The state of the log."""
        return self._log.checkpoint

    async def endorse(self, entry: bytes, value: dict[str, Any]) -> LogEndorsement:
        """Record an entry unless it is there, have it witnessed, and return its endorsement.

        A witness that cannot be reached is left out; who verifies counts those that did sign.
        """
        async with self._turn:
            index = self._log.find(entry)
            if index is None:
                index = await anyio.to_thread.run_sync(self._log.append, entry)
            await self._gather()
            checkpoint = self._log.checkpoint
            proof = tuple(self._log.inclusion(index, checkpoint.size))
            return LogEndorsement(checkpoint.origin, index, value, proof, self._log.note)

    async def _serve(
        self, scope: Scope, receive: Receive
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        method, path = scope["method"], scope["path"]
        if path == ADD_PATH:
            if method != "POST":
                raise Refused(problem.NO_METHOD)
            return [(b"content-type", _JSON), (b"cache-control", b"no-store")], await self._add(
                receive
            )
        if method != "GET":
            raise Refused(problem.NO_METHOD)
        return await anyio.to_thread.run_sync(self._file, path.removeprefix("/"))

    async def _add(self, receive: Receive) -> bytes:
        try:
            body = await read_body(receive, SUBMISSION_BYTES, _PATIENCE_S)
        except OversizeError:
            raise Refused(problem.OVERSIZE) from None
        except MalformedError:
            raise Refused(_NO_ENTRY) from None
        try:
            submitted = Submission.parse(body)
            data = entry_bytes(submitted.entry)
        except OpenError:
            raise Refused(_FORBIDDEN) from None
        except (MalformedError, OversizeError):
            raise Refused(_NO_ENTRY) from None
        allowed = self._settings.submitters
        if allowed is not None and submitted.submitter not in allowed:
            raise Refused(_FORBIDDEN)
        try:
            endorsement = await self.endorse(data, submitted.entry.to_json())
        except InputError:
            raise Refused(_FULL) from None
        return canonical(endorsement.to_json())

    async def _gather(self) -> None:
        """Ask the witnesses whose cosignature is missing or old."""
        note, size, now = self._log.note, self._log.checkpoint.size, self._clock()
        fresh = {
            one.witness
            for one in cosignatures(note, [witness.key for witness in self._witnesses])
            if now - one.time < self._settings.refresh
        }
        lines: list[Signature] = []

        async def ask(witness: WitnessClient) -> None:
            with contextlib.suppress(PeerError):
                lines.append(await witness.cosign(note, size, self._log.consistency))

        async with anyio.create_task_group() as group:
            for witness in self._witnesses:
                if witness.key not in fresh:
                    group.start_soon(ask, witness)
        await anyio.to_thread.run_sync(self._log.add_signatures, size, lines)

    def _file(self, path: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return one of the log's files; the path is rebuilt from what it names, or refused."""
        kind, caching = (_TEXT, _BRIEF) if path == CHECKPOINT else (_TILE, _FOR_GOOD)
        try:
            place = path if path == CHECKPOINT else Tile.parse(path).path
            data = (self._log.path / place).read_bytes()
        except (MalformedError, OSError):
            raise Refused(problem.NOT_FOUND) from None
        return [(b"content-type", kind), caching], data


@contextlib.contextmanager
def log_app(
    folder: Path,
    key: SigningKey,
    settings: LogSettings | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Iterator[LogApp]:
    """Yield a log's application; it holds the folder's lock for as long.

    Args:
        folder: a log that `LogFolder.create` made.
        key: the log's signing key.
        settings: how it is run.
        transport: how it reaches its witnesses; for tests.
        clock: the time, for the age of cosignatures.

    Raises:
        InputError: the folder holds no log of this key, or another process writes to it.
    """
    http = httpx.AsyncClient(transport=transport, timeout=5.0, trust_env=False)
    with LogFolder.open(folder, key) as log:
        yield LogApp(log, settings or LogSettings(), http, clock)
