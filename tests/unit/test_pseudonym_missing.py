"""What the extra `pseudonyms` installs, and what is said where it is not there."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

from privity.infer.pseudonyms.missing import HINT

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "privity" / "infer" / "pseudonyms"


def _pins() -> set[str]:
    lines = (ROOT / "requirements" / "pseudonyms.in").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_the_hint_names_the_locked_models() -> None:
    assert "'privity[pseudonyms]'" in HINT
    models = HINT.partition("--no-deps ")[2]
    assert set(models.split()) == _pins()


def _imported() -> set[str]:
    found = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"privity"}


def test_the_extra_names_all_that_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    given = [*project["dependencies"], *extras["pseudonyms"]]
    names = {re.split(r"[<>=;\[ ]", one)[0].replace("-", "_") for one in given}
    assert _imported() - names == set()
    bounds = set(extras["pseudonyms"])
    assert bounds <= set(extras["test"])
