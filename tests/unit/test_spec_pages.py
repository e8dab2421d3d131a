"""Each test that spec/ or a docstring names exists, so that no promise points at nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.name for path in (ROOT / "spec").glob("*.md"))

# Whatever stands in backticks and begins like a name of a test: `tests/a.py`, `tests/a.py::test_b`,
# `::test_b` of the file named last, `test_b` of the page's own file.
SPAN = re.compile(r"`((?:tests/|::|test_)[^`\n]*)`")
# In a docstring the same stands bare.
BARE = re.compile(r"(?<![\w/:])(?:tests/[\w./-]*\w)?(?:::)?(?:test_\w+)?(?<=\w)")
OWN_FILE = re.compile(r"in `(tests/[^`\n]+)`\s+where no file is named")
DEFINED = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file, or in all files below a folder."""
    found = ROOT / path
    files = found.rglob("test_*.py") if found.is_dir() else [found]
    return frozenset(name for file in files for name in DEFINED.findall(file.read_text()))


def wrong_names(text: str, spans: re.Pattern[str] = SPAN) -> Iterator[str]:
    """Yield each name of a test on a page, or in a docstring, that names nothing."""
    own = OWN_FILE.search(text)
    latest = None
    for span in filter(None, spans.findall(text)):
        path, colons, test = span.partition("::")
        if not colons and span.startswith("test_"):
            path, test = own[1] if own else "tests", span
        elif path:
            latest = path
        else:
            path = latest
        if path is None or not (ROOT / path).exists() or (test and test not in names_in(path)):
            yield span


@pytest.mark.parametrize("page", PAGES)
def test_the_tests_a_page_names_exist(page: str) -> None:
    text = (ROOT / "spec" / page).read_text()
    assert SPAN.search(text)
    assert list(wrong_names(text)) == []


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield each docstring of the package that names a test, with its place."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if BARE.search(text):
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def test_the_tests_that_docstrings_name_exist() -> None:
    named = list(docstrings())
    assert len(named) > 50
    wrong = [(place, span) for place, text in named for span in wrong_names(text, BARE)]
    assert wrong == []


HERE = "tests/unit/test_spec_pages.py"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"`{HERE}`, `{HERE}::test_a_wrong_name_is_found`, `::test_a_wrong_name_is_found`", []),
        ("`test_a_wrong_name_is_found`", []),
        ("`tests/unit/test_gone.py`", ["tests/unit/test_gone.py"]),
        (f"`{HERE}::test_gone`", [f"{HERE}::test_gone"]),
        (f"`{HERE}`, `::test_gone`", ["::test_gone"]),
        (f"`{HERE}`, `tests/unit/test_keys.py`, `::test_a_wrong_name_is_found`", None),
        ("`::test_a_wrong_name_is_found`", ["::test_a_wrong_name_is_found"]),
        ("`test_gone`", ["test_gone"]),
        (f"`{HERE}::test_a_wrong_name_is_found[x]`", [f"{HERE}::test_a_wrong_name_is_found[x]"]),
        ("in `tests/unit/test_keys.py` where no file is named: `test_a_wrong_name_is_found`", None),
    ],
)
def test_a_wrong_name_is_found(text: str, wrong: list[str] | None) -> None:
    found = list(wrong_names(text))
    assert found if wrong is None else found == wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"It holds ({HERE}::test_a_wrong_name_is_found,\n{HERE}).", []),
        ("It holds (test_a_wrong_name_is_found).", []),
        ("Read back by\ntests/interop/test_gone.py.", ["tests/interop/test_gone.py"]),
        (f"It holds ({HERE}::test_gone).", [f"{HERE}::test_gone"]),
        (f"It holds ({HERE}, ::test_gone).", ["::test_gone"]),
        ("It holds (test_gone).", ["test_gone"]),
    ],
)
def test_a_wrong_name_in_a_docstring_is_found(text: str, wrong: list[str]) -> None:
    assert list(wrong_names(text, BARE)) == wrong
