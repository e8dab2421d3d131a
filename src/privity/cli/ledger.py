"""`privity ledger`: accounts of the ledger, and contracts with a test token."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from privity.cli import output
from privity.cli.choice import JsonOption
from privity.cli.ledger_options import Confirmations, ContractsFile, LedgerUrl

__all__ = ["app"]

app = typer.Typer(
    help="Accounts of the ledger; contracts with a test token. For operators.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AccountFile = Annotated[
    Path, typer.Option("--account", help="Key of a ledger account.", metavar="FILE")
]


@app.command()
def account(
    account: Annotated[
        Path,
        typer.Argument(help="The file of its key, made if there is none.", metavar="FILE"),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show the address of an account whose key is in a file."""
    from privity.ledger.accounts import load_or_create_account

    address = load_or_create_account(account).address
    if as_json:
        output.emit_json({"address": address})
    else:
        output.out(address)


@app.command()
def deploy(
    ledger: LedgerUrl,
    account: AccountFile,
    issuer: Annotated[
        Path,
        typer.Option(
            help="The issuer's key that credits are issued under; made if there is none.",
            metavar="FILE",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Where to write the contracts' addresses.", metavar="FILE")
    ],
    operator: Annotated[
        str | None,
        typer.Option(
            help="The account that claims deposits, withdraws what was spent and signs exits; by "
            "default the one that deploys.",
            metavar="ADDRESS",
        ),
    ] = None,
    denomination: Annotated[
        list[int] | None,
        typer.Option(help="Credits that can be bought at once; may be given again.", min=1),
    ] = None,
    stake_per_message: Annotated[
        int, typer.Option(help="What a member stakes for each message a minute.", min=2)
    ] = 1_000,
    provider_stake: Annotated[
        int, typer.Option(help="What an entry of the registry stakes.", min=1)
    ] = 100_000,
    delay: Annotated[
        int,
        typer.Option(
            help="Seconds until a stake comes back, a deposit that nobody answered can be taken "
            "back, and a new key takes force.",
            min=1,
            max=365 * 86400,
        ),
    ] = 86_400,
    settle: Annotated[
        int,
        typer.Option(
            help="Seconds of a period of the members' list. A new member's first question waits "
            "for one to three of them.",
            min=1,
            max=3600,
        ),
    ] = 60,
    as_json: JsonOption = False,
) -> None:
    """Put the contracts on a chain, with a test token that has no worth.

    Only its owner, the account that deploys, can make more of the token. With a token of worth,
    deploy by your own means: spec/ledger.md says what that needs.
    """
    import anyio

    from privity.errors import InputError
    from privity.home import write_private, writing
    from privity.ledger.accounts import load_account
    from privity.ledger.deploy import DevTerms, deploy_all
    from privity.ledger.wire import check_address
    from privity.node.payments import load_issuer_key

    if out.exists():
        raise InputError(f"{out} exists", hint="move it away: its contracts stay where they are")
    _check_writable(out)
    signer = load_account(account)
    to = None if operator is None else check_address(operator)
    terms = DevTerms(
        issuer_key=load_issuer_key(issuer).public,
        operator=to,
        signer=to,
        stake_per_message=stake_per_message,
        bounty=stake_per_message // 2,
        member_exit_delay=delay,
        denominations=tuple(sorted(set(denomination or (1_000, 10_000, 100_000)))),
        rotation_delay=delay,
        issue_delay=delay,
        provider_stake=provider_stake,
        provider_exit_delay=delay,
        settle_s=settle,
        mint=() if to is None else (to,),
    )
    journal = account.with_suffix(".journal")
    output.note("the token is a test one: it has no worth, and its owner can make more")
    told: Callable[[str], None] = (lambda step: None) if as_json else output.steps()
    with output.waiting(
        "putting the contracts on the chain",
        quiet=as_json,
        interrupted=f"{out} is not written; what is on the chain by now is not taken up again",
    ):
        addresses = anyio.run(
            partial(deploy_all, ledger, signer, terms, journal=journal, told=told)
        )
    try:
        with writing(out):
            write_private(out, addresses.to_bytes())
    except InputError:
        output.note(f"the contracts are on the chain; what {out} was to hold:")
        output.note(addresses.to_bytes().decode())
        raise
    if as_json:
        output.emit_json({"contracts": str(out), "chain": addresses.chain})
    else:
        output.out(output.label_rows({"contracts": str(out), "chain": str(addresses.chain)}))


@app.command()
def mint(
    to: Annotated[str, typer.Argument(help="Who gets it.", metavar="ADDRESS")],
    amount: Annotated[int, typer.Argument(help="How much of the test token.", min=1)],
    account: AccountFile,
    ledger: LedgerUrl,
    contracts: ContractsFile,
    confirmations: Confirmations = 0,
) -> None:
    """Make some of a test token for somebody; its owner alone can."""
    import anyio

    from privity.ledger.accounts import load_account
    from privity.ledger.addresses import Addresses
    from privity.ledger.client import Ledger
    from privity.ledger.wire import check_address

    receiver = check_address(to)

    async def run() -> None:
        client = Ledger(
            ledger,
            Addresses.from_file(contracts),
            signer=load_account(account),
            confirmations=confirmations,
            journal=account.with_suffix(".journal"),
            told=output.steps(),
        )
        async with client:
            await client.token.mint(receiver, amount)

    with output.waiting("asking the ledger", interrupted=output.BROKE_OFF):
        anyio.run(run)
    output.out(output.label_rows({"minted": str(amount), "to": receiver}))


def _check_writable(out: Path) -> None:
    """Refuse before anything is paid for where its outcome could not be written."""
    from tempfile import TemporaryFile

    from privity.home import writing

    with writing(out):
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent) as probe:
            probe.write(bytes(4096))
            probe.flush()
