"""Is this keyset in a log that everybody sees? This is run by the device before it seals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from privity.attest.log.checkpoint import (
    MAX_SIZE,
    Checkpoint,
    Cosignature,
    cosignatures,
    open_checkpoint,
)
from privity.attest.log.entry import KeysetEntry, entry_bytes, read_entry
from privity.attest.log.memory import Remembered
from privity.attest.log.note import MAX_BYTES, Algorithm, Note, NoteKey, parse_keys
from privity.attested import Check
from privity.errors import (
    EvidenceError,
    InputError,
    MalformedError,
    OpenError,
    OversizeError,
)
from privity.hazmat.merkle import HASH_BYTES, leaf_hash, verify_consistency, verify_inclusion
from privity.identity.fields import Fields
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.identity.timestamps import CLOCK_SKEW, format_time

__all__ = ["KIND", "LogEndorsement", "LoggedKeyset", "check_logged", "check_view"]

KIND = "log"

_MAX_PROOF = 64


@dataclass(frozen=True)
class LogEndorsement:
    """What a log hands out for an entry; nothing of it is verified.

    Attributes:
        origin: the log's name.
        index: the entry's place.
        entry: the entry, as JSON data.
        proof: the inclusion proof, up from the entry's sibling.
        note: the checkpoint with its signatures.
    """

    origin: str
    index: int
    entry: dict[str, Any]
    proof: tuple[bytes, ...]
    note: Note

    def to_json(self) -> dict[str, Any]:
        """Return the endorsement as a statement carries it."""
        return {
            "checkpoint": self.note.to_bytes().decode(),
            "entry": self.entry,
            "index": self.index,
            "kind": KIND,
            "origin": self.origin,
            "proof": [encode_base64url(node) for node in self.proof],
        }

    @classmethod
    def from_json(cls, value: Any) -> LogEndorsement:
        """Read what `to_json` writes; raises `MalformedError`."""
        fields = Fields(value, "log endorsement")
        fields.constant("kind", KIND)
        text = fields.text("checkpoint", max_chars=MAX_BYTES)
        nodes = fields.items("proof", most=_MAX_PROOF)
        try:
            endorsement = cls(
                origin=fields.text("origin"),
                index=fields.count("index", most=MAX_SIZE),
                entry=fields.object("entry"),
                proof=tuple(_node(node) for node in nodes),
                note=Note.parse(text.encode()),
            )
        except (OversizeError, UnicodeEncodeError):
            raise MalformedError("a log endorsement with a checkpoint that is none") from None
        fields.done()
        return endorsement

    @property
    def claimed(self) -> Checkpoint:
        """The checkpoint as it says, unverified: for fetching a consistency proof beforehand.

        Raises:
            MalformedError: it is no checkpoint.
        """
        return Checkpoint.parse(self.note.text)


@dataclass(frozen=True)
class LoggedKeyset:
    """A keyset that is in a log. `check_logged` makes these.

    Attributes:
        checks: what was checked, in order.
        origin: the log.
        size: the entries of the tree it was shown in.
        root: that tree's root.
        entry: what the log says of the keyset.
        cosigned: the witnesses that count, with their times.
    """

    checks: tuple[Check, ...]
    origin: str
    size: int
    root: bytes
    entry: KeysetEntry
    cosigned: tuple[Cosignature, ...]

    @property
    def remembered(self) -> Remembered:
        """What to keep in a `LogMemory`."""
        return Remembered(self.size, self.root)


def check_logged(
    endorsement: dict[str, Any],
    keyset_digest: str,
    *,
    logs: Sequence[str],
    witnesses: Sequence[str],
    quorum: int,
    now: datetime,
    max_age: timedelta,
    remembered: Remembered | None,
    consistency: Sequence[bytes] | None,
) -> LoggedKeyset:
    """Return that a keyset is in a log, in a view that fits all this device has seen of it.

    Args:
        endorsement: the endorsement of the kind ``log`` in the enclave's statement.
        keyset_digest: `Keyset.digest` of the keys about to be sealed to.
        logs: verifier keys of the logs trusted; a key is good for the origin of its name.
        witnesses: verifier keys of the witnesses trusted.
        quorum: how many of them must have cosigned, each within ``max_age``.
        now: the time to judge it for.
        max_age: the oldest cosignature that counts.
        remembered: what `LogMemory` has of this log; None if this device never saw it.
        consistency: the proof between the tree remembered and this one, whichever is larger.
            It is needed where their sizes differ, and comes from anywhere, unbelieved.

    Raises:
        EvidenceError: ``.check`` is ``log format``, ``log signature``, ``log entry``,
            ``log inclusion``, ``log witnesses``, ``log age``, ``log split view`` or
            ``log consistency``.
        InputError: ``logs`` or ``witnesses`` hold what is no verifier key of their kind, or the
            quorum cannot be met by so few.

    Guarantees:
        Each attack of spec/log.md ends in its own check (tests/adversary/test_log.py). Total
        (tests/property/test_log.py).
    """
    log_keys, witness_keys = _trusted(logs, witnesses, quorum)
    shown, checkpoint = _open(endorsement, log_keys)
    entry = _check_entry(shown.entry, keyset_digest, now)
    _check_inclusion(shown, checkpoint, entry)
    counted = _check_witnesses(shown.note, witness_keys, quorum, now, max_age)
    checks = [
        Check("log signature", True, checkpoint.origin),
        Check("log entry", True, f"{entry.enclave}, until {format_time(entry.until)}"),
        Check("log inclusion", True, f"entry {shown.index} of {checkpoint.size}"),
    ]
    if quorum > 0:
        names = ", ".join(one.witness.name for one in counted)
        checks.append(Check("log witnesses", True, f"{len(counted)} of {quorum} needed: {names}"))
        oldest = min(one.time for one in counted)
        checks.append(Check("log age", True, f"cosigned {format_time(oldest)} or later"))
    checks.append(check_view(checkpoint, remembered, consistency))
    return LoggedKeyset(
        tuple(checks), checkpoint.origin, checkpoint.size, checkpoint.root, entry, counted
    )


def _trusted(
    logs: Sequence[str], witnesses: Sequence[str], quorum: int
) -> tuple[tuple[NoteKey, ...], tuple[NoteKey, ...]]:
    try:
        log_keys = parse_keys(logs, Algorithm.ED25519)
        witness_keys = parse_keys(witnesses, Algorithm.COSIGNATURE)
    except MalformedError as error:
        raise InputError(f"trust: {error.message}") from None
    if quorum > len({key.public for key in witness_keys}):
        raise InputError(
            f"trust: {quorum} witnesses must cosign, but fewer are listed",
            hint="list their verifier keys under trust.witnesses, or ask for fewer",
        )
    return log_keys, witness_keys


def _open(
    endorsement: dict[str, Any], logs: Sequence[NoteKey]
) -> tuple[LogEndorsement, Checkpoint]:
    """Return the endorsement, and the checkpoint that one of the logs signed in it."""
    try:
        shown = LogEndorsement.from_json(endorsement)
    except MalformedError as error:
        raise EvidenceError(error.message, check="log format") from None
    try:
        checkpoint = open_checkpoint(shown.note, logs)
        if shown.origin != checkpoint.origin:
            raise MalformedError("the endorsement names another log than its checkpoint")
    except (MalformedError, OpenError) as error:
        raise EvidenceError(
            error.message,
            check="log signature",
            hint="list the verifier keys of the logs you trust under [[log]] in config.toml",
        ) from None
    return shown, checkpoint


def _check_entry(value: dict[str, Any], keyset_digest: str, now: datetime) -> KeysetEntry:
    try:
        entry = read_entry(value)
    except MalformedError as error:
        raise EvidenceError(error.message, check="log entry") from None
    if not isinstance(entry, KeysetEntry) or entry.keyset != keyset_digest:
        raise EvidenceError(
            "the log's entry is not of the keys in this statement", check="log entry"
        )
    # Differences, not sums: the entry's times may lie at the edge of the calendar.
    if entry.since - now > CLOCK_SKEW or now >= entry.until:
        raise EvidenceError(
            f"the log has these keys from {format_time(entry.since)} "
            f"to {format_time(entry.until)} only",
            check="log entry",
        )
    return entry


def _check_inclusion(shown: LogEndorsement, checkpoint: Checkpoint, entry: KeysetEntry) -> None:
    try:
        leaf = leaf_hash(entry_bytes(entry))
        verify_inclusion(leaf, shown.index, checkpoint.size, shown.proof, checkpoint.root)
    except MalformedError as error:
        raise EvidenceError(error.message, check="log inclusion") from None


def _check_witnesses(
    note: Note, witnesses: Sequence[NoteKey], quorum: int, now: datetime, max_age: timedelta
) -> tuple[Cosignature, ...]:
    try:
        signed = cosignatures(note, witnesses)
    except (MalformedError, OpenError):
        raise EvidenceError(
            "a line in the name of a witness you trust is not its signature of this checkpoint",
            check="log witnesses",
        ) from None
    fresh = tuple(one for one in signed if -CLOCK_SKEW <= now - one.time < max_age)
    if len(signed) < quorum:
        raise EvidenceError(
            f"{len(signed)} of the witnesses you trust cosigned the log; {quorum} must",
            check="log witnesses",
        )
    if len(fresh) < quorum:
        raise EvidenceError(
            f"{len(fresh)} witnesses cosigned the log within {max_age}; {quorum} must",
            check="log age",
            hint="the enclave must publish a newer endorsement",
        )
    return fresh


def check_view(
    checkpoint: Checkpoint, remembered: Remembered | None, consistency: Sequence[bytes] | None
) -> Check:
    """Hold a verified checkpoint to the tree remembered: one of them must begin the other.

    Raises:
        EvidenceError: ``.check`` is ``log split view`` or ``log consistency``.
    """
    if remembered is None:
        return Check("log consistency", True, "first sight of this log: nothing to compare with")
    if remembered.size == checkpoint.size:
        if remembered.root != checkpoint.root:
            raise _split_view("this log showed this device another tree of the same size before")
        return Check("log consistency", True, f"the tree of {checkpoint.size} seen before")
    seen = (remembered.size, remembered.root)
    smaller, larger = sorted((seen, (checkpoint.size, checkpoint.root)))
    if smaller[0] > 0:
        if consistency is None:
            raise EvidenceError(
                f"nothing shows that the log's tree of {checkpoint.size} entries is of one growth "
                f"with the {remembered.size} seen before",
                check="log consistency",
                hint="the log must be reachable to prove that it only grew",
            )
        try:
            verify_consistency(*smaller, *larger, consistency)
        except MalformedError as error:
            raise _split_view(error.message) from None
    return Check("log consistency", True, f"of one growth with the {remembered.size} seen before")


def _split_view(message: str) -> EvidenceError:
    return EvidenceError(
        message,
        check="log split view",
        hint="keep the statement: with the older checkpoint it can prove that the log is forked",
    )


def _node(value: Any) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * HASH_BYTES:
        raise MalformedError("a log endorsement's proof is a list of hashes")
    node = decode_base64url(value)
    if len(node) != HASH_BYTES:
        raise MalformedError("a log endorsement's proof is a list of hashes")
    return node
