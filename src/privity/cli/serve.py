"""`privity serve`: run one role in the foreground, for operators and for a devnet.

A role prints one JSON line on stdout when it is ready, then nothing; its messages go to stderr.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privity.cli import attesting, output
from privity.cli.ledger_options import ConfiguredContracts, chosen_ledger
from privity.cli.role_options import Host, Lifeline, Port

if TYPE_CHECKING:
    from privity.node.registry_targets import FollowingRelay
    from privity.node.relay_role import RelaySettings

__all__ = ["app"]

app = typer.Typer(
    help="Run an enclave, relay, gateway, bus or other role. Also a broker, a trainer, a log and a "
    "witness: each is one process, in the foreground, for operators.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("enclave")
def enclave(
    dev_root: attesting.DevRoot = None,
    attester: attesting.AttesterName = None,
    collateral: attesting.Collateral = None,
    pccs: attesting.Pccs = None,
    certs: attesting.Certs = None,
    manifest: attesting.Manifest = None,
    log: attesting.LogUrl = None,
    log_key: attesting.LogKey = None,
    name: attesting.LogName = "",
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
    unsafe_swap: Annotated[
        bool,
        typer.Option(
            "--unsafe-swap",
            help="Open a sealed model also where memory may be written to this machine's swap.",
        ),
    ] = False,
    payments: Annotated[
        Path | None,
        typer.Option(
            help="How requests are paid for: a TOML file (docs/how-to/run-a-paid-enclave.md). By "
            "default nothing is asked for.",
            metavar="FILE",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
    unsafe_inspectable: Annotated[
        bool,
        typer.Option("--unsafe-inspectable", help="Let others look into it.", hidden=True),
    ] = False,
) -> None:
    """Answer sealed requests with a model.

    It signs a receipt of each. Its keys are made in memory and end with it. Nothing of a prompt or
    an answer is logged or written. Where the machine has no hardware that attests, its evidence is
    of type dev: plain software, which does not stop its host. `privity doctor` says what the
    machine has.
    """
    from privity.node.enclave_role import EnclaveSettings, serve

    settings = EnclaveSettings(
        attesting.attestation(
            dev_root, attester, collateral=collateral, pccs=pccs, certs=certs, manifest=manifest
        ),
        log=attesting.submission(log, log_key, name),
        engine=engine,
        engine_key=engine_key,
        weights=weights,
        artefact=artefact,
        artefact_id=artefact_id,
        broker=broker,
        unsafe_shared_cache=unsafe_shared_cache,
        unsafe_swap=unsafe_swap,
        payments=payments,
        host=host,
        port=port,
        lifeline=lifeline,
        unsafe_inspectable=unsafe_inspectable,
    )
    with output.starting("the enclave") as ready:
        serve(settings, on_ready=ready)


@app.command("relay")
def relay(
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=URL of an enclave, an admission gateway or another relay; may be given "
            "again.",
            metavar="NAME=URL",
        ),
    ] = None,
    follow_registry: Annotated[
        bool,
        typer.Option(
            "--follow-registry",
            help="Carry to all gateways and relays that the ledger lists, read every minute.",
        ),
    ] = False,
    ledger: Annotated[
        str | None,
        typer.Option(
            help="JSON-RPC of a ledger's node, with --follow-registry; by default the configured "
            "one.",
            metavar="URL",
        ),
    ] = None,
    contracts: ConfiguredContracts = None,
    local_targets: Annotated[
        bool,
        typer.Option(
            "--local-targets",
            help="Reach listed entries also at addresses of this machine and its network: "
            "whoever lists one chooses what is asked there. For tests.",
        ),
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Where its own keys are, made if there are none: with them it can be a second "
            "hop. By default it is a first one only.",
            metavar="FILE",
        ),
    ] = None,
    each_per_s: Annotated[
        float,
        typer.Option(
            help="Sealed messages that one address may send a second, in the long run.",
            min=0.001,
            max=100_000,
        ),
    ] = 50.0,
    each_burst: Annotated[
        float,
        typer.Option(
            help="… and at once. One that is refused counts 50 more.", min=1, max=1_000_000
        ),
    ] = 500.0,
    mix: Annotated[
        int,
        typer.Option(
            help="Hold messages until there are so many, and send them on in another order; 0 "
            "sends each at once.",
            min=0,
            max=10_000,
        ),
    ] = 0,
    mix_ms: Annotated[
        int, typer.Option(help="… or until so long has passed.", min=1, max=2000)
    ] = 500,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Carry sealed messages, and nothing of who sent them.

    The relay reads no prompt and writes nothing down; the rate of each address it keeps in memory,
    to limit it. It goes only to its targets: those that are named, and those that the ledger lists
    where it follows the registry.
    """
    from privity.errors import InputError
    from privity.node.listen import bind, end_with_stdin, serve_app
    from privity.node.mixing import MixSettings
    from privity.node.relay import RelayLimits
    from privity.node.relay_role import RelaySettings, make_relay

    if not follow_registry:
        if not target:
            raise InputError("a relay needs a target", hint="--target, or --follow-registry")
        if ledger or contracts or local_targets:
            raise InputError("--ledger, --contracts and --local-targets need --follow-registry")
    mixing = MixSettings(threshold=mix, period_s=mix_ms / 1000, keep=mix // 2) if mix else None
    named = dict(_target(text) for text in target or ())
    limits = RelayLimits(each_per_s=each_per_s, each_burst=each_burst)
    settings = RelaySettings(named, keys_file=keys, limits=limits, mixing=mixing)
    following = _following(settings, ledger, contracts, local_targets) if follow_registry else None
    application = following or make_relay(settings)
    sock = bind(host, port)
    if lifeline:
        end_with_stdin()
    digest = application.keys_digest
    more = {} if digest is None else {"keys_digest": digest.hex()}
    serve_app(application, sock, on_ready=lambda url: _ready(url, **more))


def _following(
    settings: RelaySettings, ledger: str | None, contracts: Path | None, local: bool
) -> FollowingRelay:
    from privity.node.registry_targets import FollowingRelay, FollowSettings

    found = chosen_ledger(ledger, contracts)
    follow = FollowSettings(found.url, found.contracts, local=local, proxy=found.proxy)
    return FollowingRelay(settings, follow)


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
    dev_root: attesting.DevRoot = None,
    attester: attesting.AttesterName = None,
    collateral: attesting.Collateral = None,
    pccs: attesting.Pccs = None,
    certs: attesting.Certs = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    lifeline: Lifeline = False,
) -> None:
    """Release keys to attested code as grants say.

    It keeps the keys of sealed artefacts. Every decision is in its log before it takes effect. It
    believes the roots that your config.toml names, and takes no grant but its owners'.
    """
    from privity.attest import DevRoot
    from privity.home import home
    from privity.identity.keystore import device_key
    from privity.infer.config import load_config
    from privity.node.broker_role import BrokerSettings, serve_broker
    from privity.policy.evidence import EvidencePolicy

    how = attesting.attestation(dev_root, attester, collateral=collateral, pccs=pccs, certs=certs)
    DevRoot.load_or_create(how.dev_root)  # before the configuration is read: it trusts that one
    settings = BrokerSettings(
        folder=folder or home() / "broker",
        attestation=how,
        owners=tuple(owner or ()) or (device_key().did,),
        trust=load_config().trust(EvidencePolicy()),
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


def _ready(url: str, **more: str) -> None:
    output.json_line({"ready": True, "url": url, "pid": os.getpid(), **more})
