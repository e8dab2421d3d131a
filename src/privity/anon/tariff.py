"""The tariff: what a request holds and what it costs, flat and in few steps.

A spend shows its amount, and the ledger shows what was charged, so amounts must not identify.
Each request is of one class: a model, a step of prompt size and a step of answer size. Everybody
whose request is of a class holds the same, and pays one of a few prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from privity.anon.asked import Asked, read_request
from privity.errors import InputError, MalformedError, ReceiptError
from privity.identity.digests import digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.receipt.price import MAX_CREDITS, Price

__all__ = ["EVERY_MODEL", "ModelPrices", "Step", "Tariff", "check_price", "flat_tariff"]

EVERY_MODEL = "*"
"""The entry of models that have none of their own."""

_MAX_STEPS = 8
_MAX_MODELS = 64
_MAX_SIZE = 2**31
_VERSION = 1


@dataclass(frozen=True)
class Step:
    """One step of size.

    Attributes:
        most: the largest size in it, in tokens; the last step has no end, whatever it says.
        price: credits for it.
    """

    most: int
    price: int


@dataclass(frozen=True)
class ModelPrices:
    """The steps of one model, each list from small to large, 1 to 8 of them.

    Attributes:
        prompt: by tokens of the prompt. A request is held for by the bytes of its whole body,
            since each token of a prompt comes from a byte of it at least.
        completion: by tokens of all answers.

    Raises:
        MalformedError: steps that do not rise in size, that fall in price, or too many.
    """

    prompt: tuple[Step, ...]
    completion: tuple[Step, ...]

    def __post_init__(self) -> None:
        for steps in (self.prompt, self.completion):
            if not 0 < len(steps) <= _MAX_STEPS:
                raise MalformedError(f"a tariff has 1 to {_MAX_STEPS} steps of a kind")
            pairs = pairwise(steps)
            if any(one.most >= two.most or one.price > two.price for one, two in pairs):
                raise MalformedError("a tariff's steps rise in size, and do not fall in price")
        if self.worst > MAX_CREDITS:
            raise MalformedError("a price beyond what one token can hold")

    @property
    def worst(self) -> int:
        """Return the highest price there is."""
        return self.prompt[-1].price + self.completion[-1].price

    def price(self, prompt: int, completion: int) -> int:
        """Return the price of so much prompt and so many answer tokens."""
        return _step(self.prompt, prompt).price + _step(self.completion, completion).price

    def to_json(self) -> dict[str, Any]:
        """Return ``{completion, prompt}``, each an array of ``{most, price}``."""
        return {
            name: [{"most": one.most, "price": one.price} for one in steps]
            for name, steps in (("completion", self.completion), ("prompt", self.prompt))
        }


@dataclass(frozen=True)
class Tariff:
    """What requests cost, by model. The same document for everyone.

    Attributes:
        models: prices by a model's id; `EVERY_MODEL` for the others.
    """

    models: Mapping[str, ModelPrices]

    def __post_init__(self) -> None:
        if not 0 < len(self.models) <= _MAX_MODELS:
            raise MalformedError(f"a tariff has 1 to {_MAX_MODELS} models")

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        models = {name: prices.to_json() for name, prices in self.models.items()}
        return {"models": models, "version": _VERSION}

    @classmethod
    def from_json(cls, value: Any) -> Tariff:
        """Read what `to_json` writes; raises `MalformedError`."""
        fields = Fields(value, "tariff")
        fields.constant("version", _VERSION)
        models = fields.object("models")
        fields.done()
        if len(models) > _MAX_MODELS:
            raise MalformedError(f"a tariff has 1 to {_MAX_MODELS} models")
        return cls({_name(name): _prices(found) for name, found in models.items()})

    @cached_property
    def digest(self) -> str:
        """Return ``sha256:…`` of the canonical document, by which receipts name it."""
        return digest(canonical(self.to_json()))

    def worst_of(self, body: bytes) -> int:
        """Return what an OpenAI-shaped request has to hold: the price of its class.

        Run by device and enclave alike. What is not read as one holds the highest price there is;
        it is refused, and costs nothing.
        """
        return self.worst_asked(read_request(body), len(body))

    def worst_asked(self, asked: Asked, size: int) -> int:
        """Return `worst_of` a request that was read already.

        Args:
            asked: as `read_request` gave it.
            size: of its body, in bytes.
        """
        prices = self.models.get(asked.model) if asked.model is not None else None
        prices = prices or self.models.get(EVERY_MODEL)
        if prices is None or asked.fields is None:
            return max(one.worst for one in self.models.values())
        most = prices.completion[-1].most if asked.most is None else asked.most
        return prices.price(size, most)

    def prices(self, model: str | None) -> bool:
        """Tell whether there is a price for a model; None for whichever is served."""
        return EVERY_MODEL in self.models or (model is not None and model in self.models)

    def price(self, model: str, prompt_tokens: int, completion_tokens: int) -> int:
        """Return what a job costs that was served; what is charged is at most what was held.

        Raises:
            InputError: the tariff has no such model.
        """
        return self._of(model).price(prompt_tokens, completion_tokens)

    def _of(self, model: str) -> ModelPrices:
        prices = self.models.get(model) or self.models.get(EVERY_MODEL)
        if prices is None:
            raise InputError("the tariff has no price for this model")
        return prices


def flat_tariff(
    *,
    prompt: tuple[tuple[int, int], ...] = ((16_384, 2), (262_144, 20)),
    completion: tuple[tuple[int, int], ...] = ((256, 2), (1024, 8), (8192, 60)),
) -> Tariff:
    """Return one price list for every model, of ``(most, price)`` steps: the largest crowds."""
    prices = ModelPrices(
        tuple(Step(*one) for one in prompt), tuple(Step(*one) for one in completion)
    )
    return Tariff({EVERY_MODEL: prices})


def check_price(
    price: Price,
    tariff: Tariff,
    *,
    model: str | None,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    status: int,
    spent: int | None = None,
    size: int = 0,
) -> None:
    """Check what a job was charged by its receipt's own counts. Run by the device, or anyone.

    Args:
        price: from the signed receipt.
        tariff: the document it names.
        model: id of the model in the receipt; None where none answered.
        prompt_tokens: from the receipt; None where it was not counted, which costs as many as the
            body has bytes.
        completion_tokens: from the receipt; where None, anything up to what was held may be due.
        status: of the answer.
        spent: what the device itself paid with, where it knows.
        size: of the request's body in bytes, where it is known.

    Raises:
        ReceiptError: check ``price``: the receipt itself shows that too much was charged.
    """
    if price.tariff != tariff.digest:
        raise ReceiptError("the job was reckoned by another tariff", check="price")
    if spent is not None and price.held != spent:
        raise ReceiptError("the receipt names another spend than was made", check="price")
    if model is None or not 200 <= status < 300:
        due = 0
    elif completion_tokens is None:
        due = price.held
    else:
        prompt = size if prompt_tokens is None else prompt_tokens
        due = min(tariff.price(model, prompt, completion_tokens), price.held)
    if price.charged > due:
        raise ReceiptError(
            f"{price.charged} credits were charged where the tariff says {due}",
            check="price",
            hint="the receipt is signed: keep it, it proves the overcharge",
        )


def _step(steps: tuple[Step, ...], size: int) -> Step:
    return next((one for one in steps if size <= one.most), steps[-1])


def _prices(value: Any) -> ModelPrices:
    fields = Fields(value, "tariff.models[]")
    prompt, completion = _steps(fields, "prompt"), _steps(fields, "completion")
    fields.done()
    return ModelPrices(prompt, completion)


def _steps(fields: Fields, name: str) -> tuple[Step, ...]:
    steps = []
    for item in fields.items(name, least=1, most=_MAX_STEPS):
        one = Fields(item, f"tariff.{name}[]")
        steps.append(
            Step(one.count("most", least=1, most=_MAX_SIZE), one.count("price", most=MAX_CREDITS))
        )
        one.done()
    return tuple(steps)


def _name(name: str) -> str:
    if not 0 < len(name) <= 256:
        raise MalformedError("a tariff's model has a name of 1 to 256 characters")
    return name
