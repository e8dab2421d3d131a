"""What a person does with their stake: join by it, leave, and have it back.

Each step is on disk before the next begins, under a name that makes a second attempt the same one:
after a crash the command is simply run again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from privity.anon.membership import RateIdentity
from privity.anon.wallet import Membership, Wallet
from privity.errors import InputError
from privity.infer.anonymous.acting import Acting
from privity.ledger.members import Standing
from privity.ledger.sending import signing

__all__ = ["Stake", "Staking"]


@dataclass(frozen=True)
class Stake:
    """What a member staked, and when it comes back.

    Attributes:
        amount: in the token's smallest unit.
        delay_s: seconds between asking for it and taking it.
        at: from when on it can be taken, in seconds since 1970; None before it was asked for.
        returned: whether it is back in the account.
    """

    amount: int
    delay_s: int
    at: int | None = None
    returned: bool = False


class Staking(Acting):
    """Joins a network for a person, and leaves it for them. Run by the device."""

    async def join(self, limit: int) -> int:
        """Stake for a membership, unless there is one, and return its leaf's place.

        Args:
            limit: messages an epoch that it stakes for.

        Raises:
            InputError: the ledger refuses, such as for want of funds.
            PeerError: it cannot be reached; run again.
        """
        member = await self._turn(lambda wallet: _begun(wallet, limit))
        if member.index is not None:
            return member.index
        stake = member.limit * await self._ledger.members.stake_per_message()
        self._told(f"staking {stake} of the token for {member.limit} messages a minute")
        with RateIdentity(member.secret) as identity:
            leaf = await self._ledger.register_member(identity.commitment, member.limit)
        await self._turn(lambda wallet: wallet.joined(leaf.index))
        wait_s = 3 * self._ledger.addresses.settle_s
        self._told(f"you joined; a question in the next {wait_s} s waits, or it would stand out")
        return leaf.index

    async def _due_stake(self, limit: int) -> int:
        """Return what `join` will stake."""
        begun = await self._turn(lambda wallet: wallet.begun_membership)
        if begun is not None:
            if begun.index is not None:
                return 0
            limit = begun.limit
            with RateIdentity(begun.secret) as identity:
                if await self._ledger.has_begun_register(identity.commitment):
                    return 0
        return limit * await self._ledger.members.stake_per_message()

    async def stake_per_message(self) -> int:
        """Return what is staked for each message a minute, in the token's smallest unit."""
        return await self._ledger.members.stake_per_message()

    async def stake(self) -> Stake:
        """Return what was staked and when it comes back.

        It asks the ledger about one leaf: for who is about to show it there anyway, by leaving.

        Raises:
            InputError: there is no membership, or its stake is gone.
        """
        member, index = self._member()
        members = self._ledger.members
        found = await members.standing(index)
        if found is None:
            # A node's word is not enough to forget a membership. That this device sent for the
            # stake is: it died before it knew that it had come.
            if not await signing(self._ledger.sender).begun(_collecting(member)):
                raise InputError(
                    "the ledger has no stake for this membership: it was taken or slashed"
                )
            found = Standing(member.limit, int(self._clock()))
        amount = await members.stake_per_message() * found.limit
        return Stake(amount, await members.exit_delay(), found.withdrawable_at or None)

    async def leave_or_collect(self) -> Stake:
        """Ask for the stake, or take it where it was asked for before and its time has come.

        Raises:
            InputError: there is no membership, or the ledger refuses.
            PeerError: it cannot be reached; run again.
        """
        found = await self.stake()
        if found.at is None:
            self._told("asking for the stake")
            await self.leave()
            return await self.stake()
        self._told("taking the stake, if its time has come")
        try:
            await self.collect()
        except InputError as error:
            if self._clock() < found.at:
                return found
            # The ledger's clock is that of its last block.
            raise InputError(error.message, hint="run it again in a moment") from error
        return replace(found, returned=True)

    async def leave(self) -> None:
        """Ask for the stake back; it comes after the ledger's delay, with `collect`."""
        await self._ledger.members.request_exit(self._member()[1])

    async def collect(self) -> None:
        """Take the stake back, and forget the membership; raises `InputError` before its time."""
        member, index = self._member()
        await self._ledger.members.withdraw(index, intent=_collecting(member))
        await self._turn(lambda wallet: wallet.left())

    def _member(self) -> tuple[Membership, int]:
        member = self._wallet.membership
        if member is None or member.index is None:
            raise InputError("there is no membership to leave")
        return member, member.index


def _collecting(member: Membership) -> str:
    """Name the taking of a stake; the secret, as indexes begin anew on another chain."""
    return "stake:" + hashlib.sha256(b"privity/stake/v1\0" + member.secret).hexdigest()


def _begun(wallet: Wallet, limit: int) -> Membership:
    """Return the membership, begun if there is none."""
    found = wallet.begun_membership
    if found is None:
        with RateIdentity.generate() as made:
            found = Membership(bytes(made.unsafe_secret()), limit, None)
        wallet.join(found.secret, limit)
    return found
