"""One tree of members and proofs of one of them, made once: proving takes a tenth of a second."""

from __future__ import annotations

import hashlib
from functools import cache

from privity.anon.field import field_from_int
from privity.anon.membership import MemberTree, Place, RateIdentity
from privity.anon.rln import Claimed, Proof, Prover

SCOPE = "did:key:z6MkProvider"
EPOCH = 29_000_000
LIMIT = 300


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@cache
def member() -> tuple[RateIdentity, Place, Prover]:
    """Return an identity, its place among six others, and its prover."""
    identity, tree = RateIdentity(field_from_int(1 << 200 | 77)), MemberTree()
    tree.extend([field_from_int(number) for number in (5, 6, 7)])
    index = tree.append(identity.leaf(LIMIT))
    tree.extend([field_from_int(number) for number in (8, 9, 10)])
    return identity, tree.place(index, LIMIT), Prover(identity, SCOPE)


@cache
def proof(request: str = "request", message_id: int = 0, epoch: int = EPOCH) -> Proof:
    _, place, prover = member()
    return prover.prove(place, epoch=epoch, message_id=message_id, digest=digest(request))


@cache
def batch(count: int = 256) -> tuple[Claimed, ...]:
    """Return that many true claims: sixteen different ones, again and again."""
    return tuple(
        Claimed(proof(f"request {number}", number), SCOPE, digest(f"request {number}"))
        for number in (at % 16 for at in range(count))
    )
