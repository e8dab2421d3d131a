"""What every fuzzer in this folder shares.

A target is a module ``fuzz_<what>.py`` with two functions:

* ``one(data)`` gives the bytes to production code. It may raise privity's errors and nothing else;
  an `AssertionError` is a promise of the code that did not hold.
* ``seeds()`` returns what to begin with, made by the synthetic PKIs, and the roots they end in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki.certificates import NOON
from privity.attest.anchor import Anchor
from privity.attest.evidence import EvidenceVerifier
from privity.errors import MalformedError, PrivityError

FOLDER = Path(__file__).parent
SEEDS = FOLDER / "seeds"
ROOTS = FOLDER / "roots"
NOW: datetime = NOON
BOUND = bytes(range(64))


@dataclass(frozen=True)
class Made:
    """What a target begins with."""

    seeds: Sequence[bytes]
    roots: Sequence[x509.Certificate] = field(default=())


def split(data: bytes, most: int) -> list[bytes]:
    """Return up to ``most`` parts, each after its length in two bytes."""
    parts = []
    while data and len(parts) < most:
        size = int.from_bytes(data[:2], "big")
        parts.append(data[2 : 2 + size])
        data = data[2 + size :]
    return parts


def join(*parts: bytes) -> bytes:
    """Return what `split` takes apart."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def certificates(name: str) -> list[x509.Certificate]:
    """Return the roots a target's seeds were made under."""
    path = ROOTS / f"{name}.pem"
    return x509.load_pem_x509_certificates(path.read_bytes()) if path.exists() else []


def anchors(name: str) -> tuple[Anchor, ...]:
    return tuple(Anchor.of_certificate(one) for one in certificates(name))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def attempt(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call; return None where it raises one of privity's own errors."""
    with suppress(PrivityError):
        return function(*args, **named)
    return None


def total(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call what promises to raise nothing, not even privity's own errors."""
    try:
        return function(*args, **named)
    except PrivityError as error:
        raise AssertionError(f"{function.__name__} is not total: {error!r}") from error


def examine(
    verifier: EvidenceVerifier,
    evidence: dict[str, Any],
    endorsements: Iterable[dict[str, Any]],
    genuine: Iterable[bytes],
    signed: bytes,
) -> bool:
    """Return whether evidence is accepted; hold that nothing is but what the seeds have signed.

    Args:
        genuine: what the seeds have that hardware signed.
        signed: what this evidence has.
    """
    try:
        found = total(verifier.examine, evidence, BOUND, list(endorsements), NOW)
    except AssertionError as error:
        # The one error that a verifier may raise.
        if isinstance(error.__cause__, MalformedError):
            return False
        raise
    if not found.accepted:
        return False
    assert signed in genuine, "evidence was accepted that no key signed"
    return True


def seeds_of(target: str) -> list[bytes]:
    """Return the seeds in this folder, in the order of their names."""
    folder = SEEDS / target
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []
