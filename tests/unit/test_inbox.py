"""A person's inbox and the bus's role: addresses, reading once, one count of ids, slashing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from libp2p_mark import needs_libp2p
from native import needs_native
from privity.anon.epochs import EPOCH_S
from privity.anon.membership import MemberTree, RateIdentity
from privity.anon.messages import (
    Bus,
    Delivered,
    InboxAddress,
    MessageStore,
    Settings,
    Spam,
    Tentative,
    WakuMessage,
    channel_named,
)
from privity.anon.messages.rate_limit import Rules
from privity.anon.messages.store import Page, Question
from privity.errors import AdmissionError, InputError, MalformedError, PeerError
from privity.infer.anonymous.inbox import open_box
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.sending import Sender, send
from privity.ledger.history import MemberHistory
from privity.node import slashing
from privity.node.bus_gate import SpamDesk
from privity.node.bus_role import BusSettings
from privity.node.watched_members import LedgerSettings

pytestmark = pytest.mark.anyio


def test_an_address_that_was_cut_or_mistyped_is_refused() -> None:
    address = open_box("inbox").address
    assert InboxAddress.parse(f" {address}\n") == address
    assert open_box("inbox").address == address, "its key is kept"
    assert open_box("other").address.key != address.key, "channels do not link"
    text = str(address)
    wrong = "B" if text[40] != "B" else "C"
    for bad in (
        text[:-1],
        text[:40] + wrong + text[41:],
        text.replace("/inbox/", "/other/"),
        "",
        "x",
    ):
        with pytest.raises(MalformedError):
            InboxAddress.parse(bad)


def test_what_is_not_committed_is_not_delivered() -> None:
    kept = Delivered()
    first = Tentative(kept)
    assert first.add(b"a")
    assert not first.add(b"a")
    first.close()
    second = Tentative(kept)
    assert second.add(b"a") and second.add(b"b")
    second.discard(b"b")
    second.commit()
    second.close()
    third = Tentative(kept)
    assert not third.add(b"a") and third.has(b"a") and third.add(b"b")
    third.close()
    kept.close()


def test_a_store_keeps_the_channels_it_is_told_to() -> None:
    mine, other = channel_named("mine").topic, channel_named("other").topic
    store = MessageStore(topics=(mine,))
    assert store.add("/waku/2/rs/1789/0", WakuMessage(b"1", mine, timestamp=1))
    assert not store.add("/waku/2/rs/1789/0", WakuMessage(b"1", other, timestamp=1))
    store.close()


def test_a_role_s_settings_fit_together(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    for wrong in ((url, None, None), ("", tmp_path, None), ("", None, tmp_path)):
        with pytest.raises(InputError):
            LedgerSettings.given(*wrong, confirmations=1, every_s=1)
    assert LedgerSettings.given("", None, None, confirmations=1, every_s=1) is None
    found = LedgerSettings.given(url, tmp_path, None, confirmations=1, every_s=2)
    assert found == LedgerSettings(url, tmp_path, None, 1, 2)
    with pytest.raises(InputError):
        BusSettings(channels=("inbox",))


class Withholding(MessageStore):
    """Lists what it has, and hands nothing out while told so."""

    withholds = False

    def answer(self, question: Question) -> Page:
        if self.withholds and question.hashes and question.data:
            return Page((), None)
        return super().answer(question)


@needs_libp2p
async def test_what_was_not_shown_comes_again() -> None:
    store = Withholding()
    box = open_box("inbox")
    async with Bus(Settings(), store=store) as node:
        where = [node.addresses[0]]
        for words in (b"one", b"two"):
            done = await send(box.address, words, where, None)
            assert (done.peers, done.stores, done.kept) == (1, 1, 1)
        with pytest.raises(KeyError):
            async with box.reading(where) as letters:
                assert len(letters.messages) == 2
                raise KeyError("the terminal went")
        store.withholds = True
        async with box.reading(where) as letters:
            assert not letters.messages
            assert len(letters.missing) == 2, "a gap is told"
        store.withholds = False
        async with box.reading([*where, "/ip4/127.0.0.1/tcp/1/p2p/" + _name(where)]) as letters:
            assert sorted(one.payload for one in letters.messages) == [b"one", b"two"]
            assert not letters.missing
            assert (letters.answered, len(letters.failed)) in {(1, 1), (2, 0)}
        async with box.reading(where) as letters:
            assert not letters.messages
        await send(box.address, b"three", where, None)
        async with box.reading(where) as letters:
            assert [one.payload for one in letters.messages] == [b"three"]
    store.close()


def _name(where: list[str]) -> str:
    return where[0].rpartition("/")[2]


@needs_libp2p
async def test_a_sender_is_told_who_keeps_nothing() -> None:
    box = open_box("inbox")
    async with Bus(Settings()) as node:
        done = await send(box.address, b"hello", [node.addresses[0]], None)
        assert (done.peers, done.stores, done.kept) == (1, 0, 0)
        with pytest.raises(PeerError):
            async with box.reading([node.addresses[0]]):
                raise AssertionError("it has no store")
    with pytest.raises(PeerError):
        await send(box.address, b"hello", [], None)


class Members:
    """A tree with one member, in the place of the ledger's."""

    def __init__(self, identity: RateIdentity, limit: int) -> None:
        self.tree = MemberTree()
        self.tree.append(identity.leaf(limit), at=0.0)
        self.waited: list[int] = []
        self.placed = 0

    @property
    def roots(self) -> frozenset[bytes]:
        return frozenset({self.tree.root})

    async def refresh(self, *, now: bool = False) -> None:
        return

    async def wait_until_settled(self, index: int) -> None:
        self.waited.append(self.placed)

    async def place(self, index: int, limit: int) -> Any:
        self.placed += 1
        return self.tree.place(index, limit)


@needs_native
async def test_requests_and_messages_share_one_count_of_ids(tmp_path: Path) -> None:
    from privity.anon.messages import NativeEngine
    from privity.anon.rln import external_nullifier

    assert Rules().epoch_s == EPOCH_S, "an epoch of one is an epoch of the other"
    engine = NativeEngine()
    ours = Rules().external_nullifier(engine, 7)
    assert ours != external_nullifier(7, "privity/messages/v1"), "and a proof of one is no other's"

    wallet = SharedWallet(tmp_path / "wallet", os.urandom(32))
    secret, limit = os.urandom(31) + b"\0", 3
    with RateIdentity(secret) as identity:
        members: Any = Members(identity, limit)
    sender = Sender(wallet, members)
    message = WakuMessage(b"sealed", channel_named("inbox").topic)
    with pytest.raises(InputError):
        await sender.stamped(message, again=False)
    with wallet.turn() as opened:
        opened.join(secret, limit)
        opened.joined(0)
    first = await sender.stamped(message, again=False)
    again = await sender.stamped(message, again=True)
    assert members.waited == [0, 1], "a newcomer's message waits before it is proved"
    proofs = [first.rate_limit_proof, again.rate_limit_proof]
    epochs = {int.from_bytes(one.epoch, "little") for one in proofs if one is not None}
    assert len({one.nullifier for one in proofs if one is not None}) == 2, "an id is used once"
    if len(epochs) == 1:  # else a minute ended between the two
        (epoch,) = epochs
        assert await wallet.take_message_id(epoch) == 2
        with pytest.raises(AdmissionError, match="used"):
            await wallet.take_message_id(epoch)
    gate = sender.gate()
    assert gate.engine.verify_batch([gate.screen(first).statement]) == [True]  # type: ignore[union-attr]


class FlakyLedger:
    """Cannot be reached at first, and then says what it is told to."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.done = asyncio.Event()

    async def slash(self, index: int, secret: bytes, receiver: str | None = None) -> None:
        answer = self.answers.pop(0)
        if not self.answers:
            self.done.set()
        if answer is not None:
            raise answer


@pytest.mark.parametrize(
    "last", [None, InputError("the contract Membership refused slash: no such member")]
)
async def test_what_fails_for_the_network_is_slashed_later(
    last: Exception | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slashing, "leaves_of", lambda events, secret: (5,))
    ledger: Any = FlakyLedger(PeerError("away"), PeerError("away"), last)
    desk = SpamDesk(MemberHistory(), ledger, wait_s=0.001)
    running = asyncio.create_task(desk.run())
    secret = b"\1" * 31 + b"\0"
    await asyncio.to_thread(desk.tell, Spam(1, b"n" * 32, secret))
    await asyncio.wait_for(ledger.done.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "cut off" in caplog.text and secret.hex() not in caplog.text
