"""From the bytes of a statement to an `AttestedEnclave`: the only way there is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from privity.attest.examine import Examined, LogView, examine_statement
from privity.attest.trust import Trust

# The private token that makes an AttestedEnclave; a test holds that no other module names it.
from privity.attested import _MINT, AttestedEnclave
from privity.errors import EvidenceError
from privity.statement import Nonce, Statement

__all__ = ["reverifier", "verify_statement"]


def verify_statement(
    data: bytes,
    *,
    nonce: bytes | None,
    trust: Trust,
    now: datetime,
    view: LogView = LogView(),  # noqa: B008 - frozen
) -> AttestedEnclave:
    """Return the enclave that published ``data``. This is run by the device before it seals.

    Args:
        data: the statement's bytes.
        nonce: the 32 bytes sent as a challenge; None accepts a beacon in its period, and nothing
            else.
        trust: what the person accepts.
        now: the time to judge it for.
        view: what the device knows of the log the statement is in.

    Raises:
        EvidenceError: ``.check`` is ``format``, ``nonce``, ``beacon``, ``evidence kind``,
            ``endorsement kind``, ``evidence format``, one of the kind's own, or of those of
            approvals (spec/reference.md) and logs (spec/log.md).

    Guarantees:
        A flipped bit anywhere in ``data`` is refused, and so is evidence made for another
        challenge, other keys or under another root, each by its own check
        (tests/adversary/test_statement.py). Total (tests/property/test_statement.py).
    """
    examined = examine_statement(data, nonce=nonce, trust=trust, now=now, view=view)
    return accept(examined, now)


def accept(examined: Examined, now: datetime) -> AttestedEnclave:
    """Return the enclave if nothing failed; raises `EvidenceError`, naming the first that did."""
    failed = examined.failed
    if failed is not None:
        raise EvidenceError(failed.detail, check=failed.name, hint=failed.hint)
    if examined.statement is None or not examined.findings:
        raise EvidenceError("there is no evidence", check="format")
    return AttestedEnclave(
        examined.statement,
        tuple(one.accept() for one in examined.findings),
        now,
        examined.checks,
        examined.approved,
        examined.logged,
        mint=_MINT,
    )


def reverifier(trust: Trust) -> Callable[[Statement, datetime], AttestedEnclave]:
    """Return a function that verifies a kept statement as of a past moment, for receipts.

    The challenge is taken from the statement: whoever looks at a receipt later did not send it.
    That shows that the evidence is true of that time and these keys. That it was *fresh* then,
    only the device could know, and its record signs that it did.
    """

    def reverify(statement: Statement, at: datetime) -> AttestedEnclave:
        freshness = statement.freshness
        nonce = freshness.value if isinstance(freshness, Nonce) else None
        return verify_statement(statement.to_bytes(), nonce=nonce, trust=trust, now=at)

    return reverify
