"""What the device knows of the log a statement is in, before the statement is verified."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from privity.attest.examine import LOG, LogView
from privity.attest.log.memory import LogMemory
from privity.attest.log.proof import LogEndorsement
from privity.attest.log.source import fetch_consistency
from privity.errors import PeerError, SealError
from privity.infer.peers import LogPeer
from privity.statement import Statement

__all__ = ["log_view"]

_LIMIT_S = 15.0


async def log_view(
    data: bytes, enclave: str, logs: Sequence[LogPeer], memory: LogMemory
) -> LogView:
    """Return what is remembered of the log, and the proof that it only grew since.

    The log is asked only where its tree is of another size than the one remembered. It learns that
    somebody at this address knows trees of these sizes. What cannot be had is left out: the check
    then says that nothing shows the growth.

    Args:
        data: the statement, unverified.
        enclave: the name the log's entry must be of.
        logs: where logs are read.
        memory: what this device has seen.

    Raises:
        InputError: the memory is damaged.
    """
    try:
        offered = [one for one in Statement.parse(data).endorsements if one["kind"] == LOG]
        claimed = LogEndorsement.from_json(offered[0]).claimed if offered else None
    except SealError:
        claimed = None
    if claimed is None:
        return LogView(enclave)
    remembered = memory.get(claimed.origin)
    url = next((log.url for log in logs if log.origin == claimed.origin and log.url), None)
    if remembered is None or url is None or remembered.size == claimed.size:
        return LogView(enclave, remembered)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_LIMIT_S) as http:
            proof = await fetch_consistency(url, remembered.size, claimed.size, http=http)
    except (PeerError, SealError):
        return LogView(enclave, remembered)
    return LogView(enclave, remembered, tuple(proof))
