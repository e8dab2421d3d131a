"""What a run makes: one file with the adapter in two forms, and how the run went.

A tar archive, since anyone can open one; the same input gives the same bytes. It leaves the enclave
sealed, as one artefact, and is opened by its owner alone.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field

from privity.errors import MalformedError, OversizeError
from privity.identity.digests import digest

__all__ = ["MAX_BYTES", "MEDIA_TYPE", "NAMES", "RECEIPT", "Bundle"]

MEDIA_TYPE = "application/vnd.privity.adapter+tar"

MAX_BYTES = 1 << 32
"""Largest bundle, in bytes."""

NAMES = ("adapter_config.json", "adapter_model.safetensors", "adapter.gguf", "run.json")
"""Its members: the first two as PEFT reads them, the third as llama.cpp does, and the metrics."""

RECEIPT = "receipt.json"
"""The member that the enclave adds: what it signed of the run."""


@dataclass(frozen=True)
class Bundle:
    """The files of one trained adapter.

    Attributes:
        files: content by name: each of `NAMES`, and `RECEIPT` once the run was signed for.

    Raises:
        MalformedError: other files than these, or in another order.
    """

    files: dict[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if tuple(self.files) not in (NAMES, (*NAMES, RECEIPT)):
            raise MalformedError(f"an adapter has the files {', '.join(NAMES)}")

    @property
    def receipt(self) -> bytes | None:
        """What the enclave signed of the run."""
        return self.files.get(RECEIPT)

    @property
    def digest(self) -> str:
        """``sha256:`` of the archive without its receipt: what the receipt calls it."""
        return digest(Bundle({name: self.files[name] for name in NAMES}).to_bytes())

    def with_receipt(self, receipt: bytes) -> Bundle:
        """Return the bundle with what was signed of the run."""
        return Bundle({**self.files, RECEIPT: receipt})

    def to_bytes(self) -> bytes:
        """Return the archive: no times, no names of people, one order."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in self.files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o600
                archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Read what `to_bytes` writes, and nothing else: no other name, no link, no folder.

        Raises:
            OversizeError: more than `MAX_BYTES`.
            MalformedError: anything else.

        Guarantees:
            Total, and ``Bundle.parse(data).to_bytes() == data``
            (tests/property/test_train_bundle.py).
        """
        if len(data) > MAX_BYTES:
            raise OversizeError(f"an adapter of {len(data)} bytes; the limit is {MAX_BYTES}")
        files: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                for name in (*NAMES, RECEIPT):
                    member = archive.next()
                    if member is None and name == RECEIPT:
                        break
                    content = None if member is None else archive.extractfile(member)
                    if member is None or content is None or member.name != name:
                        raise MalformedError(f"an adapter has the files {', '.join(NAMES)}")
                    files[name] = content.read()
        except (tarfile.TarError, ValueError, OverflowError, KeyError, RecursionError, EOFError):
            raise MalformedError("not an archive of an adapter") from None
        bundle = cls(files)
        if bundle.to_bytes() != data:
            raise MalformedError("an archive of an adapter that is not in its one spelling")
        return bundle
