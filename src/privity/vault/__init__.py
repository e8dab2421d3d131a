"""Floor 3: secrecy at rest.

What is kept on disks and in stores that others can read is sealed: a model, a dataset or an
adapter becomes one encrypted, seekable file (`privity.vault.artefact`) that only a holder of its
key can open, in which no byte can be altered, moved, cut off or exchanged unnoticed, and whose
root, one digest, names the contents. The key is sealed to people's own keys in age's spelling; to
enclaves it is released. Stores (`privity.vault.store`) only ever see sealed bytes.

Public names: `seal_stream`, `Reader`, `Meta`, `Sealed`, `ArtefactKey`, `Header`, `read_header`,
`unwrap`, `Recipient`, `Identity`, `owner_identity`, `root_of`, `root_of_file`, `Source`,
`FileSource`, `BytesSource`.

From their modules: `files.new_file`, `recipients.parse_identity_file`; and what loads the library
of object stores, `store.open_store_reader`, `transfer.push`, `transfer.pull`.
"""

from __future__ import annotations

from privity.vault.artefact import Meta, Reader, Sealed, seal_stream
from privity.vault.header import ArtefactKey, Header, read_header, unwrap
from privity.vault.recipients import Identity, Recipient, owner_identity
from privity.vault.root import root_of, root_of_file
from privity.vault.source import BytesSource, FileSource, Source

__all__ = [
    "ArtefactKey",
    "BytesSource",
    "FileSource",
    "Header",
    "Identity",
    "Meta",
    "Reader",
    "Recipient",
    "Sealed",
    "Source",
    "owner_identity",
    "read_header",
    "root_of",
    "root_of_file",
    "seal_stream",
    "unwrap",
]
