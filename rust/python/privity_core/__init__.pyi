"""Types of the native kernels. Bad input is a ValueError, an index outside a tree an IndexError."""

from collections.abc import Sequence
from typing import final

# Rate-limiting nullifiers (src/rln.rs). Field elements: 32 bytes, little-endian, canonical.

def poseidon(inputs: Sequence[bytes]) -> bytes:
    """Hash 1 to 8 elements by Poseidon, with circomlib's constants."""

def hash_to_field(data: bytes) -> bytes:
    """Return Keccak-256 of the data, read little-endian and reduced."""

def recover(x1: bytes, y1: bytes, x2: bytes, y2: bytes) -> bytes:
    """Return the secret on the line through two points; equal x is a ValueError."""

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
        """Return the siblings from the leaf upwards: depth elements."""

    def leaf(self, index: int) -> bytes: ...
    def __len__(self) -> int: ...

@final
class Prepared:
    """The part of a proof that no message changes; it holds the secret until dropped."""

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
        """Return False for anything that is not a true proof, malformed bytes among it."""

    def verify_batch(
        self, claims: Sequence[tuple[bytes, bytes, bytes, bytes, bytes, bytes]]
    ) -> list[bool]:
        """Return one answer a claim; the arguments of `verify`, as tuples."""

    def verifying_key(self) -> bytes:
        """Return the verifying key as arkworks compresses it."""

# --- anonymous credits (src/act.rs): messages are deterministic CBOR of one exact size each ---

ACT_SPEND_BYTES: int
ACT_REFUND_BYTES: int
ACT_REQUEST_BYTES: int
ACT_RESPONSE_BYTES: int

def act_generate() -> bytes:
    """Return an issuer's new secret key."""

def act_public(secret: bytes) -> bytes:
    """Its public key: a compressed Ristretto point of 32 bytes."""

def act_check_public(public: bytes) -> None:
    """Refuse what is no public key."""

def act_token(token: bytes) -> tuple[bytes, int, bytes]:
    """Nullifier, amount and context of a token."""

def act_context(uniform: bytes) -> bytes:
    """Reduce 64 bytes to a context, a canonical scalar of 32 bytes."""

@final
class Act:
    """The parameters of one deployment and the protocol under them; safe between threads."""

    def __init__(self, organization: str, service: str, deployment: str, version: str) -> None: ...
    def request(self) -> tuple[bytes, bytes]:
        """Private state of a purchase, and the request."""

    def issue(self, secret: bytes, request: bytes, amount: int, context: bytes) -> bytes: ...
    def complete(self, state: bytes, request: bytes, response: bytes, public: bytes) -> bytes:
        """Return the token."""

    def spend(self, token: bytes, amount: int) -> tuple[bytes, bytes]:
        """Private state of a spend, and the spend."""

    def verify(self, secret: bytes, spend: bytes) -> tuple[bytes, int, bytes]:
        """Nullifier, amount and context of a spend that verifies."""

    def refund(self, secret: bytes, spend: bytes, back: int) -> bytes: ...
    def complete_refund(self, state: bytes, spend: bytes, refund: bytes, public: bytes) -> bytes:
        """Return the next token."""

# --- proved queries (src/query.rs) ---

@final
class QueryKey:
    """Prover and verifier of one vocabulary and one bucket; safe between threads."""

    def __init__(self, vocabulary: int, denied: Sequence[int], bucket: int) -> None:
        """Make the keys: a second or more. `denied` rises strictly."""

    @property
    def k(self) -> int:
        """The circuit has 2^k rows."""

    @property
    def proof_size(self) -> int: ...
    def fingerprint(self) -> bytes:
        """Return 32 bytes that change where the statement that is proved changes."""

    def warm(self) -> None:
        """Make the proving part now rather than at the first proof."""

    def prove(self, tokens: Sequence[int], context: bytes, seed: bytes) -> bytes:
        """Return a proof bound to the context; its first 32 bytes are `commit(tokens, seed)`."""

    def verify(self, proof: bytes, context: bytes) -> bool:
        """Return False for anything that is not a true proof, malformed bytes among it."""

    def verify_batch(self, items: Sequence[tuple[bytes, bytes]]) -> list[bool]:
        """Return one answer an item: (proof, context)."""

    def commit(self, tokens: Sequence[int], seed: bytes) -> bytes:
        """Return the commitment to any tokens, allowed or not; too many are a ValueError."""
