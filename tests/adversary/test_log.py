"""Attacks on key consistency: each promise of spec/log.md a test, each attack its own check."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from privity.attest.log import (
    Checkpoint,
    KeysetEntry,
    LogEndorsement,
    LoggedKeyset,
    LogMemory,
    ManifestEntry,
    Note,
    NoteKey,
    Remembered,
    check_logged,
)
from privity.attest.log.checkpoint import cosign
from privity.attest.log.entry import Entry, entry_bytes
from privity.attest.log.note import Algorithm
from privity.errors import EvidenceError, InputError
from privity.hazmat.merkle import Tree, leaf_hash
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ORIGIN = "log.example/2026"
LOG = SigningKey(b"\1" * 32)
WITNESSES = {f"w{number}.example": SigningKey(bytes([number]) * 32) for number in (2, 3, 4)}
LOGS = (NoteKey.of(ORIGIN, Algorithm.ED25519, LOG).vkey,)
WITNESS_KEYS = tuple(
    NoteKey.of(name, Algorithm.COSIGNATURE, key).vkey for name, key in WITNESSES.items()
)


def _digest(number: int) -> str:
    return f"sha256:{number:064x}"


def _entry(number: int) -> KeysetEntry:
    return KeysetEntry("ai.example", _digest(number), NOW, NOW + timedelta(days=30))


class Log:
    """A log in memory, honest or not, with its witnesses."""

    def __init__(self, *entries: Entry, key: SigningKey = LOG, origin: str = ORIGIN) -> None:
        self.entries, self.key, self.origin = entries, key, origin
        self.tree = Tree([leaf_hash(entry_bytes(one)) for one in entries])

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = len(self.entries) if size is None else size
        return Checkpoint(self.origin, size, self.tree.root(size))

    def seen(self, size: int) -> Remembered:
        return Remembered(size, self.tree.root(size))

    def endorse(
        self,
        index: int,
        *,
        size: int | None = None,
        witnesses: tuple[str, ...] = tuple(WITNESSES),
        at: datetime = NOW,
    ) -> dict[str, Any]:
        checkpoint = self.checkpoint(size)
        note = checkpoint.sign(self.key)
        lines = [cosign(note, WITNESSES[name], name, at) for name in witnesses]
        return LogEndorsement(
            self.origin,
            index,
            self.entries[index].to_json(),
            tuple(self.tree.inclusion(index, checkpoint.size)),
            Note(note.text, (*note.signatures, *lines)),
        ).to_json()


HONEST = Log(*[_entry(number) for number in range(20)])
FORKED = Log(*[_entry(number) for number in range(15)], *[_entry(99 + n) for n in range(10)])


def _check(
    endorsement: dict[str, Any],
    keyset: str = _digest(7),
    *,
    logs: tuple[str, ...] = LOGS,
    witnesses: tuple[str, ...] = WITNESS_KEYS,
    quorum: int = 2,
    now: datetime = NOW,
    remembered: Remembered | None = None,
    consistency: list[bytes] | None = None,
) -> LoggedKeyset:
    return check_logged(
        endorsement,
        keyset,
        logs=logs,
        witnesses=witnesses,
        quorum=quorum,
        now=now,
        max_age=timedelta(hours=24),
        remembered=remembered,
        consistency=consistency,
    )


def _refused(endorsement: dict[str, Any], check: str, **terms: Any) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        _check(endorsement, **terms)
    assert caught.value.check == check, caught.value
    return caught.value


def test_a_logged_keyset_is_accepted_and_every_check_is_listed() -> None:
    logged = _check(HONEST.endorse(7))
    assert [one.name for one in logged.checks] == [
        "log signature",
        "log entry",
        "log inclusion",
        "log witnesses",
        "log age",
        "log consistency",
    ]
    assert (logged.origin, logged.size, logged.root) == (ORIGIN, 20, HONEST.tree.root())
    assert len(logged.cosigned) == 3
    assert logged.entry == HONEST.entries[7]


def test_every_place_in_logs_of_many_sizes_is_accepted() -> None:
    for size in (1, 2, 3, 8, 13, 20):
        for index in range(size):
            _check(HONEST.endorse(index, size=size), _digest(index))


def test_a_keyset_that_is_not_the_logged_one_is_refused() -> None:
    _refused(HONEST.endorse(7), "log entry", keyset=_digest(8))
    _refused(HONEST.endorse(7), "log entry", keyset=_digest(10**6))


def test_an_entry_that_is_not_in_the_log_is_refused() -> None:
    unlogged = {**HONEST.endorse(7), "entry": _entry(1000).to_json()}
    _refused(unlogged, "log inclusion", keyset=_digest(1000))


def test_a_proof_of_another_place_or_tree_is_refused() -> None:
    _refused({**HONEST.endorse(7), "index": 6}, "log inclusion")
    _refused({**HONEST.endorse(7), "index": 20}, "log inclusion")
    _refused({**HONEST.endorse(7), "proof": HONEST.endorse(6)["proof"]}, "log inclusion")
    _refused({**HONEST.endorse(7), "proof": []}, "log inclusion")
    _refused({**HONEST.endorse(7, size=19), "proof": HONEST.endorse(7)["proof"]}, "log inclusion")


def test_a_keyset_outside_its_time_is_refused() -> None:
    at = NOW + timedelta(days=30)
    _refused(HONEST.endorse(7, at=at), "log entry", now=at)
    early = NOW - timedelta(minutes=6)
    _refused(HONEST.endorse(7, at=early), "log entry", now=early)
    _check(HONEST.endorse(7), now=NOW - timedelta(minutes=5))


def test_an_entry_of_another_type_does_not_stand_for_a_keyset() -> None:
    entry = ManifestEntry("ai", _digest(7), LOG.did)
    _refused(Log(entry).endorse(0), "log entry")


def test_a_log_nobody_listed_is_refused() -> None:
    strange = Log(*HONEST.entries, key=SigningKey(b"\x09" * 32))
    _refused(strange.endorse(7), "log signature")
    _refused(HONEST.endorse(7), "log signature", logs=())


def test_a_trusted_log_cannot_sign_for_another_origin() -> None:
    _refused(Log(*HONEST.entries, origin="other.example").endorse(7), "log signature")
    _refused({**HONEST.endorse(7), "origin": "other.example"}, "log signature")


def test_a_checkpoint_with_another_root_under_the_same_signature_is_refused() -> None:
    endorsement = HONEST.endorse(7)
    forged = FORKED.checkpoint().text
    tail = endorsement["checkpoint"].partition("\n\n")[2]
    _refused({**endorsement, "checkpoint": f"{forged}\n{tail}"}, "log signature")


def test_every_flipped_bit_is_refused_but_in_lines_of_witnesses_nobody_asked_for() -> None:
    endorsement = HONEST.endorse(7, witnesses=tuple(WITNESSES)[:2])
    data = canonical(endorsement)
    seen: set[str] = set()
    for place in range(len(data)):
        for bit in range(8):
            forged = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            try:
                value = json.loads(forged)
            except ValueError:
                continue
            if not isinstance(value, dict) or canonical(value) != forged:
                continue  # a statement in another spelling is refused before
            with pytest.raises(EvidenceError) as caught:
                _check(value)
            seen.add(caught.value.check)
    assert {"log format", "log signature", "log entry", "log inclusion", "log witnesses"} <= seen


def test_too_few_witnesses_are_refused() -> None:
    for count in (0, 1):
        names = tuple(WITNESSES)[:count]
        _refused(HONEST.endorse(7, witnesses=names), "log witnesses")
    _check(HONEST.endorse(7, witnesses=tuple(WITNESSES)[:2]))


def test_witnesses_nobody_listed_do_not_count() -> None:
    endorsement = HONEST.endorse(7, witnesses=tuple(WITNESSES)[1:])
    _refused(endorsement, "log witnesses", witnesses=WITNESS_KEYS[:2], quorum=2)


def test_one_key_under_two_names_counts_as_one_witness() -> None:
    key = WITNESSES["w2.example"]
    note = HONEST.checkpoint().sign(LOG)
    names = ("w2.example", "also-w2.example")
    lines = [cosign(note, key, name, NOW) for name in names]
    keys = tuple(NoteKey.of(name, Algorithm.COSIGNATURE, key).vkey for name in names)
    text = Note(note.text, (*note.signatures, *lines)).to_bytes().decode()
    endorsement = {**HONEST.endorse(7), "checkpoint": text}
    others = (*keys, WITNESS_KEYS[1])
    _refused(endorsement, "log witnesses", witnesses=others, quorum=2)
    with pytest.raises(InputError, match="fewer are listed"):
        _check(endorsement, witnesses=keys, quorum=2)


def test_one_witness_signing_twice_counts_once() -> None:
    note = HONEST.checkpoint().sign(LOG)
    key = WITNESSES["w2.example"]
    lines = [cosign(note, key, "w2.example", NOW - timedelta(hours=n)) for n in (0, 1)]
    text = Note(note.text, (*note.signatures, *lines)).to_bytes().decode()
    _refused({**HONEST.endorse(7), "checkpoint": text}, "log witnesses")


def test_a_witness_that_signed_another_root_does_not_count() -> None:
    """Its line for the forked tree of the same size is moved below the honest one, and back."""
    text = HONEST.endorse(7, witnesses=("w2.example",))["checkpoint"]
    other = Log(*[_entry(500 + number) for number in range(20)])
    elsewhere = other.checkpoint().sign(other.key)
    line = cosign(elsewhere, WITNESSES["w3.example"], "w3.example", NOW).line
    _refused({**HONEST.endorse(7), "checkpoint": text + line}, "log witnesses")
    _refused({**HONEST.endorse(7), "checkpoint": text + line}, "log witnesses", quorum=0)


def test_a_logs_signature_does_not_pass_for_a_cosignature() -> None:
    """Also not where the same key is listed as a witness: what they sign is told apart."""
    vkey = NoteKey.of(ORIGIN, Algorithm.COSIGNATURE, LOG).vkey
    _refused(HONEST.endorse(7, witnesses=()), "log witnesses", witnesses=(vkey,), quorum=1)


def test_a_cosignature_with_its_time_changed_is_refused() -> None:
    note = HONEST.checkpoint().sign(LOG)
    line = cosign(note, WITNESSES["w2.example"], "w2.example", NOW - timedelta(days=9))
    fresh = int(NOW.timestamp()).to_bytes(8, "big") + line.data[8:]
    moved = type(line)(line.name, line.key_id, fresh)
    text = Note(note.text, (*note.signatures, moved)).to_bytes().decode()
    _refused({**HONEST.endorse(7), "checkpoint": text}, "log witnesses", quorum=1)


@pytest.mark.parametrize("age", [timedelta(hours=24), timedelta(days=300), -timedelta(minutes=6)])
def test_stale_cosignatures_are_refused(age: timedelta) -> None:
    _refused(HONEST.endorse(7, at=NOW - age), "log age")
    _check(HONEST.endorse(7, at=NOW - age), quorum=0)


def test_a_split_view_at_one_size_is_refused() -> None:
    endorsement = FORKED.endorse(7, size=20)  # validly signed by the log itself
    _check(endorsement)
    error = _refused(endorsement, "log split view", remembered=HONEST.seen(20))
    assert "keep the statement" in error.hint


def test_a_forked_log_with_valid_signatures_is_refused_whatever_its_proof() -> None:
    remembered = HONEST.seen(20)
    for proof in (
        FORKED.tree.consistency(20, 25),
        FORKED.tree.consistency(15, 25),
        HONEST.tree.consistency(15, 20),
        [],
    ):
        _refused(FORKED.endorse(7), "log split view", remembered=remembered, consistency=proof)


def test_a_log_that_only_grew_is_accepted() -> None:
    for old in range(1, 20):
        proof = HONEST.tree.consistency(old, 20)
        _check(HONEST.endorse(7), remembered=HONEST.seen(old), consistency=proof)
    _check(HONEST.endorse(7), remembered=HONEST.seen(20))
    empty = Remembered(0, HONEST.tree.root(0))
    _check(HONEST.endorse(7), remembered=empty)


def test_growth_that_nothing_shows_is_refused() -> None:
    _refused(HONEST.endorse(7), "log consistency", remembered=HONEST.seen(19))


def test_a_rollback_is_refused() -> None:
    """A smaller tree needs its proof as well: it must be one the larger one began with."""
    rolled = HONEST.endorse(7, size=12)
    _refused(rolled, "log consistency", remembered=HONEST.seen(20))
    rewritten = Log(*[_entry(number) for number in range(11)], _entry(77)).endorse(7)
    for proof in ([], HONEST.tree.consistency(12, 20), HONEST.tree.consistency(11, 20)):
        _refused(rewritten, "log split view", remembered=HONEST.seen(20), consistency=proof)
    _check(rolled, remembered=HONEST.seen(20), consistency=HONEST.tree.consistency(12, 20))


def test_a_smaller_tree_does_not_make_the_device_forget_the_larger() -> None:
    memory = LogMemory()
    memory.keep(ORIGIN, HONEST.seen(20), compared=None)
    memory.keep(ORIGIN, HONEST.seen(12), compared=HONEST.seen(20))
    assert LogMemory().get(ORIGIN) == HONEST.seen(20)
    with pytest.raises(InputError, match="two trees"):
        memory.keep(ORIGIN, FORKED.seen(20), compared=HONEST.seen(20))


def test_two_first_sights_of_a_forked_log_are_not_both_kept() -> None:
    """Two enclaves are asked at once, each shows another fork, and both were judged alone."""
    one, two = LogMemory(), LogMemory()
    assert one.get(ORIGIN) is None and two.get(ORIGIN) is None
    one.keep(ORIGIN, HONEST.seen(18), compared=None)
    for size in (17, 25):  # a smaller tree passes no better than a larger one
        with pytest.raises(InputError, match="while this one was judged"):
            two.keep(ORIGIN, FORKED.seen(size), compared=None)
    two.keep(ORIGIN, HONEST.seen(18), compared=None)  # the same tree needs no comparison
    one.keep(ORIGIN, HONEST.seen(20), compared=HONEST.seen(18))
    with pytest.raises(InputError, match="while this one was judged"):
        two.keep(ORIGIN, FORKED.seen(25), compared=HONEST.seen(18))
    assert one.get(ORIGIN) == HONEST.seen(20)


def test_a_damaged_memory_is_not_passed_over() -> None:
    memory = LogMemory()
    memory.keep(ORIGIN, HONEST.seen(20), compared=None)
    (path,) = memory.folder.glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        memory.get(ORIGIN)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        memory.keep(ORIGIN, HONEST.seen(20), compared=None)


def test_keys_of_the_wrong_kind_in_the_settings_are_refused() -> None:
    for terms in ({"logs": WITNESS_KEYS}, {"witnesses": LOGS, "quorum": 0}, {"logs": ("x",)}):
        with pytest.raises(InputError, match="verifier key"):
            _check(HONEST.endorse(7), **terms)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "dev"},
        {"more": 1},
        {"index": -1},
        {"index": True},
        {"index": 7.0},
        {"origin": 1},
        {"entry": []},
        {"proof": ["!"]},
        {"proof": ["AAAA"]},
        {"proof": [1]},
        {"proof": ["A" * 43] * 65},
        {"checkpoint": "x"},
        {"checkpoint": "\ud800"},
        {"checkpoint": "x" * 70_000},
    ],
)
def test_an_endorsement_of_another_form_is_refused(change: dict[str, Any]) -> None:
    _refused({**HONEST.endorse(7), **change}, "log format")
