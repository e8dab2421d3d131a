"""The receipt file: a device record, the enclave's job receipt, and the statement both rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from privity.errors import MalformedError, OversizeError, ReceiptError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.multibase import encode_base64url
from privity.receipt.digest import SALT_BYTES
from privity.statement import Statement

__all__ = ["MAX_BYTES", "ReceiptFile"]

MAX_BYTES = 524_288
"""Largest receipt file, in bytes: a statement at its limit, and room for the rest."""


@dataclass(frozen=True)
class ReceiptFile:
    """What the device keeps of a job. Nothing in it is verified yet.

    Attributes:
        record: the device record, a credential.
        receipt: the job receipt, a credential; None if none came.
        statement: the enclave's statement; None where nothing was sealed.
        salt: what opens the digests. It is a secret: with it, a guess of the prompt can be tested.
    """

    record: dict[str, Any]
    receipt: dict[str, Any] | None = None
    statement: Statement | None = None
    salt: bytes | None = None

    def __repr__(self) -> str:
        return f"ReceiptFile(salt={'kept' if self.salt else None})"

    def export(self) -> ReceiptFile:
        """Return the file without its salt: what can be shown without giving a guess a test.

        Guarantees:
            It verifies as before, and holds no byte of the salt (tests/unit/test_receipt.py).
        """
        return replace(self, salt=None)

    def to_bytes(self) -> bytes:
        """Return the one byte form: canonical JSON."""
        opening = None if self.salt is None else {"salt": encode_base64url(self.salt)}
        return canonical(
            {
                "opening": opening,
                "receipt": self.receipt,
                "record": self.record,
                "statement": None if self.statement is None else self.statement.to_json(),
                "version": 1,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> ReceiptFile:
        """Read a file in its one byte form.

        Raises:
            ReceiptError: ``.check`` is ``file format``.

        Guarantees:
            Total, and ``ReceiptFile.parse(data).to_bytes() == data``
            (tests/property/test_receipt.py).
        """
        try:
            return cls._parse(Fields(loads_canonical(data, max_bytes=MAX_BYTES), "file"))
        except (MalformedError, OversizeError) as error:
            raise ReceiptError(
                f"not a receipt file: {error.message}", check="file format"
            ) from None

    @classmethod
    def _parse(cls, fields: Fields) -> ReceiptFile:
        fields.constant("version", 1)
        statement = fields.take("statement")
        opening = fields.optional("opening", fields.inner)
        salt = None
        if opening is not None:
            salt = opening.blob("salt", least=SALT_BYTES, most=SALT_BYTES)
            opening.done()
        file = cls(
            record=fields.object("record"),
            receipt=fields.optional("receipt", fields.object),
            statement=None if statement is None else Statement.parse(canonical(statement)),
            salt=salt,
        )
        fields.done()
        return file
