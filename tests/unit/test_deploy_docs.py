"""The pages of docs/deploy name commands, files and pages that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from privity.attest.quoters import ATTESTERS
from privity.cli import deploy
from privity.node.deploy import TARGETS

TREE = Path(__file__).parents[2]
FOLDER = TREE / "docs" / "deploy"
PAGES = sorted(FOLDER.glob("*.md"))


def commands(text: str, begin: str) -> list[list[str]]:
    """Return the words of each such command in the page's shell blocks, joined over line ends."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(begin):
                found.append(shlex.split(line, comments=True))
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_has_a_page_that_renders_it(target: str) -> None:
    page = (FOLDER / f"{target}.md").read_text()
    rendered = commands(page, "privity deploy render")
    assert rendered
    assert all(words[words.index("--target") + 1] == target for words in rendered)
    assert "## Where the hardware begins" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_option_written_is_one_the_command_takes(page: Path) -> None:
    group: Any = typer.main.get_command(deploy.app)
    known = {name for option in group.commands["render"].params for name in option.opts}
    for words in commands(page.read_text(), "privity deploy render"):
        assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_index_lists_every_page_and_every_attester() -> None:
    index = (FOLDER / "README.md").read_text()
    for page in PAGES:
        assert page.name == "README.md" or f"({page.name})" in index
    for name in ATTESTERS:
        assert f"| `{name}` |" in index


def test_image_recipe_pins_its_base_and_its_locks() -> None:
    recipe = (TREE / "deploy" / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE$", recipe, re.MULTILINE), "no default base"
    assert set(re.findall(r"^FROM (\S+)", recipe, re.MULTILINE)) == {"${BASE}"}
    assert "--require-hashes" in recipe and "apt-get" not in recipe
    assert re.search(r"^USER 10001:10001$", recipe, re.MULTILINE)
    for lock in re.findall(r"(?:requirements|deploy)/\w+\.txt", recipe):
        pins = [line for line in (TREE / lock).read_text().splitlines() if "==" in line]
        assert pins and all(line.endswith("\\") for line in pins), "each pin has its hashes"
