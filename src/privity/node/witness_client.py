"""The log's side of tlog-witness: how a log asks a witness for its cosignature."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import httpx

from privity.attest.log.checkpoint import cosignatures
from privity.attest.log.note import Note, NoteKey, Signature, parse_signatures
from privity.attest.log.source import read_body
from privity.errors import MalformedError, OpenError, PeerError
from privity.identity.multibase import encode_base64
from privity.node.witness import ADD_CHECKPOINT, SIZE_TYPE
from privity.wording import failure_words

__all__ = ["WitnessClient", "add_checkpoint_body"]

_ANSWER_BYTES = 16_384
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,15})\n")


def add_checkpoint_body(old: int, proof: Sequence[bytes], note: Note) -> bytes:
    """Return the body of an add-checkpoint request."""
    lines = [f"old {old}", *(encode_base64(node) for node in proof)]
    return "".join(line + "\n" for line in lines).encode() + b"\n" + note.to_bytes()


class WitnessClient:
    """One witness, as its log sees it.

    Args:
        url: its submission prefix.
        key: its verifier key, of cosignatures.
        http: the client to use.
    """

    def __init__(self, url: str, key: NoteKey, http: httpx.AsyncClient) -> None:
        self.key = key
        self._url = url.rstrip("/") + ADD_CHECKPOINT
        self._http = http
        self._seen = 0  # what it cosigned last, as far as this log knows

    async def cosign(
        self, note: Note, size: int, consistency: Callable[[int, int], list[bytes]]
    ) -> Signature:
        """Return the witness's line for a checkpoint, verified.

        Args:
            note: the checkpoint, signed by the log.
            size: its size.
            consistency: makes the proof from an old size to this one.

        Raises:
            PeerError: it cannot be reached, refuses, or answers wrongly.
        """
        for _ in range(3):  # it may know another size than this log remembers, and says so
            old = min(self._seen, size)
            proof = consistency(old, size) if 0 < old < size else []
            status, kind, body = await self._post(add_checkpoint_body(old, proof, note))
            if status == 200:
                self._seen = size
                return self._line(body, note)
            told = _SIZE.fullmatch(body)
            if status != 409 or kind != SIZE_TYPE or told is None or int(told[1]) > size:
                raise PeerError(f"the witness {self.key.name} refused (HTTP {status})")
            self._seen = int(told[1])
        raise PeerError(f"the witness {self.key.name} does not settle on a size")

    async def _post(self, body: bytes) -> tuple[int, str, bytes]:
        try:
            async with self._http.stream(
                "POST", self._url, content=body, follow_redirects=False
            ) as answer:
                kind = answer.headers.get("content-type", "").partition(";")[0].strip()
                return answer.status_code, kind, await read_body(answer, _ANSWER_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise PeerError(
                f"the witness {self.key.name} cannot be reached: {failure_words(error)}"
            ) from error

    def _line(self, body: bytes, note: Note) -> Signature:
        """Return the line of this witness's key; lines of other keys are passed over."""
        try:
            for line in parse_signatures(body.decode("utf-8")):
                if line.claims(self.key) and cosignatures(Note(note.text, (line,)), [self.key]):
                    return line
        except (UnicodeDecodeError, MalformedError, OpenError):
            pass
        raise PeerError(f"the witness {self.key.name} did not cosign this checkpoint")
