"""Who was charged too much has the enclave's own word for it, on disk, to show to others."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from privity.anon.tariff import check_price, flat_tariff
from privity.attest.trust import Trust
from privity.attest.verify import reverifier
from privity.errors import ReceiptError
from privity.infer.anonymous.paid import CHARGE, Charge
from privity.infer.journal import Entry
from privity.receipt import Outcome, Price, verify_receipt_file

pytestmark = pytest.mark.anyio

URL = "http://any.host/v1/chat/completions"
TARIFF = flat_tariff()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("charged", "charge", "name"),
    [
        (4 + 1, Charge(62, TARIFF, kept=4 + 1), "price"),
        (4, Charge(62, TARIFF, kept=62), "price"),
        (4, Charge(62, TARIFF, withheld=True), "refund"),
    ],
    ids=["off the tariff", "more than it signs", "withheld"],
)
async def test_the_receipt_that_proves_an_overcharge_is_kept(
    world: Any,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
    charged: int,
    charge: Charge,
    name: str,
) -> None:
    price = Price(charged, 62, TARIFF.digest)
    world.enclave.spoil = lambda job: dataclasses.replace(
        job, price=price, prompt_tokens=3, completion_tokens=3
    )
    complete = Entry.complete

    def paid(entry: Entry, response: httpx.Response) -> None:
        response.extensions[CHARGE] = charge
        complete(entry, response)

    monkeypatch.setattr(Entry, "complete", paid)
    body = {"model": "tokens-3", "messages": [], "stream": stream}
    async with httpx.AsyncClient(transport=world.transport()) as client:
        with pytest.raises(ReceiptError) as caught:
            await client.post(URL, json=body)
    assert caught.value.check == name
    (_id,) = world.store.ids()
    file = world.store.get("last")[1]
    verified = verify_receipt_file(
        file,
        now=datetime.now(UTC),
        reverify=reverifier(Trust(dev_roots=(world.root.did,))),
        device=world.device_key.did,
    )
    assert verified.record.record.outcome is Outcome.FAILED
    assert verified.receipt is not None, "without it nothing is proved"
    job = verified.receipt.job
    assert job.price == price
    if charged > 4:  # anybody sees it, with nothing of the device's
        assert job.model is not None
        with pytest.raises(ReceiptError):
            check_price(
                job.price,
                TARIFF,
                model=job.model.id,
                prompt_tokens=job.prompt_tokens,
                completion_tokens=job.completion_tokens,
                status=job.status,
            )
