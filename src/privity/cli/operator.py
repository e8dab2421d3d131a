"""`privity operator`: what a paid enclave earned, and the key its credits are issued under."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.anon.stores import SpendStore
    from privity.ledger.client import Ledger
    from privity.node.payments import PaymentSettings
    from privity.node.withdrawals import WithdrawalRecord

__all__ = ["app"]

app = typer.Typer(
    help="What a paid enclave earned, and its issuer's key. For operators.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Payments = Annotated[
    Path,
    typer.Option(
        "--payments",
        help="The file that says how the enclave is paid (docs/how-to/run-a-paid-enclave.md).",
        metavar="FILE",
    ),
]
T = TypeVar("T")


@app.command()
def withdraw(
    payments: Payments,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Look at every spend anew, such as after the store was put back from a copy.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take out on the ledger what jobs cost.

    Spends are taken out in batches, each once, however often this is run or breaks off. How far it
    went is kept beside the file.
    """

    async def act(ledger: Ledger, store: SpendStore, record: WithdrawalRecord) -> dict[str, int]:
        from privity.node.withdrawals import withdraw_spent

        taken = await withdraw_spent(ledger, store, record, again=again)
        return {"spends": taken.spends, "withdrawn": taken.credits}

    output.tell_facts(_acted(act, payments, quiet=as_json), as_json=as_json)


@app.command()
def status(payments: Payments, as_json: JsonOption = False) -> None:
    """Show what was sold, earned and paid out, and the issuer's key.

    `unspent` is what was sold and neither withdrawn nor paid out: what members still hold, and
    what is waiting to be withdrawn.
    """
    from privity.node.payments import load_payments

    own = load_payments(payments).settings.key.public

    async def act(ledger: Ledger, store: SpendStore, record: WithdrawalRecord) -> dict[str, Any]:
        from privity.node.withdrawals import waiting

        totals, key = await ledger.credits.totals(), await ledger.issuer_key()
        left = await waiting(store, record.read())
        return {
            "sold": totals.issued,
            "withdrawn": totals.withdrawn,
            "paid_out": totals.exited,
            "unspent": totals.issued - totals.withdrawn - totals.exited,
            "deposits_waiting": totals.pending,
            "to_withdraw": left.credits,
            "key_in_force": key.key == own,
            "next_key": None if key.next_key is None else key.next_key.hex(),
            "next_key_from": key.next_from or None,
            "paused": await ledger.credits.paused(),
        }

    facts = _acted(act, payments, quiet=as_json, interrupted="")
    output.tell_facts(facts, as_json=as_json)


@app.command("propose-key")
def propose_key(
    payments: Payments,
    key: Annotated[
        Path,
        typer.Option(help="The file of the next key, made if there is none.", metavar="FILE"),
    ],
    as_json: JsonOption = False,
) -> None:
    """Announce the next issuer's key on the ledger; it takes force after a delay.

    Credits of the present key are worth nothing to an enclave that has only the next one: announce
    early, so that they are spent or paid out before.
    """

    async def act(ledger: Ledger, _store: SpendStore, _record: WithdrawalRecord) -> dict[str, Any]:
        from privity.node.payments import load_issuer_key

        await ledger.credits.propose_issuer_key(load_issuer_key(key).public)
        found = await ledger.issuer_key()
        return {"next_key": (found.next_key or b"").hex(), "next_key_from": found.next_from}

    output.tell_facts(_acted(act, payments, quiet=as_json), as_json=as_json)


@app.command("activate-key")
def activate_key(payments: Payments, as_json: JsonOption = False) -> None:
    """Put the announced key in force; then name it in the file and start the enclave again."""

    async def act(ledger: Ledger, _store: SpendStore, _record: WithdrawalRecord) -> dict[str, Any]:
        await ledger.credits.activate_issuer_key()
        return {"key": (await ledger.issuer_key()).key.hex()}

    output.tell_facts(_acted(act, payments, quiet=as_json), as_json=as_json)


def _acted(
    act: Callable[[Ledger, SpendStore, WithdrawalRecord], Awaitable[T]],
    payments: Path,
    *,
    quiet: bool,
    interrupted: str = output.BROKE_OFF,
) -> T:
    """Run one act of the operator, with the ledger and the store of a paid enclave.

    How far a transaction is, is said on stderr, unless quiet.
    """
    import anyio

    from privity.anon.stores import open_store
    from privity.node.payments import load_payments

    settings = load_payments(payments).settings

    async def run() -> T:
        client = settings.ledger() if quiet else settings.ledger(output.steps())
        async with client as ledger, open_store(settings.store) as store:
            return await act(ledger, store, _record(settings, payments))

    with output.waiting("asking the ledger", quiet=quiet, interrupted=interrupted):
        return anyio.run(run)


def _record(settings: PaymentSettings, payments: Path) -> WithdrawalRecord:
    from privity.node.withdrawals import WithdrawalRecord, store_name

    of = f"{settings.addresses.deployment} {store_name(settings.store)}"
    return WithdrawalRecord(payments.with_suffix(".withdrawn"), of)
