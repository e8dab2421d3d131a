"""Evidence of the kind ``dev``: the whole path of attestation, without the hardware.

A development root, a key file the devnet makes, endorses a quoting key; the quoting key signs a
quote over a measurement and the report data. The steps are those of real hardware (root → quoting
key → quote), so everything that uses them is real. But nothing keeps the host out of a process it
runs, and whoever holds the root's file can endorse anything. Hence: ``dev``, everywhere it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from privity.attest.evidence import KEY_BINDING, Companions, Findings, run_checks
from privity.attest.measurement import measure_package
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OpenError, SealError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.keys import SigningKey, VerifyKey
from privity.identity.keystore import load_key, load_or_create_key
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import CLOCK_SKEW, format_time

__all__ = ["KIND", "DevQuoter", "DevRoot", "DevVerifier", "from_file", "recognises"]

KIND = "dev"

_ENDORSEMENT_LABEL = b"privity/dev-endorsement/v1\0"
_QUOTE_LABEL = b"privity/dev-quote/v1\0"
_SIGNATURE_BYTES = 64
_REPORT_BYTES = 64
_MAX_BYTES = 65_536


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
    signature: bytes
    signed: bytes


@dataclass(frozen=True)
class _Quote:
    key: str
    measurement: str
    issued: datetime
    report_data: bytes
    signature: bytes
    signed: bytes


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

    def examine(
        self,
        evidence: dict[str, Any],
        bound: bytes | None,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> Findings:
        """Judge one quote; see `EvidenceVerifier.examine`.

        The checks are ``endorsement root``, ``endorsement signature``, ``endorsement period``,
        ``quoting key``, ``quote signature``, ``key binding`` and ``quote time``.

        Raises:
            MalformedError: it is not of this kind's form.
        """
        offered = [_read_endorsement(one) for one in endorsements]
        quote = _read_quote(evidence)
        steps: list[tuple[str, Callable[[], str]]] = [
            *(("endorsement root", partial(self._check_endorsement, one, now)) for one in offered),
            ("quoting key", partial(_check_endorsed, quote, offered)),
            ("quote signature", partial(_check_quote_signature, quote)),
            ("quote time", partial(self._check_age, quote, now)),
        ]
        if bound is not None:
            steps.insert(-1, (KEY_BINDING, partial(_check_binding, quote, bound)))
        return Findings(
            kind=KIND,
            checks=run_checks(steps),
            registers={"measurement": quote.measurement},
            basis=frozenset({Basis(Ground.NOTHING, "a dev enclave does not stop its host")}),
            dev=True,
            measurement=quote.measurement,
        )

    def _check_endorsement(self, one: _Endorsement, now: datetime) -> str:
        if one.root not in self._roots:
            raise EvidenceError(
                "the quoting key is endorsed by a development root you do not trust",
                check="endorsement root",
                hint="for a devnet of your own, list the root it prints under trust.dev_roots",
            )
        _check_signature(one.root, one.signature, one.signed, "endorsement signature")
        if now - one.issued < -CLOCK_SKEW or now >= one.expires:
            raise EvidenceError(
                f"the endorsement is good from {format_time(one.issued)} "
                f"to {format_time(one.expires)}",
                check="endorsement period",
            )
        return "a development root you listed"

    def _check_age(self, quote: _Quote, now: datetime) -> str:
        # The difference, not a sum: `issued` is not trusted, and a year 9999 would overflow.
        if not -CLOCK_SKEW <= now - quote.issued < self._max_age:
            raise EvidenceError(
                f"the quote is from {format_time(quote.issued)}: in the future, or too old",
                check="quote time",
            )
        return format_time(quote.issued)


def recognises(data: bytes) -> bool:
    """Tell whether bytes look like one piece of ``dev`` evidence, as JSON. Cheap, and total."""
    try:
        value = loads_canonical(data, max_bytes=_MAX_BYTES)
    except SealError:
        return False
    return isinstance(value, dict) and value.get("kind") == KIND and "quote" in value


def from_file(
    data: bytes, companions: Companions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read ``dev`` evidence from a file; its endorsement comes in ``companions.collateral``.

    Raises:
        MalformedError: either is not canonical JSON.
    """
    endorsements = []
    if companions.collateral is not None:
        endorsements.append(loads_canonical(companions.collateral, max_bytes=_MAX_BYTES))
    return [loads_canonical(data, max_bytes=_MAX_BYTES)], endorsements


def _read_endorsement(raw: dict[str, Any]) -> _Endorsement:
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
        signature=signature,
        signed=_ENDORSEMENT_LABEL + canonical(body),
    )
    inner.done()
    return one


def _read_quote(raw: dict[str, Any]) -> _Quote:
    fields = Fields(raw, "dev evidence")
    fields.constant("kind", KIND)
    key, body = fields.text("key"), fields.object("quote")
    signature = fields.blob("signature", least=_SIGNATURE_BYTES, most=_SIGNATURE_BYTES)
    fields.done()
    inner = Fields(body, "dev quote")
    quote = _Quote(
        key=key,
        measurement=inner.digest("measurement"),
        issued=inner.time("issued"),
        report_data=inner.blob("report_data", least=_REPORT_BYTES, most=_REPORT_BYTES),
        signature=signature,
        signed=_QUOTE_LABEL + canonical(body),
    )
    inner.done()
    return quote


def _check_endorsed(quote: _Quote, offered: Sequence[_Endorsement]) -> str:
    if quote.key not in {one.key for one in offered}:
        raise EvidenceError("no endorsement is of the quoting key", check="quoting key")
    return quote.key


def _check_quote_signature(quote: _Quote) -> str:
    _check_signature(quote.key, quote.signature, quote.signed, "quote signature")
    return f"{KIND}: by software, not by hardware"


def _check_binding(quote: _Quote, bound: bytes) -> str:
    if quote.report_data != bound:
        raise EvidenceError(
            "the quote was made for other keys or for another challenge", check=KEY_BINDING
        )
    return "the quote binds these keys to this challenge"


def _check_signature(key: str, signature: bytes, message: bytes, check: str) -> None:
    try:
        VerifyKey(key).verify(signature, message)
    except (MalformedError, OpenError) as error:
        raise EvidenceError(error.message, check=check) from None
