"""The stubs of the native wheel say what is in it: every name, every method and its arguments."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

from native import needs_native

STUBS = Path(__file__).parents[2] / "rust" / "python" / "privity_core" / "__init__.pyi"


def stubbed(body: list[ast.stmt], prefix: str = "") -> dict[str, list[str] | None]:
    """Return each name of the stubs, with its arguments where it is called."""
    found: dict[str, list[str] | None] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found |= {node.name: None} | stubbed(node.body, f"{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[prefix + node.target.id] = None
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            names = [one.arg for one in node.args.args if one.arg != "self"]
            is_value = any(getattr(one, "id", "") == "property" for one in node.decorator_list)
            found[prefix + node.name] = None if is_value else names
    return found


def built(of: Any, prefix: str = "") -> dict[str, list[str] | None]:
    """Return the same of the wheel."""
    found: dict[str, list[str] | None] = {}
    for name, value in vars(of).items():
        if name.startswith("_"):
            continue
        value = getattr(of, name)
        if inspect.isclass(value):
            found |= {name: None} | built(value, f"{name}.")
        elif callable(value):
            names = list(inspect.signature(value).parameters)
            found[prefix + name] = [one for one in names if one != "self"]
        else:
            found[prefix + name] = None
    return found


@needs_native
def test_the_stubs_say_what_is_in_the_wheel() -> None:
    import privity_core

    assert stubbed(ast.parse(STUBS.read_text()).body) == built(privity_core)
