"""`privity.__all__` is the promise to programs: adding or removing a name is a decision."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import privity
import privity.errors

FUNCTIONS = ["ask", "async_http_client", "http_client", "stream"]
CLASSES = ["Answer", "AnswerStream"]


def test_the_public_names_are_these() -> None:
    assert privity.__all__ == sorted([*CLASSES, *FUNCTIONS, *privity.errors.__all__])


@pytest.mark.parametrize("name", privity.__all__)
def test_each_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(privity, name)
    assert value.__doc__
    assert name in dir(privity)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing_here'"):
        _ = privity.nothing_here


def test_importing_privity_loads_no_network_or_cryptography() -> None:
    script = (
        "import sys, privity; "
        "print([m for m in ('httpx', 'cryptography', 'anyio', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert out.stdout.strip() == b"[]"


PACKAGES = [
    *("privity.anon", "privity.ledger"),
    *("privity.attest", "privity.attest.log", "privity.node", "privity.vault", "privity.infer"),
    "privity.infer.anonymous",
    *("privity.infer.engines", "privity.infer.providers", "privity.infer.pseudonyms"),
    *("privity.infer.routes", "privity.infer.shapes"),
]
NAME = re.compile(r"`((?:[a-z_]+\.)*\w+)`")


def _listed(module: ModuleType) -> list[str]:
    """Return the names that a package's docstring lists as public."""
    return NAME.findall((module.__doc__ or "").partition("Public names")[2])


def _from(package: str) -> set[tuple[str, str]]:
    """Return the module and name of each import from a package by the folders outside it."""
    root = Path(privity.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        own = ".".join(("privity", *path.relative_to(root).with_suffix("").parts))
        if own.startswith(f"{package}."):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}."):
                found |= {(node.module or "", one.name) for one in node.names}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_a_package_lists_exists(package: str) -> None:
    module = importlib.import_module(package)
    listed = _listed(module)
    assert set(getattr(module, "__all__", [])) <= set(listed)
    for name in listed:
        if name.startswith("privity."):
            importlib.import_module(name)
            continue
        below, _, last = name.rpartition(".")
        place = importlib.import_module(f"{package}.{below}") if below else module
        assert hasattr(place, last), name


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_every_module_that_other_folders_use(package: str) -> None:
    module = importlib.import_module(package)
    exported = set(getattr(module, "__all__", []))
    listed = _listed(module)
    below = [one for one in PACKAGES if one.startswith(f"{package}.")]
    used = {place for place, name in _from(package) if place != package and name not in exported}
    used = {one for one in used if not any(f"{one}.".startswith(f"{other}.") for other in below)}
    assert used
    missing = [
        one for one in used if not any(f"{package}.{name}".startswith(f"{one}.") for name in listed)
    ]
    assert sorted(missing) == []
