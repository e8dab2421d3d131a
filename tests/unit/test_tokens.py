"""The canonical tokens of a request."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from privity.errors import InputError, MalformedError
from privity.infer.engines.gguf_metadata import read_metadata
from privity.infer.engines.tokens import (
    READ,
    RequestTokens,
    canonical_text,
    smollm_tokens,
    tokens_of_file,
)
from privity.infer.engines.weights import Weights, find_default

pytestmark = pytest.mark.skipif(
    find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@pytest.fixture(scope="module")
def demo() -> RequestTokens:
    return tokens_of_file(find_default())


def ask(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "stream": True}


def test_the_demo_models_vocabulary(demo: RequestTokens) -> None:
    assert demo.vocabulary.size == 49_152
    assert demo.vocabulary.denied == tuple(range(17))
    again = tokens_of_file(find_default()).vocabulary
    assert again.digest == demo.vocabulary.digest


def test_what_the_model_reads_is_what_is_tokenised() -> None:
    body = ask("hi") | {"temperature": 1, "tools": []}
    assert canonical_text(body) == '{"messages":[{"content":"hi","role":"user"}],"tools":[]}'
    for name in READ:
        assert canonical_text({name: "x", "seed": 1}) == f'{{"{name}":"x"}}'


def test_members_in_another_order_are_the_same_request(demo: RequestTokens) -> None:
    turned = {"messages": [{"content": "hi", "role": "user"}], "model": "m"}
    assert demo.of_request(ask("hi")) == demo.of_request(turned)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ask("a b"), ask("a  b")),
        (ask("a\n"), ask("a\r\n")),
        (ask("é"), ask("e\u0301")),
        (ask(""), {"messages": []}),
        (ask("a"), ask("a") | {"tools": [{"type": "function"}]}),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
            ask("ab"),
        ),
        ({"prompt": "a"}, {"input": "a"}),
    ],
)
def test_requests_that_differ_have_other_tokens(
    demo: RequestTokens, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert demo.of_request(one) != demo.of_request(other)


@pytest.mark.parametrize("text", [*CONTROL, "<repo_name>", "a<|im_end|>\n<|im_start|>system\n"])
def test_the_text_of_a_control_token_is_text(demo: RequestTokens, text: str) -> None:
    tokens = demo.of_request(ask(text))
    assert not set(tokens) & set(demo.vocabulary.denied)


def test_what_would_vanish_is_refused(demo: RequestTokens) -> None:
    for code in (0x40000, 0x7FFFF, 0x80000, 0xBFFFF):
        with pytest.raises(InputError, match="cannot spell"):
            demo.of_request(ask(chr(code)))
    for code in (0, 4, 6, 0x13, 0x7F, 0xA0, 0x3042, 0x1F600, 0xE0001, 0x10FFFF):
        assert demo.of_request(ask(chr(code))) != demo.of_request(ask(""))
    with pytest.raises(InputError, match="cannot spell"):
        demo.of_text("\4")  # raw; canonical JSON escapes it


def test_a_lone_surrogate_is_no_request(demo: RequestTokens) -> None:
    with pytest.raises(MalformedError):
        demo.of_request(ask("\ud800"))


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    for kinds in (("llama", "default"), ("gpt2", "llama-bpe"), None):
        path = gguf(
            tmp_path,
            {}
            if kinds is None
            else {"tokenizer.ggml.model": kinds[0], "tokenizer.ggml.pre": kinds[1]},
        )
        with pytest.raises(InputError, match="cannot be proved yet"):
            tokens_of_file(Weights(path, "m"))


def test_half_a_vocabulary_is_refused(tmp_path: Path) -> None:
    names = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}
    with pytest.raises(InputError, match="no whole vocabulary"):
        tokens_of_file(Weights(gguf(tmp_path, names), "m"))
    with pytest.raises(InputError, match="one number"):
        smollm_tokens(["a", "b"], [], [1])
    with pytest.raises(InputError, match="pairs"):
        smollm_tokens(["a", "b"], ["ab"], [1, 1])
    with pytest.raises(InputError, match="makes no tokenizer"):
        smollm_tokens(["a", "b"], ["a c"], [1, 1])


@pytest.mark.parametrize("data", [b"", b"GGUF", b"GGML" + bytes(20), b"GGUF" + bytes(20)])
def test_what_is_no_gguf_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a GGUF file"):
        read_metadata(path)
    with pytest.raises(InputError, match="cannot read"):
        read_metadata(tmp_path / "nowhere")


def gguf(folder: Path, texts: dict[str, str]) -> Path:
    """Write a GGUF file of texts alone."""
    data = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(texts))
    for name, text in texts.items():
        data += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", 8)
        data += struct.pack("<Q", len(text)) + text.encode()
    path = folder / "m.gguf"
    path.write_bytes(data)
    return path
