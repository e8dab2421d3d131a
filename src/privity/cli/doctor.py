"""`privity doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import enum
import os
import platform
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.infer.config import Config
    from privity.infer.engines.openai_server import OpenAIServer

__all__ = ["doctor"]


class State(enum.StrEnum):
    """How a finding stands; only `BAD` fails the command."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at."""

    subject: str
    state: State
    detail: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON-ready data."""
        return {
            "subject": self.subject,
            "state": self.state.value,
            "detail": self.detail,
            "hint": self.hint,
        }


def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Look at one subject only; may be given again.", metavar="SUBJECT"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at what is there, and what to do about the rest.

    Subjects: versions, home, settings, keyring, engine, weights, servers, attesters, anonymity,
    anvil, devnet, enclave. Nothing is sent anywhere but to loopback and to the enclaves you
    configured.
    """
    from privity.errors import InputError

    unknown = sorted(set(only or ()) - _LOOKS.keys())
    if unknown:
        raise InputError(f"{unknown[0]!r} is not a subject", hint=f"one of {', '.join(_LOOKS)}")
    chosen = [name for name in _LOOKS if not only or name in only]
    found: list[Finding] = []
    with output.progress("looking", quiet=as_json):
        for name in chosen:
            found += _look(name)
    bad = sum(finding.state is State.BAD for finding in found)
    if as_json:
        output.emit_json({"healthy": not bad, "findings": [one.to_json() for one in found]})
    else:
        _write(found)
    if bad:
        raise typer.Exit(output.FAILURE)


def _look(name: str) -> list[Finding]:
    """Look at one subject; an error there is a finding, not the end of the others."""
    from privity.errors import PrivityError

    try:
        return list(_LOOKS[name]())
    except PrivityError as error:
        return [Finding(name, State.BAD, error.message, error.hint)]


def _write(found: list[Finding]) -> None:
    longest = max(len(one.subject) for one in found)
    for one in found:
        mark = output.style("-", "yellow")
        if one.state is not State.NOTE:
            mark = output.check_mark(one.state is State.GOOD)
        output.out(f"{mark} {one.subject.ljust(longest)}  {output.harmless(one.detail)}")
        if one.hint and one.state is not State.GOOD:
            hint = output.harmless(one.hint)
            output.out(f"  {' ' * longest}  {output.style('hint:', 'cyan')} {hint}")


def _versions() -> Iterator[Finding]:
    from importlib.metadata import version

    detail = f"privity {version('privity')}, Python {platform.python_version()}"
    detail += f" on {platform.system()} {platform.machine()}"
    yield Finding("versions", State.GOOD, detail)


def _home() -> Iterator[Finding]:
    from privity.home import home

    folder = home()
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        detail = f"{folder} can be entered by others on this machine (mode {mode:o})"
        yield Finding("home", State.BAD, detail, f"chmod 700 '{folder}'")
    elif not os.access(folder, os.W_OK):
        yield Finding("home", State.BAD, f"{folder} cannot be written", "receipts need it")
    else:
        yield Finding("home", State.GOOD, f"{folder}, for you only")


def _settings() -> Iterator[Finding]:
    """Read all that the configuration names, the manifests among it."""
    from privity.attest.signed_manifest import parse_documents
    from privity.errors import MalformedError, OversizeError
    from privity.infer.config import load_config
    from privity.policy import Policy

    config = load_config()
    policy = Policy.load(config.policy_source)
    trust = config.trust(policy.evidence)
    for name, data in zip(config.manifests, trust.manifests, strict=True):
        try:
            parse_documents([data])
        except (MalformedError, OversizeError) as error:
            hint = "privity reference show says what a manifest approves"
            yield Finding("settings", State.BAD, f"{name}: {error.message}", hint)
            return
    manifests, revocations = parse_documents(trust.manifests)
    counts = {
        "engine": config.engines,
        "enclave": config.enclaves,
        "provider": config.providers,
        "signer": trust.signers,
        "manifest": manifests,
        "revocation": revocations,
        "log": trust.logs,
        "witness": trust.witnesses,
        "development root": config.dev_roots,
    }
    said = ", ".join(_count(name, len(items)) for name, items in counts.items())
    yield Finding("settings", State.GOOD, f"policy {policy.name}, {said}")
    yield from _provider_keys(config)


def _provider_keys(config: Config) -> Iterator[Finding]:
    """Say which provider's key is not there; nothing is asked of a provider."""
    from privity.infer.providers.profile import load_profile

    for peer in config.providers:
        profile = load_profile(peer.profile)
        variable = peer.key_env or profile.key_env
        if not peer.token_command and not os.environ.get(variable):
            detail = f"{variable} is not set, which holds the key of the provider {peer.name}"
            yield Finding("settings", State.NOTE, detail, f"export {variable}=…")


def _count(name: str, count: int) -> str:
    plural = name + ("es" if name.endswith("s") else "s")
    return f"{count or 'no'} {name if count == 1 else plural}"


def _keyring() -> Iterator[Finding]:
    from privity.errors import InputError
    from privity.home import home
    from privity.identity.keystore import device_key, uses_keyring

    if not uses_keyring():
        detail = "not used: the device key is a file only you can read"
        try:
            if (home() / "device.key").exists():
                detail += f", {device_key().did}"
        except InputError as error:
            yield Finding("keyring", State.BAD, error.message, error.hint)
            return
        yield Finding("keyring", State.GOOD, detail)
        return
    import keyring
    from keyring.backends import fail

    backend = keyring.get_keyring()
    if isinstance(backend, fail.Keyring):
        hint = "unset PRIVITY_KEYRING to keep the device key in a file"
        yield Finding("keyring", State.BAD, "this system has no keyring to use", hint)
    else:
        yield Finding("keyring", State.GOOD, f"holds the device key: {backend.name}")


def _engine() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        yield Finding("engine", State.GOOD, f"xllamacpp {version('xllamacpp')}, embedded")
    except PackageNotFoundError:
        hint = "pip install xllamacpp, or run another engine: see `servers`"
        yield Finding("engine", State.NOTE, "the embedded engine is not installed", hint)


def _weights() -> Iterator[Finding]:
    from privity.errors import MissingDependency
    from privity.infer.engines.weights import find_default

    try:
        weights = find_default()
    except MissingDependency as error:
        yield Finding("weights", State.NOTE, error.message, error.hint)
        return
    size = weights.path.stat().st_size / 1e6
    yield Finding("weights", State.GOOD, f"{weights.model}, {size:.0f} MB")


def _servers() -> Iterator[Finding]:
    """Say which model servers answer on their usual ports, and what is odd about their models."""
    import anyio

    from privity.infer.engines import describe
    from privity.infer.engines.discover import discover

    async def ask() -> list[tuple[OpenAIServer, describe.Health]]:
        return [(server, await describe.health(server)) for server in await discover()]

    found = anyio.run(ask)
    for server, health in found:
        models = ", ".join(model.id for model in server.models[:3]) or "no model"
        more = len(server.models) - 3
        models += f" and {more} more" if more > 0 else ""
        name = f"{server.kind} {server.version}".rstrip()
        detail = f"{name} at {server.base_url}: {models}"
        if health.problem is None:
            yield Finding("servers", State.GOOD, detail)
        else:
            detail = f"{detail}; {health.problem.message}"
            yield Finding("servers", State.NOTE, detail, health.problem.hint)
        for away in server.forwarded:
            detail = f"{away.id} is not on this machine: Ollama forwards it to {away.elsewhere}"
            hint = "privity does not ask it; OLLAMA_NO_CLOUD=1 turns that off"
            yield Finding("servers", State.NOTE, detail, hint)
    if not found:
        detail = "no Ollama, LM Studio, vLLM or llama-server on its usual port"
        yield Finding("servers", State.NOTE, detail, "none is needed: there is an embedded engine")


def _attesters() -> Iterator[Finding]:
    """Say which evidence an enclave on this machine could give, without asking for any."""
    from privity.attest.quoters import available

    found = available()
    for one in found:
        state = State.GOOD if one.ready and one.kind != "dev" else State.NOTE
        yield Finding("attesters", state, f"{one.name}: {one.detail}", one.hint)
    if not any(one.ready for one in found if one.kind != "dev"):
        detail = "no hardware would vouch for an enclave on this machine"
        hint = "none is needed to ask; to run an enclave for others, see docs/deploy"
        yield Finding("attesters", State.NOTE, detail, hint)


def _anonymity() -> Iterator[Finding]:
    """Say whether this device could ask as nobody; nobody is asked anything."""
    from privity.hazmat.native import have_native
    from privity.infer.config import load_config

    if not have_native("Rln", "Act"):
        hint = "`make setup` in a checkout builds it, where cargo (Rust) is"
        detail = "privity-core is not installed; only the anonymous route and the bus need it"
        yield Finding("anonymity", State.NOTE, detail, hint)
        return
    if load_config().network is None:
        hint = "`privity devnet --anonymous`, or [anonymous] in config.toml"
        yield Finding("anonymity", State.NOTE, "privity-core is there; no ledger is named", hint)
        return
    from privity.infer.anonymous.opening import configured_wallet

    wallet = configured_wallet().read()
    if wallet.membership is None:
        hint, detail = "privity wallet top-up", "you are no member of the ledger yet"
        if wallet.begun_membership is not None:
            hint, detail = (
                "privity wallet top-up goes on with it",
                "registering as a member broke off",
            )
        yield Finding("anonymity", State.NOTE, detail, hint)
        return
    yield Finding("anonymity", State.GOOD, f"a member, with {wallet.balance} credits")
    waiting = len(wallet.unfinished())
    if waiting:
        detail = f"{waiting} spends that wait for their answers"
        yield Finding("anonymity", State.NOTE, detail, "privity wallet recover")


def _chain() -> Iterator[Finding]:
    """Say whether an anonymous devnet could have its ledger here."""
    from privity.errors import MissingDependency
    from privity.ledger.local_chain import find_anvil

    try:
        yield Finding("anvil", State.GOOD, f"{find_anvil()}, for `privity devnet --anonymous`")
    except MissingDependency as error:
        detail = f"{error.message}; only `privity devnet --anonymous` needs it"
        yield Finding("anvil", State.NOTE, detail, error.hint)


def _devnet() -> Iterator[Finding]:
    from privity.home import home
    from privity.infer.config import load_devnet

    devnet = load_devnet(home())
    if devnet is None:
        yield Finding("devnet", State.NOTE, "none is running", "privity devnet starts one")
        return
    detail = f"dev, running: enclave {devnet.peer.url}, relay {devnet.peer.relay}"
    yield Finding("devnet", State.GOOD, detail)


def _enclave() -> Iterator[Finding]:
    """Verify the enclave a job would use now, without sending anything of a job."""
    from privity.cli.choice import RouteKind
    from privity.cli.job import is_dev, settings
    from privity.errors import PolicyRefusal
    from privity.infer.client import Asker
    from privity.infer.config import load_config

    config = load_config()
    if config.peer() is None:
        ways = [name for name, there in _other_ways(config).items() if there]
        detail = "none is configured and no devnet runs: jobs stay on this device"
        detail += f", or go by {' or '.join(ways)}" if ways else ""
        hint = "add an [[enclave]] to config.toml, or start a devnet"
        yield Finding("enclave", State.NOTE, detail, hint)
        return
    with Asker(settings(None, RouteKind.CONFIDENTIAL, None, None)) as asker:
        try:
            admitted = asker.route()
        except PolicyRefusal as refusal:
            yield Finding("enclave", State.NOTE, refusal.message, refusal.hint)
            return
    label = "dev: plain software" if is_dev(admitted) else "attested hardware"
    models = ", ".join(model.id for model in admitted.route.models)
    detail = f"verified, {label}, admitted by {admitted.policy.name}: {models}"
    yield Finding("enclave", State.GOOD, detail)


def _other_ways(config: Config) -> dict[str, bool]:
    """Return the settings by which jobs leave without an enclave of one's own, where they do."""
    return {"[anonymous]": config.network is not None, "[[provider]]": bool(config.providers)}


_LOOKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "versions": _versions,
    "home": _home,
    "settings": _settings,
    "keyring": _keyring,
    "engine": _engine,
    "weights": _weights,
    "servers": _servers,
    "attesters": _attesters,
    "anonymity": _anonymity,
    "anvil": _chain,
    "devnet": _devnet,
    "enclave": _enclave,
}
