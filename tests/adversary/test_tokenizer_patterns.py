"""Tokenizers whose pattern never ends: the provider names the file, a person's device runs it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from privity.errors import InputError
from privity.infer.engines import tokenizer_file
from privity.infer.engines.tokenizer_file import tokens_of_tokenizer
from privity.infer.engines.tokenizer_patterns import PATTERNS
from tiny_tokens import tokenizer_table, write_tokenizer

pytestmark = pytest.mark.skipif(
    find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
)
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, "trim_offsets": True}
KNOWN: list[Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "tokenizer_patterns.json").read_text()
)["vectors"]
GIVES_UP = "(b+)+[cd]"
FOR_EVER = r".*.*(?!.|\z)"
LONG = ["a", "A", "aA", " ", " \n", "\r\n", "\t!", "'", "1", "a1", "́", "一", "　x"]
"""What, again and again, one or the other alternative takes most of, or goes back through."""


def split_by(folder: Path, *patterns: str) -> Path:
    table = tokenizer_table()
    steps = [
        {"type": "Split", "pattern": {"Regex": one}, "behavior": "Isolated"} for one in patterns
    ]
    table["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*steps, BYTES]}
    return write_tokenizer(folder, table)


def test_the_known_patterns_are_those_of_the_models_own_files() -> None:
    assert {one for model in KNOWN for one in model["patterns"]} == PATTERNS


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model["name"])
def test_a_known_pattern_comes_to_an_end_on_long_texts(tmp_path: Path, model: Any) -> None:
    """Where one went back through all that it has taken, each time, this would not end."""
    made = tokens_of_tokenizer(split_by(tmp_path, *model["patterns"]))
    for piece in LONG:
        made.of_text(piece * (100_000 // len(piece)) + "x")


@pytest.mark.parametrize("pattern", [GIVES_UP, FOR_EVER, "", ".", "\\p{N}{1,4}", " \\p{N}{1,3}"])
def test_a_pattern_of_the_providers_own_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="not known here"):
        tokens_of_tokenizer(split_by(tmp_path, pattern))


def test_a_library_that_gives_up_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It panics: what comes is no `Exception`, and would pass every `except` on its way."""
    monkeypatch.setattr(tokenizer_file, "PATTERNS", {GIVES_UP})
    made = tokens_of_tokenizer(split_by(tmp_path, GIVES_UP))
    with pytest.raises(InputError, match="gave up") as caught:
        made.of_text("b" * 40)
    assert "bbb" not in caught.value.message
