"""The contracts read by a program: what slither would look for, had it a parser of Vyper 0.4.

It walks the compiler's own syntax tree. Findings that it cannot see are argued in
contracts/README.md.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from evm import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vyper") is None,
    reason="the Vyper compiler is not installed here: pip install vyper==0.4.3",
)
SOURCES = ("Token", "Membership", "Credits", "Providers", "money", "poseidon")
SPENDING = ("Membership", "Credits", "Providers")
FORBIDDEN = {
    "raw_call",
    "raw_create",
    "raw_log",
    "raw_revert",
    "selfdestruct",
    "send",
    "create_minimal_proxy_to",
    "create_copy_of",
    "create_from_blueprint",
    "prevrandao",
    "origin",
    "blockhash",
}


@cache
def tree(name: str) -> Any:
    command = [sys.executable, "-m", "vyper", "-p", ".", "--disable-sys-path", "-f", "ast"]
    done = subprocess.run(
        [*command, f"{name}.vy"],
        cwd=ROOT / "contracts",
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)["ast"]


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "ast_type" in node:
            yield node
        for child in node.values():
            yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def functions(name: str) -> list[dict[str, Any]]:
    return [node for node in tree(name)["body"] if node["ast_type"] == "FunctionDef"]


def decorators(function: dict[str, Any]) -> set[str]:
    return {item["id"] for item in function["decorator_list"]}


def moves_money(node: Any) -> bool:
    for found in walk(node):
        if found["ast_type"] == "ExtCall":
            return True
        called = found.get("func", {}) if found["ast_type"] == "Call" else {}
        if called.get("value", {}).get("id") == "money":
            return True
    return False


def changes_state(node: Any) -> bool:
    for found in walk(node):
        if found["ast_type"] in ("Assign", "AugAssign"):
            target = found["target"]
            while "value" in target and isinstance(target["value"], dict):
                target = target["value"]
            if target.get("id") == "self":
                return True
        called = found.get("func", {}) if found["ast_type"] == "Call" else {}
        if called.get("value", {}).get("id") == "self":
            return True  # an internal function may
    return False


@pytest.mark.parametrize("name", SPENDING)
def test_money_moves_after_everything_else_and_under_the_lock(name: str) -> None:
    moving = [function for function in functions(name) if moves_money(function)]
    assert moving
    for function in moving:
        assert {"external", "nonreentrant"} <= decorators(function), function["name"]
        statements = function["body"]
        first = next(i for i, statement in enumerate(statements) if moves_money(statement))
        assert any(changes_state(statement) for statement in statements[:first])
        assert not any(changes_state(statement) for statement in statements[first:])
        assert {s["ast_type"] for s in statements[first:]} <= {"Expr", "Return"}


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_dangerous_is_called(name: str) -> None:
    names = {node.get("id") or node.get("attr") for node in walk(tree(name))}
    assert not names & FORBIDDEN


@pytest.mark.parametrize("name", SOURCES)
def test_every_refusal_says_why(name: str) -> None:
    for node in walk(tree(name)):
        if node["ast_type"] == "Assert":
            assert node["msg"] is not None
            assert len(node["msg"]["value"]) <= 32
        assert node["ast_type"] != "Raise"


def test_money_is_called_for_nothing_but_the_token() -> None:
    called = {
        node["value"]["func"]["attr"]
        for node in walk(tree("money"))
        if node["ast_type"] in ("ExtCall", "StaticCall")
    }
    assert called == {"balanceOf", "transfer", "transferFrom"}
    for name in SPENDING:
        outside = [n for n in walk(tree(name)) if n["ast_type"] in ("ExtCall", "StaticCall")]
        assert outside == []


def test_the_rules_can_fail() -> None:
    """The same rules on a function that pays before it writes."""
    paying = {"ast_type": "Call", "func": {"value": {"id": "money"}, "attr": "push"}}
    writing = {"ast_type": "Assign", "target": {"value": {"id": "self"}, "attr": "paid"}}
    assert moves_money({"ast_type": "Expr", "value": paying})
    assert changes_state(writing)
    assert not changes_state({"ast_type": "Assign", "target": {"id": "local"}})
