"""Transactions: written down before they are sent, never sent twice, never dearer than allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from privity.errors import InputError, PeerError
from privity.ledger.accounts import Account
from privity.ledger.journal import Entry, Journal
from privity.ledger.rpc import Rpc
from privity.ledger.sending import Limits, Sender
from privity.ledger.wire import Address
from scripted_node import CHAIN, Down, ScriptedNode

pytestmark = pytest.mark.anyio

TO = Address("0x" + "11" * 20)
WHAT = ("Contract", "act")
ACCOUNT = Account(b"\x01" * 32)


@pytest.fixture
def node() -> ScriptedNode:
    return ScriptedNode()


@pytest.fixture
def make(node: ScriptedNode, tmp_path: Path) -> Callable[..., Sender]:
    def sender(**limits: Any) -> Sender:
        return Sender(
            Rpc("http://node.test", transport=node.transport),
            ACCOUNT,
            chain_id=CHAIN,
            journal=Journal(tmp_path / "ledger" / "journal.json"),
            limits=Limits(poll_s=0, **limits),
        )

    return sender


@pytest.fixture
def written(tmp_path: Path) -> Callable[[], list[Entry]]:
    return Journal(tmp_path / "ledger" / "journal.json").read


def _down(*_: Any) -> Any:
    raise Down


async def test_calls_are_numbered_in_order(node: ScriptedNode, make: Callable[..., Sender]) -> None:
    sender = make()
    for n in range(3):
        receipt = await sender.send(TO, bytes([n]), what=WHAT)
        assert receipt.block == n + 1
    assert len(node.mined) == 3


async def test_who_waits_is_told_how_many_blocks_follow(node: ScriptedNode, tmp_path: Path) -> None:
    told: list[str] = []
    sender = Sender(
        Rpc("http://node.test", transport=node.transport),
        ACCOUNT,
        chain_id=CHAIN,
        journal=Journal(tmp_path / "journal.json"),
        confirmations=2,
        limits=Limits(poll_s=0),
        told=told.append,
    )
    heads = iter([1, 1, 2, 3])
    node.answers["eth_blockNumber"] = lambda *_: hex(next(heads))
    receipt = await sender.send(TO, b"pay", what=WHAT)
    assert receipt.block == 1
    assert told == [f"Contract.act: {seen} of 2 blocks follow" for seen in range(3)]


async def test_a_transaction_that_is_not_mined_is_told_of_once(
    node: ScriptedNode, tmp_path: Path
) -> None:
    told: list[str] = []
    sender = Sender(
        Rpc("http://node.test", transport=node.transport),
        ACCOUNT,
        chain_id=CHAIN,
        journal=Journal(tmp_path / "journal.json"),
        limits=Limits(poll_s=0),
        told=told.append,
    )
    looks = iter(range(30))

    def receipt(hash_: str) -> Any:
        return node.eth_getTransactionReceipt(hash_) if next(looks) > 20 else None

    node.answers["eth_getTransactionReceipt"] = receipt
    await sender.send(TO, b"pay", what=WHAT)
    assert told == ["Contract.act: sent, not mined yet"]


async def test_a_crash_after_writing_down_sends_nothing_twice(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    node.answers["eth_sendRawTransaction"] = _down  # the process dies before it is sent
    with pytest.raises(PeerError):
        await make().send(TO, b"pay", what=WHAT)
    del node.answers["eth_sendRawTransaction"]
    node.answers["eth_getTransactionReceipt"] = _down  # and again after it was sent
    with pytest.raises(PeerError):
        await make().send(TO, b"pay", what=WHAT)
    del node.answers["eth_getTransactionReceipt"]
    await make().send(TO, b"pay", what=WHAT)
    assert len(node.mined) == 1


async def test_an_act_with_a_name_is_done_once_ever(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    first = await make().send(TO, b"pay", what=WHAT, intent="deposit:1")
    again = await make().send(TO, b"pay", what=WHAT, intent="deposit:1")
    assert first.hash == again.hash
    await make().send(TO, b"pay", what=WHAT, intent="deposit:2")
    assert len(node.mined) == 2


async def test_what_was_left_unfinished_is_sent_again_first(
    node: ScriptedNode, make: Callable[..., Sender], written: Callable[[], list[Entry]]
) -> None:
    node.answers["eth_sendRawTransaction"] = _down
    with pytest.raises(PeerError):
        await make().send(TO, b"first", what=WHAT)
    del node.answers["eth_sendRawTransaction"]
    await make().send(TO, b"second", what=WHAT)
    assert len(node.mined) == 2
    # Mined; whoever asked for it has not seen the receipt yet.
    assert [one.finished for one in written()] == [False, True]
    await make().send(TO, b"first", what=WHAT)
    assert [one.finished for one in written()] == [True, True]
    assert len(node.mined) == 2


async def test_several_at_once_take_different_numbers(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    async with anyio.create_task_group() as group:
        for n in range(8):
            sender = make()
            group.start_soon(lambda s, n: s.send(TO, bytes([n]), what=WHAT), sender, n)
    assert len(node.mined) == 8
    assert len(set(node.sent)) == 8


async def test_a_node_that_asks_for_too_high_fees_is_refused(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    node.tip = 10**15
    with pytest.raises(InputError, match="the limits are"):
        await make().send(TO, b"", what=WHAT)
    node.tip = 1
    node.answers["eth_estimateGas"] = lambda *_: hex(10**9)
    with pytest.raises(InputError, match="the limits are"):
        await make().send(TO, b"", what=WHAT)
    assert node.sent == []


async def test_nothing_is_signed_for_another_chain(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    node.chain = 1
    with pytest.raises(InputError, match="of chain 1"):
        await make().send(TO, b"", what=WHAT)
    assert node.sent == []


async def test_what_the_node_does_not_take_is_struck_out(
    node: ScriptedNode, make: Callable[..., Sender], written: Callable[[], list[Entry]]
) -> None:
    def refuse(_: str) -> str:
        raise RuntimeError("insufficient funds")

    node.answers["eth_sendRawTransaction"] = refuse
    with pytest.raises(InputError, match="insufficient funds"):
        await make().send(TO, b"", what=WHAT)
    assert written() == []


async def test_one_that_fails_when_mined_can_be_tried_again(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    node.status = "0x0"
    with pytest.raises(InputError, match="when it was mined"):
        await make().send(TO, b"", what=WHAT, intent="x")
    node.status = "0x1"
    await make().send(TO, b"", what=WHAT, intent="x")
    assert len(node.mined) == 2


async def test_one_whose_number_was_taken_is_dropped(
    node: ScriptedNode, make: Callable[..., Sender], written: Callable[[], list[Entry]]
) -> None:
    node.answers["eth_sendRawTransaction"] = _down
    with pytest.raises(PeerError):
        await make().send(TO, b"mine", what=WHAT)
    del node.answers["eth_sendRawTransaction"]
    node.mined["0x" + "22" * 32] = "another program's, of the same account and number"
    await make().send(TO, b"another", what=WHAT)
    assert len(node.sent) == 1
    assert [one.finished for one in written()] == [True]


async def test_one_that_a_node_counts_before_it_has_its_receipt_is_not_sent_anew(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    node.answers["eth_getTransactionReceipt"] = _down  # the process dies when it was sent
    with pytest.raises(PeerError):
        await make().send(TO, b"pay", what=WHAT)
    looks = iter(range(100))

    def receipt(hash_: str) -> Any:
        return node.eth_getTransactionReceipt(hash_) if next(looks) > 20 else None

    node.answers["eth_getTransactionReceipt"] = receipt
    await make().send(TO, b"pay", what=WHAT)
    assert len(node.mined) == 1, "it was paid twice"


async def test_waiting_ends_and_says_how_to_go_on(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    node.answers["eth_getTransactionReceipt"] = lambda _: None
    with pytest.raises(PeerError, match="not confirmed") as caught:
        await make(wait_s=0.05).send(TO, b"", what=WHAT)
    assert "journal" in caught.value.hint


async def test_another_transactions_receipt_is_refused(
    node: ScriptedNode, make: Callable[..., Sender]
) -> None:
    real = node.eth_getTransactionReceipt

    def swapped(hash_: str) -> dict[str, Any] | None:
        receipt = real(hash_)
        return receipt and receipt | {"transactionHash": "0x" + "33" * 32}

    node.answers["eth_getTransactionReceipt"] = swapped
    with pytest.raises(PeerError, match="another transaction"):
        await make().send(TO, b"", what=WHAT)


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"form":"other"}', b"\xff"])
async def test_a_damaged_journal_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        Journal(path).read()


async def test_the_journal_is_the_persons_alone(
    node: ScriptedNode, make: Callable[..., Sender], tmp_path: Path
) -> None:
    await make().send(TO, b"", what=WHAT)
    for path in (tmp_path / "ledger").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        assert ACCOUNT.unsafe_key().hex() not in path.read_text()
