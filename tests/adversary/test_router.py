"""Peers that lie to attract requests, rungs that fail on purpose, and what must not follow."""

from __future__ import annotations

import json
import math
from itertools import permutations

import pytest

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import InputError, PeerError, PolicyRefusal, TruncatedError
from privity.infer.aliases import Alias
from privity.infer.breaker import Breaker, BreakerSettings
from privity.infer.budget import Allowance
from privity.infer.catalogue import Offer, Price
from privity.infer.router import Decision, Fallback, OfferIndex, Rules, Standing, Wanted, decide
from privity.infer.router import routing_of as told
from privity.policy.sensitive import Kind

SEALED = Cell(View.SIZE, frozenset({Basis(Ground.MATHEMATICS, "sealed")}))
PROMISED = Cell(View.EVERYTHING, frozenset({Basis(Ground.PROMISE, "keeps nothing")}))
LOCAL = Disclosure({(Party.DEVICE, Asset.PROMPT): Cell(View.EVERYTHING)})
ENCLAVE = Disclosure({(Party.HOST, Asset.PROMPT): SEALED})
PROVIDER = Disclosure({(Party.PROVIDER, Asset.PROMPT): PROMISED})
TABLES = {"local": LOCAL, "confidential": ENCLAVE, "zdr": PROVIDER}
CEILING = Rules(fallback=Fallback.CEILING)


def standings(*offers: Offer) -> dict[tuple[str, str], Standing]:
    return {(one.route, one.rung): Standing(TABLES[one.route]) for one in offers}


def first(model: str | None, *offers: Offer, rules: Rules = CEILING) -> str:
    """Return what answers, in whatever order the offers come."""
    found = {
        decide(Wanted(model, prompt_tokens=9), order, standings(*offers), rules)
        .choices[0]
        .offer.name
        for order in permutations(offers)
    }
    assert len(found) == 1
    return found.pop()


def test_a_size_no_model_has_gains_nothing() -> None:
    honest = Offer("llama-8b", "confidential", "honest")
    liar = Offer("llama-999999b", "confidential", "a-liar")
    assert first("private/best", honest, liar) == honest.name
    assert first("private/strict", honest, liar) == honest.name


def test_the_largest_claim_does_not_pass_what_somebody_vouches_for() -> None:
    known = Offer("gpt-5-nano", "zdr", "openai", rank=1.0)
    liar = Offer("llama-3000b", "confidential", "liar", 10**9)
    assert first("private/best", known, liar) == known.name


@pytest.mark.parametrize("rank", [math.nan, math.inf, -math.inf])
def test_a_rank_that_is_no_number_vouches_for_nothing(rank: float) -> None:
    liar = Offer("m", "confidential", "a-liar", rank=rank)
    assert first("private/best", Offer("m-8b", "confidential", "home"), liar).endswith("m-8b")


def test_of_claims_alike_the_stricter_route_and_then_the_persons_order_decide() -> None:
    own = Offer("llama-405b", "local", "mine")
    large = Offer("big-400b", "confidential", "home")
    larger = Offer("bigger-2999b", "confidential", "away", 10**9)
    assert first("private/best", own, large, larger) == own.name
    rules = Rules(fallback=Fallback.CEILING, rungs=(("confidential", "home"),))
    assert first("private/best", large, larger, rules=rules) == large.name


def test_a_name_cannot_capture_an_alias_or_another_rung() -> None:
    honest = Offer("llama-8b", "local", "mine")
    liar = Offer("private/best", "confidential", "liar")
    assert first("private/best", honest, liar) == honest.name
    provider = Offer("gpt-5", "zdr", "openai")
    posing = Offer("openai/gpt-5", "zdr", "hoster")
    assert first("zdr/openai/gpt-5", provider, posing) == provider.name
    # Nor where the rung that is meant does not list it now.
    known = standings(provider, posing)
    with pytest.raises(InputError):
        decide(Wanted("zdr/openai/gpt-5"), [posing], known, CEILING)
    with pytest.raises(PeerError, match="zdr/openai: away"):
        lost = known | {("zdr", "openai"): Standing(broken="away")}
        decide(Wanted("zdr/openai/gpt-5"), [posing], lost, CEILING)


def test_a_name_cannot_win_private_fast_without_being_measured() -> None:
    honest = Offer("llama-8b", "confidential", "home")
    liar = Offer("m-0.001b", "confidential", "liar")
    known = standings(honest, liar) | {
        ("confidential", "home"): Standing(ENCLAVE, first_token_ms=300.0)
    }
    found = decide(Wanted("private/fast"), [honest, liar], known, CEILING)
    assert found.choices[0].offer == honest


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, -1e-9, -5.0])
def test_an_impossible_price_is_never_chosen(price: float) -> None:
    liar = Offer("m", "zdr", "liar", price=Price("USD", price, 1.0))
    other = Offer("m", "zdr", "liar2", price=Price("USD", 1.0, price))
    honest = Offer("m", "zdr", "z-honest", price=Price("USD", 5.0, 5.0))
    for model in ("m", "private/cheap", "private/best"):
        for allowance in (None, Allowance("USD", 10**6, "day")):
            found = decide(
                Wanted(model, prompt_tokens=10, completion_tokens=10),
                [liar, other, honest],
                standings(liar, other, honest),
                CEILING,
                allowance,
            )
            assert [choice.offer for choice in found.choices] == [honest]
    with pytest.raises(InputError, match="the price it names is none"):
        decide(Wanted("zdr/liar/m"), [liar], standings(liar), CEILING)


def test_a_model_listed_twice_counts_at_its_dearer_price() -> None:
    cheap = Offer("m", "zdr", "liar", 10**6, Price("USD", 0.0, 0.0), 99)
    dear = Offer("m", "zdr", "liar", 10**6, Price("USD", 50.0, 50.0), 1)
    honest = Offer("n", "zdr", "honest", price=Price("USD", 5.0, 5.0), rank=2)
    assert first("private/cheap", cheap, dear, honest) == honest.name
    assert first("private/best", cheap, dear, honest) == honest.name


def test_a_currency_of_ones_own_is_not_cheap() -> None:
    liar = Offer("m", "zdr", "a-liar", price=Price("AAA", 1e-9, 1e-9))
    honest = Offer("m", "zdr", "honest", price=Price("USD", 5.0, 5.0))
    assert first("private/cheap", liar, honest) == honest.name
    with pytest.raises(PolicyRefusal, match="priced in AAA"):
        decide(
            Wanted("zdr/a-liar/m", completion_tokens=10**6),
            [liar],
            standings(liar),
            CEILING,
            Allowance("USD", 10**9, "day"),
        )


def test_an_enclave_that_is_free_gets_no_more_than_the_prompts_ceiling_allows() -> None:
    liar = Offer("m", "confidential", "liar", price=Price("USD", 0.0, 0.0))
    with pytest.raises(PolicyRefusal):
        decide(Wanted("private/cheap", loosest="local"), [liar], standings(liar), CEILING)


@pytest.mark.parametrize("context", [10**30, -1, 0, math.nan, math.inf, True, "8192"])
def test_a_context_that_is_none_does_no_harm(context: object) -> None:
    liar = Offer("m-8b", "confidential", "z-liar", context)  # type: ignore[arg-type]
    honest = Offer("m-8b", "confidential", "honest", 32_768)
    assert first("private/best", liar, honest) == honest.name


def test_no_step_down_the_ladder_in_silence() -> None:
    """An enclave that is made to fail must not send its prompts to a provider."""
    home, provider = Offer("m", "confidential", "home"), Offer("m", "zdr", "hoster")
    known = standings(home, provider)
    down = known | {("confidential", "home"): Standing(ENCLAVE, broken="no answer")}
    never_seen = known | {("confidential", "home"): Standing(broken="no answer")}
    for model in ("m", None, "private/best", "private/strict"):
        for standing in (down, never_seen):
            with pytest.raises(PeerError, match="confidential/home: no answer") as caught:
                decide(Wanted(model), [home, provider], standing, Rules())
            assert "not tried: zdr/hoster: it would show somebody more" in caught.value.hint
    # Nor where its models were never learnt, and the request means the enclave first.
    for model in (None, "private/strict"):
        with pytest.raises(PeerError):
            decide(Wanted(model), [provider], never_seen, Rules())
    # Who wants that says so, and is told.
    found = decide(Wanted("m"), [home, provider], down, CEILING)
    assert "in place of confidential/home/m, by the fallback `ceiling`" in found.choices[0].reasons


def test_a_full_name_never_falls_back() -> None:
    home, other = Offer("m", "confidential", "home"), Offer("m", "confidential", "other")
    for known in (
        standings(home, other),
        standings(home, other) | {("confidential", "home"): Standing(ENCLAVE, broken="x")},
    ):
        try:
            found: Decision | None = decide(
                Wanted("confidential/home/m"), [home, other], known, CEILING
            )
        except PeerError:
            found = None
        assert found is None or [one.offer for one in found.choices] == [home]


def test_a_dear_enclave_does_not_make_room_for_a_looser_route() -> None:
    home = Offer("m", "confidential", "home", price=Price("USD", 50.0, 50.0))
    provider = Offer("m", "zdr", "hoster", price=Price("USD", 0.1, 0.1))
    with pytest.raises(PolicyRefusal, match="budget per day"):
        decide(
            Wanted("m", prompt_tokens=1000),
            [home, provider],
            standings(home, provider),
            Rules(),
            Allowance("USD", 1000, "day"),
        )


def test_what_a_receipt_keeps() -> None:
    loud = Offer("x\x1b[0m\u202e" + "y" * 5000, "local", "mine", 4096)
    many = [Offer(f"{number}" * 500, "local", f"r{number}", 1) for number in range(400)]
    secret = "the patient is called"
    found = decide(
        Wanted("private/best", prompt_tokens=9, loosest="local", because=frozenset({Kind.HEALTH})),
        [loud, *many],
        standings(loud, *many),
        Rules(aliases=(Alias("private/best"),)),
    )
    kept = json.dumps(told(found).to_json(), ensure_ascii=False)
    assert len(kept) < 16_000
    assert "\x1b" not in kept and "\u202e" not in kept and secret not in kept
    assert Kind.HEALTH not in kept  # what a prompt holds is not for whoever is shown a receipt
    assert told(found).more > 0


def test_thousands_of_names_do_not_hide_what_was_in_the_way() -> None:
    many = [Offer(f"small-{number}", "confidential", "home", 1) for number in range(2000)]
    down = Offer("z", "zdr", "hoster")
    known = standings(*many, down) | {("zdr", "hoster"): Standing(PROVIDER, broken="no answer")}
    with pytest.raises(PeerError, match="zdr/hoster: no answer"):
        decide(Wanted("private/best", prompt_tokens=9), [*many, down], known, CEILING)


def test_long_names_do_not_take_long() -> None:
    names = ["9" * 100_000 + "b", "8x" * 50_000, "-" * 100_000]
    offers = [Offer(name, "local", "mine") for name in names]
    assert decide(Wanted("private/best"), OfferIndex(offers), standings(*offers), CEILING)
    with pytest.raises(InputError) as caught:
        decide(Wanted("m" * 100_000), offers, standings(*offers), CEILING)
    assert len(caught.value.message) + len(caught.value.hint) < 1000


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_flapping_peer() -> None:
    """One that answers each probe and fails right after waits longer each time, up to the most."""
    clock = Clock()
    settings = BreakerSettings(failures=2, first_s=1.0, longest_s=60.0, jitter=0.0)
    breaker = Breaker(settings, clock=clock)
    waits = []
    for _ in range(10):
        for _ in range(2):
            trial = breaker.attempt()
            assert trial is not None
            trial.failed(PeerError("gone"))
        wait = 0.0
        while breaker.broken:
            clock.now += 0.5
            wait += 0.5
        waits.append(wait)
        probe = breaker.attempt()
        assert probe is not None
        probe.answered(200)
    assert waits == sorted(waits)
    assert waits[0] == 1.0
    assert waits[-1] == 60.0


def test_a_peer_that_breaks_off_every_answer() -> None:
    breaker = Breaker(BreakerSettings(failures=3), clock=Clock())
    for _ in range(3):
        trial = breaker.attempt()
        assert trial is not None
        trial.answered(200)
        trial.failed(TruncatedError("broke off"))
    assert breaker.broken


def test_a_peer_cannot_open_its_circuit_with_what_is_the_callers_fault() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(20):
        trial = breaker.attempt()
        assert trial is not None
        trial.answered(400)
        with pytest.raises(PolicyRefusal), breaker.attempt() or pytest.fail("open"):
            raise PolicyRefusal("no", report={})
    assert not breaker.broken
    assert breaker.first_token_ms is None  # a quick refusal is not a quick answer
