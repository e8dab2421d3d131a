"""A token classifier whose products are of 8-bit integers: the same answers in a third of the time.

The weights come as 4-bit integers in blocks, and onnxruntime turns them back into floats for every
product. Here each column of them becomes integers of 7 bits with one scale, before the file is
loaded; activations are rounded to 8 bits as they come. 7 bits, since two products of 8 bits can
overflow 16 where a processor has nothing better (AVX2). What it costs: bench/detection.py.

The file is a protobuf (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); it comes from an
installed wheel, not from a peer. What is no such product is copied as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["in_eight_bits"]

_GRAPH = 7  # of a model
_NODE, _INITIALIZER = 1, 5  # of a graph
_INPUT, _OUTPUT, _NAME, _OPERATION, _ATTRIBUTE, _DOMAIN = 1, 2, 3, 4, 5, 7  # of a node
_ATTRIBUTE_NAME, _ATTRIBUTE_INTEGER = 1, 3
_DIMENSION, _TYPE, _TENSOR_NAME, _RAW = 1, 2, 8, 9  # of a tensor
_TYPES = {"float32": 1, "int8": 3}
_TOP = 63

_Field = tuple[int, Any]


def in_eight_bits(model: bytes) -> bytes:
    """Return an ONNX model with its 4-bit products of matrices replaced by 8-bit ones.

    Args:
        model: the file, whose products are ``MatMulNBits`` of 4 bits without zero points.

    Raises:
        ValueError: it is no such file.
    """
    return b"".join(
        _written(number, _graph(value) if number == _GRAPH else value)
        for number, value in _fields(model)
    )


def _graph(data: bytes) -> bytes:
    fields = list(_fields(data))
    tensors = {_tensor_name(value): value for number, value in fields if number == _INITIALIZER}
    made: list[bytes] = []
    dropped: set[bytes] = set()
    for number, value in fields:
        if number == _NODE:
            product = _Product.of(value)
            if product is not None and set(product.inputs[1:]) <= set(tensors):
                weights = product.weights(tensors)
                dropped.update(product.inputs[1:])
                made += [_written(_INITIALIZER, one) for one in product.tensors(weights)]
                made.append(_written(_NODE, product.node()))
                continue
        made.append(_written(number, value))
    # Weights that nothing reads any longer would stay in memory.
    gone = {_written(_INITIALIZER, tensors[name]) for name in dropped}
    return b"".join(one for one in made if one not in gone)


class _Product:
    """A node that multiplies by a matrix of 4-bit integers."""

    def __init__(self, inputs: list[bytes], output: bytes, name: bytes, sizes: dict[bytes, int]):
        self.inputs, self.output, self.name, self.sizes = inputs, output, name, sizes

    @classmethod
    def of(cls, node: bytes) -> _Product | None:
        fields = list(_fields(node))
        if _first(fields, _OPERATION) != b"MatMulNBits":
            return None
        inputs = [value for number, value in fields if number == _INPUT]
        pairs = [list(_fields(value)) for number, value in fields if number == _ATTRIBUTE]
        sizes = {_first(one, _ATTRIBUTE_NAME): _first(one, _ATTRIBUTE_INTEGER) for one in pairs}
        # The last layer, of a few columns, costs nothing and decides: it stays as it is.
        if len(inputs) != 3 or sizes.get(b"bits") != 4 or sizes[b"N"] % 64:
            return None
        return cls(inputs, _first(fields, _OUTPUT), _first(fields, _NAME), sizes)

    def weights(self, tensors: dict[bytes, bytes]) -> np.ndarray[Any, Any]:
        """Return the matrix as floats: inputs by outputs."""
        import numpy as np

        columns, rows = self.sizes[b"N"], self.sizes[b"K"]
        packed = np.frombuffer(_raw(tensors[self.inputs[1]]), np.uint8)
        scales = np.frombuffer(_raw(tensors[self.inputs[2]]), np.float32)
        whole = np.stack([packed & 15, packed >> 4], -1).astype(np.float32) - 8
        blocks = whole.reshape(scales.size, self.sizes[b"block_size"]) * scales[:, None]
        matrix: np.ndarray[Any, Any] = blocks.reshape(columns, -1)[:, :rows].T
        return matrix

    def tensors(self, weights: np.ndarray[Any, Any]) -> Iterator[bytes]:
        """Yield the matrix as integers, and the scale and the zero of each column."""
        import numpy as np

        scale = np.maximum(np.abs(weights).max(0) / _TOP, 1e-12).astype(np.float32)
        yield _tensor(self.inputs[1] + b"_8", np.rint(weights / scale).astype(np.int8))
        yield _tensor(self.inputs[1] + b"_scale", scale)
        yield _tensor(self.inputs[1] + b"_zero", np.zeros(len(scale), np.int8))

    def node(self) -> bytes:
        names = [self.inputs[0], *(self.inputs[1] + end for end in (b"_8", b"_scale", b"_zero"))]
        return b"".join(
            [_written(_INPUT, name) for name in names]
            + [_written(_OUTPUT, self.output), _written(_NAME, self.name)]
            + [_written(_OPERATION, b"DynamicQuantizeMatMul"), _written(_DOMAIN, b"com.microsoft")]
        )


def _tensor(name: bytes, array: np.ndarray[Any, Any]) -> bytes:
    return b"".join(
        [_written(_DIMENSION, size) for size in array.shape]
        + [_written(_TYPE, _TYPES[array.dtype.name]), _written(_TENSOR_NAME, name)]
        + [_written(_RAW, array.tobytes())]
    )


def _tensor_name(tensor: bytes) -> bytes:
    name: bytes = _first(list(_fields(tensor)), _TENSOR_NAME)
    return name


def _raw(tensor: bytes) -> bytes:
    raw: bytes = _first(list(_fields(tensor)), _RAW)
    return raw


def _first(fields: list[_Field], number: int) -> Any:
    return next((value for one, value in fields if one == number), b"")


def _fields(data: bytes) -> Iterator[_Field]:
    """Yield number and value of each field: bytes, or an integer; no other wire type is needed."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        value, place = _varint(data, place)
        if key & 7 == 2:
            if place + value > len(data):
                raise ValueError("a field is cut off")
            yield key >> 3, data[place : place + value]
            place += value
        elif key & 7 == 0:
            yield key >> 3, value
        else:
            raise ValueError("an unknown wire type")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        value |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 128:
            return value, place
    raise ValueError("a number is cut off")


def _written(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + value


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
