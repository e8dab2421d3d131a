"""Every command that a page or a hint writes is one that the command line would take."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

from privity.cli.app import build_app

TREE = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (TREE / "README.md", *TREE.glob("docs/**/*.md"), *TREE.glob("spec/*.md"))
    if path.name != "cli.md"  # written by scripts/cli_reference.py, which compares it too
)

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`(privity\s[^`]+)`")
PROMPT = {"sh": re.compile(r"^(?:\.venv/bin/)?privity "), "text": re.compile(r"^\$ privity ")}
SUBSTITUTION = re.compile(r"\$\([^)]*\)")
REST = {"...", "…"}  # what a page leaves out
OPERATORS = {">", ">>", "|", "&", "&&", ";"}


def written(text: str) -> Iterator[str]:
    """Yield the commands in the shell and terminal blocks of a page, joined over line ends."""
    for language, block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if language in PROMPT and PROMPT[language].match(line):
                yield line


def named(text: str) -> Iterator[str]:
    """Yield the commands that a page's sentences name: in part, unless they have arguments."""
    for span in SPAN.findall(FENCED.sub("", text)):
        yield " ".join(span.split())


def words_of(command: str) -> list[str]:
    """Return what the shell would hand to privity."""
    words = shlex.split(SUBSTITUTION.sub("X", command), comments=True)
    while not words.pop(0).endswith("privity"):
        pass
    return list(takewhile(lambda word: word not in OPERATORS, words))


@cache
def tree() -> Any:
    return typer.main.get_command(build_app())


def faults(command: str, *, whole: bool) -> list[str]:
    """Return what is wrong with a command; one that is not whole may lack what follows."""
    try:
        words = words_of(command)
    except ValueError as error:
        return [str(error)]
    groups = [tree()]
    while words and hasattr(groups[0], "commands") and words[0][0] not in "-.…":
        known, chosen = groups[0].commands, words.pop(0).split("|")
        if unknown := [name for name in chosen if name not in known]:
            return [f"no command {unknown[0]}"]
        groups = [known[name] for name in chosen]
    whole = whole and not REST & set(words)
    return [fault for one in groups for fault in (strictly if whole else partly)(one, words)]


def strictly(command: Any, words: list[str]) -> list[str]:
    """Have the command parse its words, and run nothing."""
    try:
        command.make_context(command.name, list(words))
    except typer.TyperException as error:
        return [error.format_message()]
    return []


def partly(command: Any, words: list[str]) -> list[str]:
    """Look for options that are not there, and for too few or too many arguments."""
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given, rest = 0, list(words)
    while rest:
        name, equals, _ = rest.pop(0).partition("=")
        if not name.startswith("-") or name == "-":
            given += 1
        elif name not in options:
            return [f"no option {name}"]
        elif not options[name].is_flag and not equals and rest and rest[0][0] != "-":
            rest.pop(0)
    places = [one for one in command.params if one.param_type_name == "argument"]
    if REST & set(words) or given == 0:
        return []
    if given < sum(one.required for one in places):
        return ["an argument is missing"]
    many = any(one.nargs < 0 for one in places)
    return [] if many or given <= len(places) else ["an argument too many"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    found = {one: faults(one, whole=True) for one in written(text)}
    found |= {one: faults(one, whole=False) for one in named(text)}
    assert {one: wrong for one, wrong in found.items() if wrong} == {}


def test_commands_are_found_on_the_pages() -> None:
    texts = [page.read_text() for page in PAGES]
    assert sum(len(list(written(text))) for text in texts) > 60
    assert sum(len(list(named(text))) for text in texts) > 40


BLOCK = "```sh\nprivity {}\n```"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (BLOCK.format("log keysets NAME"), "FOLDER|URL"),
        (BLOCK.format("log keysets NAME URL > list.txt"), ""),
        (BLOCK.format("log keyset NAME URL"), "no command keyset"),
        (BLOCK.format("serve gateway --port 1"), "--enclave"),
        (BLOCK.format("serve relay --port x --target a=b &"), "'--port'"),
        (BLOCK.format("serve relay \\\n  --target a=b --lease 5"), "--lease"),
        (BLOCK.format("verify http://the-lease's-address"), "closing"),
        (BLOCK.format("reference sign ... --unknown x"), "no option --unknown"),
        (BLOCK.format('model grant a.sealed --program "$(privity train program)"  # one'), ""),
        ("```text\n$ privity ask --polcy dev\n```", "--polcy"),
        ("says `privity log keysets NAME`", "missing"),
        ("says `privity log\n  keysets NAME URL`", ""),
        ("says `privity log keysets NAME URL MORE`", "too many"),
        ("says `privity log keysets`, `privity serve log|witness`, `privity ask -`", ""),
        ("says `privity serve log|wetness`", "no command wetness"),
        ("says `privity reference sign --from-verify`, `privity deploy render --target …`", ""),
        ("says `privity serve relay|enclave --broker`", "no option --broker"),
    ],
)
def test_a_wrong_command_is_found(text: str, wrong: str) -> None:
    found = [fault for one in written(text) for fault in faults(one, whole=True)]
    found += [fault for one in named(text) for fault in faults(one, whole=False)]
    assert len(found) == bool(wrong), found
    assert wrong in "".join(found)


SOURCES = sorted((TREE / "src").rglob("*.py"))
EXTRA = re.compile(r"privity\[([\w,-]+)\]")
QUOTED = re.compile(r"`(privity [^`]+)`")
WORDS = re.compile(r"privity(?: [a-z][\w-]*| --?[\w-]+| [A-Z]+| \"[^\"]*\"| -)+")


def named_extras() -> dict[str, str]:
    """Return each extra that a source or a page names, with a place where it is."""
    found = {}
    for path in (*SOURCES, *PAGES):
        for names in EXTRA.findall(path.read_text()):
            found |= dict.fromkeys(names.split(","), str(path.relative_to(TREE)))
    return found


def hints() -> Iterator[str]:
    """Yield the text of each hint that is written where an error is made."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = [one for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
                texts = (one.value for one in parts if isinstance(one.value, str))
                yield " ".join("".join(texts).split())


def commands(hint: str) -> list[str]:
    """Return what a hint names in backticks, or is as a whole."""
    found = QUOTED.findall(hint)
    whole = WORDS.fullmatch(hint.partition(" > ")[0])
    return [one.removesuffix(" --help") for one in ([*found, hint] if whole else found)]


def test_each_extra_that_is_named_exists() -> None:
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    named = named_extras()
    assert len(named) > 4
    assert {n: at for n, at in named.items() if n not in project["optional-dependencies"]} == {}


def test_each_command_of_a_hint_exists() -> None:
    found = [command for hint in hints() for command in commands(hint)]
    assert len(found) > 15
    assert {one: wrong for one in found if (wrong := faults(one, whole=False))} == {}


def test_a_command_that_is_not_there_is_found() -> None:
    assert commands("privity top-up") == ["privity top-up"]
    assert faults("privity top-up", whole=False) == ["no command top-up"]
    assert commands("`privity wallet top-up` stakes for you") == ["privity wallet top-up"]
    assert commands("privity does not ask it; another model may run here") == []
