"""`privity registry`: the public list of gateways and relays, and one's own entries in it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from privity.cli import output
from privity.cli.choice import JsonOption
from privity.cli.ledger_options import (
    ConfiguredConfirmations,
    ConfiguredContracts,
    ConfiguredLedger,
    LedgerAccess,
    chosen_ledger,
)

if TYPE_CHECKING:
    from privity.ledger.client import Ledger
    from privity.ledger.providers import Listing, ProviderEntry

__all__ = ["app"]

app = typer.Typer(
    help="The public list of gateways and relays. Your own entries in it are changed here too.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AccountFile = Annotated[
    Path,
    typer.Option(
        "--account", help="Key of the ledger account that the entry belongs to.", metavar="FILE"
    ),
]
KeysDigest = Annotated[
    str | None,
    typer.Option(help="SHA-256 of its keys, as it says when it is ready.", metavar="HEX"),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Fetch its keys from this URL, and show their digest before it is listed.",
        metavar="URL",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="List a fetched digest without asking.")]
Index = Annotated[int, typer.Argument(help="The entry's number in the registry.", min=0)]
T = TypeVar("T")

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


class Kind(StrEnum):
    """What is listed."""

    GATEWAY = "gateway"
    RELAY = "relay"


@app.command("list")
def list_(
    ledger: ConfiguredLedger = None,
    contracts: ConfiguredContracts = None,
    as_json: JsonOption = False,
) -> None:
    """List the gateways and relays in service.

    The list is read whole: who asked for one entry would tell the node whom they mean. What an
    entry says is its owner's word.
    """

    async def act(client: Ledger) -> Listing:
        return await client.providers()

    listing = _acted(act, chosen_ledger(ledger, contracts), quiet=as_json)
    if as_json:
        output.emit_json(
            {
                "block": listing.block.number,
                "entries": [_facts(entry) for entry in listing.entries],
                "refused": list(listing.refused),
                "left_out": listing.left_out,
            }
        )
        return
    for entry in listing.entries:
        output.out(
            f"{entry.index:>4}  {entry.kind.name.lower():<7}  {entry.endpoint}\n"
            f"      of {entry.owner}  price {entry.price}\n"
            f"      {entry.did}\n"
            f"      keys {entry.keys_digest.hex()}"
        )
    if not listing.entries:
        output.out("nothing is listed")
    if listing.refused or listing.left_out:
        output.note(
            f"{len(listing.refused)} entries have no valid form, {listing.left_out} were not read"
        )


@app.command()
def register(
    kind: Annotated[Kind, typer.Option(help="What it is.")],
    endpoint: Annotated[str, typer.Option(help="Its base URL, as relays reach it.", metavar="URL")],
    account: AccountFile,
    keys_digest: KeysDigest = None,
    from_: From = None,
    did: Annotated[
        str | None, typer.Option(help="Its identifier, one of its own.", metavar="DID")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="The key its identifier is made of, a did:key; made if there is none.",
            metavar="FILE",
        ),
    ] = None,
    price: Annotated[
        int, typer.Option(help="What it says it asks; its tariff is what counts.", min=0)
    ] = 0,
    ledger: ConfiguredLedger = None,
    contracts: ConfiguredContracts = None,
    confirmations: ConfiguredConfirmations = None,
    yes: Yes = False,
    as_json: JsonOption = False,
) -> None:
    """Stake for an entry in the registry, so that clients and relays find what you run.

    A gateway is listed with the keyset of the enclave behind it, and under the account that is the
    provider's: gateways of one enclave are of one account. A relay is listed with its keys. The
    stake comes back after `privity registry retire`, a delay, and `privity registry withdraw`. Its
    tokens, and what transactions cost, have to be in the account before.
    """
    from privity.errors import InputError
    from privity.identity.keystore import load_or_create_key
    from privity.ledger.providers import ProviderKind

    if (did is None) == (key is None):
        raise InputError("an entry has one identifier", hint="give --key FILE, or --did DID")
    which = ProviderKind.RELAY if kind is Kind.RELAY else ProviderKind.GATEWAY
    digest = _digest(which, keys_digest, from_, yes=yes)
    if digest is None:
        raise InputError("an entry has a digest of keys", hint="give --keys-digest or --from")
    say = _teller(quiet=as_json)
    named = did or (load_or_create_key(key).did if key is not None else "")

    async def act(client: Ledger) -> dict[str, Any]:
        listing = await client.providers()
        if any(entry.did == named for entry in listing.entries):
            raise InputError(
                "an entry with this identifier is in service: only the first is reached",
                hint="`privity registry update` changes yours; for another give another --key",
            )
        stake = await client.registry.stake()
        await _check_funds(client, stake)
        say(f"allowing the stake of {stake} to be taken, then listing it")
        await client.token.allow(client.addresses.providers, stake)
        index = await client.registry.register(which, named, endpoint, digest, price)
        return {"index": index, "did": named, "keys_digest": digest.hex(), "staked": stake}

    where = chosen_ledger(ledger, contracts, confirmations)
    output.tell_facts(_acted(act, where, account, quiet=as_json), as_json=as_json)


@app.command()
def update(
    index: Index,
    account: AccountFile,
    endpoint: Annotated[str | None, typer.Option(help="Its new base URL.", metavar="URL")] = None,
    keys_digest: KeysDigest = None,
    from_: From = None,
    price: Annotated[int | None, typer.Option(help="Its new price.", min=0)] = None,
    ledger: ConfiguredLedger = None,
    contracts: ConfiguredContracts = None,
    confirmations: ConfiguredConfirmations = None,
    yes: Yes = False,
    as_json: JsonOption = False,
) -> None:
    """Change where an entry of yours is, its keys or its price.

    After an enclave was started anew its keys are others: clients refuse it until the registry
    names them.
    """
    where = chosen_ledger(ledger, contracts, confirmations)

    async def read(client: Ledger) -> ProviderEntry:
        return _found(await client.providers(), index)

    entry = _acted(read, where)
    digest = _digest(entry.kind, keys_digest, from_, yes=yes) or entry.keys_digest
    url = entry.endpoint if endpoint is None else endpoint
    asked = entry.price if price is None else price

    async def act(client: Ledger) -> dict[str, Any]:
        await client.registry.update(index, url, digest, asked)
        return {"index": index, "endpoint": url, "keys_digest": digest.hex(), "price": asked}

    output.tell_facts(_acted(act, where, account, quiet=as_json), as_json=as_json)


@app.command()
def retire(
    index: Index,
    account: AccountFile,
    ledger: ConfiguredLedger = None,
    contracts: ConfiguredContracts = None,
    confirmations: ConfiguredConfirmations = None,
    as_json: JsonOption = False,
) -> None:
    """Take an entry of yours out of service; its stake can be withdrawn after a delay."""

    async def act(client: Ledger) -> dict[str, Any]:
        await client.registry.retire(index)
        return {"retired": index}

    where = chosen_ledger(ledger, contracts, confirmations)
    output.tell_facts(_acted(act, where, account, quiet=as_json), as_json=as_json)


@app.command()
def withdraw(
    index: Index,
    account: AccountFile,
    ledger: ConfiguredLedger = None,
    contracts: ConfiguredContracts = None,
    confirmations: ConfiguredConfirmations = None,
    as_json: JsonOption = False,
) -> None:
    """Have the stake of a retired entry sent back to its owner."""

    async def act(client: Ledger) -> dict[str, Any]:
        await client.registry.withdraw(index)
        return {"withdrawn": index, "stake": await client.registry.stake()}

    where = chosen_ledger(ledger, contracts, confirmations)
    output.tell_facts(_acted(act, where, account, quiet=as_json), as_json=as_json)


def _digest(kind: Any, given: str | None, url: str | None, *, yes: bool) -> bytes | None:
    """Return the digest of keys that was given, or fetched and agreed to; None where neither."""
    from privity.errors import InputError

    if given is not None and url is not None:
        raise InputError("--keys-digest and --from say the same thing", hint="give one of them")
    if given is not None:
        found = _DIGEST.fullmatch(given)
        if found is None:
            raise InputError("a digest of keys has 64 hexadecimal digits")
        return bytes.fromhex(found[1])
    if url is None:
        return None
    import anyio

    from privity.node.registry_entry import fetch_digest

    digest = anyio.run(fetch_digest, kind, url)
    output.note(f"keys {digest.hex()}")
    if not yes and not output.confirm("Is this what it said when it became ready?"):
        output.note("nothing was done")
        raise typer.Exit(output.FAILURE)
    return digest


def _found(listing: Listing, index: int) -> ProviderEntry:
    from privity.errors import InputError

    for entry in listing.entries:
        if entry.index == index:
            return entry
    raise InputError(f"no entry {index} is in service", hint="`privity registry list` shows them")


def _facts(entry: ProviderEntry) -> dict[str, Any]:
    return {
        "index": entry.index,
        "kind": entry.kind.name.lower(),
        "owner": entry.owner,
        "endpoint": entry.endpoint,
        "did": entry.did,
        "keys_digest": entry.keys_digest.hex(),
        "price": entry.price,
    }


async def _check_funds(client: Ledger, stake: int) -> None:
    """Refuse before anything is sent where the stake's tokens are missing.

    Raises:
        InputError: the account has fewer.
    """
    from privity.errors import InputError
    from privity.ledger.sending import signing

    account = signing(client.sender).account.address
    held = await client.token.balance(account)
    if held < stake:
        raise InputError(
            f"an entry stakes {stake} of the token {client.addresses.token}; {account} has {held}",
            hint=f"have {stake - held} more sent to this account; of a test token its owner makes "
            "more with `privity ledger mint`",
        )


def _teller(*, quiet: bool) -> Callable[[str], None]:
    """Return what says on stderr how far a command is; nothing under ``--json``."""
    return (lambda step: None) if quiet else output.steps()


def _acted(
    act: Callable[[Ledger], Awaitable[T]],
    where: LedgerAccess,
    account: Path | None = None,
    *,
    quiet: bool = False,
) -> T:
    """Run one act with the ledger, signed by an account where one is given."""
    import anyio

    from privity.ledger.accounts import load_account
    from privity.ledger.addresses import Addresses
    from privity.ledger.client import Ledger

    addresses = Addresses.from_file(where.contracts)
    signer = None if account is None else load_account(account)
    journal = None if account is None else account.with_suffix(".journal")

    async def run() -> T:
        client = Ledger(
            where.url,
            addresses,
            signer=signer,
            confirmations=where.confirmations,
            proxy=where.proxy or None,
            journal=journal,
            told=_teller(quiet=quiet),
        )
        async with client:
            return await act(client)

    broke_off = "" if account is None else output.BROKE_OFF
    with output.waiting("asking the ledger", quiet=quiet, interrupted=broke_off):
        return anyio.run(run)
