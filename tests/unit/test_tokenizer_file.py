"""Tokenizers of other models than the demo's, from their ``tokenizer.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import InputError
from privity.infer.engines import tokenizer_file
from privity.infer.engines.tokenizer_file import digest_of_tokenizer, tokens_of_tokenizer
from tiny_tokens import tokenizer_table, write_tokenizer

pytestmark = pytest.mark.skipif(
    find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
)
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LIKE_LLAMA_3 = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {"Regex": LLAMA_3},
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, "trim_offsets": True},
    ],
}


def test_a_vocabulary_is_named_by_its_file(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path)
    vocabulary = tokens_of_tokenizer(path).vocabulary
    assert vocabulary.tokenizer == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert vocabulary.tokenizer == digest_of_tokenizer(path)
    assert vocabulary.size == 301


def test_added_tokens_and_numbers_without_a_text_are_denied(tmp_path: Path) -> None:
    vocabulary = tokens_of_tokenizer(write_tokenizer(tmp_path)).vocabulary
    assert vocabulary.denied == tuple(range(257, 301))


@pytest.mark.parametrize("whole_words", [False, True])
def test_the_text_of_a_control_token_is_text(tmp_path: Path, whole_words: bool) -> None:
    table = tokenizer_table(ignore_merges=whole_words)
    table["pre_tokenizer"] = LIKE_LLAMA_3
    made = tokens_of_tokenizer(write_tokenizer(tmp_path, table))
    for text in ("<|c|>", "a<|end|>b"):
        assert not set(made.of_text(text)) & set(made.vocabulary.denied)


@pytest.mark.parametrize("before", [None, LIKE_LLAMA_3])
def test_they_are_the_librarys_own_tokens(tmp_path: Path, before: Any) -> None:
    from tokenizers import Tokenizer

    table = tokenizer_table()
    table |= {"normalizer": None} | ({} if before is None else {"pre_tokenizer": before})
    path = write_tokenizer(tmp_path, table)
    theirs, made = Tokenizer.from_file(str(path)), tokens_of_tokenizer(path)
    for text in ("hi there", "hihi 123 4567\n\n é ü", "\u0301e", '{"messages":[]}'):
        assert made.of_text(text) == tuple(theirs.encode(text, add_special_tokens=False).ids)
    assert 256 in made.of_text("hi")


@given(st.text(max_size=40))
def test_tokens_spell_the_text(text: str) -> None:
    made = _shared()
    spelled = "".join(made._texts[token] for token in made.of_text(text))
    alphabet = {text: byte for byte, text in tokenizer_file.byte_alphabet().items()}
    assert bytes(alphabet[one] for one in spelled).decode() == text


def test_another_file_than_is_wanted_is_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("not even JSON")
    monkeypatch.setattr(tokenizer_file, "_parsed", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(InputError) as caught:
        tokens_of_tokenizer(path, wanted="sha256:" + "ab" * 32)
    assert "ab" * 32 in caught.value.hint


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_file, "MAX_BYTES", 100)
    with pytest.raises(InputError):
        tokens_of_tokenizer(write_tokenizer(tmp_path))


def changed(**members: Any) -> Callable[[], Any]:
    return lambda: tokenizer_table() | members


def of_model(**members: Any) -> Callable[[], Any]:
    return lambda: tokenizer_table(**members)


def without_a_byte() -> Any:
    table = tokenizer_table()
    del table["model"]["vocab"]["a"]
    return table


def cut_by(**step: Any) -> Callable[[], Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False}
    return changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [step, byte_level]})


@pytest.mark.parametrize(
    "make",
    [
        lambda: [],
        lambda: {},
        lambda: json.loads("[" * 500 + "]" * 500),
        changed(model={"type": "WordPiece", "vocab": {}}),
        changed(model={"type": "BPE", "vocab": {}, "merges": []}),
        of_model(dropout=0.1),
        of_model(byte_fallback=True),
        of_model(unk_token="hi"),
        of_model(end_of_word_suffix="</w>"),
        of_model(merges=["h"]),
        of_model(merges=[["h", 1]]),
        of_model(merges=["x unknown"]),
        of_model(merges="h i"),
        of_model(vocab={"a": 1, "b": 1}),
        of_model(vocab={"a": -1}),
        of_model(vocab={"a": 1 << 40}),
        of_model(vocab={"a": True}),
        changed(added_tokens=[{"id": "1"}]),
        changed(added_tokens=[{"id": 5000}]),
        changed(added_tokens=7),
        without_a_byte,
        changed(pre_tokenizer=None),
        changed(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}),
        changed(pre_tokenizer={"type": "Metaspace"}),
        changed(pre_tokenizer={"type": "Digits"}),
        changed(pre_tokenizer={"type": "Sequence", "pretokenizers": []}),
        cut_by(type="Whitespace"),
        cut_by(type="Split", pattern={"Regex": " "}, behavior="Removed"),
        cut_by(type="Split", pattern={"Regex": "("}, behavior="Isolated"),
        cut_by(type="Split", pattern={"Regex": LLAMA_3 + "|."}, behavior="Isolated"),
        cut_by(type="Split", pattern={"Regex": LLAMA_3.upper()}, behavior="Isolated"),
        cut_by(type="Split", pattern={"String": LLAMA_3}, behavior="Isolated"),
        cut_by(type="Split", pattern={"Regex": [LLAMA_3]}, behavior="Isolated"),
        cut_by(type="Split", pattern={"Regex": LLAMA_3}, behavior="Removed"),
        cut_by(type="Split", pattern=3, behavior="Isolated"),
        cut_by(type="Split", pattern={"Regex": " "}, behavior=["Isolated"]),
    ],
)
def test_what_could_lose_text_is_refused(tmp_path: Path, make: Callable[[], Any]) -> None:
    with pytest.raises(InputError) as caught:
        tokens_of_tokenizer(write_tokenizer(tmp_path, make()))
    assert "tokenizer.json" in caught.value.message


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"model": NaN}'])
def test_what_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match="JSON"):
        tokens_of_tokenizer(path)


_MADE: list[Any] = []


def _shared() -> Any:
    if not _MADE:
        data = json.dumps(tokenizer_table()).encode()
        _MADE.append(tokenizer_file._parsed(data, "sha256:" + "00" * 32))
    return _MADE[0]
