"""Tells what of the wallet is in use: by answers that broke off, or have not come yet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from shlex import quote
from typing import TYPE_CHECKING

from privity.cli import output

if TYPE_CHECKING:
    from privity.anon.wallet import Reserved

__all__ = ["in_use", "spends", "telling_in_use", "wallet_command"]


@contextmanager
def telling_in_use(policy: str | None, *, quiet: bool) -> Iterator[None]:
    """Say on Ctrl-C which credits stay in use, of those that were held within.

    Args:
        policy: as it was given, for the command that gets them back.
        quiet: say nothing.
    """
    began = int(time.time())
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            left = [one for one in _unfinished() if one.time >= began]
            if left:
                output.note(in_use(left, policy))
        raise


def in_use(waiting: Sequence[Reserved], policy: str | None) -> str:
    """Return how much of the wallet spends have in use, and how it comes back."""
    from privity.anon.wallet_hints import recovering

    held = sum(one.pending.before for one in waiting)
    back = recovering(waiting, time.time(), wallet_command("recover", policy))
    return f"{held} credits stay in use, in {spends(len(waiting))} without an answer: {back}"


def spends(count: int) -> str:
    """Return so many spends, in words."""
    return f"{count} spend" if count == 1 else f"{count} spends"


def wallet_command(words: str, policy: str | None) -> str:
    """Return a command to run next, with the policy that was given."""
    return f"`privity wallet {words}{'' if policy is None else ' --policy ' + quote(policy)}`"


def _unfinished() -> list[Reserved]:
    """Return the jobs whose end is not known; none where there is no wallet to look at."""
    from privity.errors import PrivityError
    from privity.infer.config import load_config

    with suppress(PrivityError):
        if load_config().network is not None:
            from privity.infer.anonymous.opening import configured_wallet

            return [one for one in configured_wallet().read().unfinished() if one.purpose == "job"]
    return []
