"""A broker in memory and an enclave that asks it, for the tests of key release."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from privity.attest import DevQuoter, DevRoot, Trust, build_statement
from privity.attest.evidence import Quoter
from privity.attest.grant import Grant, Purpose, SignedGrant
from privity.attest.manifest import ReferenceValue
from privity.attest.release import BootKeys
from privity.attest.roots import Roots
from privity.identity.keys import SigningKey
from privity.identity.timestamps import utc_now
from privity.node.broker import Asked, Broker
from privity.node.broker_app import BrokerApp
from privity.node.key_client import KeyClient, elapsed
from privity.statement import Software, Statement

MEASUREMENT = "sha256:" + "5" * 64
OTHER_MEASUREMENT = "sha256:" + "6" * 64
PROGRAM = "sha256:" + "7" * 64
ARTEFACT = "0123456789abcdef" * 2
ROOT = "tree-sha256:" + "a" * 64
KEY = bytes(range(32))
NONCE = bytes(range(100, 132))
URL = "http://broker.test"
START = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class RealTime(Clock):
    """The system's clock, for leases that really run."""

    def __call__(self) -> datetime:
        return utc_now()

    def seconds(self) -> float:
        return elapsed()


@dataclass
class Owner:
    """An owner with a development root, who grants."""

    key: SigningKey = field(default_factory=SigningKey.generate)
    root: DevRoot = field(default_factory=DevRoot.generate)
    clock: Clock = field(default_factory=Clock)
    roots: Roots = field(default_factory=Roots)

    @property
    def trust(self) -> Trust:
        return Trust(dev_roots=(self.root.did,), roots=self.roots)

    def quoter(self, measurement: str = MEASUREMENT) -> DevQuoter:
        return DevQuoter(self.root, now=self.clock(), measurement=measurement)

    def grant(self, **changes: Any) -> Grant:
        given: dict[str, Any] = {
            "owner": self.key.did,
            "artefact": ARTEFACT,
            "root": ROOT,
            "name": "tiny",
            "purpose": Purpose.SERVE,
            "issued": self.clock(),
            "expires": self.clock() + timedelta(days=1),
            "measurements": (ReferenceValue("dev", {"measurement": MEASUREMENT}),),
            "unsafe_dev": True,
        }
        return Grant(**{**given, **changes})

    def signed(self, **changes: Any) -> SignedGrant:
        return self.grant(**changes).sign(self.key)

    def training(self, **changes: Any) -> SignedGrant:
        wanted = {"purpose": Purpose.TRAIN, "programs": (PROGRAM,), "recipient": "age1pq1test"}
        return self.signed(**{**wanted, **changes})

    def broker(self, folder: Path, **more: Any) -> Broker:
        owners = more.pop("owners", (self.key.did,))
        return Broker(folder, owners=owners, trust=self.trust, clock=self.clock, **more)


@dataclass
class Boot:
    """An enclave at its start: keys for one exchange, and a statement of them."""

    owner: Owner
    measurement: str = MEASUREMENT
    software: tuple[Software, ...] = ()
    receipts: str = field(default_factory=lambda: SigningKey.generate().did)
    quoter: Quoter | None = None

    def __post_init__(self) -> None:
        self.keys = BootKeys(self.receipts, software=self.software)

    def statement(self, nonce: bytes = NONCE) -> Statement:
        quoter = self.quoter or self.owner.quoter(self.measurement)
        return build_statement(self.keys.keyset, [quoter], now=self.owner.clock(), nonce=nonce)

    def ask(
        self, broker: Broker, nonce: bytes = NONCE, purpose: Purpose = Purpose.SERVE
    ) -> dict[str, Any]:
        return broker.release(Asked(ARTEFACT, purpose, nonce), self.statement(nonce).to_bytes())


def app_of(owner: Owner, broker: Broker) -> BrokerApp:
    return BrokerApp(broker, [owner.quoter()], clock=owner.clock, clock_s=owner.clock.seconds)


def client_of(owner: Owner, app: BrokerApp, **more: Any) -> KeyClient:
    given: dict[str, Any] = {
        "receipts": SigningKey.generate().did,
        "transport": httpx.ASGITransport(app),
        "clock": owner.clock,
        "clock_s": owner.clock.seconds,
    }
    quoters = more.pop("quoters", [owner.quoter()])
    return KeyClient(URL, quoters, **{**given, **more})


def events(folder: Path) -> list[tuple[str, str | None]]:
    """Return each event of a broker's log, with the check of a refusal."""
    lines = (folder / "decisions.log").read_text().splitlines()
    read = [json.loads(line) for line in lines]
    return [(line["event"], line["about"].get("check")) for line in read]
