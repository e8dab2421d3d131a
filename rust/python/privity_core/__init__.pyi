"""Types of the native kernels. Bad input is a ValueError, an index outside a tree an IndexError."""

from collections.abc import Sequence
from typing import final

# --- rate-limiting nullifiers (src/rln.rs): field elements are 32 bytes, little-endian, canonical ---

def poseidon(inputs: Sequence[bytes]) -> bytes:
    """Poseidon of 1 to 8 elements, with circomlib's constants."""

def hash_to_field(data: bytes) -> bytes:
    """Keccak-256, read little-endian and reduced."""

def recover(x1: bytes, y1: bytes, x2: bytes, y2: bytes) -> bytes:
    """The secret on the line through two points; equal x is a ValueError."""

@final
class MerkleTree:
    """An incremental Merkle tree over Poseidon, empty leaves 0; safe between threads."""

    def __init__(self, depth: int = 20) -> None: ...
    def append(self, leaf: bytes) -> int: ...
    def extend(self, leaves: bytes) -> None:
        """Append leaves written one after the other."""

    def set(self, index: int, leaf: bytes) -> None: ...
    def root(self) -> bytes: ...
    def path(self, index: int) -> bytes:
        """The siblings from the leaf upwards: depth elements."""

    def leaf(self, index: int) -> bytes: ...
    def leaves(self) -> bytes: ...
    def __len__(self) -> int: ...

@final
class Prepared:
    """The part of a proof that no message changes. It holds the secret; dropped, it is overwritten."""

@final
class Rln:
    """Prover and verifier with the keys of zerokit's ceremony, read once a process."""

    @staticmethod
    def load() -> Rln: ...
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
        """Return (proof of 128 bytes, root, y, nullifier)."""

    def prepare(self, secret: bytes, limit: int, path: bytes, index: int) -> Prepared: ...
    def finish(
        self, prepared: Prepared, message_id: int, x: bytes, external_nullifier: bytes
    ) -> tuple[bytes, bytes, bytes, bytes]: ...
    def verify(
        self,
        proof: bytes,
        root: bytes,
        x: bytes,
        y: bytes,
        nullifier: bytes,
        external_nullifier: bytes,
    ) -> bool:
        """False for anything that is not a true proof, malformed bytes among it."""

    def verify_batch(
        self, claims: Sequence[tuple[bytes, bytes, bytes, bytes, bytes, bytes]]
    ) -> list[bool]:
        """One answer a claim; the arguments of `verify`, as tuples."""

    def verifying_key(self) -> bytes:
        """The verifying key as arkworks compresses it."""
