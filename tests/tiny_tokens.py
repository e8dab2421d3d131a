"""A tokenizer of single bytes and one control token, for the tests of proved queries."""

from __future__ import annotations

from privity.infer.engines.tokens import _ALPHABET, RequestTokens

CONTROL = 256
"""The token that is denied."""


def tiny_tokens() -> RequestTokens:
    """Return it; needs the tokenizers library."""
    texts = [*_ALPHABET.values(), "<|c|>"]
    return RequestTokens(texts, [], [*[1] * 256, 3])
