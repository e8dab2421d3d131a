"""Totality and round trips of everything a log, a witness or a device reads."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.attest.log import Checkpoint, KeysetEntry, LogEndorsement, Note, NoteKey, check_logged
from privity.attest.log.checkpoint import cosign, cosignatures, open_checkpoint
from privity.attest.log.entry import entry_bytes, parse_entry, read_entry
from privity.attest.log.note import Algorithm
from privity.attest.log.submit import Submission, submission
from privity.attest.log.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    TileTree,
    needed,
    pack_entry,
    root_of,
    tiles_of,
    unpack_entries,
)
from privity.errors import EvidenceError, MalformedError, OpenError, OversizeError
from privity.hazmat.merkle import Tree, leaf_hash
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.node.witness import parse_request
from privity.node.witness_client import add_checkpoint_body

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = SigningKey(b"\1" * 32)
ENTRY = KeysetEntry("ai.example", "sha256:" + "00" * 32, NOW, NOW + timedelta(days=1))
LEAF = leaf_hash(entry_bytes(ENTRY))
NOTE = Checkpoint("log.example", 1, LEAF).sign(KEY)
COSIGNED = Note(NOTE.text, (*NOTE.signatures, cosign(NOTE, KEY, "w.example", NOW)))
LOG = NoteKey.of("log.example", Algorithm.ED25519, KEY)
WITNESS = NoteKey.of("w.example", Algorithm.COSIGNATURE, KEY)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")),
                min_size=1, max_size=20).filter(lambda name: "+" not in name)  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw the bytes with a few of them cut out, replaced or added to."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 8, len(data))))
        data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
    return data


@given(st.binary(max_size=300) | edited(COSIGNED.to_bytes()))
def test_notes_are_read_totally_and_in_one_spelling(data: bytes) -> None:
    try:
        note = Note.parse(data)
    except (MalformedError, OversizeError):
        return
    assert note.to_bytes() == data
    with contextlib.suppress(MalformedError, OpenError):
        checkpoint = open_checkpoint(note, [LOG])
        assert note.text == NOTE.text
        assert Checkpoint.parse(checkpoint.text) == checkpoint
    with contextlib.suppress(MalformedError, OpenError):
        assert all(one.time == NOW for one in cosignatures(note, [WITNESS]))


@given(st.text(max_size=120) | edited(LOG.vkey.encode()).map(lambda b: b.decode("latin-1")))
def test_verifier_keys_are_read_totally_and_in_one_spelling(text: str) -> None:
    try:
        key = NoteKey.parse(text)
    except MalformedError:
        return
    assert key.vkey == text


@given(NAMES, st.sampled_from(list(Algorithm)), st.binary(min_size=32, max_size=32))
def test_every_verifier_key_reads_back(name: str, algorithm: Algorithm, seed: bytes) -> None:
    key = NoteKey.of(name, algorithm, SigningKey(seed))
    assert NoteKey.parse(key.vkey) == key


@given(NAMES, st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_reads_back(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    note = checkpoint.sign(KEY)
    key = NoteKey.of(origin, Algorithm.ED25519, KEY)
    assert open_checkpoint(Note.parse(note.to_bytes()), [key]) == checkpoint


ENTRIES_LIKE = st.builds(
    lambda more: {**ENTRY.to_json(), **more},
    st.dictionaries(st.sampled_from([*ENTRY.to_json(), "x"]), JSON, max_size=2),
)


@given(JSON | ENTRIES_LIKE)
def test_entries_are_read_totally_and_judged_as_hashed(value: Any) -> None:
    try:
        entry = read_entry(value)
    except MalformedError:
        return
    assert canonical(entry.to_json()) == canonical(value)
    assert parse_entry(entry_bytes(entry)) == entry


ENDORSEMENT = LogEndorsement("log.example", 0, ENTRY.to_json(), (), COSIGNED).to_json()


ENDORSEMENTS_LIKE = st.builds(
    lambda more: {**ENDORSEMENT, **more},
    st.dictionaries(st.sampled_from([*ENDORSEMENT, "x"]), JSON, max_size=2),
)


@given(JSON | ENDORSEMENTS_LIKE)
def test_check_logged_is_total(value: Any) -> None:
    try:
        logged = check_logged(
            value,
            ENTRY.keyset,
            logs=[LOG.vkey],
            witnesses=[WITNESS.vkey],
            quorum=1,
            now=NOW,
            max_age=timedelta(hours=1),
            remembered=None,
            consistency=None,
        )
    except EvidenceError:
        return
    assert canonical(value) == canonical(ENDORSEMENT)
    assert logged.root == LEAF


REQUEST = add_checkpoint_body(1, [LEAF, LEAF], NOTE)


@given(st.binary(max_size=200) | edited(REQUEST))
def test_requests_to_a_witness_are_read_totally(data: bytes) -> None:
    try:
        old, proof, note = parse_request(data)
    except MalformedError:
        return
    assert add_checkpoint_body(old, proof, note) == data


@given(st.binary(max_size=200) | edited(submission(ENTRY, KEY)))
def test_submissions_are_read_totally(data: bytes) -> None:
    try:
        read = Submission.parse(data)
    except (MalformedError, OversizeError, OpenError):
        return
    assert read.submitter in (None, KEY.did)


def test_submissions_read_back() -> None:
    for key, submitter in ((KEY, KEY.did), (None, None)):
        read = Submission.parse(submission(ENTRY, key))
        assert (read.entry, read.submitter) == (ENTRY, submitter)


@given(st.integers(ENTRIES, 63), st.integers(0, 10**12), st.integers(1, WIDTH))
def test_every_tiles_path_reads_back(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@given(st.text(max_size=40) | edited(b"tile/0/x001/234.p/7").map(lambda b: b.decode("latin-1")))
def test_paths_are_read_totally_and_in_one_spelling(path: str) -> None:
    try:
        tile = Tile.parse(path)
    except MalformedError:
        return
    assert tile.path == path
    assert ".." not in path


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0, 1), "tile/0/000.p/1"),
        (Tile(1, 999), "tile/1/999"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # the example of C2SP tlog-tiles
        (Tile(ENTRIES, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path


def test_the_tiles_of_a_log_are_those_of_the_specification() -> None:
    widths = [[tile.width for tile in tiles_of(level, 70_000)] for level in range(4)]
    assert [len(one) for one in widths] == [274, 2, 1, 0]
    assert [one[-1] for one in widths if one] == [112, 17, 1]
    assert [tile.path for tile in tiles_of(1, 256)] == ["tile/1/000.p/1"]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_bundles_read_back(entries: list[bytes]) -> None:
    assert unpack_entries(b"".join(pack_entry(one) for one in entries)) == entries


@given(st.binary(max_size=60))
def test_bundles_are_read_totally(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert b"".join(pack_entry(one) for one in unpack_entries(data)) == data


class Tiles:
    """The tiles of a tree of made-up leaves, of every level."""

    def __init__(self, size: int) -> None:
        self.leaves = [leaf_hash(b"%d" % number) for number in range(size)]
        self.levels = [self.leaves]
        while len(self.levels[-1]) >= WIDTH:
            below = self.levels[-1]
            full = range(0, len(below) - WIDTH + 1, WIDTH)
            self.levels.append([root_of(b"".join(below[at : at + WIDTH])) for at in full])

    def read(self, tile: Tile) -> bytes:
        start = tile.index * WIDTH
        hashes = self.levels[tile.level][start : start + tile.width]
        assert len(hashes) == tile.width, tile
        return b"".join(hashes)


MOST = 66_000
TILES, TREE = Tiles(MOST), Tree(Tiles(MOST).leaves)
SIZES = st.integers(1, 700) | st.integers(65_000, MOST)


@given(SIZES, SIZES)
def test_proofs_from_tiles_are_those_of_the_whole_tree(one: int, other: int) -> None:
    old, size = sorted((one, other))
    tree = TileTree(size, TILES.read)
    assert tree.consistency(old) == TREE.consistency(old, size)
    assert tree.inclusion(old - 1) == TREE.inclusion(old - 1, size)
    assert tree.root() == TREE.root(size)


@given(SIZES, SIZES)
def test_a_proof_needs_a_logarithm_of_tiles_that_are_known_beforehand(one: int, other: int) -> None:
    old, size = sorted((one, other))
    tiles = needed(size, lambda tree: tree.consistency(old))
    held = {tile: TILES.read(tile) for tile in tiles}
    assert TileTree(size, held.__getitem__).consistency(old) == TREE.consistency(old, size)
    assert len(tiles) <= 8
    assert all(tile in set(tiles_of(tile.level, size)) for tile in tiles)
