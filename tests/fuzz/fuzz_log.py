"""What a transparency log serves: endorsements, entries, submissions, tiles and their paths."""

from __future__ import annotations

from datetime import timedelta

from fuzz.fuzz_tdx import _json
from fuzz.harness import NOW, Made, attempt
from privity.attest.log.checkpoint import Checkpoint
from privity.attest.log.entry import KeysetEntry, entry_bytes, parse_entry
from privity.attest.log.note import Algorithm, NoteKey
from privity.attest.log.proof import LogEndorsement, check_logged
from privity.attest.log.submit import Submission, submission
from privity.attest.log.tiles import Tile, pack_entry, unpack_entries
from privity.hazmat.merkle import Tree, leaf_hash
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey

_KEY = SigningKey(b"\3" * 32)
_ORIGIN = "log.example/privity"
_VKEY = NoteKey.of(_ORIGIN, Algorithm.ED25519, _KEY).vkey
_DIGEST = "sha256:" + "ab" * 32
_ENTRY = KeysetEntry("host.example", _DIGEST, NOW, NOW + timedelta(days=1))


def one(data: bytes) -> None:
    attempt(Tile.parse, data.decode("latin-1"))
    for entry in attempt(unpack_entries, data) or ():
        attempt(parse_entry, entry)
    entry = attempt(parse_entry, data)
    if entry is not None:
        assert entry_bytes(entry) == data
    attempt(Submission.parse, data)
    value = _json(data)
    attempt(LogEndorsement.from_json, value)
    if isinstance(value, dict):
        seen = attempt(
            check_logged, value, _DIGEST, logs=(_VKEY,), witnesses=(), quorum=0, now=NOW,
            max_age=timedelta(days=1), remembered=None, consistency=None,
        )  # fmt: skip
        assert seen is None or seen.entry == _ENTRY, "an entry was found that no log has"


def seeds() -> Made:
    leaf = entry_bytes(_ENTRY)
    tree = Tree()
    for item in (b"first", leaf, b"third"):
        tree.append(leaf_hash(item))
    note = Checkpoint(_ORIGIN, 3, tree.root()).sign(_KEY)
    proof = tuple(tree.inclusion(1, 3))
    endorsement = LogEndorsement(_ORIGIN, 1, _ENTRY.to_json(), proof, note).to_json()
    return Made(
        [
            canonical(endorsement),
            leaf,
            submission(_ENTRY, _KEY),
            pack_entry(leaf) + pack_entry(b"x"),
            b"tile/0/x001/067.p/8",
        ]
    )
