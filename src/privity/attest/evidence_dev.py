"""Evidence of the kind ``dev``: the whole path of attestation, without the hardware.

A development root, a key file the devnet makes, endorses a quoting key; the quoting key signs a
quote over a measurement and the report data. The steps are those of real hardware (root → quoting
key → quote), so everything that uses them is real. But nothing keeps the host out of a process it
runs, and whoever holds the root's file can endorse anything. Hence: ``dev``, everywhere it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from privity.attest.measurement import measure_package
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OpenError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey, VerifyKey
from privity.identity.keystore import load_key, load_or_create_key
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import CLOCK_SKEW, format_time
from privity.statement import Check, VerifiedEvidence

__all__ = ["KIND", "DevQuoter", "DevRoot", "DevVerifier"]

KIND = "dev"

_ENDORSEMENT_LABEL = b"privity/dev-endorsement/v1\0"
_QUOTE_LABEL = b"privity/dev-quote/v1\0"
_SIGNATURE_BYTES = 64
_REPORT_BYTES = 64


class DevRoot:
    """A development root: a signing key that endorses quoting keys.

    Attributes:
        did: its did:key, which a person lists in `Trust.dev_roots`.
    """

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.did = key.did

    @classmethod
    def generate(cls) -> DevRoot:
        """Return a new root, in memory alone."""
        return cls(SigningKey.generate())

    @classmethod
    def load_or_create(cls, path: Path) -> DevRoot:
        """Return the root kept in ``path`` (0600), made first if there is none."""
        return cls(load_or_create_key(path))

    @classmethod
    def load(cls, path: Path) -> DevRoot:
        """Return the root kept in ``path``; raises `InputError` if it is absent or open."""
        return cls(load_key(path))

    def endorse(self, key: str, *, now: datetime, lifetime: timedelta) -> dict[str, Any]:
        """Return an endorsement of the quoting key with the did:key ``key``."""
        endorsement = {
            "expires": format_time(now + lifetime),
            "issued": format_time(now),
            "key": key,
            "root": self.did,
        }
        signature = self._key.sign(_ENDORSEMENT_LABEL + canonical(endorsement))
        return {
            "endorsement": endorsement,
            "kind": KIND,
            "signature": encode_base64url(signature),
        }

    def __repr__(self) -> str:
        return f"DevRoot(did={self.did!r})"


class DevQuoter:
    """Makes ``dev`` evidence with a quoting key of its own. This runs in the enclave role.

    Args:
        root: endorses the quoting key, once, here.
        now: the time of that.
        measurement: what to say is running; by default the installed privity package.
        lifetime: how long the endorsement is good for.
    """

    kind = KIND

    def __init__(
        self,
        root: DevRoot,
        *,
        now: datetime,
        measurement: str | None = None,
        lifetime: timedelta = timedelta(days=30),
    ) -> None:
        self._key = SigningKey.generate()
        self.measurement = measure_package() if measurement is None else measurement
        self.endorsements = (root.endorse(self._key.did, now=now, lifetime=lifetime),)

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return a signed quote over the measurement and these 64 bytes."""
        quote = {
            "issued": format_time(now),
            "measurement": self.measurement,
            "report_data": encode_base64url(report_data),
        }
        signature = self._key.sign(_QUOTE_LABEL + canonical(quote))
        return {
            "key": self._key.did,
            "kind": KIND,
            "quote": quote,
            "signature": encode_base64url(signature),
        }


@dataclass(frozen=True)
class _Endorsement:
    key: str
    root: str
    issued: datetime
    expires: datetime


class DevVerifier:
    """Judges ``dev`` evidence under the development roots a person listed.

    Args:
        roots: their did:keys.
        max_age: the oldest quote accepted.
    """

    kind = KIND

    def __init__(self, roots: Sequence[str], *, max_age: timedelta) -> None:
        self._roots = frozenset(roots)
        self._max_age = max_age

    def verify(
        self,
        evidence: dict[str, Any],
        report_data: bytes,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> VerifiedEvidence:
        """Judge one quote; see `EvidenceVerifier.verify`.

        Raises:
            EvidenceError: ``.check`` is ``endorsement root``, ``endorsement signature``,
                ``endorsement period``, ``quoting key``, ``quote signature``, ``report data`` or
                ``quote time``.
            MalformedError: it is not of this kind's form.
        """
        endorsed = {self._endorsement(one, now).key for one in endorsements}
        fields = Fields(evidence, "dev evidence")
        fields.constant("kind", KIND)
        key, raw = fields.text("key"), fields.object("quote")
        signature = fields.blob("signature", least=_SIGNATURE_BYTES, most=_SIGNATURE_BYTES)
        fields.done()
        if key not in endorsed:
            raise EvidenceError("no endorsement is of the quoting key", check="quoting key")
        _check_signature(key, signature, _QUOTE_LABEL + canonical(raw), "quote signature")
        measurement, issued = self._quote(raw, report_data, now)
        return VerifiedEvidence(
            kind=KIND,
            measurement=measurement,
            basis=frozenset({Basis(Ground.NOTHING, "a dev enclave does not stop its host")}),
            dev=True,
            checks=(
                Check("endorsement root", True, "a development root you listed"),
                Check("quoting key", True, key),
                Check("quote signature", True, f"{KIND}: by software, not by hardware"),
                Check("report data", True, "the quote binds these keys to this challenge"),
                Check("quote time", True, format_time(issued)),
            ),
        )

    def _endorsement(self, raw: dict[str, Any], now: datetime) -> _Endorsement:
        fields = Fields(raw, "dev endorsement")
        fields.constant("kind", KIND)
        body = fields.object("endorsement")
        signature = fields.blob("signature", least=_SIGNATURE_BYTES, most=_SIGNATURE_BYTES)
        fields.done()
        inner = Fields(body, "dev endorsement")
        one = _Endorsement(
            key=inner.text("key"),
            root=inner.text("root"),
            issued=inner.time("issued"),
            expires=inner.time("expires"),
        )
        inner.done()
        if one.root not in self._roots:
            raise EvidenceError(
                "the quoting key is endorsed by a development root you do not trust",
                check="endorsement root",
                hint="for a devnet of your own, list the root it prints under trust.dev_roots",
            )
        _check_signature(
            one.root, signature, _ENDORSEMENT_LABEL + canonical(body), "endorsement signature"
        )
        if now - one.issued < -CLOCK_SKEW or now >= one.expires:
            raise EvidenceError(
                f"the endorsement is good from {format_time(one.issued)} "
                f"to {format_time(one.expires)}",
                check="endorsement period",
            )
        return one

    def _quote(
        self, raw: dict[str, Any], report_data: bytes, now: datetime
    ) -> tuple[str, datetime]:
        fields = Fields(raw, "dev quote")
        measurement, issued = fields.digest("measurement"), fields.time("issued")
        carried = fields.blob("report_data", least=_REPORT_BYTES, most=_REPORT_BYTES)
        fields.done()
        if carried != report_data:
            raise EvidenceError(
                "the quote was made for other keys or for another challenge", check="report data"
            )
        # The difference, not a sum: `issued` is not trusted, and a year 9999 would overflow.
        if not -CLOCK_SKEW <= now - issued < self._max_age:
            raise EvidenceError(
                f"the quote is from {format_time(issued)}: in the future, or too old",
                check="quote time",
            )
        return measurement, issued


def _check_signature(key: str, signature: bytes, message: bytes, check: str) -> None:
    try:
        VerifyKey(key).verify(signature, message)
    except (MalformedError, OpenError) as error:
        raise EvidenceError(error.message, check=check) from None
