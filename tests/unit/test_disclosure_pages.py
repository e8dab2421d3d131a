"""spec/disclosure.md speaks of tests that exist, of every word there is, and of files that load."""

from __future__ import annotations

import json
import re
from pathlib import Path

from privity.disclosure import Asset, Disclosure, Ground, Party, View
from privity.policy import PRESETS, Ceiling, Policy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "spec" / "disclosure.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_promise_names_a_test() -> None:
    table = PAGE.split("## Promise", 1)[1].split("## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 5
    assert all(NAMED.search(row) for row in rows)


def test_the_page_knows_every_word() -> None:
    words = PAGE.split("## Words", 1)[1].split("## ", 1)[0]
    for word in [*Asset, *Party, *Ground, "size", "predicate", "aggregate", "everything"]:
        assert f"`{word}`" in words
    assert all(f"`{name}`" in PAGE for name in PRESETS)


def test_the_policy_on_the_page_loads_and_means_what_its_comments_say() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    policy = Policy.parse(text)
    assert policy.name == "mine"
    assert Ground.PROMISE in policy[Party.HOST, Asset.PROMPT].grounds
    assert policy[Party.PEERS, Asset.PROMPT] == Ceiling()
    assert policy[Party.PEERS, Asset.UPDATE].view == View.AGGREGATE
    assert policy[Party.LEDGER, Asset.PAYMENT].grounds == set(Ground)
    pair = (Party.ENCLAVE, Asset.PROMPT)
    assert policy[pair] == Policy.load("confidential")[pair]


def test_the_disclosure_on_the_page_is_one() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    data = json.loads(text)
    assert Disclosure.from_json(data).to_json() == data
