"""dstack's event log: what a TD on Phala Cloud, or any dstack host, started after its firmware.

A TD's fourth runtime register, RTMR3, holds a hash chain over events; the log says which. It
carries no signature and needs none: events that lead to another register value are refused. What
each event *means* rests on the measured dstack image (MRTD, RTMR0 to 2), which wrote them before
it let the application run. The application can add events of its own later, under any name: so
values are taken only from those before ``system-ready``.

Source: Dstack-TEE/dstack, ``cc-eventlog`` (the two digest forms) and ``dstack-attest``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from privity.errors import EvidenceError, MalformedError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.identity.multibase import decode_hex

__all__ = ["COMPOSE_HASH", "EVENT_LOG", "MAX_COMPOSE_CHARS", "MAX_EVENTS", "EventLog"]

EVENT_LOG = "event log"
"""The check that the log's events lead to the RTMR3 that the hardware signed."""

COMPOSE_HASH = "compose hash"
"""The check that the application measured is the one whose app-compose is shown."""

MAX_EVENTS = 256
MAX_COMPOSE_CHARS = 131_072

_MAX_PAYLOAD_CHARS = 8192
_RTMR3 = 3
_RUNTIME_EVENT = 0x08000001
_READY = "system-ready"

_VALUES = {
    "app-id": ("app_id", 20),
    "compose-hash": ("compose_hash", 32),
    "instance-id": ("instance_id", 20),
    "os-image-hash": ("os_image_hash", 32),
}
"""Events whose payload is a register of this many bytes."""

_KEY_PROVIDER = "key-provider"


@dataclass(frozen=True)
class _Event:
    name: str
    payload: bytes
    digest: bytes


@dataclass(frozen=True)
class EventLog:
    """The events of RTMR3, read and not yet compared with it.

    Attributes:
        events: in order.
    """

    events: tuple[_Event, ...]

    @classmethod
    def from_json(cls, values: Any) -> EventLog:
        """Read events as dstack's guest agent writes them, those of RTMR3 alone.

        Every digest is computed from the event's name and payload; one that is listed has to be
        the same.

        Raises:
            MalformedError: anything else.

        Guarantees:
            Total (tests/property/test_intel_evidence.py).
        """
        if not isinstance(values, list) or not 0 < len(values) <= MAX_EVENTS:
            raise MalformedError(f"an event log is a list of 1 to {MAX_EVENTS} events")
        return cls(tuple(_event(value) for value in values))

    @property
    def register(self) -> bytes:
        """What RTMR3 is after these events, from zero."""
        value = bytes(48)
        for event in self.events:
            value = hashlib.sha384(value + event.digest).digest()
        return value

    def check(self, rtmr3: bytes) -> str:
        """Compare with the register that the hardware signed.

        Raises:
            EvidenceError: ``.check`` is `EVENT_LOG`.
        """
        if self.register != rtmr3:
            raise EvidenceError("the events do not lead to the measured RTMR3", check=EVENT_LOG)
        self.registers()
        later = len(self.events) - len(self._system_events())
        added = f", {later} of them the application's own" if later else ""
        return f"{len(self.events)} events lead to RTMR3{added}"

    def check_compose(self, app_compose: str) -> str:
        """Compare the file that says what runs with what was measured of it.

        Raises:
            EvidenceError: ``.check`` is `COMPOSE_HASH`.
        """
        found = hashlib.sha256(app_compose.encode("utf-8", "surrogatepass")).hexdigest()
        if self.registers().get("compose_hash") != found:
            raise EvidenceError(
                "the app-compose shown is not the one that was measured", check=COMPOSE_HASH
            )
        return f"sha256:{found}"

    def registers(self) -> dict[str, str]:
        """Return the values that dstack measured before the application ran.

        Raises:
            EvidenceError: ``.check`` is `EVENT_LOG`: one is there twice, or not of its form.
        """
        found: dict[str, str] = {}
        for event in self._system_events():
            value = _value(event)
            if value is None:
                continue
            name, text = value
            if name in found:
                raise EvidenceError(f"the log has {event.name} twice", check=EVENT_LOG)
            found[name] = text
        return found

    def _system_events(self) -> Sequence[_Event]:
        """Return the events up to ``system-ready``: none after it is dstack's for certain."""
        names = [event.name for event in self.events]
        return self.events[: names.index(_READY) + 1] if _READY in names else self.events


def _event(value: Any) -> _Event:
    fields = Fields(value, "event log event")
    fields.constant("imr", _RTMR3)
    fields.constant("event_type", _RUNTIME_EVENT)
    name = fields.text("event", max_chars=128)
    payload = _hex(fields.take("event_payload"), most=_MAX_PAYLOAD_CHARS)
    listed = _hex(fields.take("digest"), most=96)
    version = fields.count("version", least=1, most=2) if "version" in value else 1
    preimage = _preimage(name, payload, version)
    if "preimage" in value and _hex(fields.take("preimage"), most=32_768) != preimage:
        raise MalformedError("event log event: the preimage is not of this event")
    fields.done()
    digest = hashlib.sha384(preimage).digest()
    # dstack leaves the digest out where it strips the log; it can be computed.
    if listed not in (b"", digest):
        raise MalformedError("event log event: the digest is not of this event")
    return _Event(name, payload, digest)


def _preimage(name: str, payload: bytes, version: int) -> bytes:
    if version == 2:
        value = {"name": name, "payload": payload.hex(), "type": _RUNTIME_EVENT}
        return canonical(value)
    # The name ends at the first colon: with one inside, two events would have the same digest.
    if ":" in name:
        raise MalformedError("event log event: a name with a colon")
    try:
        return b":".join((_RUNTIME_EVENT.to_bytes(4, "little"), name.encode(), payload))
    except UnicodeEncodeError:
        raise MalformedError("event log event: a name that is no text") from None


def _value(event: _Event) -> tuple[str, str] | None:
    if event.name == _KEY_PROVIDER:
        text = event.payload.decode("ascii", "replace")
        if not (text.isascii() and text.isprintable() and 0 < len(text) <= 1024):
            raise EvidenceError("the log's key-provider is no short text", check=EVENT_LOG)
        return "key_provider", text
    if event.name not in _VALUES:
        return None
    name, size = _VALUES[event.name]
    if len(event.payload) not in (0, size):
        raise EvidenceError(f"the log's {event.name} has not {size} bytes", check=EVENT_LOG)
    return (name, event.payload.hex()) if event.payload else None


def _hex(text: Any, *, most: int) -> bytes:
    if not isinstance(text, str) or len(text) > most:
        raise MalformedError(f"event log event: hex of at most {most} characters was expected")
    return decode_hex(text)
