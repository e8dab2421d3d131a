"""Floor 5: the witness role: it has seen a log grow, and says so (C2SP tlog-witness).

Promise: a witness cosigns a checkpoint of a log it knows only if the tree begins with the tree it
cosigned last. So a log that shows two people two histories cannot have both cosigned by one honest
witness. It reads no entries, and needs no trust in the log.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio
import anyio.to_thread

from privity.attest.log.checkpoint import Checkpoint, cosign, cosignatures, open_checkpoint
from privity.attest.log.folder import locked, write_durably
from privity.attest.log.note import MAX_BYTES as NOTE_BYTES
from privity.attest.log.note import Algorithm, Note, NoteKey, parse_keys
from privity.errors import InputError, MalformedError, OpenError, OversizeError
from privity.hazmat.merkle import EMPTY, HASH_BYTES, verify_consistency
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64
from privity.identity.timestamps import utc_now
from privity.seal.asgi import (
    Receive,
    Scope,
    Send,
    answer,
    answer_lifespan,
    read_body,
    refuse_websocket,
)

__all__ = ["Witness", "WitnessApp", "parse_request", "witness_app"]

ADD_CHECKPOINT = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"

_MAX_PROOF = 63
_PATIENCE_S = 30.0
_MAX_BYTES = NOTE_BYTES + 4096
_OLD = re.compile(r"old (0|[1-9][0-9]{0,15})")
_LAST = re.compile(r"/([0-9a-f]{64})/checkpoint")
_TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """What the witness answers: HTTP status, media type and body."""

    status: int
    body: bytes = b""
    kind: bytes = _TEXT


def parse_request(data: bytes) -> tuple[int, tuple[bytes, ...], Note]:
    """Read the body of an add-checkpoint request: old size, consistency proof, checkpoint.

    Raises:
        MalformedError: it is none.

    Guarantees:
        Total (tests/property/test_log.py).
    """
    head, blank, tail = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedError("not an add-checkpoint request: not ASCII") from None
    old = _OLD.fullmatch(first)
    if not blank or old is None or len(lines) > _MAX_PROOF:
        raise MalformedError("not an add-checkpoint request: old size, proof, checkpoint")
    proof = tuple(decode_base64(line) for line in lines)
    if any(len(node) != HASH_BYTES for node in proof):
        raise MalformedError("a proof is of hashes")
    try:
        return int(old[1]), proof, Note.parse(tail)
    except OversizeError as error:
        raise MalformedError(error.message) from None


class Witness:
    """Keeps the last checkpoint of each log it knows, and cosigns what is consistent with it.

    Args:
        name: the witness's name, such as ``witness.example``.
        key: its signing key, used for nothing else.
        logs: verifier keys of the logs it knows.
        folder: where the checkpoints are kept, one file a log.
        clock: the time it puts in cosignatures.

    Guarantees:
        It never cosigns two trees of one log of which neither begins the other, whatever arrives
        when and whenever it is killed (tests/adversary/test_witness.py).
    """

    def __init__(
        self,
        name: str,
        key: SigningKey,
        logs: Sequence[str],
        folder: Path,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        try:
            self.key = NoteKey.of(name, Algorithm.COSIGNATURE, key)
            self._logs = parse_keys(logs, Algorithm.ED25519)
        except MalformedError as error:
            raise InputError(f"witness: {error.message}") from None
        self._signing_key = key
        self._folder = folder
        self._clock = clock

    def add_checkpoint(self, data: bytes) -> Answer:
        """Answer one add-checkpoint request. Blocking; one at a time."""
        try:
            old, proof, note = parse_request(data)
            checkpoint = Checkpoint.parse(note.text)
        except MalformedError:
            return Answer(400)
        keys = [key for key in self._logs if key.name == checkpoint.origin]
        if not keys:
            return Answer(404)
        try:
            open_checkpoint(note, keys)
        except (OpenError, MalformedError):
            return Answer(403)
        if old > checkpoint.size:
            return Answer(400)
        last = self.last(checkpoint.origin)
        size = 0 if last is None else last.size
        if old != size:
            return Answer(409, b"%d\n" % size, SIZE_TYPE.encode())
        try:
            _check_growth(last, checkpoint, proof)
        except MalformedError:
            return Answer(422)
        line = cosign(note, self._signing_key, self.key.name, self._clock())
        kept = tuple(one for one in note.signatures if any(one.claims(key) for key in keys))
        # Kept before it is shown: a cosignature that got out must never be forgotten.
        write_durably(self._path(checkpoint.origin), Note(note.text, (*kept, line)).to_bytes())
        return Answer(200, line.line.encode())

    def last(self, origin: str) -> Checkpoint | None:
        """Return the checkpoint of a log that was cosigned last; None if there is none.

        Raises:
            InputError: the file is damaged. It is not passed over: forgetting is what a forked
                log would wish.
        """
        path = self._path(origin)
        try:
            note = Note.parse(path.read_bytes())
            checkpoint = Checkpoint.parse(note.text)  # its log may have another key by now
            if not cosignatures(note, [self.key]) or checkpoint.origin != origin:
                raise MalformedError("not cosigned by this witness")
        except FileNotFoundError:
            return None
        except (OSError, MalformedError, OversizeError, OpenError) as error:
            raise InputError(
                f"{path} is damaged ({type(error).__name__})", hint="restore it from a copy"
            ) from None
        return checkpoint

    def read_last(self, hashed: str) -> bytes | None:
        """Return the last cosigned checkpoint of the log with this hash of its origin."""
        for key in self._logs:
            path = self._path(key.name)
            if hashed == path.name and path.exists():
                return path.read_bytes()
        return None

    def _path(self, origin: str) -> Path:
        return self._folder / hashlib.sha256(origin.encode()).hexdigest()


def _check_growth(last: Checkpoint | None, new: Checkpoint, proof: tuple[bytes, ...]) -> None:
    """Raise `MalformedError` unless the new tree begins with the last one."""
    if new.size == 0 and new.root != EMPTY:
        raise MalformedError("a tree without entries, but with another root")
    if last is None or last.size == 0:
        if proof:
            raise MalformedError("a proof from nothing")
        return
    verify_consistency(last.size, last.root, new.size, new.root, proof)


class WitnessApp:
    """The witness as an ASGI application."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self.key = witness.key
        self.last = witness.last
        self._turn = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(send)
        else:
            reply = await self._serve(scope, receive)
            await answer(send, reply.status, [(b"content-type", reply.kind)], reply.body)

    async def _serve(self, scope: Scope, receive: Receive) -> Answer:
        method, path = scope["method"], scope["path"]
        last = _LAST.fullmatch(path)
        if method == "GET" and last is not None:
            note = self._witness.read_last(last[1])
            return Answer(404) if note is None else Answer(200, note)
        if path != ADD_CHECKPOINT:
            return Answer(404)
        if method != "POST":
            return Answer(405)
        try:
            body = await read_body(receive, _MAX_BYTES, _PATIENCE_S)
        except OversizeError:
            return Answer(413)
        except MalformedError:
            return Answer(400)
        async with self._turn:
            try:
                return await anyio.to_thread.run_sync(self._witness.add_checkpoint, body)
            except (InputError, OSError):
                return Answer(500)  # its own files fail it: it must not cosign


@contextmanager
def witness_app(
    name: str,
    key: SigningKey,
    logs: Sequence[str],
    folder: Path,
    clock: Callable[[], datetime] = utc_now,
) -> Iterator[WitnessApp]:
    """Yield a witness's application; it holds the folder's lock for as long.

    Raises:
        InputError: a name or key cannot be used, or another process holds the folder.
    """
    witness = Witness(name, key, logs, folder, clock)
    with locked(folder):
        yield WitnessApp(witness)
