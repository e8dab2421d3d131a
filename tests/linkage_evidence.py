"""Gathers what the roles of a devnet keep, and what they see, for the matcher of `linkage`.

Kept: every file under the devnet's folder as it lies on the disk, whole write-ahead logs and freed
pages included; every block, transaction, event and the state of the chain. To be on the safe side
the matcher is told which signal, spend and time are of one request, as a provider could find out.

Seen, beyond that: what a role could note down that noted everything that passes it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

import anonymous_net
from anonymous_net import Net, Person
from linkage import Record, Value
from privity.anon.field import Field
from privity.anon.membership import poseidon
from privity.anon.rln import Point, Proof, external_nullifier, recover_secret, signal
from privity.infer.anonymous import job as job_module
from privity.infer.anonymous.admitted import AdmittedTransport
from privity.infer.routes.anonymous import AnonymousRoute
from privity.ledger.rpc import Rpc

__all__ = [
    "Sighting",
    "Watch",
    "algebra",
    "chain_files",
    "chain_members",
    "kept_files",
    "spends",
    "watching",
]

_READS_OF_LEDGER = frozenset({"eth_blockNumber", "eth_call", "eth_getLogs"})


@dataclass(frozen=True)
class Sighting:
    """A sealed request as a gateway sees it: its header, its size, when, and over which relay."""

    at: float
    digest: bytes
    proof: Proof
    size: int
    relay: str
    gateway: str

    def columns(self) -> dict[str, Value]:
        """Return what a gateway keeps of it, and when it came."""
        return {
            "request.at": self.at,
            "signal.epoch": self.proof.epoch,
            "signal.nullifier": bytes(self.proof.nullifier),
            "signal.x": bytes(signal(self.digest)),
            "signal.y": bytes(self.proof.y),
        }

    def passing(self, roots: list[bytes]) -> dict[str, Value]:
        """Return what a gateway sees of it and does not keep."""
        return {
            "pass.size": self.size,
            "pass.relay": int(self.relay.rpartition(":")[2]),
            "pass.gateway": int(self.gateway.rpartition(":")[2]),
            "pass.root": roots.index(bytes(self.proof.root)),
            "pass.proof": self.proof.proof,
        }


@dataclass
class Watch:
    """What passed so far, of all persons; they act one after another.

    Attributes:
        sightings: of sealed requests.
        reads: when the ledger's node was asked something, and by which client of it.
        way: second relay and gateway of the last way that was found.
    """

    sightings: list[Sighting] = field(default_factory=list)
    reads: list[tuple[float, Rpc]] = field(default_factory=list)
    way: tuple[str, str] = ("", "")

    def last_read(self, who: Person, before: float) -> float:
        """Return when a person's device last read the ledger before a time."""
        rpc = who.network.ledger.rpc
        return max((at for at, one in self.reads if one is rpc and at < before), default=0.0)


@contextmanager
def watching() -> Iterator[Watch]:
    """Note what passes; the requests themselves are as they would be."""
    watch = Watch()
    ask = Rpc.ask

    class Watched(Person):
        async def find(self) -> AnonymousRoute:
            route = await super().find()
            watch.way = (route.way.second, route.way.gateway)
            return route

    class Noted(AdmittedTransport):
        def __init__(self, inner: httpx.AsyncBaseTransport, *rest: Any) -> None:
            super().__init__(_Passing(inner, watch), *rest)

    async def noted(self: Rpc, method: str, *params: Any) -> Any:
        if method in _READS_OF_LEDGER:
            watch.reads.append((time.time(), self))
        return await ask(self, method, *params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anonymous_net, "Person", Watched)
        patch.setattr(job_module, "AdmittedTransport", Noted)
        patch.setattr(Rpc, "ask", noted)
        yield watch


class _Passing(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        header = request.headers.get("privity-admission")
        if header is not None:
            body = await request.aread()
            digest = hashlib.sha256(body).digest()
            proof = Proof.from_header(header)
            seen = Sighting(time.time(), digest, proof, len(body), *self._watch.way)
            self._watch.sightings.append(seen)
        return await self._inner.handle_async_request(request)


def spends(net: Net) -> dict[bytes, dict[str, Value]]:
    """Return the rows of the enclave's store, by nullifier."""
    path = net.folder / "network" / "spent.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        rows = store.execute(
            "SELECT nullifier, fingerprint, held, until, refund, charged, settled FROM spends"
        ).fetchall()
    names = ("nullifier", "fingerprint", "held", "until.at", "refund", "charged", "settled")
    return {
        row[0]: {f"spend.{name}": value or 0 for name, value in zip(names, row, strict=True)}
        for row in rows
    }


def kept_files(net: Net) -> dict[str, bytes]:
    """Return every file of the devnet as it lies on the disk, and what its processes printed."""
    files = {
        str(path.relative_to(net.folder)): path.read_bytes()
        for path in sorted(net.folder.rglob("*"))
        if path.is_file()
    }
    return {**files, "devnet.err": (net.home / "devnet.err").read_bytes()}


class _Chain:
    def __init__(self, net: Net) -> None:
        self._net = net
        self._http = httpx.Client(trust_env=False, timeout=60)

    def ask(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self._http.post(self._net.rpc, json=body).json()["result"]

    def __enter__(self) -> _Chain:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


def chain_files(net: Net) -> dict[str, bytes]:
    """Return the whole chain: blocks with their transactions, receipts, and the state."""
    with _Chain(net) as chain:
        height = int(chain.ask("eth_blockNumber"), 16)
        blocks = [chain.ask("eth_getBlockByNumber", hex(n), True) for n in range(height + 1)]
        receipts = [
            chain.ask("eth_getTransactionReceipt", one["hash"])
            for block in blocks
            for one in block["transactions"]
        ]
        state = bytes.fromhex(chain.ask("anvil_dumpState").removeprefix("0x"))
    return {
        "chain/blocks.json": json.dumps(blocks).encode(),
        "chain/receipts.json": json.dumps(receipts).encode(),
        "chain/state": gzip.decompress(state) if state[:2] == b"\x1f\x8b" else state,
    }


def chain_members(files: dict[str, bytes], net: Net) -> tuple[list[Record], list[str]]:
    """Return what the ledger says of each member, in the order of leaves, and their accounts."""
    blocks = json.loads(files["chain/blocks.json"])
    times = {block["number"]: int(block["timestamp"], 16) for block in blocks}
    signed = {one["hash"]: one for block in blocks for one in block["transactions"]}
    logs = [log for one in json.loads(files["chain/receipts.json"]) for log in one["logs"]]
    at_members = [one for one in logs if _is(one, net.addresses.membership)]
    registered = [one for one in at_members if len(one["topics"]) == 2 and len(one["data"]) == 130]
    members, accounts = [], []
    for log in registered:
        account = signed[log["transactionHash"]]["from"]
        leaf, limit = _words(log["data"])
        columns: dict[str, Value] = {
            "index": int(log["topics"][1], 16),
            "leaf": leaf,
            "limit": int.from_bytes(limit, "big"),
            "account": bytes.fromhex(account[2:]),
        }
        own = [one for one in signed.values() if one["from"] == account]
        for number, one in enumerate(own):
            if one["to"].lower() == net.addresses.membership.lower():
                columns["commitment"] = bytes.fromhex(one["input"][10:74])[::-1]
            columns |= _of_transaction(f"tx{number}", one, times)
        columns |= _of_deposit(logs, net, {one["hash"] for one in own}, times)
        members.append(Record(columns))
        accounts.append(account.lower())
    return members, accounts


def _is(log: dict[str, Any], address: str) -> bool:
    return bool(log["address"].lower() == address.lower())


def _words(data: str) -> list[bytes]:
    raw = bytes.fromhex(data[2:])
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def _of_transaction(name: str, one: dict[str, Any], times: dict[str, int]) -> dict[str, Value]:
    call = bytes.fromhex(one["input"][2:])
    found: dict[str, Value] = {
        f"{name}.hash": bytes.fromhex(one["hash"][2:]),
        f"{name}.r": int(one["r"], 16).to_bytes(32, "big"),
        f"{name}.s": int(one["s"], 16).to_bytes(32, "big"),
        f"{name}.block": int(one["blockNumber"], 16),
        f"{name}.at": times[one["blockNumber"]],
    }
    words = [call[at : at + 32] for at in range(4, len(call), 32)]
    return found | {f"{name}.word{number}": word for number, word in enumerate(words)}


def _of_deposit(
    logs: list[dict[str, Any]], net: Net, own: set[str], times: dict[str, int]
) -> dict[str, Value]:
    """Return a member's first deposit, and when the operator answered it."""
    here = [one for one in logs if _is(one, net.addresses.credits) and len(one["topics"]) == 2]
    made = next(one for one in here if one["transactionHash"] in own)
    same = [one for one in here if one["topics"][1] == made["topics"][1] and one is not made]
    claimed = same[0]
    return {
        "deposit": int(made["topics"][1], 16),
        "deposit.digest": _words(made["data"])[1],
        "deposit.at": times[made["blockNumber"]],
        "claim.at": times[claimed["blockNumber"]],
        "claim.block": int(claimed["blockNumber"], 16),
        "claim.hash": bytes.fromhex(claimed["transactionHash"][2:]),
    }


def algebra(
    members: list[Record], requests: list[Record], scope: str, limit: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Try what a nullifier could be made of, and where lines through two signals meet the axis.

    Every value of a member that is a field element is tried as the secret; of two signals of one
    epoch the secret is reckoned that two of one message would reveal.
    """
    tried = np.zeros((len(requests), len(members)))
    for m, one in enumerate(members):
        traces = _traces(one, requests, scope, limit)
        for r, request in enumerate(requests):
            tried[r, m] = request.columns["signal.nullifier"] in traces
    return {"a nullifier's algebra": tried, "two signals' line": _lines(members, requests)}


def _elements(member: Record) -> Iterator[Field]:
    for value in member.columns.values():
        raw = value if isinstance(value, bytes) else int(value).to_bytes(32, "little")
        for way in (raw.ljust(32, b"\0"), raw[::-1].ljust(32, b"\0")):
            if len(way) == 32 and way[31] < 0x30:
                yield Field(way)


def _traces(member: Record, requests: list[Record], scope: str, limit: int) -> set[bytes]:
    found: set[bytes] = set()
    for epoch in {int(one.columns["signal.epoch"]) for one in requests}:
        outer = external_nullifier(epoch, scope)
        for value in set(_elements(member)):
            found.add(bytes(poseidon(value, outer)))
            for number in range(limit):
                message = Field(number.to_bytes(32, "little"))
                slope = poseidon(value, outer, message)
                found |= {bytes(slope), bytes(poseidon(slope))}
    return found


def _lines(members: list[Record], requests: list[Record]) -> np.ndarray[Any, Any]:
    owners = {one.columns["commitment"]: m for m, one in enumerate(members)}
    by_epoch: dict[Value, list[int]] = defaultdict(list)
    for r, one in enumerate(requests):
        by_epoch[one.columns["signal.epoch"]].append(r)
    score = np.zeros((len(requests), len(members)))
    for same in by_epoch.values():
        for place, a in enumerate(same):
            for b in same[place + 1 :]:
                secret = recover_secret(_point(requests[a]), _point(requests[b]))
                owner = owners.get(bytes(poseidon(secret)))
                if owner is not None:
                    score[[a, b], owner] = 1
    return score


def _point(request: Record) -> Point:
    columns = request.columns
    x, y = columns["signal.x"], columns["signal.y"]
    assert isinstance(x, bytes) and isinstance(y, bytes)
    return Point(Field(x), Field(y))
