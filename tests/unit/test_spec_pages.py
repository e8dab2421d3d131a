"""Each test that a page of spec/ names exists, so that no promise points at nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "spec").glob("*.md")))
def test_the_tests_a_page_names_exist(page: str) -> None:
    named = NAMED.findall((ROOT / "spec" / page).read_text())
    assert named
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text() if test else (ROOT / path).is_file(), (
            path,
            test,
        )
