"""A person's acts broken off at every step, on disk and on the way: nothing is lost or paid twice.

A step is a write, half a write, a sync, a rename, or a message to ledger or desk and its answer.
What is killed is this process: the folder is put back as it was at that step. What the ledger and
the desk know stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fake_spends import issuer
from native import needs_kernel
from privity.anon import wallet as wallet_module
from privity.anon.desk import LEASE_S, OpenJob
from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER
from privity.anon.tariff import flat_tariff
from privity.anon.wallet import Wallet
from privity.errors import InputError, PeerError, PrivityError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.paid import PaidTransport
from privity.ledger.credits import SignedExit
from privity.ledger.members import Standing
from teller_world import World

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]

TARIFF = flat_tariff(prompt=((1000, 20),), completion=((10, 10), (100, 50)))
CHARGED = 30
_write, _fsync, _replace = os.write, os.fsync, os.replace


class Killed(BaseException):
    """The process ends here."""


class Steps:
    """Counts steps under one folder, and at one of them ends the process, or fails."""

    def __init__(self, folder: Path, deadly: int, fails: bool = False) -> None:
        self.folder, self.deadly, self.fails = folder, deadly, fails
        self.copy = folder.parent / "at the step"
        self.count = 0

    @property
    def reached(self) -> bool:
        return self.count >= self.deadly

    def due(self) -> bool:
        self.count += 1
        return self.count == self.deadly

    def end(self) -> None:
        if self.fails:
            raise OSError(5, "Input/output error")
        shutil.copytree(self.folder, self.copy)
        raise Killed

    def between(self) -> None:
        """End between two calls, where that is due."""
        if self.due():
            self.end()

    def _ours(self, fd: int) -> bool:
        return Path(os.readlink(f"/proc/self/fd/{fd}")).is_relative_to(self.folder)

    def write(self, fd: int, data: Any) -> int:
        if not self._ours(fd):
            return _write(fd, data)
        self.between()
        if self.due():
            _write(fd, bytes(data)[: len(data) // 2])
            self.end()
        return _write(fd, data)

    def fsync(self, fd: int) -> None:
        if self._ours(fd):
            self.between()
        _fsync(fd)
        if self._ours(fd) and not self.fails:
            self.between()

    def replace(self, source: Any, target: Any) -> None:
        self.between()
        _replace(source, target)
        if not self.fails:
            self.between()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("write", "fsync", "replace"):
                patch.setattr(os, name, getattr(self, name))
            patch.setattr(wallet_module, "_SLACK", 0)  # the file is rewritten often
            yield


class Person(World):
    """A person, and a ledger and a desk that they act at over and over."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.charged: dict[bytes, int] = {}
        self.paid: dict[bytes, int] = {}
        self.between: Callable[[], None] = lambda: None

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        self.between()
        response = await super()._serve(request)
        self.between()
        return response

    async def deposit(self, amount: int, digest: bytes) -> int:
        self.between()
        number = await super().deposit(amount, digest)
        self.between()
        return number

    async def exit_unspent(self, signed: SignedExit) -> None:
        self.between()
        assert self.paid.setdefault(signed.nonce, signed.amount) == signed.amount
        self.between()

    async def act(self) -> None:
        """Buy, ask with an answer, without one and without leaving, get back, and leave."""
        for amount in (100, 1000):
            await self.teller.top_up(amount)
        for inner in (self._answers, self._drops, self._stays, self._answers):
            transport = PaidTransport(_Inner(inner), self.wallet.purse(self.issuer.terms), TARIFF)
            async with httpx.AsyncClient(transport=transport) as client:
                with contextlib.suppress(PrivityError):
                    await client.post("http://e/v1", content=b'{"max_tokens": 10}')
        await self.finish()

    async def finish(self) -> None:
        """Take up whatever was under way, and have the rest paid out."""
        await self.teller.finish_purchases()
        await self.teller.recover()
        await self.teller.exit()

    async def _answers(self, request: httpx.Request) -> httpx.Response:
        from privity.infer.anonymous import admitted

        departure = admitted._DEPARTURE.get()
        assert departure is not None
        departure.reached = departure.left = True
        spend = decode_base64url(request.headers[SPEND_HEADER])
        self.between()
        job = await self.desk.begin(spend, least=CHARGED)
        assert isinstance(job, OpenJob)
        self.between()
        self.charged[spend] = CHARGED
        refund = await job.settle(CHARGED)
        self.between()
        trailers = {REFUND_TRAILER.encode(): encode_base64url(refund).encode()}
        sealed = SimpleNamespace(trailers=trailers)
        return httpx.Response(200, content=b"answer", extensions={"sealed": sealed})

    async def _drops(self, request: httpx.Request) -> httpx.Response:
        await self._answers(request)
        raise PeerError("the answer was lost")

    async def _stays(self, request: httpx.Request) -> httpx.Response:
        from privity.infer.anonymous import admitted

        departure = admitted._DEPARTURE.get()
        assert departure is not None
        departure.reached = True
        self.between()
        raise PeerError("no proof could be made")

    def check(self) -> None:
        """Nothing is under way, and all that was bought was charged for, or came back."""
        left = self.wallet.read()
        assert not left.unfinished() and not left.purchases() and left.balance == 0
        claimed = sum(self.amounts[number] for number in self.states)
        assert claimed == sum(self.paid.values()) + sum(self.charged.values())
        history = left.history()
        assert sum(one.amount for one in history if one.kind == "bought") == claimed
        assert len({one.id for one in history if one.kind == "exited"}) == len(self.paid)


class _Inner(httpx.AsyncBaseTransport):
    def __init__(self, serve: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> None:
        self.handle_async_request = serve  # type: ignore[method-assign,assignment]


async def _broken_off(folder: Path, deadly: int, *, fails: bool) -> bool:
    """Break a person's acts off at a step, go on, and check; tell whether there is such a step."""
    wallet = folder / "wallet"
    wallet.mkdir(parents=True)
    person, steps = Person(wallet), Steps(wallet, deadly, fails)
    person.between = (lambda: None) if fails else steps.between
    with steps.installed():
        try:
            await person.act()
        except Killed:
            shutil.rmtree(wallet)
            steps.copy.rename(wallet)
        except InputError as error:
            assert fails and "cannot write the wallet" in error.message
    person.between = lambda: None
    person.desk._clock = lambda: time.time() + 2 * LEASE_S  # a job that broke off is over by then
    await person.finish()
    person.check()
    return steps.reached


@pytest.mark.slow
@pytest.mark.parametrize(("fails", "least"), [(False, 100), (True, 50)], ids=["killed", "disk"])
async def test_what_breaks_at_any_step_loses_nothing(
    fails: bool, least: int, tmp_path: Path
) -> None:
    deadly = 1
    while await _broken_off(tmp_path / str(deadly), deadly, fails=fails):
        deadly += 1
    assert deadly > least


async def test_a_wallet_that_stays_open_on_a_failing_disk_keeps_what_it_gave(
    tmp_path: Path,
) -> None:
    """A file that took the place of the open one, and was not noticed, would lose what follows."""
    deadly, reached, terms = 1, True, issuer().terms
    while reached:
        folder = tmp_path / str(deadly)
        folder.mkdir()
        steps, bought, ids = Steps(folder, deadly, fails=True), set[str](), list[int]()
        with Wallet.open(folder, bytes(32), terms=terms) as wallet:
            wallet.join(bytes(31) + b"\1", 1000)
            with steps.installed():
                for _ in range(8):  # the last one has the file rewritten
                    with contextlib.suppress(InputError):
                        ids.append(wallet.take_message_id(5))
                for _ in range(2):
                    with contextlib.suppress(InputError):
                        bought.add(wallet.buy(100)[0])
        with Wallet.open(folder, bytes(32), terms=terms) as wallet:
            assert bought <= wallet.purchases().keys(), deadly
            ids += [wallet.take_message_id(5) for _ in range(10)]
        assert len(set(ids)) == len(ids), deadly
        reached, deadly = steps.reached, deadly + 1
    assert deadly > 30


async def test_who_is_killed_while_the_stake_comes_back_can_join_again(tmp_path: Path) -> None:
    """Else the credits that are left are out of reach: only members are let in at the desk."""
    person = Person(tmp_path)
    secret, begun, withdrawn = bytes(31) + b"\1", set[str](), list[int]()

    async def standing(index: int) -> Standing | None:
        return None if withdrawn else Standing(16, 1)

    async def withdraw(index: int, *, intent: str = "") -> None:
        begun.add(intent)
        withdrawn.append(index)
        person.between()

    async def exit_delay() -> int:
        return 60

    person.standing, person.withdraw = standing, withdraw  # type: ignore[attr-defined]
    person.exit_delay = exit_delay  # type: ignore[attr-defined]

    async def was_begun(intent: str) -> bool:
        return intent in begun

    person.sender.begun = was_begun
    with person.wallet.turn() as wallet:
        wallet.join(secret, 16)
        wallet.joined(3)

    def killed() -> None:
        raise Killed

    person.between = killed
    with pytest.raises(Killed):
        await person.teller.leave_or_collect()
    assert person.wallet.membership is not None
    person.between = lambda: None
    assert (await person.teller.stake()).at is not None
    found = await person.teller.leave_or_collect()
    assert found.returned and found.amount == 16_000
    assert person.wallet.read().begun_membership is None
    assert not any(secret.hex() in intent for intent in begun)
