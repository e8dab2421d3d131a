"""Opens the person's wallet and teller from what is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from privity.errors import InputError
from privity.home import home
from privity.infer.anonymous.purse import (
    SharedWallet,
    credits_elsewhere,
    person_wallet,
    wallet_folder,
)
from privity.infer.anonymous.teller import Teller
from privity.infer.config import Config, load_config
from privity.infer.opening import AnonymousWay
from privity.infer.peers import NetworkPeer
from privity.ledger.accounts import load_or_create_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.policy import Policy

__all__ = ["ACCOUNT", "configured_elsewhere", "configured_wallet", "open_teller"]

ACCOUNT = "account.key"
"""The key of the ledger account that buys, beside the wallet."""


def configured_wallet() -> SharedWallet:
    """Return the wallet of the configured ledger; raises `InputError` where there is none."""
    return person_wallet(_deployment())


def configured_elsewhere() -> dict[str, int]:
    """Return the credits in wallets of other ledgers than the configured one, by their names."""
    return credits_elsewhere(_deployment())


@asynccontextmanager
async def open_teller(
    policy: str | Path | None = None,
    *,
    told: Callable[[str], None] = lambda step: None,
    between_s: float,
) -> AsyncIterator[Teller]:
    """Open what acts for the person on the ledger and at the enclave's desk.

    Args:
        policy: a preset or a file, for the way to the desk; None for the configured one.
        told: is told of each step.
        between_s: about how long to wait between two spends that are recovered.

    Raises:
        InputError: no ledger is configured, or a setting is wrong.
        MissingDependency: the native wheel, or a library of the ledger, is not installed.
    """
    config = load_config()
    peer = _peer(config)
    addresses = _addresses(peer)
    wallet = person_wallet(addresses.deployment)
    folder = wallet_folder(addresses.deployment)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    way = AnonymousWay(peer, config, Policy.load(policy or config.policy_source))
    try:
        async with Ledger(
            peer.ledger,
            addresses,
            signer=load_or_create_account(folder / ACCOUNT),
            confirmations=peer.confirmations,
            proxy=peer.proxy or None,
            journal=folder / "account.journal",
            told=told,
        ) as ledger:
            yield Teller(wallet, ledger, way.desk, told, admitted=way.check, between_s=between_s)
    finally:
        await way.aclose()


def _peer(config: Config) -> NetworkPeer:
    if config.network is None:
        raise InputError(
            "no ledger is configured for anonymous requests, and no devnet with one runs",
            hint="`privity devnet --anonymous`, or [anonymous] in config.toml",
        )
    return config.network


def _deployment() -> str:
    return _addresses(_peer(load_config())).deployment


def _addresses(peer: NetworkPeer) -> Addresses:
    return Addresses.from_file(home() / peer.contracts)
