"""Questions to an enclave's desk, and what its answers and refusals mean. Run by the device."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
from anyio import to_thread

from privity.anon.payment_terms import RECOVER_PATH
from privity.anon.wallet import Reserved
from privity.errors import MalformedError, PaymentError, PeerError
from privity.identity.fields import Fields
from privity.identity.multibase import encode_base64url
from privity.infer.anonymous.job import asked
from privity.infer.anonymous.purse import SharedWallet

__all__ = ["MAX_ANSWER", "Desk", "recovered", "said"]

MAX_ANSWER = 16 << 10

Desk = Callable[[], Awaitable[httpx.AsyncBaseTransport]]
"""Returns an anonymous way to the desk, verified and admitted; a new one each time."""

_CHECKS = frozenset({"deposit", "missing", "proof", "running", "short", "spent", "to", "amount"})


async def said(desk: Desk, path: str, request: dict[str, Any]) -> Fields:
    """Ask the desk something, and return what it said.

    Raises:
        PaymentError: it refused; the check is its own.
        PeerError: it cannot be reached, or answered something else.
        PrivityError: what else can go wrong on the way.
    """
    status, body = await asked(await desk(), "POST", path, json.dumps(request).encode())
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise PeerError("the enclave's desk did not answer in JSON") from None
    if status != 200:
        raise _refusal(status, parsed)
    try:
        return Fields(parsed, "answer of the desk")
    except MalformedError as error:
        raise PeerError(f"the enclave's desk: {error.message}") from None


async def recovered(wallet: SharedWallet, desk: Desk, one: Reserved) -> int:
    """Take back what a spend did not cost, and return what it did.

    Raises:
        PaymentError: check ``running``: its job may still be served; else it is refused for good.
        PrivityError: as `said`.
    """
    answer = await said(desk, RECOVER_PATH, {"spend": encode_base64url(one.spend)})
    refund = answer.blob("refund", most=MAX_ANSWER)
    return await to_thread.run_sync(partial(_take, wallet, one.id, refund))


def _take(wallet: SharedWallet, name: str, refund: bytes) -> int:
    with wallet.turn() as mine:  # the spend has its own terms: the ledger is not asked for them
        return mine.refunded(name, refund)


def _refusal(status: int, parsed: Any) -> PaymentError | PeerError:
    """Return the error that a desk's refusal stands for; its words are not repeated."""
    error = parsed.get("error") if isinstance(parsed, dict) else None
    check = error.get("code") if isinstance(error, dict) else None
    if isinstance(check, str) and check in _CHECKS:
        return PaymentError(f"the enclave's desk refused: {check}", check=check)
    return PeerError(f"the enclave's desk answered {status}", hint="try again in a moment")
