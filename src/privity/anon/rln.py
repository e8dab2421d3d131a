"""Rate-limiting nullifiers: prove that some member sends one of its messages of this epoch.

A proof shows that its maker is a leaf of the tree with this root, that its message id is below its
registered limit, and that ``y = secret + x · a`` with ``a = Poseidon(secret, external nullifier,
message id)``, ``nullifier = Poseidon(a)``. Nothing else: not which leaf, not which message id. Two
signals x under one message id are two points of one line, and its intercept is the secret.

Source: 32/RLN-V1 and RLN-V2 of Vac; the circuit and the keys of its ceremony are zerokit's.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass
from typing import TYPE_CHECKING, NamedTuple

from privity.anon.field import FIELD_BYTES, Field, field
from privity.anon.membership import Place, RateIdentity, poseidon
from privity.errors import AdmissionError, InputError, MalformedError
from privity.hazmat.native import native
from privity.identity.multibase import decode_base64url, encode_base64url

if TYPE_CHECKING:
    import privity_core

__all__ = [
    "HEADER_CHARS",
    "Claimed",
    "Field",
    "Point",
    "Proof",
    "Prover",
    "VerifiedProof",
    "external_nullifier",
    "recover_secret",
    "signal",
    "verify_proof",
    "verify_proofs",
]

HEADER_CHARS = 311
"""Length of a proof as a header, always: base64url of 233 bytes without padding."""

PROOF_BYTES = 128
"""A Groth16 proof over BN254 as arkworks compresses it: A 32, B 64, C 32."""

_HEAD = struct.Struct(">BQ")
_VERSION = 1
_DOMAIN = b"privity/admission/v1/"
_MOST_SCOPE = 512


@dataclass(frozen=True)
class Proof:
    """A proof as it travels, not verified. The signal x is not sent: its verifier computes it.

    Attributes:
        epoch: the number of the epoch, 0 to 2^64 - 1.
        proof: 128 bytes.
        root: of the tree it was made for.
        y: the share.
        nullifier: the same for two messages of one id in one epoch and scope.
    """

    epoch: int
    proof: bytes
    root: Field
    y: Field
    nullifier: Field

    def to_header(self) -> str:
        """Return the value of ``privity-admission``, 311 characters."""
        head = _HEAD.pack(_VERSION, self.epoch)
        return encode_base64url(head + self.proof + self.root + self.y + self.nullifier)

    @classmethod
    def from_header(cls, text: str) -> Proof:
        """Read what `to_header` writes, and nothing else.

        Raises:
            MalformedError: another length, version or spelling, or a field element not canonical.
        """
        if len(text) != HEADER_CHARS:
            raise MalformedError(f"an admission header has {HEADER_CHARS} characters")
        data = decode_base64url(text)
        version, epoch = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise MalformedError(f"an admission header of version {version} is not known here")
        points, rest = data[_HEAD.size : -3 * FIELD_BYTES], data[-3 * FIELD_BYTES :]
        root, y, nullifier = (field(rest[at : at + FIELD_BYTES]) for at in range(0, 96, 32))
        return cls(epoch, points, root, y, nullifier)


class Point(NamedTuple):
    """One point of a secret's line: the signal and the share."""

    x: Field
    y: Field


class Claimed(NamedTuple):
    """A proof with what its verifier knows: for whom it should be, and of which request."""

    proof: Proof
    scope: str
    digest: bytes


_MINT = object()


@dataclass(frozen=True)
class VerifiedProof:
    """A proof that holds for a scope and a request; `verify_proof` and `verify_proofs` make it.

    It says that some leaf of the tree ``proof.root`` made it. Whether that root is the members',
    the epoch is now, and the nullifier is fresh is for admission to check.
    """

    proof: Proof
    scope: str
    x: Field
    _: KW_ONLY
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("a VerifiedProof comes from verify_proof")

    @property
    def point(self) -> Point:
        """The point of the member's line that this proof shows."""
        return Point(self.x, self.proof.y)


def external_nullifier(epoch: int, scope: str) -> Field:
    """Return what separates epochs and providers: a proof for one is worth nothing at another.

    ``Poseidon(H(epoch, 8 bytes little-endian), H("privity/admission/v1/" ‖ scope))``, H being
    Keccak-256 read little-endian and reduced, as zerokit's hash_to_field_le.

    Raises:
        InputError: the epoch is not of 64 bits, or the scope not 1 to 512 ASCII characters.
    """
    if not 0 <= epoch < 1 << 64:
        raise InputError(f"an epoch is a number of 64 bits, not {epoch}")
    if not scope.isascii() or not 1 <= len(scope) <= _MOST_SCOPE:
        raise InputError(f"a scope is 1 to {_MOST_SCOPE} ASCII characters, an account")
    hash_to_field = native("hash_to_field").hash_to_field
    return poseidon(
        Field(hash_to_field(epoch.to_bytes(8, "little"))),
        Field(hash_to_field(_DOMAIN + scope.encode("ascii"))),
    )


def signal(digest: bytes) -> Field:
    """Return the signal x of a request by the SHA-256 of all its bytes as they are sent.

    Raises:
        InputError: not 32 bytes.
    """
    if len(digest) != hashlib.sha256().digest_size:
        raise InputError(f"a signal is made of a SHA-256 digest, not of {len(digest)} bytes")
    return Field(native("hash_to_field").hash_to_field(digest))


class Prover:
    """Makes one member's proofs for one scope; run by the client.

    Nine tenths of the circuit's inputs do not depend on the message: they are worked out once a
    place in the tree (`warm`) and kept, so that a proof at hand takes the remaining work only.
    Proving runs without the interpreter's lock, on all cores. Methods may be called from threads.

    The caller counts message ids: to use one twice in an epoch is to publish the secret.
    """

    def __init__(
        self,
        identity: RateIdentity,
        scope: str,
        *,
        progress: Callable[[str], None] | None = None,
        kept: int = 2,
    ) -> None:
        """Prove as ``identity`` towards ``scope``.

        Args:
            identity: stays the caller's to close.
            scope: the provider's account on the ledger, in lower case.
            progress: is told ``keys``, ``warm`` and ``prove`` as each begins.
            kept: for how many places warm parts are kept, the last used ones; they hold the secret.

        Raises:
            InputError: the scope is not one.
            MissingDependency: the native wheel is not installed.
        """
        external_nullifier(0, scope)
        self._identity, self._scope, self._kept = identity, scope, kept
        self._progress = progress or (lambda stage: None)
        self._warm: OrderedDict[Place, privity_core.Prepared] = OrderedDict()
        self._lock = threading.Lock()
        self._progress("keys")
        self._rln = _rln()

    def __repr__(self) -> str:
        return f"Prover(scope={self._scope!r})"

    def warm(self, place: Place) -> None:
        """Work out ahead of need what no message changes; about twice the work of what remains.

        Raises:
            InputError: the place is not one of a tree, or the identity was closed.
        """
        self._prepared(place)

    def prove(self, place: Place, *, epoch: int, message_id: int, digest: bytes) -> Proof:
        """Return the proof that admits the request with this SHA-256 digest.

        Args:
            place: of this identity in the tree.
            epoch: the current one's number.
            message_id: 0 to below the limit, each used once an epoch.
            digest: SHA-256 of the whole encapsulated request.

        Raises:
            InputError: the message id is not below the limit, the place is not this identity's, or
                another argument is not what it should be.
        """
        if message_id < 0:
            raise InputError("a message id is not negative")
        x, scope = signal(digest), external_nullifier(epoch, self._scope)
        prepared = self._prepared(place)
        self._progress("prove")
        try:
            proof, root, y, nullifier = self._rln.finish(prepared, message_id, x, scope)
        except (ValueError, OverflowError) as error:
            raise InputError(f"no proof can be made: {error}") from None
        if root != place.root:
            raise InputError("the leaf at this place is not this identity's with this limit")
        return Proof(epoch, proof, Field(root), Field(y), Field(nullifier))

    def close(self) -> None:
        """Drop what was kept warm; the memory that held it is overwritten."""
        with self._lock:
            self._warm.clear()

    def _prepared(self, place: Place) -> privity_core.Prepared:
        with self._lock:
            found = self._warm.get(place)
            if found is None:
                self._progress("warm")
                secret = self._identity.unsafe_secret()
                try:
                    found = self._rln.prepare(secret, place.limit, place.path, place.index)
                except (ValueError, OverflowError) as error:
                    raise InputError(f"no proof can be made here: {error}") from None
                self._warm[place] = found
            self._warm.move_to_end(place)
            while len(self._warm) > self._kept:
                self._warm.popitem(last=False)
            return found


def verify_proof(proof: Proof, *, scope: str, digest: bytes) -> VerifiedProof:
    """Check one proof; run by the gateway.

    Args:
        proof: as read.
        scope: the verifier's own.
        digest: SHA-256 of the request that came with it.

    Raises:
        AdmissionError: ``check`` is ``proof``: it does not hold for this scope and this request.
        InputError: the scope or the digest is not one.

    Guarantees:
        No other request, scope, epoch, root, share or nullifier passes
        (tests/adversary/test_rln.py).
    """
    (verdict,) = verify_proofs([Claimed(proof, scope, digest)])
    if isinstance(verdict, AdmissionError):
        raise verdict
    return verdict


def verify_proofs(claims: Sequence[Claimed]) -> list[VerifiedProof | AdmissionError]:
    """Check many proofs at once, for a fraction of the cost of each; answers are in order.

    All are combined under random 128-bit weights of the operating system; where that fails, parts
    are checked and then single proofs, so that a false one costs the others no verdict.

    Raises:
        InputError: a scope or a digest is not one.

    Guarantees:
        Each verdict is the one `verify_proof` gives (tests/adversary/test_rln.py).
    """
    signals = [signal(claim.digest) for claim in claims]
    tuples = [
        (one.proof, one.root, x, one.y, one.nullifier, external_nullifier(one.epoch, claim.scope))
        for claim, x in zip(claims, signals, strict=True)
        for one in (claim.proof,)
    ]
    rln = _rln()
    held = [rln.verify(*tuples[0])] if len(tuples) == 1 else rln.verify_batch(tuples)
    return [
        VerifiedProof(claim.proof, claim.scope, x, mint=_MINT) if good else _refusal()
        for claim, x, good in zip(claims, signals, held, strict=True)
    ]


def recover_secret(a: Point, b: Point) -> Field:
    """Return the secret of whoever sent two signals under one nullifier.

    The points must be of proofs that were verified and have the same nullifier, else the result
    is an element without meaning.

    Raises:
        InputError: both have the same x: one message sent twice reveals nothing.
    """
    try:
        return Field(native("recover").recover(a.x, a.y, b.x, b.y))
    except ValueError as error:
        raise InputError(f"no secret can be recovered: {error}") from None


def _rln() -> privity_core.Rln:
    """Return the kernel; its keys are read once a process."""
    loaded: privity_core.Rln = native("Rln").Rln.load()
    return loaded


def _refusal() -> AdmissionError:
    return AdmissionError(
        "the admission proof does not hold for this request, epoch and provider", check="proof"
    )
