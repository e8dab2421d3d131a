"""Endorsements an operator gives the enclave: Intel collateral, AMD certificates.

Hardware signs evidence, the vendor endorses the hardware. The enclave sends those endorsements
along, so that a device verifies offline. They are public and carry their own signatures: a wrong
file makes evidence that nobody accepts, never evidence that is wrongly accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from privity.errors import InputError, MalformedError, OversizeError, PeerError
from privity.identity.jcs import loads_strict
from privity.identity.multibase import encode_base64url

__all__ = [
    "certificates_endorsement",
    "certificates_of",
    "fetch_collateral",
    "read_certificates",
    "read_collateral",
]

_MAX_COLLATERAL = 131_072
_MAX_CERTIFICATES = 10


def read_collateral(path: Path) -> dict[str, Any]:
    """Return Intel's collateral from a JSON file, as `dcap-qvl` writes it.

    Raises:
        InputError: it cannot be read, or is no JSON object.
    """
    try:
        value = loads_strict(path.read_bytes(), max_bytes=_MAX_COLLATERAL)
    except OSError as error:
        raise InputError(f"the collateral {path} cannot be read: {error.strerror}") from None
    except (MalformedError, OversizeError) as error:
        raise InputError(f"the collateral {path} is {error.message}") from None
    if not isinstance(value, dict):
        raise InputError(f"the collateral {path} is not a JSON object")
    return _without_terminator(value)


def fetch_collateral(url: str, quote: bytes) -> dict[str, Any]:
    """Fetch the collateral of a quote from a PCCS. Run once, by an enclave that starts.

    Args:
        url: the caching service the operator configured; nothing else is ever asked.
        quote: one quote of this platform.

    Raises:
        PeerError: the service did not give it.
    """
    import dcap_qvl

    async def fetch() -> str:
        found = await dcap_qvl.get_collateral(url, quote)
        return str(found.to_json())

    try:
        value = loads_strict(asyncio.run(fetch()).encode(), max_bytes=_MAX_COLLATERAL)
    except (ValueError, OSError, MalformedError, OversizeError):
        raise _no_collateral(url) from None
    if not isinstance(value, dict):
        raise _no_collateral(url)
    return _without_terminator(value)


def _without_terminator(collateral: dict[str, Any]) -> dict[str, Any]:
    """Return collateral whose PCK chain has no NUL at its end.

    `dcap-qvl` copies that chain from the quote, where it ends as a C string does. Verifiers take
    PEM in one spelling alone.
    """
    chain = collateral.get("pck_certificate_chain")
    if not isinstance(chain, str):
        return collateral
    return {**collateral, "pck_certificate_chain": chain.removesuffix("\0")}


def _no_collateral(url: str) -> PeerError:
    return PeerError(
        f"{url} did not give Intel's collateral for this platform",
        hint="or give it as a file, which needs no network",
    )


def read_certificates(paths: Sequence[Path]) -> tuple[bytes, ...]:
    """Return the certificates in PEM or DER files, each as DER.

    Raises:
        InputError: one cannot be read, or holds no certificate.
    """
    found: list[bytes] = []
    for path in paths:
        try:
            found += certificates_of(path.read_bytes())
        except OSError as error:
            raise InputError(f"the certificate {path} cannot be read: {error.strerror}") from None
        except MalformedError as error:
            raise InputError(f"{path}: {error.message}") from None
    return tuple(found)


def certificates_of(data: bytes) -> list[bytes]:
    """Return the certificates of a PEM bundle or one DER certificate, each as DER.

    Raises:
        MalformedError: it is neither, or holds too many.
    """
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            found = x509.load_pem_x509_certificates(data)
        else:
            found = [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise MalformedError("not a certificate, in PEM or in DER") from None
    if len(found) > _MAX_CERTIFICATES:
        raise MalformedError(f"more than {_MAX_CERTIFICATES} certificates in one file")
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def certificates_endorsement(kind: str, certificates: Sequence[bytes]) -> dict[str, Any]:
    """Return certificates as an endorsement of a kind of evidence."""
    return {"certificates": [encode_base64url(one) for one in certificates], "kind": kind}
