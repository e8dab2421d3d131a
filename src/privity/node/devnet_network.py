"""Floor 5: the anonymous part of a devnet: a local ledger, two relays, two gateways, one enclave.

All of it on one machine and under keys that this process made, so it hides nothing from whoever
owns the machine, and the disclosure of a job says so. The code that runs is what would run apart.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from privity.anon.query_terms import QueryTerms
from privity.anon.relays import target_name
from privity.home import write_private
from privity.identity.keys import SigningKey
from privity.infer.anonymous.opening import ACCOUNT
from privity.infer.anonymous.purse import wallet_folder
from privity.infer.engines.tokenizer_file import tokens_of_tokenizer
from privity.infer.engines.tokens import tokens_of_file
from privity.infer.engines.weights import find_default
from privity.ledger.accounts import Account, load_or_create_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.deploy import DevTerms, deploy_all
from privity.ledger.local_chain import LocalChain, run_chain
from privity.ledger.providers import ProviderKind
from privity.node.payments import load_issuer_key
from privity.node.role_process import RoleProcess

if TYPE_CHECKING:
    from privity.node.devnet import DevnetSettings

__all__ = ["StartedNetwork", "start_network"]

DENOMINATIONS = (1_000, 10_000, 100_000)
"""Credits that are sold; one credit is the token's smallest unit here."""

_MINTED = 10**9
_SETTLE_S = 4  # of a person who tries it, not of a crowd
_RELAYS = ("relay-a", "relay-b")
_GATEWAYS = ("gateway-a", "gateway-b")
_BUCKETS = (128, 512)  # the third takes seconds to get ready

Command = Callable[..., list[str]]


@dataclass
class StartedNetwork:
    """What was started.

    Attributes:
        roles: the processes by name.
        network: the ``anonymous`` table of ``devnet.json``.
        payments: the file that says how the enclave is paid.
    """

    enclave_url: str
    relay_url: str
    root: str
    models: tuple[str, ...]
    roles: Mapping[str, RoleProcess]
    network: Mapping[str, Any]
    payments: Path


@dataclass
class _Ground:
    """The chain and what stands on it."""

    chain: LocalChain
    addresses: Addresses
    contracts: Path
    accounts: Mapping[str, Account]
    folder: Path
    dids: Mapping[str, str] = field(default_factory=dict)
    query: Path | None = None
    tokenizer: Path | None = None

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    @property
    def scope(self) -> str:
        return self.accounts["operator"].address

    def ledger(self, name: str) -> Ledger:
        return Ledger(
            self.chain.url,
            self.addresses,
            signer=self.accounts[name],
            confirmations=0,
            journal=self.folder / f"{name}.journal",
        )


def start_network(
    settings: DevnetSettings, folder: Path, command: Command, stack: ExitStack
) -> StartedNetwork:
    """Start everything, in order, and list it in the ledger's registry.

    Args:
        settings: ports, engine and limits.
        folder: of the devnet; what is its network's lies in ``network/`` there.
        command: builds the command of a role from its name and arguments.
        stack: ends all of it.

    Raises:
        MissingDependency: the native wheel is missing, or there is no chain on this machine.
        PeerError: a role did not start.
    """
    ground = _lay_ground(folder / "network", stack)
    if settings.prove_queries:
        ground.query = _write_query_terms(ground.folder, settings.tokenizer)
        ground.tokenizer = settings.tokenizer

    def role(name: str, kind: str, *arguments: str) -> RoleProcess:
        limit = settings.start_limit_s
        process = RoleProcess(name, command(kind, *arguments), folder, start_limit_s=limit)
        stack.callback(process.stop)
        return process

    arguments = ["--port", str(settings.enclave_port), "--dev-root", str(folder / "root.key")]
    payments = _write_payments(ground)
    arguments += ["--payments", str(payments)]
    if settings.engine:
        arguments += ["--engine", settings.engine]
    enclave = role("enclave", "enclave", *arguments)
    roles = {"enclave": enclave}
    gateways: dict[str, str] = {}
    for name in _GATEWAYS:
        roles[name] = role(name, "gateway", *_gateway(ground, name, str(enclave.ready["url"])))
        gateways[name] = str(roles[name].ready["url"])
    ports = dict(zip(_RELAYS, _free_ports(settings.relay_port), strict=True))
    for name in _RELAYS:
        roles[name] = role(name, "relay", *_relay(ground, name, ports, gateways))
    digests = {name: bytes.fromhex(str(roles[name].ready["keys_digest"])) for name in _RELAYS}
    keyset = bytes.fromhex(str(enclave.ready["keyset"]).removeprefix("sha256:"))
    urls = {**gateways, **{name: f"http://127.0.0.1:{ports[name]}" for name in _RELAYS}}
    anyio.run(_register, ground, urls, {**dict.fromkeys(_GATEWAYS, keyset), **digests})
    return StartedNetwork(
        enclave_url=str(enclave.ready["url"]),
        relay_url=f"{urls[_RELAYS[0]]}/{target_name(ground.dids[_GATEWAYS[0]])}",
        root=str(enclave.ready.get("root", "")),
        models=tuple(map(str, enclave.ready.get("models", ()))),
        roles=roles,
        network={
            "confirmations": 0,
            "contracts": str(ground.contracts),
            "ledger": ground.chain.url,
            "provider": ground.scope,
        },
        payments=payments,
    )


def _lay_ground(folder: Path, stack: ExitStack) -> _Ground:
    """Start the chain, make accounts, and put the contracts there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in (*folder.glob("*.journal"), *folder.glob("*.key"), *folder.glob("*.db*")):
        left.unlink()  # of a chain that is no more
    chain = stack.enter_context(run_chain())
    names = ("deployer", "operator", *_GATEWAYS, *_RELAYS)
    accounts = {name: load_or_create_account(folder / f"{name}.key") for name in names}
    for account in accounts.values():
        chain.fund(account.address)
    terms = DevTerms(
        issuer_key=load_issuer_key(folder / "issuer.key").public,
        operator=accounts["operator"].address,
        signer=accounts["operator"].address,
        stake_per_message=10,
        bounty=5,
        member_exit_delay=5,
        denominations=DENOMINATIONS,
        provider_stake=1_000,
        rotation_delay=5,
        issue_delay=60,
        mint=[account.address for account in accounts.values()],
        minted=_MINTED,
        settle_s=_SETTLE_S,
    )

    async def deploy() -> Addresses:
        journal = folder / "deploying.journal"
        return await deploy_all(chain.url, accounts["deployer"], terms, journal=journal)

    addresses = anyio.run(deploy)
    contracts = folder / "contracts.json"
    write_private(contracts, addresses.to_bytes())
    dids = {name: SigningKey.generate().did for name in (*_GATEWAYS, *_RELAYS)}
    ground = _Ground(chain, addresses, contracts, accounts, folder, dids)
    anyio.run(_fund_person, ground)
    return ground


async def _fund_person(ground: _Ground) -> None:
    """Give the account of the person's wallet something to buy credits with."""
    folder = wallet_folder(ground.addresses.deployment)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    person = load_or_create_account(folder / ACCOUNT)
    ground.chain.fund(person.address)
    async with ground.ledger("deployer") as ledger:
        await ledger.token.mint(person.address, _MINTED)


def _write_payments(ground: _Ground) -> Path:
    """Write how the enclave is paid."""
    path = ground.folder / "payments.toml"
    query = "" if ground.query is None else f'query = "{ground.query.name}"\n'
    if ground.tokenizer is not None:
        query += f"tokenizer = {json.dumps(str(ground.tokenizer.absolute()))}\n"
    text = f"""\
key   = "issuer.key"
store = "sqlite:spent.db"
scope = "{ground.scope}"
{query}
[ledger]
url           = "{ground.chain.url}"
contracts     = "{ground.contracts.name}"
account       = "operator.key"
confirmations = 0
"""
    write_private(path, text.encode())
    return path


def _write_query_terms(folder: Path, tokenizer: Path | None) -> Path:
    """Write in what requests must be proved: the vocabulary of the model that answers."""
    path = folder / "query.json"
    tokens = tokens_of_tokenizer(tokenizer) if tokenizer else tokens_of_file(find_default())
    write_private(path, QueryTerms(tokens.vocabulary, _BUCKETS).to_bytes())
    return path


def _gateway(ground: _Ground, name: str, enclave: str) -> list[str]:
    return [
        *("--enclave", enclave, "--scope", ground.scope),
        *("--store", f"sqlite:{ground.folder / 'signals.db'}", "--ledger", ground.chain.url),
        *("--contracts", str(ground.contracts), "--account", str(ground.key(name))),
        *("--confirmations", "0", "--every", "1"),
        *(() if ground.query is None else ("--query", str(ground.query))),
    ]


def _relay(
    ground: _Ground, name: str, ports: Mapping[str, int], gateways: Mapping[str, str]
) -> list[str]:
    targets = {target_name(ground.dids[one]): url for one, url in gateways.items()}
    for other, port in ports.items():
        if other != name:
            targets[target_name(ground.dids[other])] = f"http://127.0.0.1:{port}"
    arguments = ["--port", str(ports[name]), "--keys", str(ground.folder / f"{name}.keys")]
    for target, url in targets.items():
        arguments += ["--target", f"{target}={url}"]
    return arguments


async def _register(ground: _Ground, urls: Mapping[str, str], digests: Mapping[str, bytes]) -> None:
    """List gateways and relays: those of the provider under its account, each relay under its own.

    The registry's operators differ, and their machine does not: the disclosure goes by both.
    """
    for name, url in urls.items():
        relay = name in _RELAYS
        kind = ProviderKind.RELAY if relay else ProviderKind.GATEWAY
        async with ground.ledger(name if relay else "operator") as ledger:
            await ledger.token.allow(ground.addresses.providers, await ledger.registry.stake())
            await ledger.registry.register(kind, ground.dids[name], url, digests[name], 0)


def _free_ports(first: int) -> tuple[int, int]:
    """Return two ports that are free now: each relay has to know the other's before it starts."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", first))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
