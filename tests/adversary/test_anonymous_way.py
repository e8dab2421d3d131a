"""Attacks on unlinkability by those on the way: what they can make a device do, or show.

Each sentence is in spec/anonymous.md or spec/relays.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from privity.anon.payment_terms import EXIT_PATH, ISSUE_PATH, RECOVER_PATH
from privity.anon.relays import target_name
from privity.disclosure import Disclosure
from privity.errors import AdmissionError, PaymentError, StaleKeyError
from privity.infer.anonymous import job as jobs
from privity.infer.anonymous.job import AnonymousJob, whole_minute
from privity.infer.anonymous.registry import RegistryView
from privity.infer.routes.keeper import RouteKeeper
from privity.ledger.providers import Listing, ProviderEntry, ProviderKind
from privity.ledger.wire import Address
from privity.policy import Policy
from privity.seal.key_config import GatewayKeys, parse_configs, preferred

pytestmark = pytest.mark.anyio


def entry(index: int, owner: str, kind: ProviderKind) -> ProviderEntry:
    url = f"https://{owner}.example"
    digest = bytes([index]) * 32
    return ProviderEntry(index, Address(owner), kind, f"did:key:z{owner}", url, digest, 0)


class Ledger:
    """Lists one gateway and twenty relays; counts how often it is read."""

    def __init__(self) -> None:
        relays = [entry(n, f"r{n}", ProviderKind.RELAY) for n in range(20)]
        gateway = entry(50, "gw", ProviderKind.GATEWAY)
        self.listing = Listing(None, (gateway, *relays))  # type: ignore[arg-type]
        self.reads = 0

    async def providers(self) -> Listing:
        self.reads += 1
        return self.listing

    async def issuer_key(self) -> Any:
        return None


def view(ledger: Ledger, now: list[float]) -> RegistryView:
    given: Any = ledger
    return RegistryView(given, clock=lambda: now[0])


async def test_a_guard_that_refuses_all_but_its_accomplice_is_left() -> None:
    registry = view(Ledger(), [1.0])
    bad = (await registry.choose()).first.did
    accomplice = target_name("did:key:znobody")
    for _ in range(100):
        chosen = await registry.choose()
        if chosen.first.did != bad:
            break
        assert chosen.second.name != accomplice
        registry.failed(chosen)  # the guard says that the second cannot be reached
    assert (await registry.choose()).first.did != bad
    assert all([(await registry.choose()).first.did != bad for _ in range(20)])


async def test_one_second_relay_that_is_down_does_not_cost_a_guard() -> None:
    registry = view(Ledger(), [1.0])
    first = await registry.choose()
    for _ in range(10):
        registry.failed(first)
    assert (await registry.choose()).first.did == first.first.did


async def test_who_cuts_a_device_off_walks_it_through_no_guards(tmp_path: Path) -> None:
    """Nor does an evening offline: who was told nothing cannot have chosen by the second relay."""
    now, given, file = [1000.0], cast("Any", Ledger()), tmp_path / "guards.json"

    def opened() -> RegistryView:  # as each command does
        return RegistryView(given, guards=file, clock=lambda: now[0])

    first = (await opened().choose()).first.did
    for _ in range(200):
        now[0] += 400
        registry = opened()
        chosen = await registry.choose()
        assert chosen.first.did == first
        registry.unreached(chosen)
    registry = opened()
    registry.reached(await registry.choose())
    now[0] += 8000
    registry.unreached(await registry.choose())
    assert (await opened().choose()).first.did == first, "it is counted from the last success"

    now[0] += 24 * 3600
    registry.unreached(await registry.choose())
    assert all([(await registry.choose()).first.did != first for _ in range(20)])


async def test_choosing_a_way_reads_nothing_where_a_rhythm_does() -> None:
    ledger, now = Ledger(), [1000.0]
    registry = view(ledger, now)
    await registry.read()
    for _ in range(10):
        now[0] += 20
        await registry.choose()
        await registry.issuer()
    assert ledger.reads == 1


class Refusing(httpx.AsyncBaseTransport):
    """A gateway that may carry a request on, and says that it did not."""

    def __init__(self, check: str) -> None:
        self.check = check
        self.seen = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen += 1
        raise AdmissionError("not admitted", check=self.check)


class Keyset:
    def __init__(self) -> None:
        self.ohttp = GatewayKeys.generate().configs_bytes
        self.digest = "sha256:" + "0" * 64


class Network:
    """What a job needs of the network; everything it does is counted."""

    def __init__(self) -> None:
        self.proofs = 0
        self.made = 0
        self.asked = 0
        self.waited: list[int] = []  # proofs made before each wait
        self.member_prover = self.queries = self
        self.balance = 1
        self.due: Any = None  # what the provider asks for
        self.wallet = SimpleNamespace(under_way=set(), read=lambda: self)

    def clock(self) -> float:
        return 1_800_000_037.0

    async def wait_until_settled(self) -> None:
        self.waited.append(self.proofs + self.asked)

    async def prove(self, scope: str, digest: bytes) -> str:
        self.proofs += 1
        return "proof"

    def known_terms(self, route: Any) -> None:
        return None

    async def terms(self, route: Any, desk: Any, scope: str) -> Any:
        self.asked += 1
        return self.due

    def short(self, amount: int) -> PaymentError:
        return PaymentError(f"no token has {amount}", check="short")

    async def for_desk(self, terms: Any) -> Any:
        self.made += 1
        raise AdmissionError("a proof was made", check="query")


def job(network: Network, chain: httpx.AsyncBaseTransport) -> AnonymousJob:
    keyset = Keyset()
    enclave = type("Enclave", (), {"keyset": keyset})()
    route: Any = type("Route", (), {"enclave": enclave, "shape": None})()
    given: Any = network
    return AnonymousJob(given, "0xProvider", "http://exit/t", chain, route)


@pytest.mark.parametrize("check", ["root", "epoch", "duplicate", "query", "busy"])
async def test_a_job_is_not_sent_again_on_a_gateways_word(check: str) -> None:
    network, gateway = Network(), Refusing(check)
    request = httpx.Request("POST", "https://e/v1/chat/completions", content=b"{}")
    with pytest.raises(AdmissionError):
        await job(network, gateway).handle_async_request(request)
    assert (gateway.seen, network.proofs, network.made) == (1, 1, 0)


async def test_a_newcomers_job_waits_and_a_question_to_the_desk_does_not() -> None:
    network = Network()
    request = httpx.Request("POST", "https://e/v1/chat/completions", content=b"{}")
    with pytest.raises(AdmissionError):
        await job(network, Refusing("busy")).handle_async_request(request)
    assert network.waited == [0]
    network = Network()
    request = httpx.Request("POST", f"https://e{ISSUE_PATH}", content=b"{}")
    with pytest.raises(AdmissionError):
        await job(network, Refusing("busy")).ask_desk(request)
    assert network.waited == [] and network.proofs == 1


async def test_what_cannot_be_paid_is_refused_before_anybody_waits() -> None:
    network = Network()
    network.balance = 0
    network.due = SimpleNamespace(tariff=SimpleNamespace(worst_asked=lambda order, size: size))
    request = httpx.Request("POST", "https://e/v1/chat/completions", content=b'{"model":"m"}')
    with pytest.raises(PaymentError, match="no token has 13"):
        await job(network, Refusing("busy")).handle_async_request(request)
    assert network.waited == [] and network.proofs == 0
    network.due = None  # a provider that asks for nothing
    with pytest.raises(AdmissionError):
        await job(network, Refusing("busy")).handle_async_request(request)
    assert len(network.waited) == 1


async def test_an_empty_wallet_whose_credits_are_under_way_waits_for_them() -> None:
    network = Network()
    network.balance, network.wallet.under_way = 0, {"a spend"}
    request = httpx.Request("POST", "https://e/v1/chat/completions", content=b'{"model":"m"}')
    with pytest.raises(AdmissionError):
        await job(network, Refusing("busy")).handle_async_request(request)
    assert network.waited == [0]


@pytest.mark.parametrize("check", ["root", "query", "busy"])
@pytest.mark.parametrize("path", [RECOVER_PATH, EXIT_PATH])
async def test_a_spend_that_is_shown_to_a_desk_is_not_sent_again_on_a_gateways_word(
    check: str, path: str
) -> None:
    network, gateway = Network(), Refusing(check)
    request = httpx.Request("POST", f"https://e{path}", content=b'{"spend":"AA"}')
    with pytest.raises(AdmissionError):
        await job(network, gateway).ask_desk(request)
    assert (gateway.seen, network.proofs, network.made) == (1, 1, 0)
    assert network.asked == 1, "the terms say beforehand whether it has to be proved"


async def test_who_has_just_joined_asks_again_for_what_carries_no_spend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def sleep(seconds: float) -> None: ...

    monkeypatch.setattr(jobs.anyio, "sleep", sleep)
    network, gateway = Network(), Refusing("root")
    request = httpx.Request("POST", f"https://e{ISSUE_PATH}", content=b"{}")
    with pytest.raises(AdmissionError):
        await job(network, gateway).ask_desk(request)
    assert gateway.seen > 1


async def test_one_refusal_does_not_mark_a_device_for_good() -> None:
    network, gateway = Network(), Refusing("query")
    one = job(network, gateway)
    for _ in range(2):
        request = httpx.Request("GET", "https://e/privity/payment")
        with pytest.raises(AdmissionError):
            await one.ask_desk(request)
    assert gateway.seen == 2, "the second question begins like everybody's first"


async def test_a_key_that_is_said_to_be_stale_is_not_replaced_by_another_ways() -> None:
    one = job(Network(), Refusing("x"))
    config = await one._keys.current()
    assert config == preferred(parse_configs(one._route.enclave.keyset.ohttp))
    with pytest.raises(StaleKeyError):
        await one._keys.refresh(config)


async def test_a_clock_that_is_off_does_not_name_its_device() -> None:
    assert whole_minute(1_800_000_000.0) == whole_minute(1_800_000_037.0)
    one = job(Network(), Refusing("x"))
    head = one._sealed(None)._head(httpx.Request("GET", "https://e/"))
    date = dict(head.headers)[b"date"]
    assert date.endswith(b":00 GMT")
    assert jobs.whole_minute(1_800_000_059.9) % 60 == 0


class Found:
    """A route that discloses nothing."""

    disclosure = Disclosure()
    name = "fake"
    models: tuple[Any, ...] = ()
    enclave = None
    terms = None


async def test_the_next_way_is_not_chosen_at_the_moment_of_this_job() -> None:
    found: list[Found] = []

    async def find() -> Any:
        found.append(Found())
        return found[-1]

    keeper = RouteKeeper(find, Policy.load("dev"), max_age=300, once=True)
    await keeper.take()
    await asyncio.sleep(0.05)
    assert len(found) == 1
    await keeper.take()
    await keeper.aclose()
    assert len(found) == 2
