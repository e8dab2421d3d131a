"""Floor 5: a relay as a role: first hop, and second hop under long-lived keys of its own.

As a first hop it carries sealed messages to its targets, other relays among them. As a second hop
it opens, at its own Oblivious HTTP gateway, messages that were sealed to it and says in its own
name what is inside: a sealed message for one of its targets, and nothing else. Its keys are
published there too; the registry holds their digest, so that a first hop cannot give other ones.

The keys live in a file, because the registry's digest has to hold after a restart. Whoever takes
that file can open, of the messages recorded before, which target they were for and by what proof
they were admitted; not what was asked, which is sealed to the enclave (spec/relays.md).
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from privity.errors import InputError, PrivityError
from privity.hazmat.hpke import KEMS
from privity.home import create_private_once, read_private
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.node.mixing import MixSettings
from privity.node.relay import Relay, RelayLimits, relay_app
from privity.seal import problem
from privity.seal.asgi import Receive, Scope, Send, answer_problem
from privity.seal.gateway import Gateway, GatewayLimits
from privity.seal.key_config import GatewayKey, GatewayKeys, KeyConfig

__all__ = ["RelayRole", "RelaySettings", "load_relay_keys", "make_relay"]

_TYPE = "privity/relay-keys/v1"
_SEED_BYTES = 32  # of either KEM
_KEMS = (0x647A, 0x0020)  # X-Wing, then X25519 for clients that have nothing else


@dataclass(frozen=True)
class RelaySettings:
    """What a relay is.

    Attributes:
        targets: for each name, the base URL of an admission gateway, an enclave or another relay.
        keys_file: where its own keys are, made on first use; None for a first hop only.
        limits: what it carries at most.
        sealed: what its own gateway accepts at most.
        mixing: how messages are mixed; None to send each on at once.
    """

    targets: Mapping[str, str]
    keys_file: Path | None = None
    limits: RelayLimits = field(default_factory=RelayLimits)
    sealed: GatewayLimits = field(default_factory=GatewayLimits)
    mixing: MixSettings | None = None


def make_relay(
    settings: RelaySettings,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Callable[[], float] = time.time,
) -> RelayRole:
    """Return the ASGI application of a relay.

    Args:
        settings: what it is.
        transport: how it reaches its targets; a shared connection pool by default.
        clock: seconds since the epoch.

    Raises:
        InputError: a target cannot be one, or the key file cannot be read or made.
    """
    relay = relay_app(
        settings.targets, settings.limits, transport=transport, mixing=settings.mixing
    )
    keys = None if settings.keys_file is None else load_relay_keys(settings.keys_file)
    return RelayRole(relay, keys, settings.sealed, clock)


class RelayRole:
    """A relay, and its own gateway where it has keys. See `make_relay`.

    Guarantees:
        What is opened reaches the relay's own targets, and nothing else
        (tests/adversary/test_hop_attacks.py::test_an_exit_goes_to_its_targets_and_nowhere_else).
        A message is carried on once, also over a restart
        (tests/adversary/test_hop_attacks.py::test_what_was_sealed_before_a_restart_is_not_carried_on).
    """

    def __init__(
        self,
        relay: Relay,
        keys: GatewayKeys | None,
        limits: GatewayLimits,
        clock: Callable[[], float],
    ) -> None:
        self._relay = relay
        self._keys = keys
        self._app: Relay | Gateway = relay
        if keys is not None:
            fresh = _SinceStart(relay, started=int(clock() // 60 * 60))
            self._app = Gateway(fresh, keys, outer=relay, limits=limits, clock=clock)

    @property
    def keys_digest(self) -> bytes | None:
        """SHA-256 of its key configurations, for the registry; None where it has none."""
        return None if self._keys is None else hashlib.sha256(self._keys.configs_bytes).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "websocket":
            await self._relay(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def retarget(self, targets: Mapping[str, str]) -> None:
        """Go to these targets from now on; raises `InputError`."""
        self._relay.retarget(targets)

    def drain(self) -> None:
        """Send on what is held to be mixed, and hold nothing more. Run before the server ends."""
        self._relay.drain()

    async def aclose(self) -> None:
        """Send on what is held, and close the connections to the targets."""
        await self._relay.aclose()


class _SinceStart:
    """Refuses what was sealed before this process began, which another may have carried on.

    The gateway remembers what it opened while it runs. Its keys outlive it, so what the first hop
    recorded could be carried on a second time after a restart, and the same message would leave
    twice, for all to see.
    """

    def __init__(self, relay: Relay, started: int) -> None:
        self._relay = relay
        self._started = started

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            date = dict(scope["headers"]).get(b"date")
            if date is None:  # nothing says when it was sealed
                await answer_problem(send, problem.DATE)
                return
            # The gateway has found that it is a date, and near.
            if parsedate_to_datetime(date.decode("latin-1")).timestamp() < self._started:
                await answer_problem(send, problem.BUSY)
                return
        await self._relay(scope, receive, send)


def load_relay_keys(path: Path) -> GatewayKeys:
    """Return the keys in a relay's file, which is made, 0600, if it is not there.

    Raises:
        InputError: it cannot be read or made, others on this machine can read it, or it holds
            something else.

    Guarantees:
        Over restarts the configurations are the same, byte for byte
        (tests/unit/test_relay_role.py::test_the_digest_of_its_keys_holds_over_restarts).
    """
    if not path.exists():
        create_private_once(path, _fresh())
    try:
        keys = [_key(entry) for entry in _entries(read_private(path))]
        if len({key.config.key_id for key in keys}) != len(keys):
            raise ValueError("two keys have one identifier")
        return GatewayKeys(keys)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError, PrivityError):
        raise InputError(  # without the cause: its text could hold a part of the file
            f"{path} does not hold the keys of a relay",
            hint="restore it from a copy; with new keys the registry has to name a new digest",
        ) from None


def _fresh() -> bytes:
    first = secrets.randbelow(256)
    keys = [
        {
            "id": (first + number) % 256,
            "kem": kem,
            "seed": encode_base64url(secrets.token_bytes(_SEED_BYTES)),
        }
        for number, kem in enumerate(_KEMS)
    ]
    return json.dumps({"type": _TYPE, "keys": keys}).encode() + b"\n"


def _entries(data: bytes) -> list[dict[str, object]]:
    document = json.loads(data)
    if document["type"] != _TYPE or not isinstance(document["keys"], list):
        raise ValueError("it is of another type")
    return list(document["keys"])


def _key(entry: dict[str, object]) -> GatewayKey:
    number, kem, seed = entry["id"], entry["kem"], entry["seed"]
    if type(number) is not int or type(kem) is not int or not isinstance(seed, str):
        raise ValueError("a part of a key has another type")
    private = KEMS[kem].load_private_key(decode_base64url(seed))
    return GatewayKey(KeyConfig(number, kem, private.public_bytes), private)
