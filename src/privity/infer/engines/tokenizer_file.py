"""The tokens of a model whose tokenizer is a ``tokenizer.json``, as the tokenizers library has it.

Of the file the vocabulary, the merges and the pre-tokenizer count. Its normaliser, its template and
its added tokens do not: a sequence that is proved spells the request byte by byte, and the text of
a control token is text. Added tokens, and numbers without a text, are the deny-set.

The file is named by its SHA-256, as ``sha256sum`` prints it, so that device and enclave have one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from privity.anon.vocabulary import MOST_DENIED, Vocabulary
from privity.errors import InputError
from privity.home import read_file
from privity.infer.engines.tokenizer_patterns import PATTERNS
from privity.infer.engines.tokens import (
    RequestTokens,
    byte_alphabet,
    panics_translated,
    tokenizers_library,
)

__all__ = ["MAX_BYTES", "MOST_TEXTS", "digest_of_tokenizer", "tokens_of_tokenizer"]

MAX_BYTES = 32 << 20
"""Largest file, in bytes."""

MOST_TEXTS = 1 << 20
"""The most tokens, and the most merges, of a file."""

_MOST_STEPS = 8
_OFF = (
    *("unk_token", "dropout", "continuing_subword_prefix", "end_of_word_suffix"),
    *("fuse_unk", "byte_fallback"),
)
_NOT_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}
_WHOLE = ("isolated", "merged_with_previous", "merged_with_next", "contiguous")


def digest_of_tokenizer(path: Path) -> str:
    """Return what a vocabulary calls this file: ``sha256:`` of its bytes; raises `InputError`."""
    return _digest(_read(path))


def tokens_of_tokenizer(path: Path, *, wanted: str | None = None) -> RequestTokens:
    """Return the tokenizer that a ``tokenizer.json`` describes.

    Args:
        path: the file.
        wanted: the digest it must have, compared before it is parsed; by default any.

    Raises:
        InputError: the file cannot be read, is another than is wanted, or describes no byte-level
            BPE that spells every text.
        MissingDependency: the tokenizers library is not installed.
    """
    data = _read(path)
    found = _digest(data)
    if wanted is not None and found != wanted:
        raise InputError(
            f"{path} is another tokenizer than is wanted",
            hint=f"the one that is has the SHA-256 {wanted.removeprefix('sha256:')}",
        )
    try:
        return _parsed(data, found)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from None


def _read(path: Path) -> bytes:
    return read_file(path, most=MAX_BYTES, what="the tokenizer")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _parsed(data: bytes, digest: str) -> RequestTokens:
    try:
        table = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InputError("it is not JSON") from None
    if not isinstance(table, dict):
        raise InputError("it is not a JSON object")
    model = table.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise _of_another_kind("its model is not BPE")
    numbers, merges = _numbers(model.get("vocab")), _merges(model.get("merges"))
    if any(model.get(name) for name in _OFF):
        raise _of_another_kind("its BPE leaves bytes out, or is not the same each time")
    added = _added(table.get("added_tokens", []))
    if not numbers:
        raise InputError("it has no vocabulary")
    size = max(*numbers.values(), *added, 0) + 1
    held = set(numbers.values()) - added
    if size > MOST_TEXTS or size - len(held) > MOST_DENIED:
        raise _of_another_kind(
            f"more than {MOST_TEXTS} tokens, or more than {MOST_DENIED} that no text has"
        )
    vocabulary = Vocabulary.of(size, set(range(size)) - held, digest)
    # Without the added ones: the text of a control token is text, whatever finds it.
    spelling = {text: at for text, at in numbers.items() if at in held}
    _check_alphabet(spelling.keys())
    made = _tokenizer(spelling, merges, bool(model.get("ignore_merges", False)), table)
    return RequestTokens(made, {at: text for text, at in spelling.items()}, vocabulary)


def _tokenizer(
    numbers: dict[str, int], merges: list[tuple[str, str]], whole: bool, table: Mapping[str, Any]
) -> Any:
    library = tokenizers_library()
    steps = _steps(table.get("pre_tokenizer"), library)
    try:
        with panics_translated():
            model = library.models.BPE(vocab=numbers, merges=merges, ignore_merges=whole)
            made = library.Tokenizer(model)
            made.pre_tokenizer = library.pre_tokenizers.Sequence([step() for step in steps])
    except Exception as error:  # the library raises bare exceptions
        raise InputError(f"it makes no tokenizer: {str(error)[:200]}") from None
    return made


def _numbers(vocab: object) -> dict[str, int]:
    if not isinstance(vocab, dict) or len(vocab) > MOST_TEXTS:
        raise InputError(f"its vocabulary is not a table of up to {MOST_TEXTS} tokens")
    if not all(type(at) is int and 0 <= at < MOST_TEXTS for at in vocab.values()):
        raise InputError(f"its tokens are not numbers below {MOST_TEXTS}")
    if len(set(vocab.values())) != len(vocab):
        raise InputError("two texts of its vocabulary have one number")
    return vocab


def _merges(merges: object) -> list[tuple[str, str]]:
    if not isinstance(merges, list) or len(merges) > MOST_TEXTS:
        raise InputError(f"its merges are not a list of up to {MOST_TEXTS}")
    pairs = [tuple(one.split(" ")) if isinstance(one, str) else one for one in merges]
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InputError("its merges are not pairs")
        if not all(isinstance(part, str) for part in pair):
            raise InputError("its merges are not of texts")
    return [(pair[0], pair[1]) for pair in pairs]


def _added(added: object) -> set[int]:
    if not isinstance(added, list) or len(added) > MOST_DENIED:
        raise InputError(f"its added tokens are not a list of up to {MOST_DENIED}")
    found = [one.get("id") if isinstance(one, dict) else None for one in added]
    numbers = {at for at in found if type(at) is int and 0 <= at < MOST_TEXTS}
    if len(numbers) != len(found):
        raise InputError("its added tokens have no numbers of their own")
    return numbers


def _steps(given: Any, library: Any) -> list[Callable[[], Any]]:
    """Return what cuts a text before BPE; none of it may leave anything out."""
    sequence = isinstance(given, dict) and given.get("type") == "Sequence"
    listed = given.get("pretokenizers") if sequence else [given]
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_STEPS:
        raise _of_another_kind(f"its pre-tokenizer is not one to {_MOST_STEPS} steps")
    if not any(_is(step, "ByteLevel") for step in listed):
        raise _of_another_kind("it is not byte-level")
    return [_step(step, library.pre_tokenizers, library) for step in listed]


def _step(step: object, before: Any, library: Any) -> Callable[[], Any]:
    if not isinstance(step, dict):
        raise InputError("a step of its pre-tokenizer is none")
    kind = step.get("type")
    if kind == "ByteLevel" and not step.get("add_prefix_space", True):
        regex = bool(step.get("use_regex", True))
        return lambda: before.ByteLevel(add_prefix_space=False, use_regex=regex)
    if kind == "Digits":
        single = bool(step.get("individual_digits", False))
        return lambda: before.Digits(individual_digits=single)
    if kind == "Split":
        return _split(step, before, library)
    raise _of_another_kind(f"its pre-tokenizer has a step {str(kind)!r:.80} that may change text")


def _split(step: Mapping[str, Any], before: Any, library: Any) -> Callable[[], Any]:
    pattern, how = step.get("pattern"), _snake(step.get("behavior"))
    if not isinstance(pattern, dict) or len(pattern) != 1 or how not in _WHOLE:
        raise _of_another_kind("its pre-tokenizer splits in a way that may leave text out")
    text = pattern.get("Regex")
    if not isinstance(text, str) or text not in PATTERNS:
        raise _of_another_kind(
            "its pre-tokenizer splits by a pattern that is not known here; others are not run, as "
            "one could take for ever"
        )
    inverted = bool(step.get("invert", False))
    return lambda: before.Split(library.Regex(text), behavior=how, invert=inverted)


def _snake(name: object) -> str:
    text = name if isinstance(name, str) else ""
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in text).lstrip("_")


def _check_alphabet(texts: Collection[str]) -> None:
    if any(text not in texts for byte, text in byte_alphabet().items() if byte not in _NOT_IN_UTF8):
        raise _of_another_kind("its vocabulary has no token for some bytes")


def _is(step: Any, kind: str) -> bool:
    return isinstance(step, dict) and step.get("type") == kind


def _of_another_kind(why: str) -> InputError:
    return InputError(
        f"queries in this vocabulary cannot be proved: {why}",
        hint="byte-level BPE can be proved, as GPT-2, Llama 3, Qwen, DeepSeek and SmolLM have it",
    )


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not JSON")
