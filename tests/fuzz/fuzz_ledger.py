"""What a ledger's node answers, what contracts and strangers' entries say, kept histories."""

from __future__ import annotations

import json

from eth_abi.abi import encode

from fuzz.harness import Made, attempt
from privity.ledger import wire
from privity.ledger.abi import load_artefact, revert_reason
from privity.ledger.addresses import Addresses
from privity.ledger.history import MemberHistory
from privity.ledger.providers import parse_entry
from privity.ledger.wire import Address, Log

_ENTRY = "(address,uint8,string,string,bytes32,uint256,uint256,bool)"
_OWNER = "0x" + "99" * 20
_HASH = "0x" + "ab" * 32


def one(data: bytes) -> None:
    addresses = attempt(Addresses.from_bytes, data)
    if addresses is not None:
        assert Addresses.from_bytes(addresses.to_bytes()) == addresses
    history = attempt(MemberHistory.restore, data)
    if history is not None:
        assert MemberHistory.restore(history.dump()).events == history.events
    assert len(revert_reason(data)) <= len(data) + 100
    found = attempt(load_artefact("Providers").result, "entry", data)
    if found is not None:
        entry = attempt(parse_entry, 0, found[0])
        assert entry is None or (entry.endpoint.isascii() and len(entry.endpoint) <= 256)
    for name in ("Membership", "Credits", "Providers"):
        log = Log(Address(_OWNER), (data[:32], data[32:64]), data[64:], 1, 0)
        attempt(load_artefact(name).event, log)
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return
    for read in (wire.read_block, wire.read_logs, wire.read_receipt, wire.read_quantity):
        attempt(read, answer)


def seeds() -> Made:
    entry = (_OWNER, 1, "did:key:z6Mk", "https://gate.example/a", b"\1" * 32, 5, 0, True)
    log = {
        "address": _OWNER,
        "topics": [_HASH],
        "data": "0x00",
        "blockNumber": "0x1",
        "blockHash": _HASH,
        "logIndex": "0x0",
    }
    receipt = {
        "transactionHash": _HASH,
        "blockNumber": "0x1",
        "blockHash": _HASH,
        "status": "0x1",
        "gasUsed": "0x1",
        "contractAddress": None,
        "logs": [log],
    }
    block = {"number": "0x1", "hash": _HASH, "timestamp": "0x1", "baseFeePerGas": "0x7"}
    addresses = Addresses(31337, 1, *(Address("0x" + f"{n}1" * 20) for n in range(1, 5)))
    return Made(
        [
            addresses.to_bytes(),
            MemberHistory().dump(),
            encode([_ENTRY], [entry]),
            b"\x08\xc3\x79\xa0" + encode(["string"], ["too early"]),
            json.dumps([log]).encode(),
            json.dumps(receipt).encode(),
            json.dumps(block).encode(),
        ]
    )
