"""The tariff: classes, prices, its document, and the check of what a receipt says was charged."""

from __future__ import annotations

import json

import pytest

from privity.anon.asked import Asked
from privity.anon.tariff import EVERY_MODEL, ModelPrices, Step, Tariff, check_price, flat_tariff
from privity.errors import InputError, MalformedError, ReceiptError
from privity.identity.jcs import canonical, loads_canonical
from privity.receipt.price import Price

TARIFF = Tariff(
    {
        "small": ModelPrices((Step(100, 1), Step(1000, 4)), (Step(10, 2), Step(100, 8))),
        EVERY_MODEL: ModelPrices((Step(100, 10),), (Step(10, 20),)),
    }
)


def test_the_document_is_read_as_written() -> None:
    again = Tariff.from_json(loads_canonical(canonical(TARIFF.to_json())))
    assert again == TARIFF
    assert again.digest == TARIFF.digest
    assert flat_tariff().digest != TARIFF.digest


@pytest.mark.parametrize(
    ("size", "most", "held"),
    [(1, 1, 3), (100, 10, 3), (101, 10, 6), (100, 11, 9), (9999, 9999, 12), (5, None, 9)],
)
def test_a_class_holds_its_price(size: int, most: int | None, held: int) -> None:
    assert TARIFF.worst_asked(Asked({}, "small", most, 1), size) == held
    assert TARIFF.worst_asked(Asked({}, "other", most, 1), size) == 30


def test_worst_of_a_request() -> None:
    def held(**body: object) -> int:
        return TARIFF.worst_of(json.dumps(body).encode())

    assert held(model="small", max_tokens=10) == 3
    assert held(model="small", max_completion_tokens=10, max_tokens=50) == 9
    assert held(model="small") == 9
    assert held(model="small", max_tokens=10, n=5) == 9
    assert held(model="other", max_tokens=10) == 30
    assert held(model="small", max_tokens=10, pad="x" * 200) == 6


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b'{"n": -1}', b"\xff"])
def test_what_is_no_request_holds_the_most(body: bytes) -> None:
    assert TARIFF.worst_of(body) == 30


def test_a_served_request_never_costs_more_than_it_holds() -> None:
    for size in (1, 100, 101, 5000):
        for most in (1, 10, 11, 500):
            held = TARIFF.worst_asked(Asked({}, "small", most, 1), size)
            assert TARIFF.price("small", size, most) <= held
            assert TARIFF.price("small", 1, 1) <= held


def test_a_model_without_a_price() -> None:
    only = Tariff({"small": TARIFF.models["small"]})
    with pytest.raises(InputError):
        only.price("other", 1, 1)


@pytest.mark.parametrize(
    "steps",
    [(), (Step(5, 1), Step(5, 2)), (Step(5, 2), Step(6, 1)), tuple(Step(n, n) for n in range(9))],
)
def test_steps_that_are_none(steps: tuple[Step, ...]) -> None:
    with pytest.raises(MalformedError):
        ModelPrices(steps, (Step(1, 1),))


def test_documents_that_are_none() -> None:
    good = TARIFF.to_json()
    for bad in (
        None,
        {},
        {**good, "version": 2},
        {**good, "models": {}},
        {**good, "more": 1},
        {**good, "models": {"": good["models"]["small"]}},
        {**good, "models": {"m": {"prompt": [], "completion": []}}},
        {**good, "models": {"m": {"prompt": [{"most": 1, "price": -1}], "completion": []}}},
    ):
        with pytest.raises(MalformedError):
            Tariff.from_json(bad)


def _check(charged: int, held: int = 9, status: int = 200, **counts: int | None) -> None:
    known: dict[str, int | None] = {"prompt_tokens": 50, "completion_tokens": 5, **counts}
    check_price(Price(charged, held, TARIFF.digest), TARIFF, model="small", status=status, **known)


def test_a_right_price_passes() -> None:
    _check(3)
    _check(9, completion_tokens=50)
    _check(0, status=500)
    _check(9, completion_tokens=None)
    _check(2)  # less than due is no overcharge


def test_an_overcharge_shows_in_the_receipt_alone() -> None:
    for wrong in (
        lambda: _check(4),
        lambda: _check(1, status=400),
        lambda: _check(9, completion_tokens=10),
        lambda: _check(3, spent=12),
    ):
        with pytest.raises(ReceiptError) as refused:
            wrong()
        assert refused.value.check == "price"


def test_another_tariff_is_refused() -> None:
    with pytest.raises(ReceiptError) as refused:
        check_price(
            Price(1, 3, flat_tariff().digest),
            TARIFF,
            model="small",
            prompt_tokens=1,
            completion_tokens=1,
            status=200,
        )
    assert refused.value.check == "price"
