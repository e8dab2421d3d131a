"""The enclave's side: a statement of its keys, with fresh evidence from every quoter it has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from privity.attest.evidence import Quoter
from privity.statement import Beacon, Freshness, Keyset, Nonce, Statement, report_data

__all__ = ["build_statement"]


def build_statement(
    keyset: Keyset,
    quoters: Sequence[Quoter],
    *,
    now: datetime,
    nonce: bytes | None = None,
    lifetime: timedelta = timedelta(hours=1),
    beside: Sequence[dict[str, Any]] = (),
) -> Statement:
    """Return a statement of these keys. This is run by the enclave.

    Args:
        keyset: its keys.
        quoters: one for each kind of evidence it can give.
        now: the enclave's time.
        nonce: the verifier's 32-byte challenge; None makes a beacon for whoever sent none.
        lifetime: how long a beacon is good for.
        beside: endorsements that are of no kind of evidence: approvals, and the log's proof.

    Raises:
        MalformedError: a nonce of another length.
    """
    freshness: Freshness = Beacon(now, now + lifetime) if nonce is None else Nonce(nonce)
    bound = report_data(keyset, freshness.bound)
    return Statement(
        keyset=keyset,
        freshness=freshness,
        evidence=tuple(quoter.quote(bound, now) for quoter in quoters),
        endorsements=(*(one for quoter in quoters for one in quoter.endorsements), *beside),
    )
