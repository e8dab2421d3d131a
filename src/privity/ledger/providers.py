"""The public list of enclave gateways and relays, read whole.

Everybody reads all entries as of one block: who asked for one alone would tell the node whom they
are about to use. An entry is what anyone with a stake wrote: its form is checked here, and what it
says is believed by nobody before the holder of the DID proved it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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

__all__ = [
    "Listing",
    "ProviderEntry",
    "ProviderKind",
    "Registry",
    "listed_providers",
    "parse_entry",
]

MOST = 4096
"""The most entries in service that are read; others are left out and counted."""

MOST_PLACES = 65_536
"""The most places that are looked at, retired ones among them: the oldest half and the newest."""

_PAGE = 256

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
        left_out: how many places were not looked at: those after the first 4096 entries in service,
            and of more than 65,536 places those in the middle.
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
        self._gone: set[int] = set()

    async def listing(self, block: Block | None = None) -> Listing:
        """Return all entries in service.

        Args:
            block: as of which block; None for the newest.

        Raises:
            PeerError: the node is not reached, or answers wrongly.

        Guarantees:
            One entry that is malformed hides no other
            (tests/adversary/test_ledger.py::test_a_hostile_entry_hides_no_other). Entries that were
            retired do not use the list up: their stake went back, so they cost next to nothing
            (tests/adversary/test_registry_attacks.py).
        """
        if block is None:
            block = read_block(await self._rpc.ask("eth_getBlockByNumber", "latest", False))
        count = int(await self._contract.call("count", block=block))
        entries: list[ProviderEntry] = []
        refused: list[int] = []
        places, looked_at = _places(count), 0
        while looked_at < len(places) and len(entries) + len(refused) < MOST:
            room = min(_PAGE, MOST - len(entries) - len(refused))
            page = places[looked_at : looked_at + room]
            looked_at += len(page)
            wanted = [index for index in page if index not in self._gone]
            for index, data in zip(wanted, await self._fetched(wanted, block), strict=True):
                try:
                    entry = self._parsed(index, data)
                except MalformedError:
                    refused.append(index)
                else:
                    entries += [entry] if entry is not None else []
        return Listing(block, tuple(entries), tuple(refused), count - looked_at)

    async def _fetched(self, places: list[int], block: Block) -> list[bytes]:
        found: dict[int, bytes] = {}
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        failed: list[Exception] = []

        async def fetch(index: int) -> None:
            try:
                async with limiter:
                    found[index] = await self._contract.call_raw("entry", index, block=block)
            except Exception as error:  # out of the group it would take a cancellation's place
                failed.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for index in places:
                group.start_soon(fetch, index)
        if failed:
            raise failed[0]
        return [found[index] for index in places]

    def _parsed(self, index: int, data: bytes) -> ProviderEntry | None:
        value = self._contract.artefact.result("entry", data)[0]
        entry = parse_entry(index, value)
        if entry is None and not value[-1]:
            # Its stake is gone too, a delay after it was retired: nothing brings it back, and no
            # reorganisation is as long. It is not asked for again.
            self._gone.add(index)
        return entry

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


def listed_providers(entries: Iterable[ProviderEntry]) -> tuple[ProviderEntry, ...]:
    """Return the entries that count, in the registry's order. Run by clients and relays alike.

    Anyone can stake for an entry with another's DID. Of a DID that several accounts list, the
    entries of the account that listed it first count, and the others are left out; an entry's DID
    and place never change, so nobody can come before it later. Endpoint and keys do change, so
    nothing is left out for them: an old entry that takes on another's would take its place.

    Args:
        entries: those in service.

    Guarantees:
        Who names another's DID is not taken for them
        (tests/adversary/test_registry_attacks.py).
    """
    owners: dict[str, Address] = {}
    ordered = sorted(entries, key=lambda one: one.index)
    return tuple(one for one in ordered if owners.setdefault(one.did, one.owner) == one.owner)


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


def _places(count: int) -> Sequence[int]:
    """Return which places are looked at: all, or the oldest and the newest."""
    if count <= MOST_PLACES:
        return range(count)
    half = MOST_PLACES // 2
    return [*range(half), *range(count - half, count)]


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
