"""`privity inbox`: an address that others can send to, sending, and reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.infer.anonymous.inbox import Letters
    from privity.infer.anonymous.sending import Sent
    from privity.infer.peers import NetworkPeer

__all__ = ["app"]

app = typer.Typer(
    help="Sealed messages over the bus, from nobody in particular.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ChannelName = Annotated[
    str, typer.Option("--channel", help="The channel, which every relay sees.", metavar="NAME")
]
Peers = Annotated[
    list[str],
    typer.Option("--peer", help="A node of the bus. May be given again.", metavar="MULTIADDR"),
]
Direct = Annotated[
    bool,
    typer.Option(
        "--direct", help="Let nodes of the bus see your network address, though a proxy is set."
    ),
]


@app.command()
def address(channel: ChannelName = "inbox", as_json: JsonOption = False) -> None:
    """Show the address that others send to.

    Its key is made on first use, and stays here. Two channels have two keys, so that nobody sees
    that they are one person's.
    """
    from privity.infer.anonymous.inbox import open_box

    found = str(open_box(channel).address)
    if as_json:
        output.emit_json({"address": found})
    else:
        output.out(found)


@app.command()
def send(
    to: Annotated[
        str,
        typer.Argument(help="Their address, or @FILE that holds it.", metavar="ADDRESS"),
    ],
    text: Annotated[str, typer.Argument(help="What they are to read.")],
    peer: Peers,
    no_proof: Annotated[
        bool, typer.Option("--no-proof", help="For a closed bus, which asks for no membership.")
    ] = False,
    direct: Direct = False,
    as_json: JsonOption = False,
) -> None:
    """Send a sealed message without your name, within your rate.

    Anybody who has an address can send to it: say in the text who you are, where that matters. It
    uses up one message of this minute, of those that your requests are counted by.
    """
    import asyncio
    from pathlib import Path

    from privity.anon.messages import InboxAddress
    from privity.home import read_file
    from privity.infer.anonymous.sending import membership_sender
    from privity.infer.anonymous.sending import send as sent

    if to.startswith("@"):
        to = read_file(Path(to[1:]), most=4096, what="the address").decode("ascii", "replace")
    recipient = InboxAddress.parse(to)
    network = _network(peer, direct=direct)

    async def act() -> Sent:
        payload = text.encode("utf-8", "surrogateescape")
        if network is None or no_proof:
            return await sent(recipient, payload, peer, None)
        async with membership_sender(network) as sender:
            return await sent(recipient, payload, peer, sender)

    broke_off = "it may have been sent, and its place in this minute is used up"
    with output.waiting("sending", quiet=as_json, interrupted=broke_off):
        done = asyncio.run(act())
    if as_json:
        output.emit_json({"peers": done.peers, "stores": done.stores, "kept": done.kept})
        return
    output.out(f"sent; kept by {done.kept} of {done.stores} stores that were asked")
    if not done.stores:
        output.note("none of these nodes keeps messages: who is away now does not get it from them")


@app.command()
def read(
    peer: Peers,
    channel: ChannelName = "inbox",
    direct: Direct = False,
    as_json: JsonOption = False,
) -> None:
    """Read what stores kept for you; each message once.

    A store learns the channel you ask about and how far you had read there, not what is for you:
    you fetch all of the channel, and open what opens.
    """
    import asyncio

    from privity.infer.anonymous.inbox import open_box

    _network(peer, direct=direct)
    box = open_box(channel)

    async def act(done: Callable[[], None]) -> None:
        async with box.reading(peer) as letters:
            done()
            _show(letters, as_json)

    with output.waiting("asking the stores", quiet=as_json) as done:
        asyncio.run(act(done))


def _show(letters: Letters, as_json: bool) -> None:
    texts = [one.payload.decode("utf-8", "replace") for one in letters.messages]
    if as_json:
        hashes = [one.hash.hex() for one in letters.messages]
        output.emit_json(
            {
                "messages": [
                    {"hash": digest, "text": text}
                    for digest, text in zip(hashes, texts, strict=True)
                ],
                "missing": [digest.hex() for digest in letters.missing],
                "stores": letters.answered,
                "failed": list(letters.failed),
                "more": letters.more,
            }
        )
        return
    for text in texts:
        output.out(output.harmless(text))
    if not texts:
        output.note("nothing new")
    for why in letters.failed:
        output.note(f"a store did not answer: {why}")
    if letters.more:
        output.note("a store has more than one reading takes; read again to go on")
    if letters.missing:
        output.note(
            f"{len(letters.missing)} messages of this channel were listed and not handed out; "
            "some may be for you. They are asked for again next time"
        )


def _network(peers: list[str], *, direct: bool) -> NetworkPeer | None:
    """Return the configured ledger; refuse to go round a proxy that was set."""
    from privity.anon.messages import check_address
    from privity.errors import InputError
    from privity.infer.config import load_config

    for peer in peers:
        check_address(peer, peer=True)
    network = load_config().network
    if network is not None and network.proxy and not direct:
        raise InputError(
            "messages do not go through the proxy of [anonymous]",
            hint="--direct lets the nodes of the bus see your network address",
        )
    return network
