"""Rate limits on messages (17/WAKU2-RLN-RELAY): a stamp for senders, a gate for whoever relays.

A sender proves that it is *some* member and uses a message id below its limit once an epoch. Two
different messages under one message id reveal its secret. The signal is payload and content topic;
everything else a relay could change must therefore have its one canonical form, or a relay could
spend a member's slot on an altered copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from privity.anon.field import ORDER
from privity.anon.messages.topics import has_four_parts
from privity.anon.messages.waku import RateLimitProof, WakuMessage
from privity.errors import InputError

__all__ = [
    "PRIVITY_RLN",
    "Candidate",
    "Engine",
    "Outcome",
    "RateGate",
    "RateStamp",
    "Rules",
    "Spam",
    "Statement",
    "Verdict",
]

PRIVITY_RLN = b"privity/messages/v1".ljust(32, b"\0")
"""The RLN identifier of privity's messages: a proof for anything else is worth nothing here."""

_NANO = 1_000_000_000
_MAX_LOG = 1 << 20  # nullifiers of one epoch that are remembered; each costs a member a slot
_MAX_BANNED = (
    64  # whose nullifiers are computed anew each epoch; by then the ledger has removed more
)

Statement = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
"""Proof, root, x, y, nullifier, external nullifier: what a verifier is asked about."""


class Engine(Protocol):
    """The native calls that rate limits need; `hazmat.native` has them."""

    def poseidon(self, inputs: list[bytes]) -> bytes:
        """Return the circomlib Poseidon hash of field elements."""

    def hash_to_field(self, data: bytes) -> bytes:
        """Return the field element of some bytes, as zerokit does."""

    def verify_batch(self, statements: Sequence[Statement]) -> list[bool]:
        """Return for each statement whether its proof holds. Slow."""

    def recover(self, x1: bytes, y1: bytes, x2: bytes, y2: bytes) -> bytes:
        """Return the secret on whose line two points lie."""

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
        """Return proof, root, y and nullifier. Slow."""


class Outcome(Enum):
    """What becomes of a message."""

    ACCEPT = "accept"
    """It is delivered and relayed."""
    IGNORE = "ignore"
    """It goes no further; whoever relayed it may be honest."""
    REJECT = "reject"
    """It goes no further, and an honest peer would not have relayed it."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of a message, and which check decided.

    Attributes:
        outcome: deliver and relay, drop, or drop and hold it against the relaying peer.
        check: ``good``, ``form``, ``identifier``, ``missing``, ``epoch``, ``root``, ``proof``,
            ``duplicate``, ``double-signal`` or ``banned``.
    """

    outcome: Outcome
    check: str


@dataclass(frozen=True)
class Spam:
    """A member sent more than its limit; its secret is known now, for the ledger to slash.

    Attributes:
        epoch: when.
        nullifier: under which two messages came.
        secret: the member's. It is not in the text of this.
    """

    epoch: int
    nullifier: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Candidate:
    """A message that passed the cheap checks; `RateGate.settle` decides once its proof is checked.

    Attributes:
        epoch: number of its epoch.
        statement: what the engine verifies.
    """

    epoch: int
    statement: Statement


@dataclass(frozen=True)
class Rules:
    """What all of a network agree on.

    Attributes:
        epoch_s: seconds of an epoch.
        max_gap: epochs by which a message may be early or late.
        rln_identifier: 32 bytes; names the network in each proof.
        max_limit: message ids below which a cut-off member is known before its proof is verified;
            a larger limit saves nobody, see `RateGate`.
    """

    epoch_s: int = 60
    max_gap: int = 1
    rln_identifier: bytes = PRIVITY_RLN
    max_limit: int = 128

    def __post_init__(self) -> None:
        if self.epoch_s < 1 or self.max_gap < 0 or self.max_limit < 1:
            raise InputError("an epoch is a second or longer, a gap 0 or more, a limit 1 or more")
        if len(self.rln_identifier) != 32:
            raise InputError("an RLN identifier has 32 bytes")

    def epoch(self, now: float) -> int:
        """Return the number of the epoch of a Unix time, rounded down."""
        return int(now // self.epoch_s)

    def timestamp(self, epoch: int) -> int:
        """Return the only timestamp a message of an epoch may carry: its beginning, in ns."""
        return epoch * self.epoch_s * _NANO

    def external_nullifier(self, engine: Engine, epoch: int) -> bytes:
        """Return ``Poseidon(H(epoch), H(rln_identifier))``."""
        hashed = [engine.hash_to_field(part) for part in (epoch_bytes(epoch), self.rln_identifier)]
        return engine.poseidon(hashed)


def epoch_bytes(epoch: int) -> bytes:
    """Return an epoch as 32 bytes, little-endian."""
    return epoch.to_bytes(32, "little")


def signal(message: WakuMessage) -> bytes:
    """Return what a proof signs: payload, then content topic."""
    return message.payload + message.content_topic.encode()


class RateStamp:
    """Puts the proof on a member's own messages. Run by the sender.

    Args:
        engine: the native module.
        secret: the member's rate secret.
        limit: messages an epoch, as registered.
        place: returns the path (20 × 32 bytes) and index of the member's leaf, as of now.
        take: returns a message id of an epoch that was **never** given out before, not even by
            another process; it raises where none is left. Giving one twice loses the stake.
        rules: of the network.
        clock: Unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        secret: bytes,
        limit: int,
        *,
        place: Callable[[], tuple[bytes, int]],
        take: Callable[[int], int],
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self._engine, self._secret, self._limit = engine, secret, limit
        self._place, self._take, self._rules, self._clock = place, take, rules, clock

    def __repr__(self) -> str:
        return f"<RateStamp of {self._limit} messages each {self._rules.epoch_s} s>"

    def stamp(self, message: WakuMessage) -> WakuMessage:
        """Return the message in its canonical form with its proof. Slow: a proof is made.

        Raises:
            InputError: whatever ``take`` raises, where the limit is reached.
        """
        epoch = self._rules.epoch(self._clock())
        bare = WakuMessage(
            message.payload, message.content_topic, timestamp=self._rules.timestamp(epoch)
        )
        x = self._engine.hash_to_field(signal(bare))
        external = self._rules.external_nullifier(self._engine, epoch)
        path, index = self._place()
        message_id = self._take(epoch)
        proof, root, y, nullifier = self._engine.prove(
            self._secret, self._limit, message_id, path, index, x, external
        )
        identifier = self._rules.rln_identifier
        stamped = RateLimitProof(proof, root, epoch_bytes(epoch), x, y, nullifier, identifier)
        return replace(bare, rate_limit_proof=stamped)


class RateGate:
    """Decides which messages are relayed, and finds who exceeds the rate. Run by every relay.

    Cheap checks come first (`screen`), then the engine verifies proofs, many at once, and `settle`
    decides by what was seen before. One thread at a time.

    Args:
        engine: the native module.
        roots: returns the roots that are accepted now: those of the last blocks.
        rules: of the network.
        clock: Unix seconds.
        on_spam: is told of each member whose secret came out, once for as long as it is cut off
            here; it must not raise, nor take long.

    Guarantees:
        A member over its limit is found out and cut off, and no other is:
        `test_a_spammer_is_cut_off_and_its_secret_recovered`; whatever limit it registered:
        `test_a_spammer_of_a_large_limit_is_cut_off`.
    """

    def __init__(
        self,
        engine: Engine,
        roots: Callable[[], Set[bytes]],
        *,
        rules: Rules,
        clock: Callable[[], float],
        on_spam: Callable[[Spam], None] = lambda spam: None,
    ) -> None:
        self.engine, self._roots, self._rules, self._clock = engine, roots, rules, clock
        self._on_spam = on_spam
        self._log: dict[int, dict[bytes, tuple[bytes, bytes]]] = {}
        self._external: dict[int, bytes] = {}
        self._banned: dict[bytes, None] = {}
        self._cut_off: dict[int, set[bytes]] = {}

    def screen(self, message: WakuMessage) -> Verdict | Candidate:
        """Return the verdict of the cheap checks, or what is left to verify."""
        proof = message.rate_limit_proof
        if proof is None:
            return Verdict(Outcome.REJECT, "missing")
        if proof.rln_identifier != self._rules.rln_identifier:
            return Verdict(Outcome.REJECT, "identifier")
        epoch = int.from_bytes(proof.epoch, "little")
        if abs(epoch - self._rules.epoch(self._clock())) > self._rules.max_gap:
            return Verdict(Outcome.IGNORE, "epoch")
        canonical = WakuMessage(
            message.payload,
            message.content_topic,
            timestamp=self._rules.timestamp(epoch),
            rate_limit_proof=proof,
        )
        # Of four parts: a topic that could begin elsewhere would make two messages of one signal.
        one_form = message == canonical and has_four_parts(message.content_topic)
        if not one_form or self.engine.hash_to_field(signal(message)) != proof.share_x:
            return Verdict(Outcome.REJECT, "form")
        if proof.merkle_root not in self._roots():
            return Verdict(Outcome.IGNORE, "root")
        self._forget()
        if proof.nullifier in self._cut_off.get(epoch, ()):
            return Verdict(Outcome.IGNORE, "banned")
        if self._seen(epoch).get(proof.nullifier, (b"", b""))[0] == proof.share_x:
            return Verdict(Outcome.IGNORE, "duplicate")
        points = (proof.share_x, proof.share_y, proof.nullifier)
        external = self._external_nullifier(epoch)
        return Candidate(epoch, (proof.proof, proof.merkle_root, *points, external))

    def settle(self, candidate: Candidate, valid: bool) -> Verdict:
        """Return the verdict on a message whose proof was verified, and remember the message."""
        if not valid:
            return Verdict(Outcome.REJECT, "proof")
        _, _, x, y, nullifier, _ = candidate.statement
        seen = self._seen(candidate.epoch)
        if self._is_cut_off(candidate.epoch, x, y, nullifier):
            return Verdict(Outcome.IGNORE, "banned")
        before = seen.get(nullifier)
        if before is None:
            if len(seen) >= _MAX_LOG:
                return Verdict(Outcome.IGNORE, "busy")
            seen[nullifier] = (x, y)
            return Verdict(Outcome.ACCEPT, "good")
        if before[0] == x:
            return Verdict(Outcome.IGNORE, "duplicate")
        secret = self.engine.recover(*before, x, y)
        self._ban(secret)
        self._on_spam(Spam(candidate.epoch, nullifier, secret))
        # Ignored, not rejected: the peer may have seen this one first, and the other not at all.
        return Verdict(Outcome.IGNORE, "double-signal")

    def _ban(self, secret: bytes) -> None:
        if secret not in self._banned:
            self._banned[secret] = None
            for oldest in list(self._banned)[:-_MAX_BANNED]:
                del self._banned[oldest]
            for epoch in self._cut_off:
                self._cut_off[epoch] |= self._nullifiers(secret, epoch)

    def _nullifiers(self, secret: bytes, epoch: int) -> set[bytes]:
        """Return every nullifier a member can use in an epoch (RLN-v2: of each message id)."""
        external, poseidon = self._external_nullifier(epoch), self.engine.poseidon
        ids = (number.to_bytes(32, "little") for number in range(self._rules.max_limit))
        return {poseidon([poseidon([secret, external, number])]) for number in ids}

    def _is_cut_off(self, epoch: int, x: bytes, y: bytes, nullifier: bytes) -> bool:
        """Tell whether a verified message is of a cut-off member, whatever its message id.

        A message's point is on the line ``y = secret + a·x``, and its nullifier is Poseidon(a). So
        a secret that came out tells each message of its member, without the 65,535 ids it may have.
        """
        cut_off = self._cut_off[epoch]
        if nullifier in cut_off:
            return True
        at = int.from_bytes(x, "little") % ORDER
        if not self._banned or at == 0:
            return False
        inverse, height = pow(at, -1, ORDER), int.from_bytes(y, "little")
        for secret in self._banned:
            slope = (height - int.from_bytes(secret, "little")) * inverse % ORDER
            if self.engine.poseidon([slope.to_bytes(32, "little")]) == nullifier:
                cut_off.add(nullifier)  # its proof is not verified another time
                return True
        return False

    def _seen(self, epoch: int) -> dict[bytes, tuple[bytes, bytes]]:
        if epoch not in self._log:
            self._log[epoch] = {}
            self._cut_off[epoch] = set()
            for secret in self._banned:
                self._cut_off[epoch] |= self._nullifiers(secret, epoch)
        return self._log[epoch]

    def _external_nullifier(self, epoch: int) -> bytes:
        if epoch not in self._external:
            self._external[epoch] = self._rules.external_nullifier(self.engine, epoch)
        return self._external[epoch]

    def _forget(self) -> None:
        """Drop what is about epochs that no message is accepted from any more."""
        now = self._rules.epoch(self._clock())
        for kept in (self._log, self._external, self._cut_off):
            for epoch in [old for old in kept if abs(old - now) > self._rules.max_gap]:
                del kept[epoch]
