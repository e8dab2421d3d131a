"""Floor 3: key consistency, by append-only logs of keysets and of what was approved.

Promise: whoever holds a `LoggedKeyset` knows that the keys about to be sealed to stand in a log
this device trusts, in a view of it that contradicts nothing this device saw before and that as
many witnesses as it asked for have seen too. So nobody can show one person other keys in secret.
Formats are those of C2SP (signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles,
tlog-witness); what this does not promise is in spec/log.md.

Public names. On the device: `check_logged`, `LoggedKeyset`, `LogEndorsement`, `LogMemory`,
`Remembered`, `fetch_consistency`. In the enclave: `submit`, `KeysetEntry`. For whoever runs or
watches a log: `LogFolder`, `ManifestEntry`, `RevocationEntry`, `Entry`, `read_log`, `LogContents`,
`FolderSource`, `UrlSource`, `Checkpoint`, `Note`, `NoteKey`, `Algorithm`.

From their modules, for the roles that run a log or witness one: `checkpoint.cosign`,
`checkpoint.cosignatures`, `checkpoint.open_checkpoint`, `entry.entry_bytes`, `folder.locked`,
`folder.write_durably`, `note.Signature`, `note.parse_keys`, `note.parse_signatures`,
`proof.check_view`, `source.LogSource`, `source.prove_consistency`, `submit.Submission`,
`tiles.Tile`.
"""

from privity.attest.log.checkpoint import Checkpoint
from privity.attest.log.entry import Entry, KeysetEntry, ManifestEntry, RevocationEntry
from privity.attest.log.folder import LogFolder
from privity.attest.log.memory import LogMemory, Remembered
from privity.attest.log.note import Algorithm, Note, NoteKey
from privity.attest.log.proof import LogEndorsement, LoggedKeyset, check_logged
from privity.attest.log.source import (
    FolderSource,
    LogContents,
    UrlSource,
    fetch_consistency,
    read_log,
)
from privity.attest.log.submit import submit

__all__ = [
    "Algorithm",
    "Checkpoint",
    "Entry",
    "FolderSource",
    "KeysetEntry",
    "LogContents",
    "LogEndorsement",
    "LogFolder",
    "LogMemory",
    "LoggedKeyset",
    "ManifestEntry",
    "Note",
    "NoteKey",
    "Remembered",
    "RevocationEntry",
    "UrlSource",
    "check_logged",
    "fetch_consistency",
    "read_log",
    "submit",
]
