"""The attestation that dstack's guests write to files, version 0: a vendor's evidence in a wrapper.

Of what stands around the evidence, the hardware vouches for the report data and, on SNP, for the
application's configuration; both are compared with it. The log of events and the machine's
configuration are vouched for by nothing there is here: they must be well-formed, and are dropped.

Source: dstack's dstack-attest (``VersionedAttestation``, ``MrConfigV3``).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from privity.attest.dstack.scale import Scale
from privity.errors import MalformedError

__all__ = ["NITRO", "SNP", "DstackFile", "looks_like", "read_dstack"]

NITRO, SNP = 2, 3
"""The kinds of evidence in it, as it numbers them."""

_MAX_ITEMS = 4096
_HOST_DATA_DOMAIN = b"dstack-mr-config-v3:"


@dataclass(frozen=True)
class DstackFile:
    """What is in one.

    Attributes:
        kind: `NITRO` or `SNP`.
        evidence: the vendor's own form of it.
        certificates: what came along; only for SNP.
        mr_config: the application's configuration, as JSON text; only for SNP.
        report_data: the 64 bytes the evidence was asked to carry, as the file says.
    """

    kind: int
    evidence: bytes
    certificates: tuple[bytes, ...]
    mr_config: str
    report_data: bytes

    def check_report_data(self, carried: bytes | None) -> None:
        """Compare what the file says with what the evidence carries; raises `MalformedError`."""
        if carried is None or not hmac.compare_digest(self.report_data, carried):
            raise MalformedError("dstack: the file's report data is not the evidence's")

    def check_host_data(self, carried: bytes) -> None:
        """Compare the configuration with the digest the host launched with.

        Raises:
            MalformedError: they differ.
        """
        told = _HOST_DATA_DOMAIN + b"\0" + self.mr_config.encode()
        if not hmac.compare_digest(hashlib.sha256(told).digest(), carried):
            raise MalformedError("dstack: the configuration is not the one the guest started with")


def looks_like(data: bytes, kind: int) -> bool:
    """Return whether a file begins like a dstack attestation of that kind."""
    return data[:2] == bytes((0, kind)) and len(data) > 64


def read_dstack(data: bytes) -> DstackFile:
    """Read a file whole.

    Raises:
        MalformedError: it is of another form or another kind.
    """
    scale = Scale(data)
    version, kind = scale.take(2)
    if version != 0 or kind not in (NITRO, SNP):
        raise MalformedError("dstack: an attestation of a version or kind not known here")
    evidence = scale.blob()
    certificates: tuple[bytes, ...] = ()
    mr_config = ""
    if kind == SNP:
        certificates = tuple(scale.blob() for _ in range(_count(scale)))
        mr_config = scale.text()
    events = [(scale.text(), scale.blob()) for _ in range(_count(scale))]
    report_data = scale.take(64)
    config = scale.text()
    scale.done()
    _check_config(config, mr_config, kind)
    _check_events(events, mr_config)
    return DstackFile(kind, evidence, certificates, mr_config, report_data)


def _count(scale: Scale) -> int:
    count = scale.compact()
    if count > _MAX_ITEMS:
        raise MalformedError(f"dstack: more than {_MAX_ITEMS} items")
    return count


def _check_config(config: str, mr_config: str, kind: int) -> None:
    """Compare the two copies of the application's configuration."""
    if config and kind == SNP and _object(config).get("mr_config", mr_config) != mr_config:
        raise MalformedError("dstack: the file has two configurations that differ")


def _check_events(events: list[tuple[str, bytes]], mr_config: str) -> None:
    """Compare the events that repeat the application's configuration with it."""
    if not mr_config:
        return
    settings = _object(mr_config)
    for name, payload in events:
        known = settings.get(name.replace("-", "_"))
        if name in ("app-id", "compose-hash", "instance-id") and known != payload.hex():
            raise MalformedError(f"dstack: the event {name} is not as the configuration says")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedError("dstack: a configuration is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedError("dstack: a configuration is not a JSON object")
    return value
