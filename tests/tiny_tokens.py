"""A tokenizer of single bytes and one control token, for the tests of proved queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from privity.infer.engines.tokens import RequestTokens, byte_alphabet, smollm_tokens

CONTROL = 256
"""The token that is denied."""


def tiny_tokens() -> RequestTokens:
    """Return it; needs the tokenizers library."""
    texts = [*byte_alphabet().values(), "<|c|>"]
    return smollm_tokens(texts, [], [*[1] * 256, 3])


def tokenizer_table(**model: Any) -> dict[str, Any]:
    """Return a ``tokenizer.json`` of single bytes, one merge and two added tokens."""
    vocab = {text: at for at, text in enumerate(byte_alphabet().values())}
    vocab |= {"hi": 256, "<|c|>": 257}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": at, "content": text, "special": True, **plain}
        for at, text in ((257, "<|c|>"), (300, "<|end|>"))
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "decoder": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "use_regex": True,
            "trim_offsets": True,
        },
        "model": {"type": "BPE", "vocab": vocab, "merges": ["h i"], **model},
    }


def write_tokenizer(folder: Path, table: Any = None) -> Path:
    """Write a ``tokenizer.json``; by default `tokenizer_table`."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_table() if table is None else table))
    return path
