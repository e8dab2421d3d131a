"""The receipts a person holds: one 0600 JSON file each, under ``receipts/`` in the privity home.

An id such as ``20251121-034001123-k7f3q2`` begins with the UTC time to the millisecond, so that
names sort by age. It is local: it goes into no credential and to no peer.

Guarantees:
    A reader sees a whole old file or a whole new one, never a part, whatever is killed when
    (tests/unit/test_receipts_store.py).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from privity.errors import InputError
from privity.home import home, read_private, write_private
from privity.receipt import ReceiptFile

__all__ = ["ReceiptStore", "new_receipt_id"]

_ID = re.compile(r"\d{8}-\d{9}-[0-9a-hjkmnp-tv-z]{6}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u to misread
_LATEST = ("last", "latest")


def new_receipt_id(now: datetime, randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a fresh id: the UTC time of ``now``, then 30 random bits."""
    utc = now.astimezone(UTC)
    tail = "".join(_ALPHABET[byte & 31] for byte in randomness(6))
    return f"{utc:%Y%m%d-%H%M%S}{utc.microsecond // 1000:03d}-{tail}"


class ReceiptStore:
    """The folder of one person's receipt files.

    Args:
        folder: where they lie; None for ``receipts/`` in the privity home. Made 0700 when the
            first receipt is written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home() / "receipts"

    def put(self, receipt_id: str, file: ReceiptFile) -> None:
        """Write or replace one receipt file, whole and durable (≈ 0.3 ms on a local disk).

        Raises:
            InputError: not an id of `new_receipt_id`, or the file cannot be written.
        """
        if not _ID.fullmatch(receipt_id):
            raise InputError(f"{receipt_id!r} is not a receipt id")
        try:
            write_private(self._path(receipt_id), file.to_bytes())
        except OSError as error:
            raise InputError(
                f"cannot write a receipt to {self.folder}: {error.strerror}",
                hint="nothing is sent that could leave no receipt; make room or fix the folder",
            ) from error

    def ids(self) -> Iterator[str]:
        """Yield the ids there are, newest first."""
        try:
            names = [path.stem for path in self.folder.iterdir() if path.suffix == ".json"]
        except FileNotFoundError:
            return
        yield from sorted((name for name in names if _ID.fullmatch(name)), reverse=True)

    def find(self, text: str) -> str:
        """Return the one id that ``text`` means.

        Args:
            text: an id, the beginning of one, the beginning of its random tail, or ``last``.

        Raises:
            InputError: no receipt, or several, match.
        """
        text = text.strip().lower()
        known = list(self.ids())
        if text in _LATEST and known:
            return known[0]
        if not text:
            raise InputError("no receipt id given", hint="privity receipts list")
        found = [name for name in known if name.startswith(text)]
        found = found or [name for name in known if name.rpartition("-")[2].startswith(text)]
        if not found:
            raise InputError(f"no receipt matches {text!r}", hint="privity receipts list")
        if len(found) > 1:
            some = ", ".join(found[:3])
            raise InputError(
                f"{len(found)} receipts match {text!r}: {some}{' …' if len(found) > 3 else ''}",
                hint="give more of the id, or its last part",
            )
        return found[0]

    def get(self, text: str) -> tuple[str, ReceiptFile]:
        """Return the id and the file that ``text`` means, as `find` reads it.

        Nothing in the file is verified yet; `privity.receipt.verify_receipt_file` does that.

        Raises:
            InputError: no receipt, or several, match; or others on this machine can read the file.
            ReceiptError: it is not a receipt file.
        """
        receipt_id = self.find(text)
        return receipt_id, ReceiptFile.parse(read_private(self._path(receipt_id)))

    def _path(self, receipt_id: str) -> Path:
        return self.folder / f"{receipt_id}.json"
