"""Quotes of an enclave on dstack (Phala Cloud and others), through its guest agent.

The agent listens on a socket in the container. Beside the quote it gives the log of what the
guest measured into RTMR3, and the app-compose document: with those a verifier sees which
containers run, not only which machine image.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx

from privity.attest.quoters.endorsements import fetch_collateral
from privity.errors import MalformedError, MissingDependency, OversizeError, PeerError
from privity.identity.jcs import loads_strict
from privity.identity.multibase import encode_base64url

__all__ = ["DSTACK_SOCKETS", "DstackQuoter", "connect"]

DSTACK_SOCKETS = (Path("/var/run/dstack.sock"), Path("/var/run/dstack/dstack.sock"))

_REPORT_BYTES = 64
_RTMR3 = 3
_MAX_QUOTE = 65_536
_MAX_LOG = 1_048_576
_MAX_COMPOSE = 131_072
_TIMEOUT_S = 30.0
_EVENT = ("digest", "event", "event_payload", "event_type", "imr")
_EVENT_V2 = ("preimage", "version")


class GuestAgent(Protocol):
    """What is used of ``dstack_sdk.DstackClient``."""

    def get_quote(self, report_data: bytes) -> Any:
        """Return an object with ``quote`` (hex) and ``event_log`` (JSON text)."""

    def info(self) -> Any:
        """Return an object with ``tcb_info.app_compose`` (JSON text)."""


def connect(socket: Path | None = None) -> GuestAgent:
    """Return a client of the guest agent on this machine.

    Raises:
        MissingDependency: the SDK is not installed, or no agent listens here.
    """
    found = socket or next((one for one in DSTACK_SOCKETS if one.exists()), None)
    if found is None or not found.exists():
        raise MissingDependency(
            f"no dstack guest agent here: {found or DSTACK_SOCKETS[0]} is absent",
            hint="in the compose file, mount /var/run/dstack.sock into the container",
        )
    try:
        from dstack_sdk import DstackClient
    except ImportError:
        raise MissingDependency(
            "a dstack guest agent is here, but dstack-sdk is not installed",
            hint="pip install 'privity[dstack]'",
        ) from None
    # Always by path: without one, the SDK would follow DSTACK_SIMULATOR_ENDPOINT to a simulator.
    client: GuestAgent = DstackClient(str(found), timeout=_TIMEOUT_S)
    return client


class DstackQuoter:
    """Makes ``tdx`` evidence with dstack's event log and app-compose. This runs in the enclave.

    Args:
        agent: what `connect` returns.
        collateral: Intel's, to send along.
        pccs: a service to fetch it from once, here, where there is no ``collateral``.

    Raises:
        PeerError: the agent answers wrongly or not at all, or the service gave no collateral.
    """

    kind = "tdx"

    def __init__(
        self,
        agent: GuestAgent,
        *,
        collateral: dict[str, Any] | None = None,
        pccs: str | None = None,
    ) -> None:
        self._agent = agent
        self._compose = self._app_compose()
        if collateral is None and pccs is not None:
            collateral = fetch_collateral(pccs, self._quote(bytes(_REPORT_BYTES))[0])
        self._collateral = collateral

    @property
    def endorsements(self) -> tuple[dict[str, Any], ...]:
        """Intel's collateral, where it is known."""
        if self._collateral is None:
            return ()
        return ({"collateral": self._collateral, "kind": "tdx"},)

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return evidence that carries these 64 bytes; blocks while the platform signs.

        Raises:
            PeerError: the agent answers wrongly or not at all.
        """
        if len(report_data) != _REPORT_BYTES:
            raise MalformedError(f"report data has {_REPORT_BYTES} bytes")
        quote, log = self._quote(report_data)
        return {
            "app_compose": self._compose,
            "event_log": log,
            "kind": "tdx",
            "quote": encode_base64url(quote),
        }

    def _quote(self, report_data: bytes) -> tuple[bytes, list[dict[str, Any]]]:
        # The SDK hex-encodes the bytes as they are and the agent pads them with zeros to 64: all
        # 64 of ours go in raw. (The older tappd service, which hashed them behind a prefix, is
        # another socket and not used here.)
        try:
            answer = self._agent.get_quote(report_data)
            quote = bytes.fromhex(answer.quote)
            log = loads_strict(str(answer.event_log).encode(), max_bytes=_MAX_LOG)
        except (httpx.HTTPError, OSError) as error:
            raise PeerError(f"dstack's guest agent did not answer: {_name(error)}") from None
        except (ValueError, AttributeError, TypeError, MalformedError, OversizeError):
            raise _wrong("a quote with an event log") from None
        if not 0 < len(quote) <= _MAX_QUOTE:
            raise _wrong("a TDX quote; on AMD machines use the kernel's interface")
        return quote, _runtime_events(log)

    def _app_compose(self) -> str:
        try:
            text = self._agent.info().tcb_info.app_compose
        except (httpx.HTTPError, OSError) as error:
            raise PeerError(f"dstack's guest agent did not answer: {_name(error)}") from None
        except (ValueError, AttributeError, TypeError):
            raise _wrong("its app-compose") from None
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_COMPOSE:
            raise _wrong("its app-compose")
        return text


def _runtime_events(log: Any) -> list[dict[str, Any]]:
    """Return the events of RTMR3, which a verifier replays; the others are the firmware's."""
    if not isinstance(log, list) or not all(isinstance(event, dict) for event in log):
        raise _wrong("an event log")
    events = [event for event in log if event.get("imr") == _RTMR3]
    if not events or not all(name in event for event in events for name in _EVENT):
        raise _wrong("an event log")
    kept = _EVENT + _EVENT_V2
    return [{name: event[name] for name in kept if event.get(name) is not None} for event in events]


def _wrong(what: str) -> PeerError:
    return PeerError(f"dstack's guest agent did not give {what}")


def _name(error: Exception) -> str:
    return type(error).__name__
