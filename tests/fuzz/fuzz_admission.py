"""The admission header that travels outside the seal, and snapshots of the members' tree."""

from __future__ import annotations

from fuzz.harness import Made, attempt
from privity.anon.field import field_from_int
from privity.anon.membership import MemberTree
from privity.anon.rln import Proof
from privity.hazmat.native import have_native

_PROOF = Proof(7, bytes(range(128)), field_from_int(1), field_from_int(2), field_from_int(3))
_NATIVE = have_native("MerkleTree")


def one(data: bytes) -> None:
    text = data.decode("latin-1")
    proof = attempt(Proof.from_header, text)
    assert proof is None or proof.to_header() == text
    if _NATIVE:
        tree = attempt(MemberTree.restore, data, window=4096)
        assert tree is None or tree.snapshot() == data


def seeds() -> Made:
    tree = MemberTree()
    empty = tree.snapshot()
    tree.extend([field_from_int(5), field_from_int(6)], at=1.0)
    return Made([_PROOF.to_header().encode(), empty, tree.snapshot()])
