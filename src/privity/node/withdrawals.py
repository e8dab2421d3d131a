"""Floor 5: the operator's income: what jobs cost, taken out on the ledger in batches.

How far it went is in a file, written before each batch is sent: after a crash the same batch is
made again, under the same name, and the ledger's journal takes it up instead of sending another.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from privity.anon.stores import Charged, SpendStore
from privity.errors import InputError, MalformedError
from privity.home import read_file, write_private
from privity.identity.fields import Fields
from privity.ledger.client import Ledger
from privity.ledger.credits import BATCH
from privity.ledger.sending import signing

__all__ = ["Watermark", "WithdrawalRecord", "Withdrawn", "store_name", "waiting", "withdraw_spent"]

_FORM = "privity/withdrawals/v1"
_MOST = 4096


@dataclass(frozen=True)
class Watermark:
    """How far the withdrawals went.

    Attributes:
        cursor: of the store: everything before it was taken out.
        batch: spends in the batch that is under way after it; 0 where none is.
    """

    cursor: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Withdrawn:
    """What one run took out.

    Attributes:
        spends: how many.
        credits: what they cost together.
    """

    spends: int
    credits: int


class WithdrawalRecord:
    """The file that says how far the withdrawals of one store and one ledger went.

    Args:
        path: the file; of the owner alone.
        of: names the ledger's contract and the store. The record of another is as none: each
            nullifier is looked at again, and the ledger takes it once.
    """

    def __init__(self, path: Path, of: str) -> None:
        self._path = path
        self._of = of

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it, so that one process withdraws at a time.

        Raises:
            InputError: another process does, or the folder cannot be written to.
        """
        try:
            fd = os.open(
                self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise InputError(f"cannot write beside {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise InputError("another process withdraws from this store just now") from None
        finally:
            os.close(fd)

    def read(self) -> Watermark:
        """Return how far it went; the beginning where nothing is known of this store and ledger.

        Raises:
            InputError: the file is damaged.
        """
        data = read_file(self._path, most=_MOST, what="the record of withdrawals", absent=b"")
        if not data:
            return Watermark()
        try:
            fields = Fields(_json(data), "the record of withdrawals")
            fields.constant("form", _FORM)
            same = fields.text("of") == self._of
            mark = Watermark(fields.count("cursor"), fields.count("batch", most=BATCH))
            fields.done()
        except MalformedError as error:
            raise InputError(
                f"{self._path} is damaged: {error.message}",
                hint="remove it: every spend is looked at again, and the ledger takes each once",
            ) from None
        return mark if same else Watermark()

    def write(self, mark: Watermark) -> None:
        """Keep how far it went, durably; raises `InputError` where it cannot be written."""
        kept = {"batch": mark.batch, "cursor": mark.cursor, "form": _FORM, "of": self._of}
        try:
            write_private(self._path, json.dumps(kept).encode() + b"\n")
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}") from error


async def withdraw_spent(
    ledger: Ledger, store: SpendStore, record: WithdrawalRecord, *, again: bool = False
) -> Withdrawn:
    """Take what jobs cost out on the ledger, each nullifier once. Run by the operator.

    Args:
        ledger: with the operator's account as its signer.
        store: of the spends.
        record: how far it went before.
        again: look at every spend anew, such as after the store was put back from a copy.

    Raises:
        InputError: the contract refuses, or another process withdraws.
        PeerError: ledger or store cannot be reached; run again.

    Guarantees:
        A crash at any step loses nothing and takes nothing twice
        (tests/unit/test_operator.py::test_a_crash_at_any_step_loses_and_doubles_nothing).
    """
    with record.held():
        mark = Watermark() if again else record.read()
        spends = credits = 0
        while True:
            charged, after = await store.charged_since(mark.cursor, mark.batch or BATCH)
            if not charged:
                return Withdrawn(spends, credits)
            # Before it is sent: more is charged meanwhile, and the batch must not grow by it.
            record.write(Watermark(mark.cursor, len(charged)))
            taken = await _take(ledger, charged)
            spends, credits = spends + taken.spends, credits + taken.credits
            mark = Watermark(after)
            record.write(mark)


async def waiting(store: SpendStore, mark: Watermark) -> Withdrawn:
    """Return what was charged and not taken out yet, as far as the record knows."""
    spends = credits = 0
    cursor = mark.cursor
    while True:
        charged, after = await store.charged_since(cursor, BATCH)
        if not charged:
            return Withdrawn(spends, credits)
        spends += len(charged)
        credits += sum(amount for _, amount in charged)
        cursor = after


def store_name(url: str) -> str:
    """Return a store's URL without what is secret in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}:{host}{parts.path}"


async def _take(ledger: Ledger, charged: Sequence[Charged]) -> Withdrawn:
    """Withdraw one batch, but for what was withdrawn already in another.

    By nullifier, so that the ledger does not show in which order jobs were served.
    """
    charged = sorted(charged)
    digest = hashlib.sha256(b"".join(nullifier for nullifier, _ in charged)).digest()
    # One that was sent is taken up as it is: it may be mined between two questions.
    begun = await signing(ledger.sender).begun(f"withdraw:{digest.hex()}")
    unpaid = [one for one in charged if not await ledger.credits.used(one[0])]
    if begun or unpaid:
        await ledger.credits.withdraw_spent(digest, charged if begun else unpaid)
    return Withdrawn(len(unpaid), sum(amount for _, amount in unpaid))


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedError("it is not JSON") from None
