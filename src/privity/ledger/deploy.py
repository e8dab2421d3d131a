"""Puts the contracts on a chain: for tests and the devnet, with a token that its owner may mint.

What a deployment with a token of worth needs is in spec/ledger.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from privity.errors import PeerError
from privity.ledger.abi import load_artefact
from privity.ledger.accounts import Account
from privity.ledger.addresses import SETTLE_S, Addresses
from privity.ledger.contract import Contract
from privity.ledger.journal import Journal
from privity.ledger.rpc import Rpc
from privity.ledger.sending import Limits, Sender
from privity.ledger.token import Token
from privity.ledger.wire import Address, read_quantity

__all__ = ["UNIT", "DevTerms", "deploy_all"]

UNIT = 10**18
"""One token, in its smallest unit."""


@dataclass(frozen=True, slots=True)
class DevTerms:
    """What the contracts of a devnet ask; delays are in seconds, amounts in the smallest unit.

    Attributes:
        issuer_key: the public key that credits are issued under, 32 bytes.
        operator: who claims deposits and withdraws what was spent; None for the deployer.
        signer: whose signature lets unspent credits out; None for the deployer.
        guardian: who can pause; None for the deployer.
        treasury: where slashed stakes go; None for the deployer.
        stake_per_message: for each message an epoch.
        bounty: for who slashes.
        member_exit_delay: between leaving and the stake.
        denominations: what one may deposit, ascending.
        rotation_delay: between announcing an issuer key and its use.
        issue_delay: until a deposit that was not claimed can be taken back.
        provider_stake: for an entry of the registry.
        provider_exit_delay: between retiring and the stake.
        mint: accounts that get ``minted`` each, beside the deployer.
        minted: how much.
        settle_s: see `Addresses.settle_s`.
    """

    issuer_key: bytes
    operator: Address | None = None
    signer: Address | None = None
    guardian: Address | None = None
    treasury: Address | None = None
    stake_per_message: int = UNIT // 100
    bounty: int = UNIT // 1000
    member_exit_delay: int = 120
    denominations: tuple[int, ...] = (UNIT, 10 * UNIT, 100 * UNIT)
    rotation_delay: int = 60
    issue_delay: int = 60
    provider_stake: int = UNIT
    provider_exit_delay: int = 60
    mint: Sequence[Address] = ()
    minted: int = 10_000 * UNIT
    settle_s: int = SETTLE_S


async def deploy_all(
    rpc_url: str,
    deployer: Account,
    terms: DevTerms,
    *,
    journal: Path,
    transport: httpx.AsyncBaseTransport | None = None,
    limits: Limits | None = None,
    told: Callable[[str], None] = lambda step: None,
) -> Addresses:
    """Put the four contracts on a chain and return where they are.

    Args:
        rpc_url: a node's JSON-RPC.
        deployer: pays the fees and owns the test token.
        terms: what the contracts ask.
        journal: the deployer's; one of another chain of the same number must not be given.
        transport: an httpx transport to use in place of the network.
        limits: what a transaction may cost.
        told: is told how far a transaction is.

    Raises:
        InputError: a contract refuses the terms, or the deployer cannot pay.
        PeerError: the node is not reached.
    """
    async with Rpc(rpc_url, transport=transport) as rpc:
        chain = read_quantity(await rpc.ask("eth_chainId"), most=2**53 - 1)
        first = read_quantity(await rpc.ask("eth_blockNumber"), most=2**53 - 1)
        sender = Sender(
            rpc,
            deployer,
            chain_id=chain,
            journal=Journal(journal),
            limits=limits,
            told=told,
        )
        me = deployer.address
        token = await _deploy(sender, "Token")
        membership = await _deploy(
            sender,
            "Membership",
            token,
            terms.stake_per_message,
            terms.bounty,
            terms.member_exit_delay,
            terms.treasury or me,
        )
        credits = await _deploy(
            sender,
            "Credits",
            token,
            terms.operator or me,
            terms.signer or me,
            terms.guardian or me,
            list(terms.denominations),
            terms.issuer_key,
            terms.rotation_delay,
            terms.issue_delay,
        )
        providers = await _deploy(
            sender, "Providers", token, terms.provider_stake, terms.provider_exit_delay
        )
        minting = Token(Contract(rpc, "Token", token), sender=sender)
        for holder in dict.fromkeys([me, *terms.mint]):
            await minting.mint(holder, terms.minted)
        return Addresses(
            chain, first, token, membership, credits, providers, settle_s=terms.settle_s
        )


async def _deploy(sender: Sender, name: str, *values: object) -> Address:
    data = load_artefact(name).creation(*values)
    receipt = await sender.send(None, data, what=(name, "its deployment"))
    if receipt.contract is None:
        raise PeerError(f"the ledger's node says that {name} was mined, but not where it is")
    return receipt.contract
