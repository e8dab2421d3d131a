"""Proves that this person is a member, from a tree and keys that were made ready ahead of need."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import anyio
from anyio import to_thread

from privity.anon.epochs import EPOCH_S
from privity.anon.membership import RateIdentity
from privity.anon.rln import Prover
from privity.anon.wallet import Membership
from privity.errors import AdmissionError, InputError
from privity.infer.anonymous.device_members import DeviceMembers
from privity.infer.anonymous.purse import SharedWallet

__all__ = ["MemberProver", "no_member"]


class MemberProver:
    """Makes admission headers for one person. Run by the device.

    Args:
        wallet: has the membership, and hands out message ids.
        members: the tree.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        wallet: SharedWallet,
        members: DeviceMembers,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._wallet = wallet
        self._members = members
        self._clock = clock
        self._provers: dict[tuple[str, int], Prover] = {}
        self._identities: list[RateIdentity] = []
        self._lock = anyio.Lock()

    async def prove(self, scope: str, digest: bytes) -> str:
        """Return the admission header for a sealed request; uses up one message of this epoch.

        Raises:
            AdmissionError: check ``rate``: none is left in this epoch; with the seconds until the
                next.
            InputError: this person is no member.
            PeerError: the ledger cannot be read.
        """
        member, index = self._member()
        prover = await self._prover(scope, member, index)
        place = await self._members.place(index, member.limit)
        now = self._clock()
        epoch = int(now // EPOCH_S)
        try:
            message_id = await self._wallet.take_message_id(epoch)
        except AdmissionError as error:
            if error.check != "rate":
                raise
            wait = math.ceil((epoch + 1) * EPOCH_S - now)
            raise AdmissionError(
                f"{error.message}; the next minute begins in {wait} s",
                check=error.check,
                hint=error.hint,
                retry_after_s=wait,
            ) from error
        proof = await to_thread.run_sync(
            lambda: prover.prove(place, epoch=epoch, message_id=message_id, digest=digest)
        )
        return proof.to_header()

    async def wait_until_settled(self) -> None:
        """Wait, where this person has only just joined, until that no longer shows.

        Raises:
            InputError: this person is no member.
            PeerError: the ledger cannot be read.
        """
        _, index = self._member()
        await self._members.wait_until_settled(index)

    async def warm(self, scope: str) -> None:
        """Read the tree, and work out ahead what no message changes; raises `PrivityError`."""
        member, index = self._member()
        await self._members.refresh(now=True)
        place = await self._members.place(index, member.limit)
        prover = await self._prover(scope, member, index)
        await to_thread.run_sync(prover.warm, place)

    def close(self) -> None:
        """Drop what was kept to prove with; the memory that held the secret is overwritten."""
        for prover in self._provers.values():
            prover.close()
        for identity in self._identities:
            identity.close()
        self._provers.clear()
        self._identities.clear()

    def _member(self) -> tuple[Membership, int]:
        member = self._wallet.membership
        if member is None or member.index is None:
            raise no_member()
        return member, member.index

    async def _prover(self, scope: str, member: Membership, index: int) -> Prover:
        async with self._lock:  # its keys are loaded once
            found = self._provers.get((scope, index))
            if found is None:
                identity = RateIdentity(member.secret)
                self._identities.append(identity)
                found = await to_thread.run_sync(Prover, identity, scope)
                self._provers[scope, index] = found
            return found


def no_member() -> InputError:
    """Return the error of a person who has no membership yet."""
    return InputError(
        "you are not a member of this network yet",
        hint="`privity wallet top-up` stakes for you and buys credits",
    )
