"""Each test that a page of spec/ names exists, so that no promise points at nothing."""

from __future__ import annotations

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
OWN_FILE = re.compile(r"in `(tests/[^`\n]+)`\s+where no file is named")
DEFINED = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file, or in all files below a folder."""
    found = ROOT / path
    files = found.rglob("test_*.py") if found.is_dir() else [found]
    return frozenset(name for file in files for name in DEFINED.findall(file.read_text()))


def wrong_names(text: str) -> Iterator[str]:
    """Yield each name of a test on a page that names nothing."""
    own = OWN_FILE.search(text)
    latest = None
    for span in SPAN.findall(text):
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
