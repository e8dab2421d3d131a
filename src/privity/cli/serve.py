"""`privity serve`: run one role in the foreground, for operators and for a devnet.

A role prints one JSON line on stdout when it is ready, then nothing; its messages go to stderr.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from privity.cli import output

__all__ = ["app"]

app = typer.Typer(
    help="Run an enclave, a relay or a broker, in the foreground.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Host = Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")]
Port = Annotated[int, typer.Option(help="TCP port; 0 takes a free one.", min=0, max=65535)]
Lifeline = Annotated[
    bool, typer.Option("--lifeline", help="End when standard input ends.", hidden=True)
]


@app.command("enclave")
def enclave(
    dev_root: Annotated[
        Path | None,
        typer.Option(
            help="Key file of the development root that vouches for it, made if there is none; "
            "by default that of your devnet.",
            metavar="FILE",
        ),
    ] = None,
    attester: Annotated[
        list[str] | None,
        typer.Option(
            help="dstack, nitro, tsm, nvidia or dev; may be given again. By default what the "
            "machine has, and dev where it has nothing.",
            metavar="NAME",
        ),
    ] = None,
    collateral: Annotated[
        Path | None,
        typer.Option(help="Intel's collateral to send along, for TDX.", metavar="FILE"),
    ] = None,
    pccs: Annotated[
        str | None,
        typer.Option(help="A service to fetch that from, once, at the start.", metavar="URL"),
    ] = None,
    certs: Annotated[
        list[Path] | None,
        typer.Option(help="AMD's certificates to send along, for SNP.", metavar="FILE"),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="A signed manifest that approves this enclave.", metavar="FILE"),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(help="The log that its keys go into.", metavar="URL"),
    ] = None,
    log_key: Annotated[
        Path | None,
        typer.Option(help="Key that signs entries, where the log asks for one.", metavar="FILE"),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            help="Its name in the log: host and port of the URL people reach it by. By default "
            "the address it listens on.",
            metavar="HOST[:PORT]",
        ),
    ] = "",
    engine: Annotated[
        str | None,
        typer.Option(
            help="Base URL of an engine on loopback, OpenAI-compatible; by default embedded.",
            metavar="URL",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="A GGUF file for the embedded engine.", metavar="FILE"),
    ] = None,
    artefact: Annotated[
        str | None,
        typer.Option(
            help="Where a sealed model is kept: a folder or the URL of a store. It is opened in "
            "memory alone, with a key the broker releases.",
            metavar="URL",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="The broker that releases the sealed model's key.", metavar="URL"),
    ] = None,
    artefact_id: Annotated[
        str | None,
        typer.Option(help="The id the sealed model must have.", metavar="ID"),
    ] = None,
    engine_key: Annotated[
        str | None,
        typer.Option(help="That engine's API key.", envvar="PRIVITY_ENGINE_KEY", metavar="KEY"),
    ] = None,
    unsafe_shared_cache: Annotated[
        bool,
        typer.Option(
            "--unsafe-shared-cache",
            help="Accept an engine that shares prefix caches between callers: a timing leak.",
        ),
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
    unsafe_inspectable: Annotated[
        bool,
        typer.Option("--unsafe-inspectable", help="Let others look into it.", hidden=True),
    ] = False,
) -> None:
    """Answer sealed requests with a model, and sign a receipt of each.

    Its keys are made in memory and end with it. Nothing of a prompt or an answer is logged or
    written. Where the machine has no hardware that attests, its evidence is of type dev: plain
    software, which does not stop its host. `privity doctor` says what the machine has.
    """
    from privity.attest.quoters.choose import AttesterSettings
    from privity.home import home
    from privity.node.enclave import EnclaveSettings, serve
    from privity.node.publication import PublicationSettings

    settings = EnclaveSettings(
        dev_root=dev_root or home() / "devnet" / "root.key",
        attester=tuple(attester or ()),
        attesters=AttesterSettings(
            collateral=collateral, pccs=pccs, certificates=tuple(certs or ())
        ),
        publication=PublicationSettings(manifest=manifest, log=log, log_key=log_key, name=name),
        engine=engine,
        engine_key=engine_key,
        weights=weights,
        artefact=artefact,
        artefact_id=artefact_id,
        broker=broker,
        unsafe_shared_cache=unsafe_shared_cache,
        host=host,
        port=port,
        lifeline=lifeline,
        unsafe_inspectable=unsafe_inspectable,
    )
    serve(settings, on_ready=output.json_line)


@app.command("relay")
def relay(
    target: Annotated[
        list[str],
        typer.Option(help="NAME=URL of an enclave; may be given again.", metavar="NAME=URL"),
    ],
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Carry sealed messages, and nothing of who sent them.

    The relay reads no prompt, keeps nothing and logs nothing. It goes only to its targets.
    """
    from privity.node.listen import bind, end_with_stdin, serve_app
    from privity.node.relay import relay_app

    application = relay_app(dict(_target(text) for text in target))
    sock = bind(host, port)
    if lifeline:
        end_with_stdin()
    serve_app(application, sock, on_ready=_ready)


@app.command("broker")
def broker(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where its grants, keys and log are; by default in your privity home.",
            metavar="FOLDER",
        ),
    ] = None,
    owner: Annotated[
        list[str] | None,
        typer.Option(
            help="The did:key of an owner whose grants are taken; may be given again. By default "
            "your own.",
            metavar="DID",
        ),
    ] = None,
    dev_root: Annotated[
        Path | None,
        typer.Option(
            help="Key file of the development root that vouches for it, made if there is none; "
            "by default that of your devnet.",
            metavar="FILE",
        ),
    ] = None,
    attester: Annotated[
        list[str] | None,
        typer.Option(
            help="What attests the broker itself; by default what the machine has. May be given "
            "again.",
            metavar="NAME",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Keep the keys of sealed artefacts, and release them to attested code as grants say.

    Every decision is in its log before it takes effect. It believes the roots that your
    config.toml names, and takes no grant but its owners'.
    """
    from privity.attest import DevRoot
    from privity.home import home
    from privity.identity.keystore import device_key
    from privity.infer.config import load_config
    from privity.node.broker_app import BrokerSettings, serve_broker
    from privity.policy.evidence import EvidencePolicy

    root = dev_root or home() / "devnet" / "root.key"
    DevRoot.load_or_create(root)  # before the configuration is read, which trusts your devnet's
    settings = BrokerSettings(
        folder=folder or home() / "broker",
        dev_root=root,
        owners=tuple(owner or ()) or (device_key().did,),
        trust=load_config().trust(EvidencePolicy()),
        attester=tuple(attester or ()),
        host=host,
        port=port,
        lifeline=lifeline,
    )
    serve_broker(settings, on_ready=output.json_line)


def _target(text: str) -> tuple[str, str]:
    from privity.errors import InputError

    name, equals, url = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} is not NAME=URL", hint="such as home=https://enclave.example")
    return name, url


def _ready(url: str) -> None:
    output.json_line({"ready": True, "url": url, "pid": os.getpid()})
