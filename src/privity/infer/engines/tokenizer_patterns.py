"""The patterns by which known byte-level tokenizers cut a text into words before BPE.

A provider names the tokenizer, and the person's device runs it over their prompt. A pattern of the
provider's own could be one that takes for ever, or makes the library give up. So only these are
run, compared as exact texts. On none of them does a text take more than in proportion to its length
(tests/adversary/test_tokenizer_patterns.py). They are as the models' own ``tokenizer.json`` files
have them.
"""

from __future__ import annotations

__all__ = ["PATTERNS"]

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LINES = r"\s*[\r\n]+"
_SPACES = r"\s+(?!\S)|\s+"
_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"

_GPT_2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{_SPACES}"
_LLAMA_3 = rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}{{1,3}}|{_MARKS}|{_LINES}|{_SPACES}"
_QWEN_2 = rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}|{_MARKS}|{_LINES}|{_SPACES}"
_QWEN_3_5 = (
    rf"{_CONTRACTIONS}|{_BEFORE}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
    rf"|{_LINES}|{_SPACES}"
)
_O200K = (
    rf"{_BEFORE}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_BEFORE}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_LINES}|{_SPACES}"
)
_TEKKEN = (
    rf"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_LINES}|{_SPACES}"
)
_DEEPSEEK_V3 = (  # three steps; the ends of line in the last are characters, not escapes
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+"
    rf"|{_SPACES}",
)

PATTERNS = frozenset(
    {_GPT_2, _LLAMA_3, _QWEN_2, _QWEN_3_5, _O200K, _TEKKEN, *_DEEPSEEK_V3},
)
"""GPT-2; Llama 3; Qwen 2, 2.5 and 3; Qwen 3.5; o200k, as of gpt-oss; Tekken, as of Mistral NeMo and
Nemotron 3; DeepSeek V3 and V4. SmolLM has none: single digits, and GPT-2's in the library."""
