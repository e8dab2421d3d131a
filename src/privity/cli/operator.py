"""`privity operator`: what a paid enclave earned, and the key its credits are issued under."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from privity.cli import output

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
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
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
    as_json: Json = False,
) -> None:
    """Take out on the ledger what jobs cost.

    Spends are taken out in batches, each once, however often this is run or breaks off. How far it
    went is kept beside the file.
    """

    async def act(ledger: Ledger, store: SpendStore, record: WithdrawalRecord) -> dict[str, int]:
        from privity.node.withdrawals import withdraw_spent

        taken = await withdraw_spent(ledger, store, record, again=again)
        return {"spends": taken.spends, "withdrawn": taken.credits}

    _tell(_acted(act, payments), as_json)


@app.command()
def status(payments: Payments, as_json: Json = False) -> None:
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
            "paid out": totals.exited,
            "unspent": totals.issued - totals.withdrawn - totals.exited,
            "deposits waiting": totals.pending,
            "to withdraw": left.credits,
            "key in force": key.key == own,
            "next key": None if key.next_key is None else key.next_key.hex(),
            "next key from": key.next_from or None,
            "paused": await ledger.credits.paused(),
        }

    _tell(_acted(act, payments), as_json)


@app.command("propose-key")
def propose_key(
    payments: Payments,
    key: Annotated[
        Path,
        typer.Option(help="The file of the next key, made if there is none.", metavar="FILE"),
    ],
    as_json: Json = False,
) -> None:
    """Announce the next issuer's key on the ledger; it takes force after a delay.

    Credits of the present key are worth nothing to an enclave that has only the next one: announce
    early, so that they are spent or paid out before.
    """

    async def act(ledger: Ledger, _store: SpendStore, _record: WithdrawalRecord) -> dict[str, Any]:
        from privity.node.payments import load_issuer_key

        await ledger.credits.propose_issuer_key(load_issuer_key(key).public)
        found = await ledger.issuer_key()
        return {"next key": (found.next_key or b"").hex(), "next key from": found.next_from}

    _tell(_acted(act, payments), as_json)


@app.command("activate-key")
def activate_key(payments: Payments, as_json: Json = False) -> None:
    """Put the announced key in force; then name it in the file and start the enclave again."""

    async def act(ledger: Ledger, _store: SpendStore, _record: WithdrawalRecord) -> dict[str, Any]:
        await ledger.credits.activate_issuer_key()
        return {"key": (await ledger.issuer_key()).key.hex()}

    _tell(_acted(act, payments), as_json)


def _tell(facts: dict[str, Any] | dict[str, int], as_json: bool) -> None:
    if as_json:
        output.emit_json({name.replace(" ", "_"): value for name, value in facts.items()})
        return
    rows = {name: _word(value) for name, value in facts.items() if value is not None}
    output.out(output.label_rows(rows))


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _acted(
    act: Callable[[Ledger, SpendStore, WithdrawalRecord], Awaitable[T]], payments: Path
) -> T:
    """Run one act of the operator, with the ledger and the store of a paid enclave."""
    import anyio

    from privity.anon.stores import open_store
    from privity.node.payments import load_payments

    settings = load_payments(payments).settings

    async def run() -> T:
        async with settings.ledger() as ledger, open_store(settings.store) as store:
            return await act(ledger, store, _record(settings, payments))

    return anyio.run(run)


def _record(settings: PaymentSettings, payments: Path) -> WithdrawalRecord:
    from privity.infer.anonymous.network import deployment
    from privity.node.withdrawals import WithdrawalRecord, store_name

    of = f"{deployment(settings.addresses)} {store_name(settings.store)}"
    return WithdrawalRecord(payments.with_suffix(".withdrawn"), of)
