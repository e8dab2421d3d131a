"""The canonical tokens of a request: what a proved query is a proof of, on the device and inside.

Device and enclave call the same function on the same bytes, so that both have one sequence. It is
not the engine's own input: the engine adds its chat template, with control tokens, around the text.
What counts is that the sequence determines everything of the request that the model is to read, in
the vocabulary of the model: the tokens of the canonical JSON (RFC 8785) of the members in `READ`.

Control tokens are the model's deny-set. The text of one, ``<|im_start|>`` say, is tokenised as
text, so an honest request has none.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from privity.anon.vocabulary import Vocabulary
from privity.errors import InputError, MissingDependency
from privity.identity.jcs import canonical
from privity.infer.engines.gguf_metadata import read_metadata
from privity.infer.engines.weights import Weights

__all__ = [
    "READ",
    "RequestTokens",
    "byte_alphabet",
    "canonical_text",
    "panics_translated",
    "smollm_tokens",
    "tokenizers_library",
    "tokens_of_file",
]

READ = ("functions", "input", "instructions", "messages", "prompt", "response_format", "tools")
"""The members of a request that a model reads; the others steer sampling, or nothing."""

_NORMAL = 1
_LIBRARY = "tokenizers"
_PANICS = "pyo3_runtime"  # where its panics say they are from; nothing can be imported from there


class RequestTokens:
    """Makes requests into tokens of one model.

    Args:
        tokenizer: of the tokenizers library; it has no added tokens and no normaliser.
        texts: by token, in the byte alphabet of byte-level BPE.
        vocabulary: what a proof is made in.
    """

    def __init__(self, tokenizer: Any, texts: Mapping[int, str], vocabulary: Vocabulary) -> None:
        self._tokenizer = tokenizer
        self._texts = texts
        self.vocabulary = vocabulary

    def of_text(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text; together they spell it.

        Raises:
            InputError: it has a character the vocabulary cannot spell; it would vanish unseen.
        """
        with panics_translated():
            tokens = tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        spelled = "".join(self._texts.get(token, "") for token in tokens)
        if spelled != "".join(_ALPHABET[byte] for byte in text.encode()):
            raise InputError("the text has a character that this model's vocabulary cannot spell")
        return tokens

    def of_request(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the canonical tokens of a request in the OpenAI shape. Run by client and enclave.

        Raises:
            InputError: as of `of_text`.
            MalformedError: the request has no canonical JSON.

        Guarantees:
            Requests that differ in what the model reads have different tokens
            (tests/unit/test_tokens.py).
        """
        return self.of_text(canonical_text(body))


def smollm_tokens(
    tokens: Sequence[str], merges: Sequence[str], kinds: Sequence[int]
) -> RequestTokens:
    """Return a tokenizer of SmolLM2's kind: byte-level BPE with single digits.

    Args:
        tokens: the vocabulary's texts, in the byte alphabet of byte-level BPE, by token.
        merges: pairs in order of priority, each two texts with a space between.
        kinds: llama.cpp's type of each token; all but 1, normal, are denied.

    Raises:
        InputError: they do not make a vocabulary.
        MissingDependency: the tokenizers library is not installed.
    """
    if len(kinds) != len(tokens):
        raise InputError("the file's tokens and their types are not of one number")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError("the file's merges are not pairs")
    made = _byte_level({text: at for at, text in enumerate(tokens)}, pairs)
    denied = (at for at, kind in enumerate(kinds) if kind != _NORMAL)
    named = hashlib.sha256(b"privity/tokenizer/v1\0" + canonical([list(tokens), list(merges)]))
    vocabulary = Vocabulary.of(len(tokens), denied, f"sha256:{named.hexdigest()}")
    return RequestTokens(made, dict(enumerate(tokens)), vocabulary)


def canonical_text(body: Mapping[str, Any]) -> str:
    """Return the text that is tokenised: canonical JSON of the members in `READ`.

    Raises:
        MalformedError: it has none.
    """
    return canonical({name: body[name] for name in READ if name in body}).decode()


def tokens_of_file(weights: Weights) -> RequestTokens:
    """Return the tokenizer that a model's GGUF file describes.

    Raises:
        InputError: it cannot be read, or describes another tokenizer than SmolLM2's kind:
            byte-level BPE with single digits.
        MissingDependency: the tokenizers library is not installed.
    """
    return _tokens_at(weights.path)


def _tokens_at(path: Path) -> RequestTokens:
    found = read_metadata(path)
    kind = (found.get("tokenizer.ggml.model"), found.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise InputError(
            f"queries in the vocabulary of {path.name} cannot be proved yet",
            hint="its tokenizer is of another kind than SmolLM2's",
        )
    parts = [found.get(f"tokenizer.ggml.{name}") for name in ("tokens", "merges", "token_type")]
    if not all(isinstance(part, list) for part in parts):
        raise InputError(f"{path.name} has no whole vocabulary")
    tokens, merges, kinds = parts
    if not all(isinstance(text, str) for text in (*tokens, *merges)):  # type: ignore[misc]
        raise InputError(f"{path.name} has tokens that are not texts")
    return smollm_tokens(tokens, merges, kinds)  # type: ignore[arg-type]


def tokenizers_library() -> Any:
    """Return the tokenizers library.

    Its own pre-tokenizers are used, so that its tables of Unicode are one version's.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module(_LIBRARY)
    except ImportError:
        raise MissingDependency(
            "the tokenizers library is not installed",
            hint="`make setup` in a checkout; elsewhere pip install 'privity[anonymous]'",
        ) from None


@contextmanager
def panics_translated() -> Iterator[None]:
    """Make a panic of the library an `InputError`; as it comes it is no `Exception`."""
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != _PANICS:
            raise
        raise InputError("the tokenizers library gave up") from None


def _byte_level(numbers: dict[str, int], pairs: list[Any]) -> Any:
    library = tokenizers_library()
    before = library.pre_tokenizers
    try:
        with panics_translated():
            made = library.Tokenizer(library.models.BPE(vocab=numbers, merges=pairs))
    except Exception as error:  # the library raises bare exceptions
        raise InputError(f"the file's vocabulary makes no tokenizer: {error}") from None
    digits = before.Digits(individual_digits=True)
    made.pre_tokenizer = before.Sequence([digits, before.ByteLevel(add_prefix_space=False)])
    return made


def byte_alphabet() -> Mapping[int, str]:
    """Return GPT-2's printable character of each byte."""
    return _ALPHABET


def _alphabet() -> dict[int, str]:
    """Return GPT-2's printable character of each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    found = {byte: chr(byte) for byte in printable}
    for at, byte in enumerate(byte for byte in range(256) if byte not in found):
        found[byte] = chr(256 + at)
    return found


_ALPHABET = _alphabet()
