"""Rungs that answer by a script and remember what reached them, for tests of the ladder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import (
    PrivityError,
)
from privity.identity.keys import SigningKey
from privity.infer.budget import Spending
from privity.infer.catalogue import Offer, Price
from privity.infer.decision import Rules
from privity.infer.journal import Journal
from privity.infer.ladder import Ladder
from privity.infer.receipts import ReceiptStore
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.rung import Rung
from privity.infer.session import PrivateTransport
from privity.policy import Kind, Policy, Terms
from privity.statement import Model

URL = "http://any/v1/chat/completions"
CANARY = "canary-51b8"
PROMISED = Terms("Example", 0, False, ("eu",), "its terms", date(2026, 1, 1))
ALL = Policy.parse(
    'name = "all"\nextends = "zero-retention"\n[enclave]\nprompt = { view = "everything", '
    'grounds = "any" }\nanswer = { view = "everything", grounds = "any" }'
)

Answering = Callable[[httpx.Request], httpx.Response]


def table(party: Party, ground: Ground | None) -> Disclosure:
    basis = frozenset({Basis(ground, "test")}) if ground else frozenset()
    pairs = [(party, Asset.PROMPT), (party, Asset.ANSWER)]
    return Disclosure({pair: Cell(View.EVERYTHING, basis) for pair in pairs})


TABLES = {
    "local": table(Party.DEVICE, None),
    "confidential": table(Party.ENCLAVE, Ground.HARDWARE),
    "zdr": table(Party.PROVIDER, Ground.PROMISE),
}


@dataclass
class Fake:
    """A rung that answers by a script, and remembers what reached it."""

    route: str
    models: tuple[str, ...] = ("small",)
    answering: Answering | None = None
    find_error: PrivityError | None = None
    disclosure: Disclosure | None = None
    price: Price | None = None
    terms: Terms | None = None
    seen: list[bytes] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.content)
        if self.answering is not None:
            return self.answering(request)
        return httpx.Response(200, json={"choices": [], "by": self.route, "usage": usage(7, 5)})


@dataclass(frozen=True)
class FakeRoute:
    fake: Fake
    enclave: None = None

    @property
    def name(self) -> str:
        return self.fake.route

    @property
    def disclosure(self) -> Disclosure:
        return self.fake.disclosure or TABLES[self.fake.route]

    @property
    def terms(self) -> Terms | None:
        return self.fake.terms or (PROMISED if self.fake.route == "zdr" else None)

    @property
    def models(self) -> tuple[Model, ...]:
        return tuple(Model(one, None, "fake") for one in self.fake.models)

    def transport(self, keys: Any, inner: Any) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self.fake.answer)


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def session(
    folder: Path,
    *fakes: Fake,
    policy: Policy = ALL,
    rules: Rules | None = None,
    examine: Any = None,
    spending: Spending | None = None,
) -> PrivateTransport:
    def rung(fake: Fake) -> Rung:
        async def find() -> Any:
            if fake.find_error is not None:
                raise fake.find_error
            return FakeRoute(fake)

        async def listed(_: Any) -> tuple[Offer, ...]:
            name = fake.route + "-1"
            return tuple(Offer(m, fake.route, name, price=fake.price) for m in fake.models)

        keeper = RouteKeeper(find, policy, max_age=math.inf)
        return Rung(fake.route, fake.route + "-1", keeper, listed)

    ladder = Ladder(
        [rung(fake) for fake in fakes], policy, rules=rules, examine=examine, spending=spending
    )
    journal = Journal(ReceiptStore(folder / "receipts"), SigningKey.generate())
    return PrivateTransport(ladder, journal, httpx.MockTransport(never))


def never(request: httpx.Request) -> httpx.Response:
    raise AssertionError("nothing goes but by a route")


async def post(transport: PrivateTransport, model: str = "small", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": CANARY}], **more}
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.post(URL, json=body)


def records(transport: PrivateTransport) -> list[dict[str, Any]]:
    store = transport.journal.store
    return [store.get(one)[1].record["credentialSubject"] for one in sorted(store.ids())]


def failing(error: Exception) -> Answering:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    return fail


def three() -> tuple[Fake, Fake, Fake]:
    return Fake("local"), Fake("confidential"), Fake("zdr")


def finds(*kinds: Kind) -> Any:
    def examine(path: str, body: Mapping[str, Any]) -> Mapping[Kind, int]:
        return dict.fromkeys(kinds, 1) if CANARY in json.dumps(body) else {}

    return examine


HEALTH = Policy.parse(
    'name = "careful"\nextends = "zero-retention"\n[sensitive]\nhealth = "local"\n'
    '[enclave]\nprompt = { view = "everything", grounds = "any" }\n'
    'answer = { view = "everything", grounds = "any" }'
)
