"""The anonymous route from end to end: real processes, a real chain, the stock client.

A devnet with a ledger, two relays and two gateways over one store; two persons, each with a home.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from anonymous_net import LIMIT_S, Net, needs_network, run, running_net
from privity.infer.anonymous.recovery import Recovery
from privity.infer.config import load_config
from privity.infer.opening import AnonymousWay
from privity.ledger.local_chain import LocalChain
from privity.policy import Policy

pytestmark = needs_network

QUESTIONS = 10
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running_net(tmp_path_factory.mktemp("anonymous") / "one") as found:
        yield found


@pytest.fixture(scope="module")
def other(net: Net) -> Path:
    """Return the home of a second person, a member with credits."""
    home = net.home.parent / "two"
    net.configure(home)
    address = json.loads(run(["wallet", "account", "--json"], home).stdout)["address"]
    anyio.run(net.fund, address)
    run(["wallet", "top-up", "--policy", "dev", "--limit", "64"], home)
    return home


def receipts(home: Path) -> list[dict[str, Any]]:
    ids = [one["id"] for one in json.loads(run(["receipts", "list", "--json"], home).stdout)]
    shown = [run(["receipts", "show", name, "--json"], home).stdout for name in ids]
    return [json.loads(text)["file"] for text in shown]


def leaves(value: Any) -> Iterator[str]:
    """Yield what could tie two receipts together: every text but times and plain words."""
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    elif isinstance(value, str) and len(value) >= 12 and not _TIME.fullmatch(value):
        yield value


def test_ten_questions_leave_ten_receipts_that_share_nothing(net: Net, other: Path) -> None:
    bought = json.loads(run(["wallet", "top-up", "--policy", "dev", "--json"], net.home).stdout)
    assert bought == {"bought": 1000, "credits": 1000}
    environment = {**os.environ, "PRIVITY_HOME": str(net.home)}
    command = [sys.executable, "-m", "privity.cli", "up", "--json", "--policy", "dev"]
    daemon = subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert daemon.stdout is not None
    try:
        url = json.loads(daemon.stdout.readline())["url"]
        token = (net.home / "token").read_text().strip()
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=token, timeout=LIMIT_S, max_retries=0)
        with client:
            for number in range(QUESTIONS):
                answer = client.chat.completions.with_raw_response.create(
                    model="smollm2-135m-instruct",
                    messages=[{"role": "user", "content": f"Count to {number}."}],
                    max_tokens=8,
                )
                assert answer.headers["privity-route"].startswith("anonymous/")
    finally:
        daemon.terminate()
        daemon.wait(30)
        daemon.stdout.close()

    mine = receipts(net.home)
    assert len(mine) == QUESTIONS
    run(["ask", "--policy", "dev", "--route", "anonymous", "--max-tokens", "2", "Hi"], other)
    everybodys = set(leaves(receipts(other)))
    times = Counter(text for one in mine for text in set(leaves(one)))
    shared = {text for text, count in times.items() if count > 1}
    assert shared, "the receipts name one enclave: a search that finds nothing is broken"
    assert shared <= everybodys, sorted(shared - everybodys)
    issuers = {one["record"]["issuer"] for one in mine}
    statements = {json.dumps(one["statement"], sort_keys=True) for one in mine}
    assert len(issuers) == len(statements) == QUESTIONS
    for one in json.loads(run(["receipts", "list", "--json"], net.home).stdout):
        run(["receipts", "verify", one["id"]], net.home)


def test_each_answer_cost_what_the_tariff_says_and_the_rest_comes_back(net: Net) -> None:
    charged = [
        one["receipt"]["credentialSubject"]["price"]["charged"] for one in receipts(net.home)
    ]
    assert charged and all(charged)
    left = json.loads(run(["wallet", "balance", "--json"], net.home).stdout)
    assert left["credits"] == 1000 - sum(charged) and left["spends_waiting"] == 0
    before = int(json.loads(run(["wallet", "account", "--json"], net.home).stdout)["tokens"])
    paid = run(["wallet", "exit", "--policy", "dev", "--json"], net.home).stdout
    assert json.loads(paid) == {"paid_out": left["credits"], "in_use": 0}
    after = json.loads(run(["wallet", "account", "--json"], net.home).stdout)
    assert int(after["tokens"]) == before + left["credits"]
    assert json.loads(run(["wallet", "balance", "--json"], net.home).stdout)["credits"] == 0


def test_a_daemon_gets_back_what_no_answer_came_for(
    net: Net, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVITY_HOME", str(other))
    config = load_config()
    assert config.network is not None
    way = AnonymousWay(config.network, config, Policy.load("dev"))
    later = time.time() + 2000  # of another process: it waits for longer than a job may take
    recovery = Recovery(way.wallet, way.desk, clock=lambda: later)

    async def look() -> tuple[int, int]:
        wallet = await way.wallet()
        before = wallet.read().balance
        with wallet.turn() as mine:
            mine.spend(7)
        try:
            await recovery.look()
            await recovery.look()  # nothing is left to ask for
        finally:
            await way.aclose()
        return before, wallet.read().balance

    before, after = anyio.run(look)
    assert before == after > 0 and (recovery.spends, recovery.credits) == (1, 7)


def test_an_empty_wallet_asks_nothing_and_says_what_to_do(net: Net, other: Path) -> None:
    run(["wallet", "exit", "--policy", "dev"], other)
    failed = run(["ask", "--policy", "dev", "Hello?"], other, code=None)
    assert failed.returncode != 0
    assert "top-up" in failed.stderr


def test_who_leaves_has_the_stake_back(net: Net, other: Path) -> None:
    leave = ["wallet", "exit", "--leave", "--policy", "dev"]
    assert "--yes" in run(leave, other, code=2).stderr
    before = int(json.loads(run(["wallet", "account", "--json"], other).stdout)["tokens"])
    first = json.loads(run([*leave, "--yes", "--json"], other).stdout)
    assert first["stake"] > 0 and not first["stake_back"] and _TIME.fullmatch(first["stake_from"])
    chain = LocalChain(net.rpc, "anvil")
    chain.ask("evm_increaseTime", 30)
    chain.ask("anvil_mine", "0x1")
    last = json.loads(run([*leave, "--json"], other).stdout)
    paid = {"paid_out": 0, "in_use": 0}
    assert last == paid | {"stake": first["stake"], "stake_back": True, "stake_from": None}
    after = int(json.loads(run(["wallet", "account", "--json"], other).stdout)["tokens"])
    assert after == before + first["stake"] + first["paid_out"]
    assert json.loads(run(["wallet", "balance", "--json"], other).stdout)["member"] is None


def test_the_policy_of_its_name_refuses_a_devnet(net: Net) -> None:
    refused = run(["ask", "--policy", "anonymous", "Hello?"], net.home, code=3)
    assert "anonymous" in refused.stderr


def test_nothing_is_staked_or_paid_without_tokens_or_a_way_that_the_policy_admits(net: Net) -> None:
    home = net.home.parent / "three"
    net.configure(home)
    empty = json.loads(run(["wallet", "account", "--json"], home).stdout)
    assert int(empty["tokens"]) == 0 < int(empty["stake_per_message"])
    refused = run(["wallet", "top-up", "--policy", "dev"], home, code=2)
    assert "a stake of" in refused.stderr and empty["address"] in refused.stderr
    anyio.run(net.fund, empty["address"])
    before = run(["wallet", "account", "--json"], home).stdout
    refused = run(["wallet", "top-up", "--policy", "anonymous"], home, code=3)
    assert run(["wallet", "account", "--json"], home).stdout == before, "nor a fee was paid"
    held = json.loads(run(["wallet", "balance", "--json"], home).stdout)
    assert (held["registering"], held["purchases_waiting"]) == (False, 0)
    run(["wallet", "top-up", "--policy", "dev"], home)
