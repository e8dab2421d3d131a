"""Members, proofs and messages for the tests of the bus.

`ToyEngine` (dev) has Shamir's line and no proof: whoever knows the statement can forge. It is for
machines without the native wheel, and for tests of more messages than can be proved in a second.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from privity.anon.messages import RateGate, RateStamp, Rules, Spam, WakuMessage
from privity.anon.messages.rate_limit import Candidate, Engine, Statement
from privity.errors import InputError

NOW = 1_700_000_000.0
P = 21888242871839275222246405745257275088548364400416034343698204186575808495617


class ToyEngine:
    """The same line and nullifiers over SHA-256, with a checksum in the place of a proof."""

    def poseidon(self, inputs: list[bytes]) -> bytes:
        return self.hash_to_field(b"poseidon" + b"".join(inputs))

    def hash_to_field(self, data: bytes) -> bytes:
        number = int.from_bytes(hashlib.sha256(data).digest(), "little") % P
        return number.to_bytes(32, "little")

    def prove(
        self,
        secret: bytes,
        limit: int,
        message_id: int,
        path: bytes,
        index: int,
        x: bytes,
        external_nullifier: bytes,
    ) -> tuple[bytes, bytes, bytes, bytes]:
        if not 0 <= message_id < limit:
            raise InputError("the message id is not below the limit")
        slope = self.poseidon([secret, external_nullifier, message_id.to_bytes(32, "little")])
        at = (_int(secret) + _int(slope) * _int(x)) % P
        y, nullifier = at.to_bytes(32, "little"), self.poseidon([slope])
        return _checksum(path, x, y, nullifier, external_nullifier), path, y, nullifier

    def verify_batch(self, statements: Sequence[Statement]) -> list[bool]:
        return [proof == _checksum(*public) for proof, *public in statements]

    def recover(self, x1: bytes, y1: bytes, x2: bytes, y2: bytes) -> bytes:
        slope = (_int(y1) - _int(y2)) * pow(_int(x1) - _int(x2), -1, P)
        return ((_int(y1) - slope * _int(x1)) % P).to_bytes(32, "little")


def _int(element: bytes) -> int:
    return int.from_bytes(element, "little")


def _checksum(*parts: bytes) -> bytes:
    return hashlib.sha512(b"toy" + b"".join(parts)).digest() * 2


@dataclass
class Members:
    """A tree of members and the rules they keep; time stands still unless a test moves it."""

    engine: Engine = field(default_factory=ToyEngine)
    rules: Rules = field(default_factory=lambda: Rules(max_limit=16))
    now: float = NOW
    roots: set[bytes] = field(default_factory=set)
    found: list[Spam] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tree: Any = None
        if not isinstance(self.engine, ToyEngine):
            import privity_core

            self.tree = privity_core.MerkleTree(20)

    def gate(self) -> RateGate:
        return RateGate(
            self.engine,
            lambda: self.roots,
            rules=self.rules,
            clock=lambda: self.now,
            on_spam=self.found.append,
        )


@dataclass
class Member:
    """One member: its secret, its place, and the message ids it used, which a test may reset."""

    members: Members
    secret: bytes
    limit: int
    index: int
    used: Counter[int] = field(default_factory=Counter)

    def stamp(self) -> RateStamp:
        return RateStamp(
            self.members.engine,
            self.secret,
            self.limit,
            place=self._place,
            take=self._take,
            rules=self.members.rules,
            clock=lambda: self.members.now,
        )

    def _place(self) -> tuple[bytes, int]:
        if self.members.tree is None:
            return next(iter(self.members.roots)), self.index
        return self.members.tree.path(self.index), self.index

    def _take(self, epoch: int) -> int:
        if self.used[epoch] >= self.limit:
            raise InputError("the rate limit of this epoch is reached")
        self.used[epoch] += 1
        return self.used[epoch] - 1

    def message(self, payload: bytes, topic: str = "/privity/1/test/sealed") -> WakuMessage:
        return self.stamp().stamp(WakuMessage(payload, topic))

    def claim(self, payload: bytes) -> Statement:
        screened = self.members.gate().screen(self.message(payload))
        assert isinstance(screened, Candidate)
        return screened.statement


def one_of(members: Members, *, limit: int = 3, name: bytes = b"member") -> Member:
    """Add a member."""
    engine = members.engine
    secret = engine.hash_to_field(b"secret of " + name)
    index = 0
    if members.tree is None:
        members.roots = {engine.hash_to_field(b"root")}
    else:
        leaf = engine.poseidon([engine.poseidon([secret]), limit.to_bytes(32, "little")])
        index = members.tree.append(leaf)
        members.roots = {members.tree.root()}
    return Member(members, secret, limit, index)
