"""Sealed artefacts: a model, a dataset or an adapter as one encrypted, seekable file.

::

    file   = head (privity.vault.header) ‖ box (1040) ‖ chunk 0 ‖ … ‖ chunk n-1
    box    = AES-256-GCM(box key, nonce 0, description padded to 1024 bytes)
    chunk  = AES-256-GCM(payload key, counter (11 bytes) ‖ last (1 byte), up to 1 MiB of contents)

The chunks are the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015), as age uses it:
a chunk opens only at its own place, and the last only as the last. Keys come from the artefact key
by HKDF with the artefact's random id as the salt, so that nothing of one file fits into another,
not even under the same artefact key. The description (name, kind, media type, size and the root of
the contents) is encrypted, because the root of a small dataset could be guessed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privity.errors import InputError, MalformedError, OpenError, OversizeError, TruncatedError
from privity.hazmat.kem import Entropy
from privity.hazmat.merkle import leaf_hash
from privity.identity.digests import check_content
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.vault.header import CHUNK_BYTES, ArtefactKey, Header, make_header, read_header
from privity.vault.lanes import Turns, run_lanes
from privity.vault.recipients import Recipient
from privity.vault.root import Progress, RootHasher
from privity.vault.source import Source

__all__ = ["MAX_BYTES", "Kind", "Meta", "Reader", "Sealed", "seal_stream", "sealed_size"]

MAX_BYTES = 1 << 44
"""Largest contents: 16 TiB, where one AES-GCM key is still far from its bounds."""

Kind = Literal["model", "dataset", "adapter"]

_TAG = 16
_WRITE = 32_768
_NONCE = 12
_BOX_PLAIN = 1024
_BOX = _BOX_PLAIN + _TAG
_MAX_NAME = 255
_MAX_MEDIA_TYPE = 127


@dataclass(frozen=True)
class Meta:
    """What an artefact says it is; encrypted in it.

    Attributes:
        name: as a person would name the file: no path, nothing that a terminal obeys.
        kind: ``model``, ``dataset`` or ``adapter``.
        media_type: such as ``application/octet-stream``.

    Raises:
        MalformedError: one of them is not of its form.
    """

    name: str
    kind: Kind
    media_type: str = "application/octet-stream"

    def __post_init__(self) -> None:
        name = self.name
        if not 0 < len(name.encode("utf-8", "replace")) <= _MAX_NAME or not name.isprintable():
            raise MalformedError(f"an artefact's name is 1 to {_MAX_NAME} printable bytes")
        if name.startswith(".") or set(name) & set('/\\"'):
            raise MalformedError("an artefact's name is a file's name, without a path or a quote")
        if self.kind not in get_args(Kind):
            raise MalformedError("an artefact is a model, a dataset or an adapter")
        media = self.media_type
        if not 0 < len(media) <= _MAX_MEDIA_TYPE or not media.isascii() or not media.isprintable():
            raise MalformedError(f"a media type is 1 to {_MAX_MEDIA_TYPE} ASCII characters")


@dataclass(frozen=True)
class Sealed:
    """What sealing made.

    Attributes:
        id: the artefact's, public.
        root: names the contents, ``tree-sha256:<hex>``; as secret as they are guessable.
        size: bytes of contents.
        key: opens it.
    """

    id: str
    root: str
    size: int
    key: ArtefactKey


def sealed_size(header_bytes: int, size: int) -> int:
    """Return the bytes of a whole artefact with this head and this many bytes of contents."""
    return header_bytes + _BOX + size + _TAG * _chunks(size)


def seal_stream(
    source: BinaryIO,
    sink: BinaryIO,
    *,
    meta: Meta,
    recipients: Sequence[Recipient],
    key: ArtefactKey | None = None,
    progress: Progress | None = None,
    unsafe_classical: bool = False,
    entropy: Entropy = os.urandom,
) -> Sealed:
    """Seal all that ``source`` gives into ``sink``, in constant memory. Run by the owner.

    Args:
        source: read to its end.
        sink: written from where it stands; must be seekable, since the description, which holds
            the root, comes before the chunks and is known after them.
        meta: what it is.
        recipients: who gets the key; without any, only the returned key opens it.
        key: the artefact key; a fresh one where None. One key for several artefacts is safe.
        progress: told the bytes of contents sealed so far.
        unsafe_classical: also allow recipients whom a quantum computer would rob.
        entropy: where the id and the key come from.

    Raises:
        InputError: a recipient is refused, or the sink is not seekable.
        OversizeError: the source gives more than 16 TiB.
        OSError: source or sink fail.
    """
    if not sink.seekable():
        raise InputError("an artefact is written to something seekable")
    artefact = entropy(16).hex()
    key = key or ArtefactKey.generate(entropy)
    header = make_header(artefact, key, recipients, unsafe_classical=unsafe_classical)
    start = sink.tell()
    _write_full(sink, header.to_bytes() + bytes(_BOX))
    size, root = _Sealing(source, sink, AESGCM(key.derive(artefact, "payload")), progress).run()
    sink.seek(start + header.end)
    _write_full(sink, _seal_box(key, artefact, meta, size, root))
    sink.seek(0, os.SEEK_END)
    return Sealed(artefact, root, size, key)


class _Sealing:
    """The lanes that seal: read in order, hash and encrypt at once, write in order."""

    def __init__(
        self, source: BinaryIO, sink: BinaryIO, cipher: AESGCM, progress: Progress | None
    ) -> None:
        self._source, self._sink, self._cipher, self._progress = source, sink, cipher, progress
        self._reading = threading.Lock()
        # Read ahead by a chunk: only then is it known whether a chunk is the last.
        self._ahead = bytearray(CHUNK_BYTES)
        self._ahead_size = _read_full(source, self._ahead)
        self._ended = False
        self._hasher = RootHasher()
        self._size = 0

    def run(self) -> tuple[int, str]:
        """Return the bytes sealed and their root."""
        run_lanes(self._lane)
        return self._size, self._hasher.root()

    def _lane(self, turns: Turns) -> None:
        plain = bytearray(CHUNK_BYTES)
        sealed = memoryview(bytearray(CHUNK_BYTES + _TAG))
        while True:
            with self._reading:
                if self._ended or turns.failed:
                    return
                number, size = turns.draw(), self._ahead_size
                plain, self._ahead = self._ahead, plain
                self._ahead_size = _read_full(self._source, self._ahead)
                self._ended = last = not self._ahead_size
            if number * CHUNK_BYTES + size > MAX_BYTES:
                raise OversizeError("an artefact holds at most 16 TiB")
            data = memoryview(plain)[:size]
            leaf = leaf_hash(data)
            out = sealed[: size + _TAG]
            self._cipher.encrypt_into(_nonce(number, last=last), data, None, out)
            with turns.turn(number):
                _write_full(self._sink, out)
                self._size += size
                if size:
                    self._hasher.add(leaf)
                if self._progress:
                    self._progress(self._size)


class Reader:
    """Opens an artefact: anywhere in it, or all of it. Run by whoever holds the key.

    Args:
        source: the sealed bytes.
        key: the artefact key; it may be erased afterwards.

    Attributes:
        header: the public head.
        meta: what the artefact says it is.
        size: bytes of contents.
        root: names the contents; `copy_to` checks that they have it.

    Raises:
        MalformedError: not an artefact, or bytes follow its end.
        OpenError: the key is not its key, or the head or the description was altered.
        TruncatedError: the source is shorter than the artefact.

    Guarantees:
        What it returns is what was sealed at that place by a holder of the key, or it raises:
        `tests/adversary/test_artefact.py`.
    """

    def __init__(self, source: Source, key: ArtefactKey) -> None:
        self.header = read_header(source)
        self.header.check(key)
        self._source = source
        self._start = self.header.end + _BOX
        if source.size < self._start:
            raise TruncatedError("the artefact ends within its description")
        box = source.fetch(self.header.end, _BOX)
        self.meta, self.size, self.root = _open_box(key, self.header, box)
        self._check_length()
        self._cipher = AESGCM(key.derive(self.header.id, "payload"))
        self._last_read: tuple[int, bytearray] = (-1, bytearray())

    @property
    def id(self) -> str:
        """The artefact's id."""
        return self.header.id

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes of contents at ``offset``; fewer only at their end.

        Each chunk that is touched is authenticated; the root is not, `copy_to` checks that.

        Raises:
            InputError: a negative offset or length.
            OpenError: a chunk was altered, or stood elsewhere.
            TruncatedError, PeerError: the source does not give what it promised.
        """
        if offset < 0 or length < 0:
            raise InputError("an artefact is read at an offset of 0 or more")
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            number, skip = divmod(offset, CHUNK_BYTES)
            part = memoryview(self._chunk(number))[skip : skip + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def copy_to(self, sink: BinaryIO, *, progress: Progress | None = None) -> str:
        """Write all contents to ``sink``, in order, and return their root, which was checked.

        What was written before an error must not be used.

        Args:
            sink: need not be seekable.
            progress: told the bytes of contents written so far.

        Raises:
            OpenError: a chunk was altered, or the contents do not have the root they should.
            TruncatedError, PeerError: the source does not give what it promised.
            OSError: the sink fails.
        """
        hasher = RootHasher()
        count = _chunks(self.size)

        def lane(turns: Turns) -> None:
            buffer = bytearray(CHUNK_BYTES)
            while (number := turns.draw()) < count:
                plain = self._open_chunk(number, buffer)
                leaf = leaf_hash(plain)
                with turns.turn(number):
                    _write_full(sink, plain)
                    if plain:
                        hasher.add(leaf)
                    if progress:
                        progress(number * CHUNK_BYTES + len(plain))

        run_lanes(lane)
        root = hasher.root()
        if root != self.root:
            raise OpenError("the contents are not those that the artefact's root names")
        return root

    def _chunk(self, number: int) -> bytearray:
        """Return the contents of one chunk; the last one read is kept."""
        kept, plain = self._last_read
        if kept != number:
            plain = bytearray(min(CHUNK_BYTES, self.size - number * CHUNK_BYTES))
            self._open_chunk(number, plain)
            self._last_read = (number, plain)
        return plain

    def _open_chunk(self, number: int, buffer: bytearray) -> memoryview:
        """Fetch and open a chunk into ``buffer``; return the part of it that was filled."""
        offset = number * CHUNK_BYTES
        size = min(CHUNK_BYTES, self.size - offset)
        sealed = self._source.fetch(self._start + offset + number * _TAG, size + _TAG)
        plain = memoryview(buffer)[:size]
        nonce = _nonce(number, last=number == _chunks(self.size) - 1)
        try:
            self._cipher.decrypt_into(nonce, sealed, None, plain)
        except InvalidTag:
            raise OpenError(f"chunk {number} of the artefact was altered or moved") from None
        return plain

    def _check_length(self) -> None:
        expected = sealed_size(self.header.end, self.size)
        if self._source.size < expected:
            raise TruncatedError(
                f"the artefact has {self._source.size} of its {expected} bytes",
                hint="fetch it again; an interrupted pull goes on where it stopped",
            )
        if self._source.size > expected:
            raise MalformedError("bytes follow the end of the artefact")


def _chunks(size: int) -> int:
    """Return how many chunks hold ``size`` bytes; no contents are one empty chunk."""
    return max(1, -(-size // CHUNK_BYTES))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_NONCE - 1, "big") + (b"\1" if last else b"\0")


def _read_full(source: BinaryIO, buffer: bytearray) -> int:
    """Fill ``buffer`` from a stream; short only at its end."""
    view, read = memoryview(buffer), 0
    while read < len(buffer):
        # `BinaryIO` does not declare readinto, which files and BytesIO have.
        got = source.readinto(view[read:])  # type: ignore[attr-defined]
        if not got:
            break
        read += got
    return read


def _write_full(sink: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of ``data``, also to a file that takes a part at a time.

    In small pieces: a write of a whole mebibyte makes Linux look for as large a piece of memory to
    keep it in, which takes it three times as long as 32 small ones.
    """
    view = memoryview(data)
    while view:
        view = view[sink.write(view[:_WRITE]) :]


def _seal_box(key: ArtefactKey, artefact: str, meta: Meta, size: int, root: str) -> bytes:
    body = canonical(
        {
            "kind": meta.kind,
            "media_type": meta.media_type,
            "name": meta.name,
            "root": root,
            "size": size,
        }
    )
    # Padded, so that its length does not tell the length of the name. The nonce is fixed because
    # the key is of this artefact and this box alone.
    padded = body.ljust(_BOX_PLAIN, b"\0")
    return AESGCM(key.derive(artefact, "description")).encrypt(bytes(_NONCE), padded, None)


def _open_box(key: ArtefactKey, header: Header, box: bytes | memoryview) -> tuple[Meta, int, str]:
    try:
        padded = AESGCM(key.derive(header.id, "description")).decrypt(bytes(_NONCE), box, None)
    except InvalidTag:
        raise OpenError("the artefact's description was altered") from None
    fields = Fields(loads_canonical(padded.rstrip(b"\0")), "description")
    kind, media_type = fields.take("kind"), fields.text("media_type")
    meta = Meta(fields.text("name"), kind, media_type)
    size = fields.count("size", most=MAX_BYTES)
    root = check_content(fields.text("root"))
    fields.done()
    return meta, size, root
