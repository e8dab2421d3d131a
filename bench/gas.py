"""Gas of every call of the contracts, beside a plain ERC-20 transfer on the same EVM.

Lower is better; a ratio is our call's gas over the transfer's. Gas does not depend on the machine.
The transfer is our test token's, between two accounts that both hold some already.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from measure import Report, title

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from evm import Chain, poseidon, sign_exit, signer  # type: ignore[import-not-found]

STAKE, DELAY, ISSUE = 100, 1000, 500
DIGEST = b"\x05" * 32
SIZES = (0, 1, 7, 8, 63, 64)
DID, ENDPOINT = "did:web:relay.example", "https://relay.example/.well-known/ohttp-gateway"


class Measured(Chain):  # type: ignore[misc]
    """The contracts, and a report of what their calls cost.

    Attributes:
        report: the figures so far.
        transfer: gas of the peer.
    """

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report
        self.person, self.other, self.treasury, self.operator, self.guardian = self.accounts[1:6]
        self.address, self.key = signer()
        self.token = self.deploy("Token")
        for who in (self.person, self.other):
            self.send(self.token.functions.mint(who, 10**9))
        self.transfer = self.gas(self.token.functions.transfer(self.other, 5), by=self.person)

    def made(self, name: str, *arguments: Any) -> Any:
        """Deploy, count it, and let the person pay it."""
        contract = self.deploy(name, *arguments)
        deployed = self.web3.eth.get_block("latest")["gasUsed"]
        self.add(f"{name}: deploy", int(deployed))
        allow = self.token.functions.approve(contract.address, 2**256 - 1)
        self.send(allow, by=self.person)
        return contract

    def measure(self, what: str, call: Any, *, by: str | None = None) -> None:
        """Send, and record."""
        self.add(what, self.gas(call, by=by or self.person))

    def add(self, what: str, gas: int) -> None:
        """Record one figure."""
        ratio = gas / self.transfer
        line = f"{gas:>10,} gas   ERC-20 transfer {self.transfer:,}   ratio {ratio:.2f}"
        self.report.add(
            what, line, gas=gas, peer="ERC-20 transfer", peer_gas=self.transfer, ratio=ratio
        )


def of_membership(world: Measured) -> None:
    """Register, remove and record at several sizes of the tree."""
    address = world.token.address
    membership = world.made("Membership", address, STAKE, 7, DELAY, world.treasury)
    does, spent = membership.functions, []
    for count in range(max(SIZES) + 1):
        gas = world.gas(does.register(poseidon(count + 1), 1), by=world.person)
        spent.append(gas)
        if count in SIZES:
            world.add(f"Membership: register, {count} leaves before", gas)
        if count + 1 in (1, 8, 64):
            world.measure(f"Membership: recordRoot, {count + 1} leaves", does.recordRoot())
    world.add("Membership: register, mean of the first 64", sum(spent[:64]) // 64)
    world.measure("Membership: slash, 65 leaves", does.slash(3, 4, world.treasury))
    world.measure("Membership: slash, 65 leaves, the last", does.slash(64, 65, world.treasury))
    world.measure("Membership: requestExit, 65 leaves", does.requestExit(5))
    world.measure("Membership: slash of one leaving", _leaving(world, does, 9))
    world.wait(DELAY)
    world.measure("Membership: withdraw", does.withdraw(5))


def _leaving(world: Measured, does: Any, index: int) -> Any:
    """Let a member leave, and return the slashing of it."""
    world.send(does.requestExit(index), by=world.person)
    return does.slash(index, index + 1, world.treasury)


def of_credits(world: Measured) -> None:
    """Deposit, claim, withdraw in batches, exit, and change keys."""
    terms = [world.operator, world.address, world.guardian, [100, 10_000], b"\x01" * 32, 1, ISSUE]
    credits = world.made("Credits", world.token.address, *terms)
    does, operator, guardian = credits.functions, world.operator, world.guardian
    world.measure("Credits: deposit, the first", does.deposit(10_000, DIGEST))
    world.measure("Credits: deposit", does.deposit(100, DIGEST))
    world.measure("Credits: claimIssued", does.claimIssued(0), by=operator)
    for size in (1, 16, 256):
        batch = [(size << 32 | i).to_bytes(32, "big") for i in range(size)]
        call = does.withdrawSpent(DIGEST, batch, [1] * size)
        world.measure(f"Credits: withdrawSpent, batch of {size}", call, by=operator)
    exit_of = (100, world.other, DIGEST)
    signed = sign_exit(credits, world.key, *exit_of, world.web3.eth.chain_id)
    world.measure("Credits: exitUnspent", does.exitUnspent(*exit_of, signed))
    world.measure("Credits: pause", does.pause(), by=guardian)
    world.wait(ISSUE + 1)
    world.measure("Credits: refundDeposit", does.refundDeposit(1))
    world.measure("Credits: unpause", does.unpause(), by=guardian)
    world.measure("Credits: proposeIssuerKey", does.proposeIssuerKey(DIGEST), by=operator)
    world.measure("Credits: proposeSigner", does.proposeSigner(world.other), by=operator)
    world.wait(10)
    world.measure("Credits: activateIssuerKey", does.activateIssuerKey())
    world.measure("Credits: activateSigner", does.activateSigner())


def of_providers(world: Measured) -> None:
    """Follow an entry through its life."""
    does = world.made("Providers", world.token.address, STAKE, DELAY).functions
    world.measure("Providers: register", does.register(2, DID, ENDPOINT, DIGEST, 5))
    world.measure("Providers: register, longest strings", does.register(1, *_longest(), DIGEST, 5))
    world.measure("Providers: update", does.update(0, ENDPOINT, b"\x06" * 32, 6))
    world.measure("Providers: retire", does.retire(0))
    world.wait(DELAY)
    world.measure("Providers: withdraw", does.withdraw(0))


def _longest() -> tuple[str, str]:
    return "d" * 128, "e" * 256


def main() -> None:
    """Measure and report."""
    title("Gas (our call / a plain ERC-20 transfer; refunds taken off)")
    report = Report("gas")
    world = Measured(report)
    of_membership(world)
    of_credits(world)
    of_providers(world)
    report.write()


if __name__ == "__main__":
    main()
