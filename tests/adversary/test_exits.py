"""A signed exit is anybody's to send: who is first with it, or pays another, stops no other one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anvil import anvil
from native import needs_kernel
from privity.errors import InputError, MalformedError, PaymentError
from privity.identity.multibase import encode_base64url
from privity.ledger.accounts import Account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.credits import SignedExit, sign_exit
from privity.ledger.deploy import UNIT, DevTerms, deploy_all
from teller_world import ME, World

pytestmark = pytest.mark.anyio
THIEF = "0x" + "66" * 20


class Front:
    """A contract at which somebody is first with the first exit that they see."""

    def __init__(self, world: World, to: str | None = None) -> None:
        self.paid: dict[bytes, tuple[int, Any]] = {}
        self.confirmed, self.to = True, to
        world.exit_unspent = self.exit_unspent  # type: ignore[method-assign]
        world.paid_exit = self.paid_exit  # type: ignore[attr-defined]

    async def exit_unspent(self, signed: SignedExit) -> None:
        if not self.paid:
            self.paid[signed.nonce] = (signed.amount, self.to or signed.to)
        if signed.nonce in self.paid:
            raise InputError("the contract Credits refused exitUnspent: nullifier used")
        self.paid[signed.nonce] = (signed.amount, signed.to)

    async def paid_exit(self, nonce: bytes, block: Any) -> tuple[int, Any] | None:
        assert block.number == 1
        return self.paid.get(nonce) if self.confirmed else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wallet")


@needs_kernel("Act")
async def test_who_sends_an_exit_first_holds_up_no_other(world: World) -> None:
    for _ in range(3):
        await world.teller.top_up(100)
    front = Front(world)
    assert await world.teller.exit() == 300
    assert len(front.paid) == 3 and {to.lower() for _, to in front.paid.values()} == {ME}
    left = world.wallet.read()
    assert not left.unfinished() and left.balance == 0


@needs_kernel("Act")
@pytest.mark.parametrize("how", ["garbage", "signature"])
async def test_a_desk_that_spoils_one_exit_holds_up_no_other(world: World, how: str) -> None:
    for _ in range(3):
        await world.teller.top_up(100)
    serve, sent, bad = world.desk_exit, world.exit_unspent, encode_base64url(b"\1" * 65)

    async def desk_exit(body: Any) -> Any:
        said = await serve(body)
        if body["spend"] != encode_base64url(world.wallet.read().unfinished()[0].spend):
            return said
        return {"amount": 100} if how == "garbage" else {**said, "signature": bad}

    async def exit_unspent(signed: SignedExit) -> None:
        if signed.signature == b"\1" * 65:
            raise InputError("the contract Credits refused exitUnspent: not signed")
        await sent(signed)

    async def paid_exit(nonce: bytes, block: Any) -> None:
        return None

    world.desk_exit = desk_exit  # type: ignore[method-assign]
    world.exit_unspent = exit_unspent  # type: ignore[method-assign]
    world.paid_exit = paid_exit  # type: ignore[attr-defined]
    with pytest.raises((MalformedError, InputError)):
        await world.teller.exit()
    assert len(world.exits) == 2
    (kept,) = world.wallet.read().unfinished()
    world.desk_exit = serve  # type: ignore[method-assign]
    assert await world.teller.exit() == 100
    assert world.exits[-1].nonce == kept.token.nullifier


@needs_kernel("Act")
async def test_what_may_be_undone_is_not_taken_for_paid(world: World) -> None:
    await world.teller.top_up(100)
    front = Front(world)
    front.confirmed = False
    with pytest.raises(InputError):
        await world.teller.exit()
    assert len(world.wallet.read().unfinished()) == 1
    front.confirmed = True
    assert await world.teller.exit() == 100


@needs_kernel("Act")
async def test_a_desk_that_pays_somebody_else_is_told_and_holds_up_no_other(world: World) -> None:
    for _ in range(3):
        await world.teller.top_up(100)
    front = Front(world, THIEF)
    with pytest.raises(PaymentError) as refused:
        await world.teller.exit()
    assert refused.value.check == "paid" and THIEF in refused.value.message
    assert sum(amount for amount, to in front.paid.values() if to.lower() == ME) == 200
    (kept,) = world.wallet.read().unfinished()
    assert kept.token.nullifier in front.paid, "the evidence stays"


def _ledger(url: str, addresses: Addresses, who: Account, folder: Path) -> Ledger:
    return Ledger(url, addresses, signer=who, confirmations=0, journal=folder / who.address)


@pytest.mark.slow
async def test_the_ledger_shows_to_whom_an_exit_was_paid(tmp_path: Path) -> None:
    with anvil() as chain:
        operator, person = Account.generate(), Account.generate()
        for account in (operator, person):
            chain.fund(account.address)
        terms = DevTerms(issuer_key=b"\7" * 32, mint=(person.address,))
        addresses = await deploy_all(chain.url, operator, terms, journal=tmp_path / "journal")
        nonce, to = b"\xee" * 32, Account.generate().address
        async with (
            _ledger(chain.url, addresses, person, tmp_path) as mine,
            _ledger(chain.url, addresses, operator, tmp_path) as other,
        ):
            await other.credits.claim(await mine.deposit(UNIT, b"\1" * 32))
            signed = sign_exit(operator, addresses, amount=UNIT, to=to, nonce=nonce)
            before = await mine.members.confirmed()
            assert before is not None and await mine.credits.paid_exit(nonce, before) is None
            await other.exit_unspent(signed)  # of whoever sees it in the pool
            with pytest.raises(InputError, match="nullifier used"):
                await mine.exit_unspent(signed)
            block = await mine.members.confirmed()
            assert block is not None
            assert await mine.credits.paid_exit(nonce, block) == (UNIT, to.lower())
