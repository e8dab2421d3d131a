"""Floor 5: the members of a ledger, as gateways and nodes of the bus watch them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from privity.errors import InputError
from privity.ledger import CONFIRMATIONS
from privity.node.beside import run_beside

if TYPE_CHECKING:
    from privity.infer.anonymous.members import MemberView
    from privity.ledger.client import Ledger
    from privity.ledger.history import MemberHistory

__all__ = ["LedgerSettings", "WatchedMembers", "watch_members"]


@dataclass(frozen=True)
class LedgerSettings:
    """Which ledger a role watches, and who slashes there.

    Attributes:
        url: of a ledger's node.
        contracts: the file with the contracts' addresses.
        account: the key of the account that slashes, and gets the small bounty; None to leave
            slashing to others.
        confirmations: blocks after one before it is believed.
        every_s: seconds between two looks at the ledger.
    """

    url: str = field(repr=False)  # it may hold a key
    contracts: Path
    account: Path | None = None
    confirmations: int = CONFIRMATIONS
    every_s: float = 5.0

    @classmethod
    def given(
        cls,
        url: str,
        contracts: Path | None,
        account: Path | None,
        *,
        confirmations: int,
        every_s: float,
    ) -> LedgerSettings | None:
        """Return the settings of a role that can do without a ledger; None where none is given.

        Raises:
            InputError: a ledger without its contracts, or what goes with one without a ledger.
        """
        if bool(url) != (contracts is not None):
            raise InputError("a ledger and the file of its contracts go together")
        if contracts is None:
            if account is not None:
                raise InputError("an account slashes on a ledger, and none is given")
            return None
        return cls(url, contracts, account, confirmations, every_s)


@dataclass(frozen=True)
class WatchedMembers:
    """The members of a ledger, who are followed.

    Attributes:
        ledger: signs what slashes where there is an account.
        history: all that became of the members.
        view: their last roots.
    """

    ledger: Ledger
    history: MemberHistory
    view: MemberView


async def watch_members(stack: AsyncExitStack, settings: LedgerSettings) -> WatchedMembers:
    """Read the members of a ledger, and follow them from now on.

    Args:
        stack: ends the following.
        settings: which ledger.

    Raises:
        InputError: a file cannot be used.
        PeerError: the ledger cannot be read.
        MissingDependency: the native wheel, or a library of the ledger, is not installed.
    """
    # What a ledger needs takes a second to import, and a node of the bus may have none.
    from privity.infer.anonymous.members import LedgerSource, MemberView
    from privity.ledger.accounts import load_account
    from privity.ledger.addresses import Addresses
    from privity.ledger.client import Ledger
    from privity.ledger.history import MemberHistory

    account = settings.account
    ledger = await stack.enter_async_context(
        Ledger(
            settings.url,
            Addresses.from_file(settings.contracts),
            signer=None if account is None else load_account(account),
            confirmations=settings.confirmations,
            journal=None if account is None else account.with_suffix(".journal"),
        )
    )
    history = MemberHistory()
    view = MemberView(LedgerSource(ledger.members, history))
    await view.update()
    run_beside(stack, view.follow(settings.every_s))
    return WatchedMembers(ledger, history, view)
