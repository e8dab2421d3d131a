"""Two messages under one id, over two gateways: the secret, the slash, and what comes after.

Real processes and a real chain; the cheater is in this process, with a wallet that hands out one
message id twice, which privity's own does not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from anonymous_net import Net, Person, needs_network, person, running_net, within
from privity.anon.epochs import EPOCH_S
from privity.anon.field import Field
from privity.anon.membership import poseidon
from privity.anon.rln import external_nullifier
from privity.errors import AdmissionError, InputError
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafRemoved

pytestmark = [needs_network, pytest.mark.anyio]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running_net(tmp_path_factory.mktemp("slashing") / "home") as found:
        yield found


def nullifiers(net: Net) -> set[bytes]:
    """Return what the gateways keep."""
    path = net.folder / "network" / "signals.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        return {bytes(row[0]) for row in store.execute("SELECT nullifier FROM signals")}


def traces(secret: bytes, net: Net, epochs: range, limit: int) -> set[bytes]:
    """Return every nullifier a secret can have made in these epochs."""
    scope = str(net.facts["anonymous"]["provider"]).lower()
    found = set()
    for epoch in epochs:
        outer = external_nullifier(epoch, scope)
        for message in range(limit):
            number = Field(message.to_bytes(32, "little"))
            found.add(bytes(poseidon(poseidon(Field(secret), outer, number))))
    return found


async def cheat(cheater: Person) -> None:
    """Send two requests under one message id of one epoch."""

    async def same(epoch: int) -> int:
        return 0

    cheater.wallet.take_message_id = same  # type: ignore[method-assign]
    with pytest.raises(AdmissionError) as caught:
        for _ in range(3):  # an epoch may end between two of them
            await cheater.ask()
    assert caught.value.check == "double-signal"


async def slashed(net: Net, index: int) -> bool:
    history = MemberHistory()
    async with net.ledger() as ledger:
        await history.update(ledger.members)
    return any(
        isinstance(event, LeafRemoved) and event.index == index and event.slashed
        for event in history.events
    )


async def answered(one: Person) -> bool:
    await one.network.members.refresh(now=True)
    try:
        return (await one.ask()).status_code == 200
    except AdmissionError as error:
        assert error.check == "root"
        return False


async def test_who_sends_two_messages_under_one_id_is_slashed_and_nobody_else_is_known(
    net: Net, tmp_path: Path
) -> None:
    async with (
        person(net, tmp_path / "cheater", limit=16) as cheater,
        person(net, tmp_path / "neighbour", limit=16) as neighbour,
    ):
        before = nullifiers(net)
        assert (await neighbour.ask()).status_code == 200
        honest = nullifiers(net) - before
        member = cheater.wallet.membership
        other = neighbour.wallet.membership
        assert member is not None and member.index is not None and other is not None
        gateways = ("gateway-a", "gateway-b")
        async with net.ledger() as ledger:
            accounts = [net.account(name) for name in gateways]
            funds = [await ledger.token.balance(one.address) for one in accounts]
        await cheat(cheater)

        index = member.index
        await within(60, lambda: slashed(net, index), "the cheater is slashed")
        async with net.ledger() as ledger:
            after = [await ledger.token.balance(one.address) for one in accounts]
            stake = await ledger.members.stake_per_message() * member.limit
        bounty = sum(after) - sum(funds)
        assert 0 < bounty < stake / 2, "slashing oneself does not pay"

        await cheater.network.members.refresh(now=True)
        scope = str(net.facts["anonymous"]["provider"]).lower()
        with pytest.raises(InputError, match="not this identity's"):
            await cheater.network.member_prover.prove(scope, bytes(32))
        # A proof of the tree before is refused, and not sent again: the next reading helps.
        await within(60, lambda: answered(neighbour), "the neighbour is still a member")

        now = int(cheater.network.clock() // EPOCH_S)
        epochs = range(now - 10, now + 2)
        kept = nullifiers(net)
        assert traces(member.secret, net, epochs, member.limit) & kept, "the cheater's are known"
        assert not traces(member.secret, net, epochs, member.limit) & honest
        assert traces(other.secret, net, epochs, other.limit) & honest, "the search is a search"
