"""Whom a job can be given to, as a person configured it: engines, enclaves, logs and providers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from privity.attest.log.note import Algorithm, parse_keys
from privity.errors import InputError, MalformedError
from privity.infer import tables as toml
from privity.ledger import CONFIRMATIONS

__all__ = [
    "EnclavePeer",
    "EnginePeer",
    "LogPeer",
    "NetworkPeer",
    "ProviderPeer",
    "check_url",
    "read_enclave",
    "read_engine",
    "read_log",
    "read_network",
    "read_provider",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class EnginePeer:
    """A model server of the person's own, on this machine or another.

    Attributes:
        url: its base URL, with or without ``/v1``.
        name: what the person calls it.
        key_env: the environment variable that holds its API key, if it wants one.
    """

    url: str
    name: str
    key_env: str = ""

    def __post_init__(self) -> None:
        check_url(self.url)


@dataclass(frozen=True)
class EnclavePeer:
    """An enclave and how to reach it.

    Attributes:
        url: where the enclave serves its gateway and statement.
        relay: the relay's resource for this enclave, or None to go to it directly.
        name: what the person calls it.
    """

    url: str
    relay: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for url in (self.url, self.relay):
            if url is not None:
                check_url(url)


@dataclass(frozen=True)
class LogPeer:
    """A transparency log and where it is read.

    Attributes:
        key: its C2SP verifier key.
        url: where its tiles are; None where this device cannot read it.
    """

    key: str
    url: str | None = None

    def __post_init__(self) -> None:
        try:
            parse_keys([self.key], Algorithm.ED25519)
        except MalformedError as error:
            raise InputError(f"[[log]] key: {error.message}") from None
        if self.url is not None:
            check_url(self.url)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.key.partition("+")[0]


@dataclass(frozen=True)
class ProviderPeer:
    """A provider, the account that is used there, and what was agreed with it.

    Attributes:
        name: what the person calls it.
        profile: the provider's profile: a name that privity ships, or the path of a TOML file.
        url: its base URL; None takes the profile's, which some, such as Azure, do not have.
        key_env: the environment variable with the API key; empty takes the profile's.
        token_command: a command that prints an access token, such as Azure's for Entra; run without
            a shell, at most every few minutes.
        agreement: the agreement of the profile that the person has with it, such as ``zdr``; empty
            for none: then the terms that hold for everyone are what counts.
        deployments: by model id, the name of its deployment (Azure).
        api_version: the API version to name (Azure); empty takes the profile's.
        region: where the person's resource is, where the provider has regions.
        models: the model ids to offer; empty takes the profile's list.
        whole: ask for whole answers in place of streams, so that their rhythm does not show.
    """

    name: str
    profile: str
    url: str | None = None
    key_env: str = ""
    token_command: tuple[str, ...] = ()
    agreement: str = ""
    deployments: Mapping[str, str] = field(default_factory=dict)
    api_version: str = ""
    region: str = ""
    models: tuple[str, ...] = ()
    whole: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "deployments", MappingProxyType(dict(self.deployments)))
        if self.url is not None:
            check_url(self.url)

    def __hash__(self) -> int:
        return hash((self.name, self.profile, self.url, self.agreement, self.region))


@dataclass(frozen=True)
class NetworkPeer:
    """The public ledger that anonymous requests are admitted and paid by, and how it is reached.

    Attributes:
        ledger: URL of a node's JSON-RPC.
        contracts: the file with the contracts' addresses, in the privity home unless absolute.
        provider: the account of the provider to ask; a DID will do while one account alone lists
            it, and none while one account alone lists gateways.
        proxy: a SOCKS proxy for everything that leaves on this route, such as Tor's; empty for
            none. Where it cannot be reached nothing leaves.
        confirmations: blocks that must follow one before it is believed.
        isolate: give each request SOCKS credentials of its own, so that Tor takes another circuit.
        tokenizers: files of tokenizers, in the privity home unless absolute, for providers that
            want queries proved in the vocabulary of another model than the demo's.
        prover: URL of an edge node that proves queries; empty proves them on this device.
        prover_fallback: prove on this device where that node makes no proof.
    """

    ledger: str = field(repr=False)  # it may hold a key
    contracts: str
    provider: str = ""
    proxy: str = field(default="", repr=False)
    isolate: bool = False
    confirmations: int = CONFIRMATIONS
    tokenizers: tuple[str, ...] = ()
    prover: str = ""
    prover_fallback: bool = False

    def __post_init__(self) -> None:
        check_url(self.ledger)
        if self.prover:
            check_url(self.prover)
        elif self.prover_fallback:
            raise InputError("[anonymous] prover_fallback is of a prover", hint="name the prover")
        if self.proxy and urlsplit(self.proxy).scheme != "socks5h":
            raise InputError(
                "[anonymous] proxy must be a socks5h:// URL",
                hint="with the h it is the proxy that looks names up, and not this device",
            )


def read_engine(table: Mapping[str, Any]) -> EnginePeer:
    """Read an ``[[engine]]`` table; raises `InputError`."""
    toml.known(table, {"name", "url", "key_env"}, "[[engine]] ")
    return EnginePeer(
        toml.text(table, "url"), _name(table, "engine"), toml.text_or(table, "key_env", "")
    )


def read_enclave(table: Mapping[str, Any]) -> EnclavePeer:
    """Read an ``[[enclave]]`` table; raises `InputError`."""
    toml.known(table, {"name", "url", "relay"}, "[[enclave]] ")
    relay = toml.text(table, "relay") if "relay" in table else None
    return EnclavePeer(toml.text(table, "url"), relay, toml.text_or(table, "name", ""))


def read_log(table: Mapping[str, Any]) -> LogPeer:
    """Read a ``[[log]]`` table; raises `InputError`."""
    toml.known(table, {"key", "url"}, "[[log]] ")
    return LogPeer(toml.text(table, "key"), toml.text(table, "url") if "url" in table else None)


def read_network(
    table: Mapping[str, Any], running: NetworkPeer | None = None
) -> NetworkPeer | None:
    """Read the ``[anonymous]`` table; raises `InputError`.

    Args:
        table: its settings.
        running: the network of a devnet that runs, of which a table is that names none; None for
            no devnet.

    Returns:
        What it says; None where it is empty and no devnet runs.
    """
    if not table:
        return running
    where = "[anonymous] "
    if running is not None and not {"ledger", "contracts"} & table.keys():
        known = ("ledger", "contracts", "provider", "confirmations")
        table = {**{name: getattr(running, name) for name in known}, **table}
    if "ledger" not in table:
        raise InputError(
            f"{where}'ledger' is missing",
            hint="the URL of a ledger's node; `privity devnet --anonymous` has one, and needs none "
            "named while it runs",
        )
    return NetworkPeer(
        toml.text(table, "ledger", where),
        toml.text(table, "contracts", where),
        toml.text_or(table, "provider", ""),
        toml.text_or(table, "proxy", ""),
        toml.yes_or_no(table, "isolate", default=False),
        int(toml.number(table, "confirmations", CONFIRMATIONS, 0, 1000)),
        toml.texts(table, "tokenizers", where),
        toml.text_or(table, "prover", "", where),
        toml.yes_or_no(table, "prover_fallback", default=False),
    )


_PROVIDER = {
    *("name", "profile", "url", "key_env", "token_command", "agreement", "deployments"),
    *("api_version", "region", "models", "whole"),
}


def read_provider(table: Mapping[str, Any]) -> ProviderPeer:
    """Read a ``[[provider]]`` table; raises `InputError`."""
    toml.known(table, _PROVIDER, "[[provider]] ")
    deployments = table.get("deployments", {})
    if not isinstance(deployments, dict) or not all(
        isinstance(name, str) and name for name in deployments.values()
    ):
        raise InputError("[[provider]] deployments is a table of model ids and their deployments")
    return ProviderPeer(
        name=_name(table, "provider"),
        profile=toml.text_or(table, "profile", toml.text(table, "name")),
        url=toml.text(table, "url") if "url" in table else None,
        key_env=toml.text_or(table, "key_env", ""),
        token_command=toml.texts(table, "token_command"),
        agreement=toml.text_or(table, "agreement", ""),
        deployments=deployments,
        api_version=toml.text_or(table, "api_version", ""),
        region=toml.text_or(table, "region", ""),
        models=toml.texts(table, "models"),
        whole=toml.yes_or_no(table, "whole", default=False),
    )


def _name(table: Mapping[str, Any], what: str) -> str:
    name = toml.text(table, "name")
    if not _NAME.fullmatch(name):
        raise InputError(f"[[{what}]] name: {name!r:.80} is not one of letters, digits, . _ and -")
    return name


def check_url(url: str) -> None:
    """Refuse a peer URL that is not plain http(s).

    Raises:
        InputError: another scheme, no host, or credentials, a query or a fragment in it.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises on a port that is none
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{url!r} is not an http or https URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(f"{url!r} may hold no credentials, query or fragment")
