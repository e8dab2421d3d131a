"""`privity devnet`: a relay and an enclave of one's own, in the foreground."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privity.cli import output

if TYPE_CHECKING:
    from privity.node.devnet import Devnet

__all__ = ["devnet"]

_PLAIN = "starting the enclave, its engine and the relay"
_ANONYMOUS = "starting a ledger, the enclave with its engine, two gateways and two relays"


def devnet(
    engine: Annotated[
        str | None,
        typer.Option(
            help="Base URL of a running OpenAI-compatible engine for the enclave; "
            "by default the embedded one.",
            metavar="URL",
        ),
    ] = None,
    enclave_port: Annotated[
        int, typer.Option(help="TCP port of the enclave; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    relay_port: Annotated[
        int, typer.Option(help="TCP port of the relay; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous",
            help="Run a local ledger, a second relay and two gateways too: requests are admitted "
            "by proofs and paid for with credits.",
        ),
    ] = False,
    prove_queries: Annotated[
        bool,
        typer.Option(
            "--prove-queries",
            help="With --anonymous: have each request carry a proof that its hidden tokens are "
            "well formed.",
        ),
    ] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="With --prove-queries: the tokenizer.json in whose vocabulary; by default the "
            "demo model's.",
            metavar="FILE",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Describe it as one JSON line.")] = False,
) -> None:
    """Run a relay and a dev enclave on this machine.

    It runs until Ctrl-C, for trying things out. It is labelled dev wherever it shows: plain
    software, which protects nothing from whoever owns this machine. Only the policy `dev`, or one
    of your own, admits it. While it runs, `privity ask --policy dev` and `privity up --policy dev`
    find it by themselves.
    """
    from privity.errors import InputError
    from privity.node.devnet import DevnetSettings, run_devnet
    from privity.node.devnet_needs import need_parts

    if prove_queries and not anonymous:
        raise InputError("--prove-queries is of anonymous requests", hint="add --anonymous")
    if tokenizer is not None and not prove_queries:
        raise InputError("--tokenizer is of proved queries", hint="add --prove-queries")
    settings = DevnetSettings(
        engine=engine,
        enclave_port=enclave_port,
        relay_port=relay_port,
        anonymous=anonymous,
        prove_queries=prove_queries,
        tokenizer=tokenizer,
    )
    need_parts(settings)
    starting = output.progress(_ANONYMOUS if anonymous else _PLAIN, quiet=as_json)
    with starting as done, run_devnet(settings) as running:
        done()
        if as_json:
            output.json_line(running.devnet.to_json())
        else:
            output.out(_describe(running.devnet))
        try:
            running.wait()
        except KeyboardInterrupt:
            output.note("stopping the devnet")


def _way(devnet: Devnet) -> dict[str, str]:
    if not devnet.network:
        return {"relay": f"{devnet.relay}  pid {devnet.pids['relay']}"}
    names = [name for name in devnet.pids if name.startswith(("relay", "gateway"))]
    return {
        "ledger": str(devnet.network["ledger"]),
        "on the way": ", ".join(f"{name} (pid {devnet.pids[name]})" for name in sorted(names)),
    }


def _describe(devnet: Devnet) -> str:
    rows = {
        "enclave · dev": f"{devnet.enclave}  pid {devnet.pids['enclave']}",
        **_way(devnet),
        "models": ", ".join(devnet.models),
        "root": devnet.root,
        "logs": str(devnet.logs),
    }
    ask = 'privity ask --policy dev "What is a relay?"'
    steps = {"ask it:": ask, "stop it:": "Ctrl-C"}
    if devnet.payments is not None:
        payments = shlex.quote(str(devnet.payments))
        steps = {
            "pay:": "privity wallet top-up --policy dev",
            "ask it:": ask,
            "earned:": f"privity operator status --payments {payments}",
            "stop it:": "Ctrl-C",
        }
    return (
        output.style("a devnet is running", "bold")
        + ": plain software, which protects nothing from whoever owns this machine\n\n"
        + output.label_rows(rows)
        + "\n\n"
        + output.label_rows(steps)
    )
