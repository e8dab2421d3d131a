"""A LoRA adapter as GGUF, so that llama.cpp applies it: metadata, names, and raw numbers.

Source: the GGUF specification, version 3 (ggml/docs/gguf.md), and what llama.cpp's loader of
adapters asks for. Loaded into llama.cpp and seen to change what it says by
tests/e2e/test_private_training.py::test_llama_cpp_says_so_too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from privity.errors import EngineError

__all__ = ["ARCHITECTURES", "Matrix", "adapter_gguf", "tensor_name"]

_ALIGNMENT = 32
_STRING, _FLOAT32, _F32_TENSOR = 8, 6, 0

ARCHITECTURES: Mapping[str, tuple[str, bool]] = {
    "llama": ("llama", True),
    "mistral": ("llama", True),
    "qwen2": ("qwen2", False),
    "qwen3": ("qwen3", False),
}
"""By transformers' type of model: llama.cpp's name of it, and whether the rows of its query and key
projections lie in another order there (rotary halves beside each other)."""

_LAYERS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_PEFT = re.compile(
    r"base_model\.model\.model\.layers\.(\d+)\.([a-z_]+\.[a-z_]+)\.lora_([AB])\.weight"
)


@dataclass(frozen=True)
class Matrix:
    """Little-endian 32-bit floats, row by row.

    Attributes:
        rows: how many.
        columns: numbers in each.
        data: rows × columns × 4 bytes.
    """

    rows: int
    columns: int
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.data) != self.rows * self.columns * 4:
            raise EngineError("an adapter's matrix has another size than its shape says")

    def interleave(self, heads: int) -> Matrix:
        """Return the rows in llama.cpp's order: of each head, first and second half by turns."""
        per_head, left = divmod(self.rows, heads)
        if left or per_head % 2:
            raise EngineError("an adapter's rows are not of whole attention heads")
        width, half = self.columns * 4, per_head // 2
        order = (
            head * per_head + part * half + row
            for head in range(heads)
            for row in range(half)
            for part in (0, 1)
        )
        rows = b"".join(self.data[row * width : (row + 1) * width] for row in order)
        return Matrix(self.rows, self.columns, rows)


def tensor_name(peft: str) -> str:
    """Return llama.cpp's name of what PEFT calls ``peft``; raises `EngineError` if it has none."""
    found = _PEFT.fullmatch(peft)
    if found is None or found[2] not in _LAYERS:
        raise EngineError("the adapter changes a layer that llama.cpp has no name for")
    return f"blk.{found[1]}.{_LAYERS[found[2]]}.weight.lora_{found[3].lower()}"


def adapter_gguf(tensors: Mapping[str, Matrix], *, architecture: str, alpha: float) -> bytes:
    """Return a GGUF file with one adapter.

    Args:
        tensors: by llama.cpp's names.
        architecture: llama.cpp's name of the base's architecture.
        alpha: the adapter's alpha; its rank is in the shapes.
    """
    texts = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
    }
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(texts) + 1)]
    head += (_text(key) + struct.pack("<I", _STRING) + _text(value) for key, value in texts.items())
    head.append(_text("adapter.lora.alpha") + struct.pack("<If", _FLOAT32, alpha))
    offset = 0
    for name in sorted(tensors):
        one = tensors[name]
        # The innermost dimension comes first.
        shape = struct.pack("<IQQIQ", 2, one.columns, one.rows, _F32_TENSOR, offset)
        head.append(_text(name) + shape)
        offset += len(one.data) + -len(one.data) % _ALIGNMENT
    return _padded((b"".join(head), *(tensors[name].data for name in sorted(tensors))))


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _padded(parts: Sequence[bytes]) -> bytes:
    return b"".join(part + b"\0" * (-len(part) % _ALIGNMENT) for part in parts)
