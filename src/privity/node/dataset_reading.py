"""Opens a sealed dataset into memory, and leaves off at once when the lease is refused.

The store is the host's: it may answer late, or never. What waits for it holds no key and does not
keep the process alive; what holds the key does not wait for it longer than the lease allows.
"""

from __future__ import annotations

import io
import threading

from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.node.key_client import Released
from privity.train.dataset import MAX_BYTES
from privity.vault.artefact import Reader
from privity.vault.header import ArtefactKey
from privity.vault.source import Source

__all__ = ["DatasetReading"]


class DatasetReading:
    """One reading of a dataset.

    Args:
        source: the sealed dataset; it stays the caller's.

    Guarantees:
        After `stop`, `read` ends though the source does not answer, and what it opened is dropped
        (tests/adversary/test_trainer.py).
    """

    def __init__(self, source: Source) -> None:
        self._source = _Stoppable(source)

    def read(self, released: Released) -> bytes:
        """Return the dataset, its root checked while it is read. Blocks.

        Raises:
            EvidenceError: it is another than the one granted, or `stop` was called.
            OpenError, TruncatedError, MalformedError, OversizeError: it is not what was granted, or
                no dataset.
            PeerError: the store does not give it.
        """
        key = ArtefactKey(released.key)
        try:
            reader = Reader(self._source, key)
        finally:
            key.erase()
        if reader.root != released.signed.grant.root:
            raise EvidenceError("the dataset is another than the one granted", check="root")
        if reader.meta.kind != "dataset":
            raise MalformedError(f"the artefact is a {reader.meta.kind}, not a dataset")
        if reader.size > MAX_BYTES:
            raise OversizeError(f"a dataset of {reader.size} bytes; the limit is {MAX_BYTES}")
        sink = io.BytesIO()
        reader.copy_to(sink)
        return sink.getvalue()

    def stop(self) -> None:
        """End `read`, from another thread; does nothing to one that has ended."""
        self._source.stop()


class _Stoppable:
    """A source whose answers are not waited for once it was stopped."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = source.size
        self._changed = threading.Condition()
        self._stopped = False

    def fetch(self, offset: int, length: int) -> bytes | memoryview:
        """Return bytes; see `Source`."""
        given: list[bytes | memoryview | BaseException] = []

        def ask() -> None:
            try:
                answer: bytes | memoryview | BaseException = self._source.fetch(offset, length)
            except BaseException as error:  # raised below, where somebody waits for it
                answer = error
            with self._changed:
                given.append(answer)
                self._changed.notify_all()

        with self._changed:
            if not self._stopped:
                # A daemon: an answer that never comes does not keep the process.
                threading.Thread(target=ask, name="privity-fetch", daemon=True).start()
            self._changed.wait_for(lambda: self._stopped or given)
            if self._stopped:
                raise EvidenceError("the lease ended while the dataset was read", check="lease")
        answer = given[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
