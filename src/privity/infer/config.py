"""What a person configured: the policy, the enclaves they use, and the roots they trust.

``config.toml`` in the privity home, all of it optional; these are all tables and settings, what is
no list and no name with its default::

    policy = "confidential"          # a preset, or the path of a policy file

    [[enclave]]
    name  = "home"
    url   = "https://enclave.example"
    relay = "https://relay.example/home"   # the relay's resource for this enclave; may be absent

    [[engine]]                       # a model server of your own, beside the embedded one
    name    = "ollama"
    url     = "http://127.0.0.1:11434"
    key_env = "OLLAMA_KEY"           # the environment variable with its API key, if it wants one

    [[provider]]                     # a provider that promises zero retention
    name      = "openai"
    profile   = "openai"             # or azure-openai, anthropic, or the path of a profile
    agreement = "zdr"                # what you have agreed with it; absent: what holds for everyone
    key_env   = "OPENAI_API_KEY"     # where its key is; absent: where the profile says
    # In place of a key: token_command, a program and its arguments. Of the address: url, region,
    # api_version, deployments (a table by model). The models that may be asked for: models. Whole
    # answers in place of streams: whole. docs/how-to/use-a-provider.md has them all.

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
    records    = 2048                # bytes of each record an answer comes in, 16 to 16380
    cadence_ms = 50                  # milliseconds between them; 0 sends as the answer is made,
                                     # which shows its rhythm, and with it the topic
    pace       = "bucket"            # batch, even, bucket, whole: what else shows; spec/seal.md
    delay_ms   = 0                   # with "batch": a random time before each send, at most so long

    [device]
    port            = 8484
    allowed_origins = []             # web pages that may call the daemon from a browser
    engine          = "embedded"     # or "detect": one on its usual port; or a base URL

    [routing]
    order    = ["anonymous", "confidential", "local", "zdr"]  # what a bare model id means
    fallback = "stricter"            # what may answer in place of what failed: none, what shows
                                     # nobody more, or ("ceiling") whatever the policy admits
    default  = "private/best"        # where a request names no model; absent: by the order

    [routing.budget]                 # absent: no limit
    currency    = "USD"
    per_request = 0.10
    per_day     = 2.00
    per_month   = 30.00

    [[alias]]                        # private/fast, private/best, private/cheap, private/strict
    name   = "work"                  # are there already
    prefer = "order"                 # or best, fast, cheap, strict
    routes = ["local", "confidential"]   # that may answer; absent: all
    models = ["zdr/openai/gpt-5", "private-model"]   # absent: any
    needs  = ["tools"]               # what a model has to take, besides what the request needs

    [anonymous]                      # the public ledger that anonymous requests are paid by
    ledger    = "http://127.0.0.1:8545"   # a node's JSON-RPC
    contracts = "contracts.json"     # where the contracts are
    provider  = "0x…"                # its account; absent: the only one that lists gateways
    proxy     = "socks5h://127.0.0.1:9050"   # for all that leaves on this route; absent: none
    isolate   = false                # SOCKS credentials of its own for each request
    confirmations = 12               # blocks after one before it is believed
    tokenizers = []                  # files: of models in whose vocabulary a provider wants proofs
    prover    = "https://edge.example"   # an edge node that makes them; absent: this device
    prover_fallback = false          # this device, where that node makes none

    [pseudonyms]
    vocabulary = "vocabulary.txt"    # words of your own that never leave as they are, one a line
    keep       = "memory"            # or "sealed": what stands for what outlives the daemon

A running devnet describes itself in ``devnet/devnet.json``; it stands in where no enclave is
configured. Nothing here is evidence: which enclave a job may run on is decided by what is
verified and by the policy, never by this file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from privity.attest.evidence_dev import DevRoot
from privity.attest.trust import Trust
from privity.errors import InputError
from privity.home import home, read_file, read_private
from privity.infer import tables as toml
from privity.infer.budget import Budget
from privity.infer.decision import Rules
from privity.infer.peers import (
    EnclavePeer,
    EnginePeer,
    LogPeer,
    NetworkPeer,
    ProviderPeer,
    check_url,
    read_enclave,
    read_engine,
    read_log,
    read_network,
    read_provider,
)
from privity.infer.routing_config import read_routing
from privity.infer.running_devnet import Devnet, load_devnet
from privity.policy.evidence import EvidencePolicy
from privity.seal.records import CADENCES, SIZES
from privity.seal.shaping import DELAYS, Shape

__all__ = ["Config", "Devnet", "load_config", "load_devnet"]

DEFAULT_POLICY = "confidential"
DEFAULT_PORT = 8484
DEFAULT_MAX_AGE = 300.0
EMBEDDED, DETECT = "embedded", "detect"
_MAX_CONFIG_BYTES = 1 << 20
_MAX_MANIFEST = 1 << 20
_TABLES = {
    *("policy", "engine", "enclave", "provider", "log", "trust", "seal", "device", "pseudonyms"),
    *("routing", "alias", "anonymous"),
}
_TRUST = {"signers", "manifests", "witnesses", "dev_roots", "max_age"}


@dataclass(frozen=True)
class Config:
    """The settings of one person on one device; the defaults are what an absent file means.

    Attributes:
        policy: a preset's name, or the path of a policy file.
        enclaves: that may be asked, the first of them unless another is named.
        logs: the transparency logs that are trusted.
        signers: the did:keys of those whose manifests approve what enclaves run.
        manifests: files of manifests and revocations, found from the privity home.
        witnesses: the verifier keys of the witnesses that count.
        dev_roots: the did:keys of the development roots that are trusted.
        port: of the daemon, on loopback; 0 for a free one.
        allowed_origins: the web pages that may call the daemon from a browser.
        max_age: seconds a verified statement is used before it is fetched and verified anew.
        shape: in which sizes and at which times a sealed answer is asked for.
        engine: what answers on the local route: ``embedded``, ``detect``, or a base URL. Detecting
            is asked for by name: whoever came first to a port, another user among them, would
            get the prompts.
        engines: further engines for the local route.
        providers: for the zdr route.
        rules: how requests are routed: ``[routing]`` and ``[[alias]]``.
        budget: the most that is spent with providers; None for no limit.
        vocabulary: the file with the person's own words, in the privity home unless absolute.
        keep_pseudonyms: whether what stands for what is kept in ``memory`` alone, or ``sealed``.
        network: the ledger of the anonymous route; None for none.
        devnet: the devnet that runs under this home; None for none.
        devnet_roots: its root, which stays trusted after it stopped.
        folder: where `load_config` read it; None for one made otherwise.
    """

    policy: str = DEFAULT_POLICY
    engines: tuple[EnginePeer, ...] = ()
    enclaves: tuple[EnclavePeer, ...] = ()
    providers: tuple[ProviderPeer, ...] = ()
    logs: tuple[LogPeer, ...] = ()
    signers: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    dev_roots: tuple[str, ...] = ()
    max_age: float = DEFAULT_MAX_AGE
    shape: Shape = field(default_factory=Shape)
    port: int = DEFAULT_PORT
    allowed_origins: tuple[str, ...] = ()
    engine: str = EMBEDDED
    rules: Rules = field(default_factory=Rules)
    budget: Budget | None = None
    vocabulary: str = ""
    keep_pseudonyms: str = "memory"
    network: NetworkPeer | None = None
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

    def words(self) -> tuple[str, ...]:
        """Return the person's own vocabulary, read anew each time.

        Raises:
            InputError: the file cannot be read, or others on this machine can read it.
        """
        return _read_words(home() / self.vocabulary) if self.vocabulary else ()


def _read_words(path: Path) -> tuple[str, ...]:
    lines = (line.strip() for line in read_private(path).decode("utf-8", "replace").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def load_config(folder: Path | None = None) -> Config:
    """Read ``config.toml`` and a running devnet's description from the privity home.

    Raises:
        InputError: the file is not TOML, or a setting in it is wrong; unknown settings are refused
            so that a misspelt one is not silently ignored.
    """
    folder = folder or home()
    path = folder / "config.toml"
    _refuse_writable(path)
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


def _parse(table: Mapping[str, Any], devnet: Devnet | None) -> Config:
    toml.known(table, _TABLES, "")
    trust = toml.section(table, "trust", _TRUST)
    seal = toml.section(table, "seal", {"records", "cadence_ms", "pace", "delay_ms"})
    device = toml.section(table, "device", {"port", "allowed_origins", "engine"})
    network = read_network(
        toml.section(
            table,
            "anonymous",
            {
                *("ledger", "contracts", "provider", "proxy", "isolate", "confirmations"),
                *("tokenizers", "prover", "prover_fallback"),
            },
        ),
        devnet.network if devnet else None,
    )
    pseudonyms = toml.section(table, "pseudonyms", {"vocabulary", "keep"})
    rules, budget = read_routing(table)
    engine = toml.text_or(device, "engine", EMBEDDED)
    if engine not in (EMBEDDED, DETECT):
        check_url(engine)
    _check_names(table)
    return Config(
        policy=toml.text_or(table, "policy", DEFAULT_POLICY),
        engines=tuple(map(read_engine, toml.tables(table.get("engine", []), "engine"))),
        enclaves=tuple(map(read_enclave, toml.tables(table.get("enclave", []), "enclave"))),
        providers=tuple(map(read_provider, toml.tables(table.get("provider", []), "provider"))),
        logs=tuple(map(read_log, toml.tables(table.get("log", []), "log"))),
        signers=toml.texts(trust, "signers"),
        manifests=toml.texts(trust, "manifests"),
        witnesses=toml.texts(trust, "witnesses"),
        dev_roots=toml.texts(trust, "dev_roots"),
        max_age=toml.number(trust, "max_age", DEFAULT_MAX_AGE, 1, 86400),
        shape=_shape(seal),
        port=int(toml.number(device, "port", DEFAULT_PORT, 0, 65535)),
        allowed_origins=toml.texts(device, "allowed_origins"),
        engine=engine,
        rules=rules,
        budget=budget,
        vocabulary=toml.text_or(pseudonyms, "vocabulary", ""),
        keep_pseudonyms=_kept(pseudonyms),
        network=network,
        devnet=devnet,
    )


def _check_names(table: Mapping[str, Any]) -> None:
    """Refuse two rungs of one name: the second would take the place of the first unseen."""
    for kind in ("engine", "enclave", "provider"):
        names = [one.get("name") for one in toml.tables(table.get(kind, []), kind)]
        given = [name for name in names if name is not None]
        twice = sorted({str(name) for name in given if given.count(name) > 1})
        if twice:
            raise InputError(
                f"[[{kind}]] {twice[0]!r:.80} is there twice", hint="give one another name"
            )


def _refuse_writable(path: Path) -> None:
    """Refuse a file that others on this machine could change: it names who gets the prompts."""
    if not path.exists() or not path.parent.stat().st_mode & 0o077:
        return  # nobody else gets into the folder
    if path.stat().st_mode & 0o022:
        raise InputError(f"others on this machine can change {path}", hint=f"chmod 600 '{path}'")


def _shape(table: Mapping[str, Any]) -> Shape:
    """Read the ``[seal]`` table; a number of 0 stands for none."""
    default = Shape()
    return Shape(
        toml.whole(table, "records", default.records or 0, SIZES),
        toml.whole(table, "cadence_ms", default.cadence_ms or 0, range(CADENCES.stop)) or None,
        pace=toml.choice(table, "pace", default.pace, "[seal] "),
        delay_ms=toml.whole(table, "delay_ms", 0, range(DELAYS.stop)) or None,
    )


def _kept(table: Mapping[str, Any]) -> str:
    keep = toml.text_or(table, "keep", "memory")
    if keep not in ("memory", "sealed"):
        raise InputError('[pseudonyms] keep must be "memory" or "sealed"')
    return keep


def _same_url(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
