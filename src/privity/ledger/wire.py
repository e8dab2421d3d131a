"""Readers of what a ledger's node answers: total, typed, bounded (Ethereum JSON-RPC encodings).

Each returns what the form allows or raises `PeerError`; none shows the value it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NewType

from privity.errors import InputError, PeerError

__all__ = [
    "Address",
    "Block",
    "Hash",
    "Log",
    "Receipt",
    "check_address",
    "read_address",
    "read_block",
    "read_data",
    "read_hash",
    "read_logs",
    "read_quantity",
    "read_receipt",
    "text_of",
]

Address = NewType("Address", str)  # 0x and 40 lower-case hex digits
Hash = NewType("Hash", bytes)  # 32 bytes: of a block or of a transaction

MAX_DATA = 1024 * 1024
_MAX_TOPICS = 4
_MAX_LOGS = 200_000
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True)
class Block:
    """A block: its height, its hash, its time in seconds since 1970, its fee per gas in wei."""

    number: int
    hash: Hash
    time: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class Log:
    """What a contract wrote in a block."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction: where it is, whether it succeeded, its gas and its logs."""

    hash: Hash
    block: int
    succeeded: bool
    gas: int
    contract: Address | None
    logs: tuple[Log, ...]


def check_address(text: Any) -> Address:
    """Return an address a person gave, in the one spelling used here.

    Raises:
        InputError: it is none.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise InputError("an address of the ledger is 0x and 40 hexadecimal digits")
    return Address(text.lower())


def text_of(number: int) -> str:
    """Return a quantity as a node expects it."""
    return hex(number)


def read_quantity(value: Any, *, most: int = 2**256 - 1) -> int:
    """Read an unsigned integer."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise _wrong("a quantity")
    number = int(value, 16)
    if number > most:
        raise _wrong("a quantity in its range")
    return number


def read_data(value: Any, *, most: int = MAX_DATA) -> bytes:
    """Read bytes, at most ``most`` of them."""
    if not isinstance(value, str) or len(value) > 2 + 2 * most or not _DATA.fullmatch(value):
        raise _wrong("bytes in hexadecimal")
    return bytes.fromhex(value[2:])


def read_hash(value: Any) -> Hash:
    """Read 32 bytes."""
    data = read_data(value, most=32)
    if len(data) != 32:
        raise _wrong("a hash")
    return Hash(data)


def read_address(value: Any) -> Address:
    """Read an address."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise _wrong("an address")
    return Address(value.lower())


def read_block(value: Any) -> Block:
    """Read a block."""
    head = _object(value, "a block")
    return Block(
        number=read_quantity(head.get("number"), most=2**63 - 1),
        hash=read_hash(head.get("hash")),
        time=read_quantity(head.get("timestamp"), most=2**63 - 1),
        base_fee=read_quantity(head.get("baseFeePerGas", "0x0")),
    )


def read_logs(value: Any) -> tuple[Log, ...]:
    """Read logs, in the ledger's order."""
    if not isinstance(value, list) or len(value) > _MAX_LOGS:
        raise _wrong("a list of logs")
    logs = tuple(_log(item) for item in value)
    places = [(log.block, log.index) for log in logs]
    if places != sorted(set(places)):
        raise _wrong("logs in the ledger's order")
    return logs


def read_receipt(value: Any) -> Receipt | None:
    """Read a receipt; None where the node has none yet."""
    if value is None:
        return None
    receipt = _object(value, "a receipt")
    made = receipt.get("contractAddress")
    return Receipt(
        hash=read_hash(receipt.get("transactionHash")),
        block=read_quantity(receipt.get("blockNumber"), most=2**63 - 1),
        succeeded=read_quantity(receipt.get("status"), most=1) == 1,
        gas=read_quantity(receipt.get("gasUsed"), most=2**63 - 1),
        contract=None if made is None else read_address(made),
        logs=read_logs(receipt.get("logs")),
    )


def _log(value: Any) -> Log:
    log = _object(value, "a log")
    topics = log.get("topics")
    if not isinstance(topics, list) or len(topics) > _MAX_TOPICS:
        raise _wrong("the topics of a log")
    if log.get("removed") not in (None, False):
        raise _wrong("a log that stands")
    return Log(
        address=read_address(log.get("address")),
        topics=tuple(read_hash(topic) for topic in topics),
        data=read_data(log.get("data")),
        block=read_quantity(log.get("blockNumber"), most=2**63 - 1),
        index=read_quantity(log.get("logIndex"), most=2**63 - 1),
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(what)
    return value


def _wrong(expected: str) -> PeerError:
    return PeerError(f"the ledger's node answered something else than {expected}")
