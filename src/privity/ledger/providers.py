"""The public list of enclave gateways and relays, read whole.

Everybody reads all entries as of one block: who asked for one alone would tell the node whom they
are about to use. An entry is what anyone with a stake wrote: its form is checked here, and what it
says is believed by nobody before the holder of the DID proved it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from urllib.parse import urlsplit

import anyio

from privity.errors import MalformedError, PeerError
from privity.ledger.contract import Contract
from privity.ledger.rpc import Rpc
from privity.ledger.sending import Sender, event_of, signing
from privity.ledger.wire import Address, Block, Receipt, read_address, read_block

__all__ = ["Listing", "ProviderEntry", "ProviderKind", "Registry", "parse_entry"]

MOST = 4096
"""The most entries that are read; later ones are left out and counted."""

_AT_ONCE = 8
_DID = re.compile(r"did:[a-z0-9]{1,32}:[A-Za-z0-9._:%-]{1,90}")  # DID Core §3.1, bounded
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]")
_PATH = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]{1,64}){0,8}/?")  # and no dot segments


class ProviderKind(IntEnum):
    """What an entry is of."""

    GATEWAY = 1
    RELAY = 2


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """An entry of the registry, of valid form.

    Attributes:
        index: its place in the registry.
        owner: the account that staked for it: its operator.
        kind: an enclave's gateway or a relay.
        did: its identifier.
        endpoint: its base URL, ``http(s)://HOST[:PORT][/PATH]``, ASCII.
        keys_digest: SHA-256 of its keys, 32 bytes.
        price: what it says it asks; its tariff is what counts.
    """

    index: int
    owner: Address
    kind: ProviderKind
    did: str
    endpoint: str
    keys_digest: bytes
    price: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The registry as of a block.

    Attributes:
        block: as of which.
        entries: those in service and of valid form.
        refused: the places of those in service whose form is none.
        left_out: how many were not read, beyond the first 4096.
    """

    block: Block
    entries: tuple[ProviderEntry, ...]
    refused: tuple[int, ...] = ()
    left_out: int = 0


class Registry:
    """The contract of providers.

    Args:
        rpc: the node.
        contract: the contract.
        sender: signs what changes something; None to only read.
    """

    def __init__(self, rpc: Rpc, contract: Contract, *, sender: Sender | None) -> None:
        self._rpc = rpc
        self._contract = contract
        self._sender = sender

    async def listing(self, block: Block | None = None) -> Listing:
        """Return all entries in service.

        Args:
            block: as of which block; None for the newest.

        Raises:
            PeerError: the node is not reached, or answers wrongly.

        Guarantees:
            One entry that is malformed hides no other
            (tests/adversary/test_ledger.py::test_a_hostile_entry_hides_no_other).
        """
        if block is None:
            block = read_block(await self._rpc.ask("eth_getBlockByNumber", "latest", False))
        count = int(await self._contract.call("count", block=block))
        read = min(count, MOST)
        found: list[bytes] = [b""] * read
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def fetch(index: int) -> None:
            async with limiter:
                found[index] = await self._contract.call_raw("entry", index, block=block)

        try:
            async with anyio.create_task_group() as group:
                for index in range(read):
                    group.start_soon(fetch, index)
        except ExceptionGroup as errors:
            raise _first(errors) from None
        return self._listed(block, found, count - read)

    def _listed(self, block: Block, found: list[bytes], left_out: int) -> Listing:
        entries, refused = [], []
        for index, data in enumerate(found):
            try:
                entry = parse_entry(index, self._contract.artefact.result("entry", data)[0])
            except MalformedError:
                refused.append(index)
            else:
                entries += [entry] if entry is not None else []
        return Listing(block, tuple(entries), tuple(refused), left_out)

    async def register(
        self, kind: ProviderKind, did: str, endpoint: str, keys_digest: bytes, price: int
    ) -> int:
        """Stake for an entry, the token's allowance set before, and return its place.

        Raises:
            InputError: the contract refuses; or there is no signer.
            PeerError: the node is not reached; the same call again takes it up.
            MalformedError: no reader would take the entry.
        """
        _check(did, endpoint)
        receipt = await signing(self._sender).transact(
            self._contract, "register", int(kind), did, endpoint, keys_digest, price
        )
        return int(event_of(self._contract, receipt, "EntryRegistered").values["index"])

    async def update(self, index: int, endpoint: str, keys_digest: bytes, price: int) -> Receipt:
        """Change where an own entry is, its keys and its price."""
        return await signing(self._sender).transact(
            self._contract, "update", index, endpoint, keys_digest, price
        )

    async def retire(self, index: int) -> Receipt:
        """Take an own entry out of service; its stake comes after the delay (`withdraw`)."""
        return await signing(self._sender).transact(self._contract, "retire", index)

    async def withdraw(self, index: int) -> Receipt:
        """Have the stake of a retired entry sent back to its owner."""
        return await signing(self._sender).transact(self._contract, "withdraw", index)

    async def stake(self) -> int:
        """Return what an entry stakes, in the token's smallest unit."""
        return int(await self._contract.call("stake"))


def parse_entry(index: int, value: Any) -> ProviderEntry | None:
    """Read an entry as the contract has it; None for one that is retired.

    Raises:
        MalformedError: a part is not of its form. Its text is in no message.
    """
    try:
        owner, kind, did, endpoint, digest, price, withdrawable_at, _ = value
        if withdrawable_at:
            return None
        known = ProviderKind(kind)
        holder = read_address(owner)
    except (PeerError, TypeError, ValueError):
        raise MalformedError(f"entry {index} is not of a kind known here") from None
    if not isinstance(did, str) or not isinstance(endpoint, str):
        raise MalformedError(f"entry {index} is not of a form known here")
    _check(did, endpoint)
    if not isinstance(digest, bytes) or len(digest) != 32 or type(price) is not int:
        raise MalformedError(f"entry {index} is not of a form known here")
    return ProviderEntry(index, holder, known, did, endpoint.rstrip("/"), digest, price)


def _check(did: str, endpoint: str) -> None:
    if not _DID.fullmatch(did):
        raise MalformedError("an entry's DID is none, or longer than 128 characters")
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:
        raise MalformedError("an entry's endpoint is no URL") from None
    host = url.netloc.rpartition(":")[0] if port is not None else url.netloc
    plain = f"{url.scheme}://{url.netloc}{url.path}"
    if (
        endpoint != plain  # no query, no fragment, nothing that urlsplit dropped
        or len(endpoint) > 256
        or url.scheme not in ("http", "https")
        or not _HOST.fullmatch(host)
        or not _PATH.fullmatch(url.path)
        or port == 0
    ):
        raise MalformedError("an entry's endpoint is not http(s)://HOST[:PORT][/PATH]")


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the first error of a group, however nested."""
    error: Exception = errors
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
