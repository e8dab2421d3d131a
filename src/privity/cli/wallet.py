"""`privity wallet`: credits and membership for anonymous requests, which only you can see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from privity.cli import output
from privity.cli.choice import JsonOption, PolicyOption
from privity.cli.in_use import in_use, spends, wallet_command

if TYPE_CHECKING:
    from privity.anon.wallet import Reserved
    from privity.infer.anonymous.purse import SharedWallet
    from privity.infer.anonymous.staking import Stake
    from privity.infer.anonymous.teller import Teller

__all__ = ["app"]

app = typer.Typer(
    help="Credits and membership for anonymous requests. Only you can see them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

T = TypeVar("T")
_BROKE_OFF = "nothing is lost; the same command again goes on with what was begun"


@app.command()
def balance(as_json: JsonOption = False) -> None:
    """Show your credits and your membership; nobody is asked."""
    wallet = _shared().read()
    member, begun = wallet.membership, wallet.begun_membership
    waiting = len(wallet.purchases())
    unfinished, elsewhere = wallet.unfinished(), _elsewhere()
    facts = {
        "credits": wallet.balance,
        "largest": wallet.largest,
        "reserved": wallet.reserved,
        "member": None if member is None else {"limit": member.limit, "index": member.index},
        "registering": member is None and begun is not None,
        "purchases_waiting": waiting,
        "spends_waiting": len(unfinished),
        "elsewhere": elsewhere,
    }
    if as_json:
        output.emit_json(facts)
        return
    rows = {"credits": str(wallet.balance)}
    if unfinished:
        waits = "waits for its answer" if len(unfinished) == 1 else "wait for their answers"
        rows["in use"] = f"{wallet.reserved} in {spends(len(unfinished))} that {waits}"
    rows["member"] = "no" if member is None else f"yes, {member.limit} messages a minute"
    if member is None and begun is not None:
        rows["member"] = "not yet: registering broke off; `privity wallet top-up` goes on with it"
    if waiting:
        rows["purchases"] = f"{waiting} waiting"
    output.out(output.label_rows(rows))
    if unfinished:
        output.note(
            "where an answer never came, a running `privity up` gets its credits back in time; "
            "`privity wallet recover` does from 5 min on"
        )
    if waiting:
        output.note("`privity wallet top-up`, without an amount, finishes them and buys no more")
    if elsewhere:
        output.note(
            f"wallets of other networks have {sum(elsewhere.values())} credits: "
            f"{', '.join(elsewhere)}; `contracts` in [anonymous] says which network is asked"
        )


@app.command("top-up")
def top_up(
    amount: Annotated[
        int | None,
        typer.Argument(
            help="How many credits; by default what was begun and waits, or else the fewest that "
            "are sold.",
            min=1,
        ),
    ] = None,
    limit: Annotated[
        int,
        # The circuit counts to 65,535; a slip of the hand shall not stake for as many.
        typer.Option(help="Messages a minute to stake for, if you are no member.", min=1, max=1024),
    ] = 16,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Buy credits on the ledger, and join if you are no member.

    Your account shows there, with the amount and the time; nothing you ask will. What was begun
    and broke off is finished first. Buy ahead of need: who buys just before each question tells
    something.
    """

    async def act(teller: Teller) -> int:
        await teller.prepare(limit, amount)
        await teller.join(limit)
        return await teller.top_up(amount)

    came = _acted(act, policy, quiet=as_json)
    output.tell_facts({"bought": came, "credits": _shared().read().balance}, as_json=as_json)


@app.command()
def history(as_json: JsonOption = False) -> None:
    """Show what you bought and spent, from your own journal."""
    entries = [entry.to_json() for entry in _shared().read().history()]
    if as_json:
        output.emit_json(entries)
        return
    from datetime import UTC, datetime

    for entry in entries:
        moment = datetime.fromtimestamp(entry["time"], UTC).strftime("%Y-%m-%d %H:%M")
        output.out(f"{moment}  {entry['kind']:<7} {entry['amount']:>9}")
    if not entries:
        output.out("nothing was bought or spent yet")


@app.command()
def recover(
    wait: Annotated[
        float,
        typer.Option(
            help="About how many seconds between two spends that are asked for. Those asked for "
            "in one breath are known for one person's.",
            metavar="SECONDS",
            min=0,
            max=3600,
        ),
    ] = 30,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get back what was spent on answers that never came.

    One spend at a time, in an order and after waits that are drawn. Those begun in the last 5 min
    are left: a job may be under way. A running `privity up` does it too, by itself and slower.
    """

    async def act(teller: Teller) -> dict[str, int]:
        found = await teller.recover()
        return {
            "spends": found.spends,
            "cost": found.credits,
            "running": found.running,
            "refused": found.refused,
            "young": found.young,
        }

    facts = _acted(act, policy, quiet=as_json, between_s=wait)
    if as_json:
        output.emit_json(facts)
        return
    for line in _recovered(facts):
        output.out(line)
    if facts["young"]:
        was, whose = ("was", "its job") if facts["young"] == 1 else ("were", "their jobs")
        output.note(
            f"{facts['young']} of the last 5 min {was} left, as {whose} may be under way: "
            f"{wallet_command('recover', policy)} again then"
        )
    if facts["refused"]:
        stay = "it stays" if facts["refused"] == 1 else "they stay"
        output.note(
            f"the provider's desk refused {facts['refused']}: {stay} in your wallet, to be "
            "asked for again; if it goes on refusing, it keeps what is yours: tell the provider"
        )


def _recovered(facts: dict[str, int]) -> list[str]:
    """Return what became of the spends that were asked for, in words."""
    if not any(facts.values()):
        return ["no spend waits for its answer: there is nothing to get back"]
    lines = []
    if facts["spends"]:
        cost = facts["cost"]
        lines.append(
            f"{spends(facts['spends'])} settled, for {cost} credit{'s' * (cost != 1)} in all; "
            "the rest is back in your wallet"
        )
    if facts["running"]:
        lines.append(f"{spends(facts['running'])} still being answered: again later")
    return lines


@app.command("exit")
def exit_(
    to: Annotated[
        str | None,
        typer.Option(help="The address that is paid; by default your account.", metavar="ADDRESS"),
    ] = None,
    leave: Annotated[
        bool, typer.Option("--leave", help="Leave the members too: asks for the stake back.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Leave without asking.")] = False,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have unspent credits paid out on the ledger.

    The amount is public there: it could be the sum of what one person did not spend. The stake
    comes after a delay, in which whoever cheated can still be slashed; then run it once more.
    """
    early = False

    async def act(teller: Teller) -> dict[str, Any]:
        nonlocal early
        if not leave:
            return {"paid_out": await teller.exit(to)} | _left_in_use()
        before = await teller.stake()
        if before.at is None and not yes and not _agreed(before, policy):
            output.note("nothing was done")
            raise typer.Exit(output.FAILURE)
        paid = await teller.exit(to)
        after = await teller.leave_or_collect()
        early = before.at is not None and not after.returned
        return {"paid_out": paid} | _left_in_use() | _stake_facts(after)

    facts = _acted(act, policy, quiet=as_json)
    shown = facts if as_json or facts["in_use"] else facts | {"in_use": None}
    output.tell_facts(shown, as_json=as_json)
    if facts["in_use"] and not as_json:
        then = f"{wallet_command('exit', policy)} pays that out"
        if leave:
            then = "who is no member gets nothing back"
        output.note(f"{in_use(_waiting(), policy)}; {then}")
    if facts.get("stake_back") is False and not as_json:
        again = wallet_command("exit --leave", policy)
        told = f"from {facts['stake_from']} on, {again} takes the stake"
        output.note(f"not before its time: {told}" if early else told)
    if early:
        raise typer.Exit(output.FAILURE)


@app.command()
def account(as_json: JsonOption = False) -> None:
    """Show the ledger account that buys your credits, and what it holds.

    `privity wallet top-up` pays the stake and the credits in the token, and the fees in wei.
    """

    async def act(teller: Teller) -> dict[str, str]:
        return {
            "address": teller.account,
            "tokens": str(await teller.funds()),
            "wei_for_fees": str(await teller.fees()),
            "stake_per_message": str(await teller.stake_per_message()),
        }

    facts = _acted(act, None, quiet=as_json, interrupted="")
    output.tell_facts(facts, as_json=as_json)


def _waiting() -> list[Reserved]:
    """Return the spends of jobs whose end is not known."""
    return [one for one in _shared().read().unfinished() if one.purpose == "job"]


def _left_in_use() -> dict[str, int]:
    """Return what was not paid out, as its job's end is not known."""
    return {"in_use": sum(one.pending.before for one in _waiting())}


def _agreed(stake: Stake, policy: str | None) -> bool:
    """Ask whether to leave, having said what comes back and what would not."""
    from datetime import UTC, datetime

    waiting = len(_waiting())
    if waiting:
        wait, them = (
            ("waits for its answer", "it") if waiting == 1 else ("wait for answers", "them")
        )
        output.note(
            f"{spends(waiting)} {wait}; what of {them} would come back is lost to who is no "
            f"member: {wallet_command('recover', policy)} first"
        )
    moment = _moment(int(datetime.now(UTC).timestamp()) + stake.delay_s)
    return output.confirm(
        f"Leave the members? You can ask nothing more; the stake of {stake.amount} can be taken "
        f"back from about {moment} on."
    )


def _stake_facts(stake: Stake) -> dict[str, Any]:
    return {
        "stake": stake.amount,
        "stake_back": stake.returned,
        "stake_from": None if stake.at is None or stake.returned else _moment(stake.at),
    }


def _moment(seconds: int) -> str:
    """Return a time of the ledger; it may be any number."""
    from datetime import UTC, datetime, timedelta

    from privity.errors import PeerError
    from privity.identity.timestamps import format_time

    try:
        return format_time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
    except OverflowError:
        raise PeerError("the ledger's node answered with a time that is none") from None


def _shared() -> SharedWallet:
    from privity.infer.anonymous.opening import configured_wallet

    return configured_wallet()


def _elsewhere() -> dict[str, int]:
    from privity.infer.anonymous.opening import configured_elsewhere

    return configured_elsewhere()


def _acted(
    act: Callable[[Teller], Awaitable[T]],
    policy: str | None,
    *,
    quiet: bool,
    between_s: float = 0.0,
    interrupted: str = _BROKE_OFF,
) -> T:
    """Run one act of a teller, showing its steps."""
    import anyio

    from privity.infer.anonymous.opening import open_teller

    async def run() -> T:
        async with open_teller(policy, told=say, between_s=between_s) as teller:
            return await act(teller)

    say: Callable[[str], None] = (lambda step: None) if quiet else output.steps()
    with output.waiting("asking the ledger and the enclave", quiet=quiet, interrupted=interrupted):
        return anyio.run(run)
