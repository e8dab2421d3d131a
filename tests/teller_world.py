"""A ledger and an enclave's desk that refuse what a test has them refuse, for a person's teller."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx

from fake_spends import MemorySpends, issuer
from privity.anon.desk import CreditDesk
from privity.errors import InputError, PaymentError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.teller import Teller
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.credits import DepositState, SignedExit
from privity.ledger.wire import Address

AT = Address("0x" + "11" * 20)
ADDRESSES = Addresses(31337, 0, AT, AT, AT, AT)
ME = "0x" + "22" * 20


class World:
    """A ledger and an enclave's desk, over the real wallet and the real credits.

    Attributes:
        issuer: makes what the desk answers; `on_ledger` has the key that the ledger shows.
        late: the contract's time: deposits can no longer be claimed.
        refuse: what the desk refuses, by path and number of the call.
    """

    def __init__(self, folder: Path) -> None:
        self.issuer = self.on_ledger = issuer(ADDRESSES.deployment)
        self.desk = CreditDesk(self.issuer, MemorySpends())
        self.deposits: dict[bytes, int] = {}
        self.states: dict[int, DepositState] = {}
        self.amounts: dict[int, int] = {}
        self.late = False
        self.refuse: dict[tuple[str, int], str] = {}
        self.calls: dict[str, int] = {}
        self.poor = 10**9
        self.exits: list[SignedExit] = []
        self.addresses = ADDRESSES
        self.credits = self.members = self.token = self
        self.tokens = 10**9
        self.believed: dict[int, DepositState] | None = None
        self.ways = 0
        self.registered: list[bytes] = []
        account = SimpleNamespace(address=ME)
        self.sender = SimpleNamespace(account=account, begun=self._begun)
        self.wallet = SharedWallet(folder, b"\7" * 32)
        self.teller = self.another_teller(young_s=0)

    def another_teller(self, **settings: Any) -> Teller:
        """Return one over the same wallet, ledger and desk."""
        return Teller(self.wallet, cast("Ledger", self), self._way, **settings)

    # The ledger

    async def issuer_key(self) -> Any:
        return SimpleNamespace(key=self.on_ledger.terms.public)

    def rotate(self) -> None:
        """Put another issuer's key in force, on the ledger and at the desk."""
        self.issuer = self.on_ledger = issuer(ADDRESSES.deployment)

    async def stake_per_message(self) -> int:
        return 1000

    async def balance(self, holder: Address) -> int:
        assert holder == ME
        return self.tokens

    async def _begun(self, intent: str) -> bool:
        return False

    async def has_begun_register(self, commitment: bytes) -> bool:
        return commitment in self.registered

    async def has_begun_deposit(self, digest: bytes) -> bool:
        return digest in self.deposits

    async def register_member(self, commitment: bytes, limit: int) -> Any:
        self.registered.append(commitment)
        return SimpleNamespace(index=5)

    async def denominations(self) -> tuple[int, ...]:
        return (100, 1000)

    async def deposit(self, amount: int, digest: bytes) -> int:
        if digest in self.deposits:
            return self.deposits[digest]
        if amount > self.poor:
            raise InputError("the contract Token refused approve: too little")
        number = self.deposits[digest] = len(self.deposits)
        self.states[number], self.amounts[number] = DepositState.PENDING, amount
        return number

    async def deposit_at(self, number: int, block: Any = None) -> Any:
        states = self.states if block is None or self.believed is None else self.believed
        return SimpleNamespace(state=states[number])

    async def confirmed(self) -> Any:
        return SimpleNamespace(number=1)

    async def refund(self, number: int) -> None:
        if not self.late or self.states[number] is not DepositState.PENDING:
            raise InputError("the contract Credits refused refundDeposit: too early")
        self.states[number] = DepositState.REFUNDED

    async def exit_unspent(self, signed: SignedExit) -> None:
        self.exits.append(signed)

    # The desk

    async def _way(self) -> httpx.AsyncBaseTransport:
        self.ways += 1
        return httpx.MockTransport(self._serve)

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path.rpartition("/")[2], json.loads(request.content)
        place = self.calls[path] = self.calls.get(path, -1) + 1
        check = self.refuse.get((path, place)) or self.refuse.get((path, -1))
        if check:
            return httpx.Response(402, json={"error": {"code": check}})
        try:
            said = await getattr(self, "desk_" + path)(body)
        except PaymentError as error:
            return httpx.Response(409, json={"error": {"code": error.check}})
        return httpx.Response(200, json=said)

    async def desk_issue(self, body: Any) -> Any:
        request, number = decode_base64url(body["request"]), body["deposit"]
        assert self.deposits[hashlib.sha256(request).digest()] == number
        if self.late or self.states[number] is DepositState.REFUNDED:
            raise PaymentError("too late", check="deposit")
        self.states[number] = DepositState.CLAIMED
        answer = self.issuer.issue(request, self.amounts[number])
        return {"response": encode_base64url(answer)}

    async def desk_recover(self, body: Any) -> Any:
        refund = await self.desk.recover(decode_base64url(body["spend"]))
        return {"refund": encode_base64url(refund)}

    async def desk_exit(self, body: Any) -> Any:
        amount, nonce = await self.desk.withdraw(decode_base64url(body["spend"]))
        signature = encode_base64url(bytes(65))
        return {"amount": amount, "nonce": encode_base64url(nonce), "signature": signature}

    def spend(self, count: int) -> None:
        with self.wallet.turn(self.issuer.terms) as wallet:
            for _ in range(count):
                wallet.spend(10)
