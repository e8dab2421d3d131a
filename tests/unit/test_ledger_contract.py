"""A contract that does not answer: whether it is not there yet, or is something else."""

from __future__ import annotations

import json

import httpx
import pytest

from privity.errors import PeerError
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.wire import Address

pytestmark = pytest.mark.anyio

ADDRESSES = Addresses(31337, 0, *(Address("0x" + f"{n:02x}" * 20) for n in range(1, 5)))


def ledger(answer: str) -> Ledger:
    """A chain of 17 blocks whose contracts answer this to every question."""

    def handle(request: httpx.Request) -> httpx.Response:
        question = json.loads(request.content)
        answers = {
            "eth_chainId": "0x7a69",
            "eth_blockNumber": "0x10",
            "eth_call": answer,
            "eth_getBlockByNumber": {
                "number": question["params"][0] if question["params"] else "0x0",
                "hash": "0x" + "ab" * 32,
                "timestamp": "0x1",
                "baseFeePerGas": "0x1",
            },
        }
        result = answers[question["method"]]
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": question["id"], "result": result})

    return Ledger("http://node.test", ADDRESSES, transport=httpx.MockTransport(handle))


async def test_a_contract_of_a_block_too_new_is_said_not_to_be_there_yet() -> None:
    async with ledger("0x") as found:
        block = await found.members.confirmed()
        assert block is not None and block.number == 4
        with pytest.raises(
            PeerError, match="Membership is not on the chain yet as of block 4"
        ) as e:
            await found.members.check_root(bytes(32), block)
    assert "`confirmations`" in e.value.hint


@pytest.mark.parametrize("answer", ["0x", "0x00"])
async def test_an_address_that_is_no_contract_now_is_not_said_to_become_one(answer: str) -> None:
    async with ledger(answer) as found:
        with pytest.raises(PeerError, match="is not of the form of Membership") as refused:
            await found.members.root()
    assert "at this address" in refused.value.hint


async def test_an_answer_of_another_form_is_not_said_to_be_too_early() -> None:
    async with ledger("0x00") as found:
        with pytest.raises(PeerError, match="is not of the form of Membership"):
            await found.members.check_root(bytes(32), await found.members.confirmed())  # type: ignore[arg-type]
