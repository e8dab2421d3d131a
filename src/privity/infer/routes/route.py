"""What a way to do a job offers to the floors above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import httpx

    from privity.attested import AttestedEnclave
    from privity.disclosure import Disclosure
    from privity.policy import Terms
    from privity.seal.transport import KeySource
    from privity.statement import Model

__all__ = ["Route"]


class Route(Protocol):
    """One way to have a prompt answered, with the disclosure it amounts to.

    A route says what it discloses; it decides nothing. Only `privity.policy.Policy.admit` makes
    the `AdmittedRoute` that a session runs.
    """

    @property
    def name(self) -> str:
        """``local``, ``anonymous``, ``confidential`` or ``zdr``, as records and people call it."""

    @property
    def disclosure(self) -> Disclosure:
        """Who learns what on this route, computed from what was verified."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that answer here; the first is the default."""

    @property
    def enclave(self) -> AttestedEnclave | None:
        """The verified enclave whose job receipts this route demands; None where there is none."""

    @property
    def terms(self) -> Terms | None:
        """What the provider on this route promises; None where nobody has to."""

    def transport(
        self, keys: KeySource, inner: httpx.AsyncBaseTransport
    ) -> httpx.AsyncBaseTransport:
        """Return what carries one request of this route.

        Args:
            keys: says which key to seal to, and again when the enclave says it was replaced.
            inner: the shared connections; the caller closes them.
        """
