"""What a person configured: the policy, the enclaves they use, and the roots they trust.

``config.toml`` in the privity home, all of it optional::

    policy = "confidential"          # a preset, or the path of a policy file

    [[enclave]]
    name  = "home"
    url   = "https://enclave.example"
    relay = "https://relay.example/home"   # the relay's resource for this enclave; may be absent

    [trust]
    signers   = ["did:key:z6Mk…"]    # whose manifests approve what enclaves run
    manifests = ["approved.json"]    # manifests and revocations kept here; enclaves bring theirs
    witnesses = ["w.example+…"]      # C2SP verifier keys of the witnesses that count
    dev_roots = ["did:key:z6Mk…"]    # `dev`, or a policy of your own, admits what they vouch for
    max_age   = 300                  # seconds a verified statement is used before a new one

    [[log]]
    key = "log.example+…"            # C2SP verifier key of a transparency log you trust
    url = "https://log.example"      # where it is read, to see that it only grew; may be absent

    [seal]
    records    = 512                 # bytes of each record an answer comes in, 16 to 16380
    cadence_ms = 0                   # send one record every so many milliseconds, said or not;
                                     # 0 sends as the answer is made, which shows its rhythm

    [device]
    port            = 8484
    allowed_origins = []             # web pages that may call the daemon from a browser
    engine          = "embedded"     # or "detect": one on its usual port; or a base URL

A running devnet describes itself in ``devnet/devnet.json``; it stands in where no enclave is
configured. Nothing here is evidence: which enclave a job may run on is decided by what is
verified and by the policy, never by this file.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from privity.attest.evidence_dev import DevRoot
from privity.attest.log.note import Algorithm, parse_keys
from privity.attest.trust import Trust
from privity.errors import InputError, MalformedError
from privity.home import home, read_file
from privity.policy.evidence import EvidencePolicy
from privity.seal.records import CADENCES, DEFAULT_SIZE, SIZES

__all__ = ["Config", "Devnet", "EnclavePeer", "LogPeer", "load_config", "load_devnet"]

DEFAULT_POLICY = "confidential"
DEFAULT_PORT = 8484
DEFAULT_MAX_AGE = 300.0
EMBEDDED, DETECT = "embedded", "detect"
_MAX_CONFIG_BYTES = 1 << 20
_MAX_MANIFEST = 1 << 20


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
class Devnet:
    """A devnet that is running on this machine.

    Attributes:
        peer: its enclave, behind its relay.
        root: the did:key of its development root.
    """

    peer: EnclavePeer
    root: str


@dataclass(frozen=True)
class Config:
    """The settings of one person on one device; the defaults are what an absent file means.

    Attributes:
        max_age: seconds a verified statement is used before it is fetched and verified anew.
        records: bytes of each record in which a sealed answer is asked for.
        cadence_ms: milliseconds between those records; 0 to have them as they are made.
        engine: what answers on the local route: ``embedded``, ``detect``, or a base URL. Detecting
            is asked for by name: whoever came first to a port, another user among them, would
            get the prompts.
        folder: where `load_config` read it; None for one made otherwise.
    """

    policy: str = DEFAULT_POLICY
    enclaves: tuple[EnclavePeer, ...] = ()
    logs: tuple[LogPeer, ...] = ()
    signers: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    dev_roots: tuple[str, ...] = ()
    max_age: float = DEFAULT_MAX_AGE
    records: int = DEFAULT_SIZE
    cadence_ms: int = 0
    port: int = DEFAULT_PORT
    allowed_origins: tuple[str, ...] = ()
    engine: str = EMBEDDED
    devnet: Devnet | None = field(default=None, compare=False)
    devnet_roots: tuple[str, ...] = ()
    folder: Path | None = field(default=None, compare=False)

    def peer(self, enclave: str | None = None, relay: str | None = None) -> EnclavePeer | None:
        """Return the enclave to use, or None when there is none.

        Args:
            enclave: a configured name, or a URL; None for the first configured one, or the devnet.
            relay: overrides the relay of that enclave.

        Raises:
            InputError: a name that is not configured, or a relay without an enclave.
        """
        found = self._named(enclave) if enclave else self._default()
        if relay is None or found is None:
            if relay is not None:
                raise InputError(
                    "a relay was given but no enclave to reach through it",
                    hint="name the enclave too, or add it to config.toml",
                )
            return found
        return EnclavePeer(found.url, relay, found.name)

    def _default(self) -> EnclavePeer | None:
        if self.enclaves:
            return self.enclaves[0]
        return self.devnet.peer if self.devnet else None

    def _named(self, enclave: str) -> EnclavePeer:
        if "://" in enclave:
            known = [*self.enclaves, *([self.devnet.peer] if self.devnet else [])]
            same = [peer for peer in known if _same_url(peer.url, enclave)]
            return same[0] if same else EnclavePeer(enclave)
        for peer in self.enclaves:
            if peer.name == enclave:
                return peer
        if enclave == "devnet" and self.devnet:
            return self.devnet.peer
        names = ", ".join(peer.name for peer in self.enclaves if peer.name) or "none"
        raise InputError(
            f"no enclave is called {enclave!r}; configured: {names}",
            hint="give its URL, or add an [[enclave]] to config.toml",
        )

    @property
    def policy_source(self) -> str | Path:
        """The configured policy for `Policy.load`: a preset, or a file found from the privity home.

        Never from the current directory: whoever filled it would set the ceiling.
        """
        if "/" not in self.policy and not self.policy.endswith(".toml"):
            return self.policy
        return home() / self.policy  # an absolute path stays as it is

    @property
    def trusted_dev_roots(self) -> tuple[str, ...]:
        """The development roots of the file, and that of the devnet of this home.

        The devnet's is trusted after the devnet has stopped too, so that receipts still verify.
        """
        return tuple(dict.fromkeys((*self.dev_roots, *self.devnet_roots)))

    def trust(self, evidence: EvidencePolicy, *, dev_roots: Sequence[str] = ()) -> Trust:
        """Return what this person trusts, under what a policy demands of evidence.

        Args:
            evidence: the policy's demands.
            dev_roots: further development roots, for this once.

        Raises:
            InputError: a root, signer or key that is none, or a manifest that cannot be read.
        """
        return Trust(
            dev_roots=(*self.trusted_dev_roots, *dev_roots),
            policy=evidence,
            signers=self.signers,
            manifests=tuple(
                read_file(home() / name, most=_MAX_MANIFEST, what="the manifest").strip()
                for name in self.manifests
            ),
            logs=tuple(log.key for log in self.logs),
            witnesses=self.witnesses,
        )


def load_config(folder: Path | None = None) -> Config:
    """Read ``config.toml`` and a running devnet's description from the privity home.

    Raises:
        InputError: the file is not TOML, or a setting in it is wrong; unknown settings are refused
            so that a misspelt one is not silently ignored.
    """
    folder = folder or home()
    path = folder / "config.toml"
    data = read_file(path, most=_MAX_CONFIG_BYTES, what="the configuration", absent=b"")
    try:
        table = tomllib.loads(data.decode())
        config = _parse(table, load_devnet(folder))
        roots = _devnet_roots(folder, config.devnet)
        return replace(config, devnet_roots=roots, folder=folder)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error


def _devnet_roots(folder: Path, devnet: Devnet | None) -> tuple[str, ...]:
    """Return the roots of this home's devnet: of the one that runs, and of the key it keeps."""
    key = folder / "devnet" / "root.key"
    roots = [devnet.root] if devnet else []
    if key.exists():
        roots.append(DevRoot.load(key).did)
    return tuple(dict.fromkeys(roots))


def load_devnet(folder: Path) -> Devnet | None:
    """Return the devnet that runs under this home, or None.

    A description whose processes are gone is what a crashed devnet left behind: None.

    Raises:
        InputError: the description exists and is not one.
    """
    path = folder / "devnet" / "devnet.json"
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}: {error}", hint="stop the devnet, delete it"
        ) from error
    try:
        pids = data["pids"]
        numbers = list(pids.values()) if isinstance(pids, dict) else list(pids)
        devnet = Devnet(
            EnclavePeer(_text(data, "enclave"), _text(data, "relay"), "devnet"), _text(data, "root")
        )
        alive = all(_runs(int(pid)) for pid in numbers)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} does not describe a devnet: {error!r}") from error
    return devnet if alive else None


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


def _parse(table: Mapping[str, Any], devnet: Devnet | None) -> Config:
    _known(table, {"policy", "enclave", "log", "trust", "seal", "device"}, "")
    trust = _section(table, "trust", {"signers", "manifests", "witnesses", "dev_roots", "max_age"})
    seal = _section(table, "seal", {"records", "cadence_ms"})
    device = _section(table, "device", {"port", "allowed_origins", "engine"})
    engine = _text(device, "engine") if "engine" in device else EMBEDDED
    if engine not in (EMBEDDED, DETECT):
        check_url(engine)
    return Config(
        policy=_text(table, "policy") if "policy" in table else DEFAULT_POLICY,
        enclaves=tuple(_enclave(one) for one in _tables(table.get("enclave", []), "enclave")),
        logs=tuple(_log(one) for one in _tables(table.get("log", []), "log")),
        signers=_texts(trust, "signers"),
        manifests=_texts(trust, "manifests"),
        witnesses=_texts(trust, "witnesses"),
        dev_roots=_texts(trust, "dev_roots"),
        max_age=_number(trust, "max_age", DEFAULT_MAX_AGE, 1, 86400),
        records=_whole(seal, "records", DEFAULT_SIZE, SIZES),
        cadence_ms=_whole(seal, "cadence_ms", 0, range(CADENCES.stop)),
        port=int(_number(device, "port", DEFAULT_PORT, 0, 65535)),
        allowed_origins=_texts(device, "allowed_origins"),
        engine=engine,
        devnet=devnet,
    )


def _enclave(entry: Mapping[str, Any]) -> EnclavePeer:
    _known(entry, {"name", "url", "relay"}, "[[enclave]] ")
    return EnclavePeer(
        _text(entry, "url"),
        _text(entry, "relay") if "relay" in entry else None,
        _text(entry, "name") if "name" in entry else "",
    )


def _known(table: Mapping[str, Any], names: set[str], where: str) -> None:
    unknown = sorted(table.keys() - names)
    if unknown:
        raise InputError(
            f"unknown setting {where}{unknown[0]!r}", hint=f"known: {', '.join(sorted(names))}"
        )


def _section(table: Mapping[str, Any], name: str, names: set[str]) -> Mapping[str, Any]:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise InputError(f"[{name}] must be a table")
    _known(section, names, f"[{name}] ")
    return section


def _log(entry: Mapping[str, Any]) -> LogPeer:
    _known(entry, {"key", "url"}, "[[log]] ")
    return LogPeer(_text(entry, "key"), _text(entry, "url") if "url" in entry else None)


def _tables(value: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InputError(f"each {name} is written as a [[{name}]] table")
    return value


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value:
        raise InputError(f"{name!r} must be a text")
    return value


def _texts(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise InputError(f"{name!r} must be a list of texts")
    return tuple(value)


def _number(
    table: Mapping[str, Any], name: str, default: float, least: float, most: float
) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"{name!r} must be a number from {least:g} to {most:g}")
    return value


def _whole(table: Mapping[str, Any], name: str, default: int, allowed: range) -> int:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise InputError(f"{name!r} must be a whole number from {allowed[0]} to {allowed[-1]}")
    return value


def _same_url(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _runs(pid: int) -> bool:
    """Tell whether a process exists; one of another user counts, it answers EPERM."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
