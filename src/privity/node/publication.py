"""Floor 5: what an enclave publishes beside its evidence: who approved it, and the log's proof.

A device that demands approval or a log finds both in the statement, so it asks nobody else. The
log is asked when the enclave starts, and again now and then, for fresh cosignatures of its
witnesses. An enclave whose log does not answer at the start does not start: most devices would
refuse it, and none would know why. Later it goes on with the proof it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx

from privity.attest.examine import REFERENCE
from privity.attest.log.entry import KeysetEntry
from privity.attest.log.submit import submit
from privity.attest.signed_manifest import MAX_BYTES, SignedManifest
from privity.errors import InputError, MalformedError, OversizeError, PrivityError
from privity.home import read_file
from privity.identity.keys import SigningKey
from privity.identity.keystore import load_key
from privity.identity.timestamps import Clock, utc_now
from privity.statement import Keyset

__all__ = ["LogSubmission", "Publication", "approval_in"]

logger = logging.getLogger("privity.enclave")

_LIFETIME = timedelta(days=1)
_RENEW_S = 1800.0
_LIMIT_S = 30.0


@dataclass(frozen=True)
class LogSubmission:
    """Which log an enclave's keyset goes into.

    Attributes:
        url: the log.
        key: the file of the key that signs submissions, where the log asks for one.
        name: the name in the log, by which people know the enclave.
    """

    url: str
    key: Path | None = None
    name: str = ""


class Publication:
    """Keeps the endorsements of one enclave.

    Args:
        approval: endorsements that somebody else signed: manifests.
        log: which log the keyset goes into; None for none.
        clock: the enclave's time.

    Guarantees:
        What it hands out is of the keyset it was opened with, and never older than the log's last
        answer (tests/unit/test_publication.py).
    """

    def __init__(
        self,
        approval: Sequence[dict[str, Any]] = (),
        log: LogSubmission | None = None,
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._log = log
        self._clock = clock
        self._approval = tuple(approval)
        self._logged: tuple[dict[str, Any], ...] = ()
        self._entry: KeysetEntry | None = None
        self._key: SigningKey | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def endorsements(self) -> tuple[dict[str, Any], ...]:
        """What to publish beside the evidence now."""
        return self._approval + self._logged

    async def open(self, keyset: Keyset) -> None:
        """Have the log record the keyset.

        Raises:
            InputError: the key for it cannot be read.
            PeerError: the log does not answer, or refuses.
        """
        if self._log is None:
            return
        if self._log.key is not None:
            self._key = load_key(self._log.key)
        await self._record(self._log, keyset)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._keep_fresh(self._log, keyset))

    async def aclose(self) -> None:
        """Stop asking the log."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _record(self, log: LogSubmission, keyset: Keyset) -> None:
        now = self._clock()
        if self._entry is None or self._entry.until - now < _LIFETIME / 2:
            self._entry = KeysetEntry(log.name, keyset.digest, now, now + _LIFETIME)
        async with httpx.AsyncClient(trust_env=False, timeout=_LIMIT_S) as http:
            self._logged = (await submit(log.url, self._entry, http=http, key=self._key),)

    async def _keep_fresh(self, log: LogSubmission, keyset: Keyset) -> None:
        while True:
            await anyio.sleep(_RENEW_S)
            try:
                await self._record(log, keyset)
            except PrivityError as error:
                logger.warning("the log's proof could not be renewed: %s", error.message)


def approval_in(path: Path) -> dict[str, Any]:
    """Return the endorsement that a file with a signed manifest is; raises `InputError`."""
    return {"kind": REFERENCE, "manifest": _read_manifest(path).to_json()}


def _read_manifest(path: Path) -> SignedManifest:
    data = read_file(path, most=MAX_BYTES, what="the manifest")
    try:
        return SignedManifest.parse(data.strip())
    except (MalformedError, OversizeError) as error:
        raise InputError(f"{path} is no signed manifest: {error.message}") from error
