"""An edge node proves a person's questions: real processes, and nodes that fail or lie."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anonymous_net import Net, needs_network, run, running_net
from native import needs_kernel
from tiny_tokens import write_tokenizer

pytestmark = [needs_network, needs_kernel("QueryKey")]

LYING = Path(__file__).parents[1] / "lying_prover.py"
ASK = ["ask", "--policy", "dev", "--route", "anonymous", "--max-tokens", "2"]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running_net(tmp_path_factory.mktemp("edge") / "one", "--prove-queries") as found:
        yield found


@pytest.fixture(scope="module")
def home(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home, on the network and with credits."""
    home = tmp_path_factory.mktemp("person") / "home"
    net.configure(home)
    fund(net, home)
    run(["wallet", "top-up", "--policy", "dev", "--limit", "64", "--json"], home)
    return home


def fund(net: Net, home: Path) -> None:
    import anyio

    account = json.loads(run(["wallet", "account", "--json"], home).stdout)["address"]
    anyio.run(net.fund, account)


@contextmanager
def serving(*command: str, home: Path) -> Iterator[str]:
    """Run a prover until the block ends; its URL."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PRIVITY_HOME": str(home)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def prover(net: Net) -> tuple[str, ...]:
    root = net.folder / "root.key"
    terms = net.folder / "network" / "query.json"
    return (
        *("-m", "privity.cli", "serve", "prover", "--lifeline"),
        *("--dev-root", str(root), "--query", str(terms)),
    )


def use(net: Net, home: Path, *lines: str) -> None:
    """Configure the person anew, with more in the table of this route."""
    net.configure(home)
    with (home / "config.toml").open("a") as config:
        config.write("\n".join(lines) + "\n")


def purse(home: Path) -> tuple[int, int]:
    """Return the balance, and how many spends are unfinished."""
    facts = json.loads(run(["wallet", "balance", "--json"], home).stdout)
    return facts["credits"], facts["spends_waiting"]


def test_a_question_is_proved_by_an_edge_node(net: Net, home: Path, tmp_path: Path) -> None:
    before, _ = purse(home)
    with serving(*prover(net), home=tmp_path) as url:
        use(net, home, f'prover = "{url}"')
        run([*ASK, "What is a relay?"], home)
    balance, unfinished = purse(home)
    assert balance < before
    assert unfinished == 0


def test_a_node_that_is_down_costs_nothing(net: Net, home: Path) -> None:
    before = purse(home)
    use(net, home, 'prover = "http://127.0.0.1:9"')
    refused = run([*ASK, "Hi"], home, code=1)
    assert "edge prover" in refused.stderr
    assert "prover_fallback" in refused.stderr
    assert purse(home) == before


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("garbage", "no proof"),
        ("others", "proof of other tokens"),
        ("refusal", "refuses this query: not today"),
    ],
)
def test_a_node_that_lies_costs_nothing(
    net: Net, home: Path, tmp_path: Path, how: str, said: str
) -> None:
    before = purse(home)
    root = str(net.folder / "root.key")
    with serving(str(LYING), how, root, home=tmp_path) as url:
        use(net, home, f'prover = "{url}"')
        refused = run([*ASK, "Hi"], home, code=None)
        assert refused.returncode != 0
        assert said in refused.stderr
        assert purse(home) == before
        use(net, home, f'prover = "{url}"', "prover_fallback = true")
        run([*ASK, "Hi"], home)
    assert purse(home)[0] < before[0]


def test_a_node_of_another_root_gets_nothing(net: Net, home: Path, tmp_path: Path) -> None:
    before = purse(home)
    command = (*prover(net), "--dev-root", str(tmp_path / "another.key"))
    with serving(*command, home=tmp_path) as url:
        use(net, home, f'prover = "{url}"')
        refused = run([*ASK, "Hi"], home, code=None)
    assert refused.returncode != 0
    assert purse(home) == before


def test_another_models_vocabulary(tmp_path: Path) -> None:
    """Everything in the vocabulary of a tokenizer file; who lacks it is told, and can leave."""
    tokenizer = write_tokenizer(tmp_path)
    with running_net(tmp_path / "one", "--prove-queries", "--tokenizer", str(tokenizer)) as net:
        home = tmp_path / "home"
        net.configure(home)
        fund(net, home)
        run(["wallet", "top-up", "--policy", "dev", "--json"], home)
        before = purse(home)
        refused = run([*ASK, "Hi"], home, code=2)
        assert "tokenizer" in refused.stderr
        assert purse(home) == before
        use(net, home, f'tokenizers = ["{tokenizer}"]')
        run([*ASK, "Hi"], home)
        assert purse(home)[0] < before[0]
        net.configure(home)
        run(["wallet", "exit", "--policy", "dev", "--yes", "--json"], home)
