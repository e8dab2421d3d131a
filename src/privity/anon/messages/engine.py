"""The native kernels as the rate limit on messages uses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from privity.anon.messages.rate_limit import Statement
from privity.errors import InputError
from privity.hazmat.native import native

__all__ = ["NativeEngine"]


class NativeEngine:
    """`privity_core` behind `rate_limit.Engine`; the first proof loads its keys, some seconds.

    Raises:
        MissingDependency: the native wheel is not installed.
    """

    def __init__(self) -> None:
        self._core: Any = native("Rln", "poseidon", "hash_to_field", "recover")
        self._rln: Any = self._core.Rln.load()

    def poseidon(self, inputs: list[bytes]) -> bytes:
        """Return the circomlib Poseidon hash of field elements.

        Raises:
            InputError: one of them is not canonical.
        """
        try:
            hashed: bytes = self._core.poseidon(inputs)
        except ValueError as error:
            raise InputError("no field elements") from error
        return hashed

    def hash_to_field(self, data: bytes) -> bytes:
        """Return the field element of some bytes, as zerokit does."""
        hashed: bytes = self._core.hash_to_field(data)
        return hashed

    def verify_batch(self, statements: Sequence[Statement]) -> list[bool]:
        """Return for each statement whether its proof holds."""
        found: list[bool] = self._rln.verify_batch(list(statements))
        return found

    def recover(self, x1: bytes, y1: bytes, x2: bytes, y2: bytes) -> bytes:
        """Return the secret on whose line two points lie.

        Raises:
            InputError: they are no two points of a line.
        """
        try:
            secret: bytes = self._core.recover(x1, y1, x2, y2)
        except ValueError as error:
            raise InputError("no two points of a line") from error
        return secret

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
        """Return proof, root, y and nullifier.

        Raises:
            InputError: the message id is not below the limit, or the path is of another tree.
        """
        try:
            made: tuple[bytes, bytes, bytes, bytes] = self._rln.prove(
                secret, limit, message_id, path, index, x, external_nullifier
            )
        except ValueError as error:
            raise InputError("the proof cannot be made: see limit, message id and path") from error
        return made
