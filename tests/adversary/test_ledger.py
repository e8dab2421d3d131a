"""Attacks on the clients of the ledger: one test per promise of spec/ledger.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_abi.abi import encode

from privity.errors import InputError, MalformedError, PeerError
from privity.ledger.abi import load_artefact
from privity.ledger.accounts import Account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.credits import sign_exit
from privity.ledger.history import MemberHistory
from privity.ledger.providers import ProviderKind, parse_entry
from privity.ledger.wire import Address

pytestmark = pytest.mark.anyio

HASH = "0x" + "ab" * 32
ADDRESSES = Addresses(31337, 0, *(Address("0x" + f"{n:02x}" * 20) for n in range(1, 5)))
ENTRY = "(address,uint8,string,string,bytes32,uint256,uint256,bool)"
OWNER = "0x" + "99" * 20
GOOD = (OWNER, 1, "did:key:z6Mk1", "https://gate.example", b"\x01" * 32, 5, 0, True)


def block(number: str, _full: bool) -> dict[str, str]:
    height = "0x10" if number == "latest" else number
    return {"number": height, "hash": HASH, "timestamp": "0x1", "baseFeePerGas": "0x1"}


class Node:
    """Answers each method with what a function makes of its parameters, and keeps the questions."""

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._answers: dict[str, Callable[..., Any]] = {
            "eth_blockNumber": lambda: "0x10",
            "eth_getBlockByNumber": block,
            "eth_getLogs": lambda _: [],
            "eth_call": self.call,
            **answers,
        }
        self.views: dict[str, Callable[[bytes], bytes]] = {}

    def call(self, call: dict[str, str], _at: Any) -> str:
        data = bytes.fromhex(call["data"][2:])
        return "0x" + self.views[data[:4].hex()](data[4:]).hex()

    def view(
        self, contract: str, function: str, answer: Callable[[bytes], bytes], *args: Any
    ) -> None:
        self.views[load_artefact(contract).calldata(function, *args)[:4].hex()] = answer

    def ledger(self, signer: Account | None = None, journal: Path | None = None) -> Ledger:
        return Ledger(
            "http://node.test",
            ADDRESSES,
            signer=signer,
            confirmations=0,
            transport=httpx.MockTransport(self._handle),
            journal=journal,
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        question = json.loads(request.content)
        self.asked.append((question["method"], question["params"]))
        result = self._answers[question["method"]](*question["params"])
        if isinstance(result, Exception):
            error = {"code": 3, "message": "execution reverted", "data": str(result)}
            return httpx.Response(
                200, json={"jsonrpc": "2.0", "id": question["id"], "error": error}
            )
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": question["id"], "result": result})


def registry(*entries: bytes) -> Node:
    node = Node()
    node.view("Providers", "count", lambda _: encode(["uint256"], [len(entries)]))
    node.view("Providers", "entry", lambda data: entries[int.from_bytes(data)], 0)
    return node


def entry(**changed: Any) -> bytes:
    names = ("owner", "kind", "did", "endpoint", "digest", "price", "leaves", "staked")
    values = dict(zip(names, GOOD, strict=True)) | changed
    return encode([ENTRY], [tuple(values.values())])


HOSTILE = [
    {"did": ""},
    {"did": "did:key:" + "z" * 120},
    {"did": "did:key:z6Mk\n"},
    {"did": "did:key:\x1b[31mz"},
    {"did": "javascript:alert(1)"},
    {"endpoint": ""},
    {"endpoint": "https://person:word@gate.example"},
    {"endpoint": "https://gate.example?who=you"},
    {"endpoint": "https://gate.example#f"},
    {"endpoint": "https://gate.example/../admin"},
    {"endpoint": "https://gate.example\r\nhost: other"},
    {"endpoint": "https://gäte.example"},
    {"endpoint": "https://gate.example:99999"},
    {"endpoint": "https://gate.example:0"},
    {"endpoint": "https://"},
    {"endpoint": "file:///etc/passwd"},
    {"endpoint": "https://gate.example/" + "a" * 300},
    {"kind": 3},
]


async def test_a_hostile_entry_hides_no_other() -> None:
    invalid_text = bytearray(entry(did="did:key:zz"))
    place = invalid_text.index(b"did:key:zz")
    invalid_text[place : place + 2] = b"\xff\xfe"  # a contract checks no spelling
    broken = [entry(**change) for change in HOSTILE]
    node = registry(entry(), *broken, bytes(invalid_text), b"", b"\xff" * 64, entry(price=9))
    async with node.ledger() as ledger:
        listing = await ledger.providers()
    assert [e.price for e in listing.entries] == [5, 9]
    assert listing.refused == tuple(range(1, len(broken) + 4))


@pytest.mark.parametrize("change", HOSTILE)
def test_no_message_repeats_what_a_stranger_wrote(change: dict[str, Any]) -> None:
    names = ("owner", "kind", "did", "endpoint", "digest", "price", "leaves", "staked")
    with pytest.raises(MalformedError) as caught:
        parse_entry(0, tuple((dict(zip(names, GOOD, strict=True)) | change).values()))
    assert not any(
        str(value) in str(caught.value) for value in change.values() if value != 3 and value
    )


async def test_a_registry_that_never_ends_is_read_in_bounds() -> None:
    node = registry()
    node.view("Providers", "count", lambda _: encode(["uint256"], [2**200]))
    node.view("Providers", "entry", lambda _: entry(), 0)
    async with node.ledger() as ledger:
        listing = await ledger.providers()
    assert len(listing.entries) == 4096
    assert listing.left_out == 2**200 - 4096


async def test_who_acts_without_a_journal_is_refused() -> None:
    """Two files for one account would number its transactions twice."""
    with pytest.raises(InputError, match="journal"):
        Node().ledger(Account.generate())


async def test_everybody_asks_the_same(tmp_path: Path) -> None:
    """Two members, with leaves and providers of their own, ask a node the same questions."""
    asked = []
    for _ in range(2):
        node = registry(entry(), entry(kind=int(ProviderKind.RELAY)))
        node.view("Credits", "issuerKey", lambda _: b"\x01" * 32)
        node.view("Credits", "proposedIssuerKey", lambda _: bytes(32))
        node.view("Credits", "issuerKeyActiveFrom", lambda _: bytes(32))
        node.view("Membership", "root", lambda _: bytes(32))
        # The one has an account and the other none: reading shows no difference.
        account = Account.generate() if not asked else None
        async with node.ledger(account, tmp_path / "journal") as ledger:
            await MemberHistory().update(ledger.members)
            await ledger.members.root()
            await ledger.providers()
            await ledger.issuer_key()
        asked.append(sorted(map(repr, node.asked)))
    assert asked[0] == asked[1]
    # Nor is there a way to ask about one leaf: no topic ever narrows the members down.
    logs = [json.loads(json.dumps(p)) for method, p in node.asked if method == "eth_getLogs"]
    assert [set(params[0]) for params in logs] == [{"address", "fromBlock", "toBlock"}]


async def test_no_address_in_an_answer_is_fetched() -> None:
    # EIP-3668: a contract says "look it up at this URL", and most libraries do.
    lookup = (
        "0x556f1830"
        + encode(
            ["address", "string[]", "bytes", "bytes4", "bytes"],
            [ADDRESSES.membership, ["https://elsewhere.example/{data}"], b"", b"abcd", b""],
        ).hex()
    )
    node = Node(eth_call=lambda *_: ValueError(lookup))
    async with node.ledger() as ledger:
        with pytest.raises(InputError, match="gave no reason"):
            await ledger.members.root()
    assert [method for method, _ in node.asked] == ["eth_call"]


@pytest.mark.parametrize(
    "change",
    [
        {"address": OWNER},
        {"blockNumber": "0x99"},
        {"removed": True},
        {"topics": []},
        {"topics": [HASH] * 5},
        {"topics": "0x"},
        {"data": "0x0"},
        {"data": "0x" + "00" * 31},
        {"data": None},
        {"logIndex": -1},
    ],
)
async def test_logs_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    from eth_utils.crypto import keccak

    topic = "0x" + keccak(b"Registered(uint256,uint256,uint256)").hex()
    log = {
        "address": ADDRESSES.membership,
        "topics": [topic, "0x" + "00" * 32],
        "data": "0x" + encode(["uint256", "uint256"], [7, 5]).hex(),
        "blockNumber": "0x1",
        "blockHash": HASH,
        "logIndex": "0x0",
    }
    async with Node(eth_getLogs=lambda _: [log]).ledger() as ledger:
        page = await ledger.members.page()
        assert page is not None
        assert len(page.events) == 1
    async with Node(eth_getLogs=lambda _: [log | change]).ledger() as ledger:
        if change == {"topics": []}:  # of another contract's form, so none of a leaf
            page = await ledger.members.page()
            assert page is not None
            assert page.events == ()
        else:
            with pytest.raises(PeerError):
                await ledger.members.page()


@pytest.mark.parametrize("leaf", [2**255, 2**256 - 1])
async def test_a_leaf_that_is_no_field_element_is_refused(leaf: int) -> None:
    from eth_utils.crypto import keccak

    log = {
        "address": ADDRESSES.membership,
        "topics": ["0x" + keccak(b"Registered(uint256,uint256,uint256)").hex(), "0x" + "00" * 32],
        "data": "0x" + encode(["uint256", "uint256"], [leaf, 5]).hex(),
        "blockNumber": "0x1",
        "blockHash": HASH,
        "logIndex": "0x0",
    }
    async with Node(eth_getLogs=lambda _: [log]).ledger() as ledger:
        with pytest.raises(PeerError, match="no field element"):
            await ledger.members.page()


async def test_a_chain_that_changes_while_it_is_read_is_read_again_or_refused() -> None:
    count = 0

    def fickle(number: str, full: bool) -> dict[str, str]:
        nonlocal count
        count += 1
        return block(number, full) | {"hash": "0x" + count.to_bytes(32, "big").hex()}

    async with Node(eth_getBlockByNumber=fickle).ledger() as ledger:
        with pytest.raises(PeerError, match="changed while"):
            await ledger.members.page()


@pytest.mark.parametrize("long", [ValueError("0x"), "0" * (33 << 20)], ids=["refused", "too large"])
async def test_a_node_that_refuses_long_ranges_is_asked_for_shorter_ones(long: Any) -> None:
    def logs(asked: dict[str, str]) -> Any:
        if int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) >= 1000:
            return long
        return []

    node = Node(eth_getLogs=logs, eth_blockNumber=lambda: hex(5000))
    async with node.ledger() as ledger:
        page = await ledger.members.page()
    assert page is not None
    good = [p[0] for method, p in node.asked if method == "eth_getLogs"]
    assert good[-1]["toBlock"] == hex(5000)


def test_an_exit_is_signed_for_one_contract_on_one_chain() -> None:
    account = Account(b"\x01" * 32)
    to, nonce = "0x" + "55" * 20, b"\x01" * 32
    signed = sign_exit(account, ADDRESSES, amount=5, to=to, nonce=nonce)
    others = [
        Addresses(1, 0, ADDRESSES.token, ADDRESSES.membership, ADDRESSES.credits, ADDRESSES.token),
        Addresses(31337, 0, ADDRESSES.token, ADDRESSES.token, ADDRESSES.token, ADDRESSES.token),
    ]
    for other in others:
        again = sign_exit(account, other, amount=5, to=to, nonce=nonce)
        assert again.signature != signed.signature
    for amount, receiver, name in [(0, to, nonce), (1, "0x", nonce), (1, to, b"short")]:
        with pytest.raises(InputError):
            sign_exit(account, ADDRESSES, amount=amount, to=receiver, nonce=name)
