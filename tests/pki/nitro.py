"""A synthetic AWS: a root, a zone, an instance, and the documents its security module signs.

`NitroPki` is a `Quoter` whose evidence the production verifier accepts under `NitroPki.anchors`.
The documents are written with `cbor2`, which the verifier does not use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pki.certificates import AROUND_NOON, NOON, Authority, Period, key_usage, new_key, to_der
from privity.attest.anchor import Anchor
from privity.identity.multibase import encode_base64url

THREE_HOURS: Period = (NOON - timedelta(minutes=1), NOON + timedelta(hours=3))
PCRS = {number: bytes((number + 1,)) * 48 for number in range(3)}
"""What an enclave's image measures."""


@dataclass(frozen=True)
class NitroPki:
    """One instance of a synthetic AWS, and the enclave on it.

    Attributes:
        period: of the key's own certificate.
        pcrs: the measurements, where they are not `PCRS`; the rest to 15 are zero.
        made: the module's clock; None for the time asked at.
        tagged: whether the message has the tag of COSE_Sign1.
        open_map: whether the document is a map of indefinite length, as the real module's.
        members: members of the document to change, or to leave out where None.
    """

    period: Period = THREE_HOURS
    pcrs: dict[int, bytes] = field(default_factory=dict)
    made: datetime | None = None
    tagged: bool = False
    open_map: bool = True
    members: dict[str, Any] = field(default_factory=dict)

    kind = "nitro"
    endorsements: tuple[dict[str, Any], ...] = ()

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return (self._root.anchor,)

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        document = self.document(report_data, now)
        return {"document": encode_base64url(document), "kind": "nitro"}

    def document(self, user_data: bytes | None, now: datetime) -> bytes:
        return self.sign(self.payload(user_data, now))

    def payload(self, user_data: bytes | None, now: datetime) -> bytes:
        """Return what is signed."""
        members = {
            "module_id": "i-0123-enc0123",
            "digest": "SHA384",
            "timestamp": int((self.made or now).timestamp() * 1000),
            "pcrs": {n: bytes(48) for n in range(16)} | PCRS | self.pcrs,
            "certificate": to_der(self._leaf),
            "cabundle": [to_der(self._root.certificate), to_der(self._zone.certificate)],
            "public_key": None,
            "user_data": user_data,
            "nonce": None,
        } | self.members
        chosen = {k: v for k, v in members.items() if k not in self.members or v is not None}
        if not self.open_map:
            return cbor2.dumps(chosen)
        pairs = b"".join(cbor2.dumps(k) + cbor2.dumps(v) for k, v in chosen.items())
        return b"\xbf" + pairs + b"\xff"

    def sign(self, payload: bytes, protected: bytes = b"\xa1\x01\x38\x22") -> bytes:
        """Return a whole message; its payload may be anything."""
        told = cbor2.dumps(["Signature1", protected, b"", payload])
        r, s = decode_dss_signature(self._key.sign(told, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        message = cbor2.dumps([protected, {}, payload, signature])
        return b"\xd2" + message if self.tagged else message

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return new_key()

    @cached_property
    def _root(self) -> Authority:
        return Authority.root("aws.nitro-enclaves")

    @cached_property
    def _zone(self) -> Authority:
        return self._root.authority("zone.aws.nitro-enclaves", period=AROUND_NOON, path_length=0)

    @cached_property
    def _leaf(self) -> Any:
        usage = (key_usage(sign=True), True)
        return self._zone.leaf("i-0123-enc0123", self._key, period=self.period, extensions=[usage])
