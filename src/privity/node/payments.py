"""Floor 5: how an enclave is paid: the issuer's key, the store of spends, and the ledger.

Read from a TOML file beside the enclave::

    key   = "issuer.key"                 # the issuer's secret; whoever has it can make credits
    store = "sqlite:spent.db"            # or postgresql://…, redis://…: shared by all its desks
    scope = "0x…"                        # the provider's account, as the registry lists it
    lease = 900                          # seconds a job may take; absent: 900
    query = "query.json"                 # in what requests must be proved; absent: no proofs
    tokenizer = "tokenizer.json"         # of the engine's model; absent: that of its weights

    [ledger]
    url           = "http://127.0.0.1:8545"
    contracts     = "contracts.json"
    account       = "operator.key"       # claims deposits, signs exits
    confirmations = 12

    [tariff]                             # absent: a flat one
    prompt     = [[16384, 2], [262144, 20]]       # up to so many tokens, so many credits
    completion = [[256, 2], [1024, 8], [8192, 60]]

Paths are beside that file. Under real hardware the key and the account come from a broker, sealed
to measured code; in a file they are as safe as the machine (docs/sharp-edges.md).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privity.anon.credits import MAX_CREDITS, Issuer, IssuerKey
from privity.anon.desk import LEASE_S, CreditDesk
from privity.anon.epochs import EPOCH_S
from privity.anon.payment_terms import PaymentTerms
from privity.anon.query_terms import QueryTerms
from privity.anon.stores import open_store
from privity.anon.tariff import Tariff, flat_tariff
from privity.errors import InputError, MalformedError, PaymentError, PeerError
from privity.home import create_private_once, read_file, read_private
from privity.infer import tables as toml
from privity.ledger import CONFIRMATIONS
from privity.ledger.accounts import Account, load_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.credits import DepositState, SignedExit, sign_exit
from privity.node.enclave_payment import MIN_LEASE_S, PaymentMiddleware
from privity.seal.asgi import ASGIApp

__all__ = [
    "LedgerTill",
    "PaidService",
    "PaymentSettings",
    "load_issuer_key",
    "load_payments",
]

_MAX_FILE = 64 << 10
_TABLES = {"key", "store", "scope", "lease", "query", "tokenizer", "ledger", "tariff"}
_LEDGER = {"url", "contracts", "account", "confirmations"}


@dataclass(frozen=True)
class PaymentSettings:
    """How an enclave is paid.

    Attributes:
        key: the issuer's secret key.
        store: where spends are remembered, as `open_store` takes it.
        scope: the provider's account.
        url: of a ledger's node.
        addresses: where the contracts are.
        account: the operator's.
        confirmations: blocks after one before it is believed.
        tariff: what requests cost.
        journal: the file of the account's transactions.
        lease_s: seconds a job may take; what was begun and not settled by then goes back whole.
        query: in what each request must be proved; None where no proof is asked for.
        tokenizer: the file with the tokenizer of the engine's model; None takes that of its
            weights.
    """

    key: IssuerKey
    store: str = field(repr=False)  # it may hold a password
    scope: str
    url: str = field(repr=False)  # it may hold a key
    addresses: Addresses
    account: Account
    confirmations: int
    tariff: Tariff
    journal: Path
    lease_s: float = LEASE_S
    query: QueryTerms | None = None
    tokenizer: Path | None = None

    def __post_init__(self) -> None:
        if self.tokenizer is not None and self.query is None:
            raise InputError("a tokenizer is for proved queries", hint="name their terms: query")

    def ledger(self, told: Callable[[str], None] = lambda step: None) -> Ledger:
        """Return the ledger, with the operator's account to act.

        Args:
            told: is told how far a transaction is.
        """
        return Ledger(
            self.url,
            self.addresses,
            signer=self.account,
            confirmations=self.confirmations,
            journal=self.journal,
            told=told,
        )


def load_payments(path: Path) -> PaidService:
    """Read the settings of a paid enclave; nothing is opened yet.

    Raises:
        InputError: the file, or one that it names, cannot be read, or a setting is wrong.
        MissingDependency: the native wheel, or a library of the ledger, is not installed.
    """
    data = read_file(path, most=_MAX_FILE, what="the settings of payment")
    try:
        table = tomllib.loads(data.decode())
        return PaidService(_settings(table, path.parent))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error


def load_issuer_key(path: Path) -> IssuerKey:
    """Return the issuer's key in a file, made first if there is none; raises `InputError`."""
    if not path.exists():
        create_private_once(path, IssuerKey.generate().secret.hex().encode() + b"\n")
    try:
        return IssuerKey.load(bytes.fromhex(read_private(path).decode("ascii").strip()))
    except (ValueError, MalformedError) as error:
        raise InputError(f"{path} does not hold an issuer's key") from error


class PaidService:
    """Takes payment for an enclave; see `node.enclave.Payments`.

    Args:
        settings: how.
    """

    def __init__(self, settings: PaymentSettings) -> None:
        self.settings = settings
        self._stack = AsyncExitStack()

    async def open(self, app: ASGIApp) -> ASGIApp:
        """Return ``app`` behind payment.

        Raises:
            InputError: the issuer's key is not the one on the ledger.
            PeerError: the ledger or the store cannot be reached.
        """
        settings = self.settings
        ledger = await self._stack.enter_async_context(settings.ledger())
        on_ledger = (await ledger.issuer_key()).key
        if on_ledger != settings.key.public:
            raise InputError(
                "the issuer's key is not the one on the ledger: no client would take it",
                hint="propose and activate it there first",
            )
        store = await self._stack.enter_async_context(open_store(settings.store))
        named = settings.addresses.deployment
        issuer = Issuer(settings.key, named)
        terms = PaymentTerms(
            settings.key.public,
            settings.tariff,
            settings.scope.lower(),
            int(EPOCH_S),
            named,
            settings.query,
        )
        desk = CreditDesk(issuer, store, lease_s=settings.lease_s)
        taking = PaymentMiddleware(app, desk, terms, LedgerTill(ledger, issuer))
        self._stack.push_async_callback(taking.drain)
        return taking

    async def aclose(self) -> None:
        """Close store and ledger, once what was begun is settled."""
        await self._stack.aclose()


class LedgerTill:
    """Sells credits for deposits on the ledger, and signs exits. Run by the enclave.

    Args:
        ledger: with the operator's account as its signer.
        issuer: signs credits, blind.
    """

    def __init__(self, ledger: Ledger, issuer: Issuer) -> None:
        self._ledger = ledger
        self._issuer = issuer

    async def issue(self, deposit: int, request: bytes) -> bytes:
        """Return the blind credits for a deposit; the same credits again if asked again.

        A second answer to one request signs the same secret nullifier, so it is the same credits.

        Raises:
            PaymentError: check ``deposit``: there is none for this request, or it was taken back.
            MalformedError: the request is none.
            PeerError: the ledger cannot be reached.
        """
        found = await self._ledger.credits.deposit_at(deposit)
        if found.request_digest != hashlib.sha256(request).digest():
            raise PaymentError("this deposit is for another request", check="deposit")
        if found.state not in (DepositState.PENDING, DepositState.CLAIMED):
            raise PaymentError("there is no such deposit, or it was taken back", check="deposit")
        if found.amount > MAX_CREDITS:
            raise PaymentError("this deposit is larger than what credits can hold", check="deposit")
        # Signed before it is claimed: what cannot be answered is not kept.
        response = self._issuer.issue(request, found.amount)
        if found.state is DepositState.PENDING:
            await self._ledger.credits.claim(deposit)
        else:
            # With its block the deposit could go too, had the claim not enough blocks behind it.
            block = await self._ledger.members.confirmed()
            if block is None or await self._ledger.credits.deposit_at(deposit, block) != found:
                raise PeerError("the deposit is not confirmed yet", hint="try again in a moment")
        return response

    async def sign_exit(self, amount: int, nonce: bytes, to: str) -> SignedExit:
        """Return the operator's signature over an exit; raises `PaymentError` for an address."""
        sender = self._ledger.sender
        if sender is None:
            raise PaymentError("this desk has no account to sign with", check="to")
        try:
            return sign_exit(
                sender.account, self._ledger.addresses, amount=amount, to=to, nonce=nonce
            )
        except InputError:
            raise PaymentError("this is no address on the ledger", check="to") from None


def _settings(table: Mapping[str, Any], folder: Path) -> PaymentSettings:
    toml.known(table, _TABLES, "")
    ledger = toml.section(table, "ledger", _LEDGER)
    tariff = toml.section(table, "tariff", {"prompt", "completion"})
    account = folder / toml.text(ledger, "account", "[ledger] ")
    return PaymentSettings(
        key=load_issuer_key(folder / toml.text(table, "key")),
        store=_store(toml.text(table, "store"), folder),
        scope=toml.text(table, "scope"),
        url=toml.text(ledger, "url", "[ledger] "),
        addresses=Addresses.from_file(folder / toml.text(ledger, "contracts", "[ledger] ")),
        account=load_account(account),
        confirmations=int(toml.number(ledger, "confirmations", CONFIRMATIONS, 0, 1000)),
        tariff=_tariff(tariff),
        journal=account.with_suffix(".journal"),
        lease_s=toml.number(table, "lease", LEASE_S, MIN_LEASE_S, 86_400),
        query=QueryTerms.from_file(folder / toml.text(table, "query"))
        if "query" in table
        else None,
        tokenizer=folder / toml.text(table, "tokenizer") if "tokenizer" in table else None,
    )


def _store(text: str, folder: Path) -> str:
    """Return the store's URL, a file's path made one beside the settings."""
    kind, _, rest = text.partition(":")
    return f"sqlite:{folder / rest}" if kind == "sqlite" else text


def _tariff(table: Mapping[str, Any]) -> Tariff:
    if not table:
        return flat_tariff()
    try:
        steps = {name: tuple((most, price) for most, price in rows) for name, rows in table.items()}
        return flat_tariff(**steps)
    except (TypeError, ValueError, MalformedError) as error:
        raise InputError("[tariff] has lists of [most, price] steps") from error
