"""Bech32 (BIP 173) without its limit of 90 characters, as age writes keys.

The checksum finds typing errors; it authenticates nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from privity.errors import MalformedError

__all__ = ["decode", "encode"]

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {char: value for value, char in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6
_MAX_CHARS = 4096


def encode(prefix: str, data: bytes) -> str:
    """Return ``data`` in lower-case Bech32 after a lower-case prefix and ``1``."""
    values = _regroup(data, 8, 5, pad=True)
    mod = _polymod([*_expand(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    values += [mod >> 5 * (_CHECKSUM - 1 - place) & 31 for place in range(_CHECKSUM)]
    return prefix + "1" + "".join(_CHARSET[value] for value in values)


def decode(text: str) -> tuple[str, bytes]:
    """Return the prefix, in lower case, and the bytes of Bech32 text, all of one case.

    Raises:
        MalformedError: it is not Bech32, its checksum is wrong, or its last bits are not zero.
    """
    if len(text) > _MAX_CHARS or not text.isascii() or text not in (text.lower(), text.upper()):
        raise MalformedError("not Bech32: ASCII of one case, at most 4096 characters")
    prefix, found, rest = text.lower().rpartition("1")
    values = [_VALUES.get(char, -1) for char in rest]
    if not found or not prefix or not prefix.isprintable() or len(values) < _CHECKSUM:
        raise MalformedError("not Bech32: a prefix, 1, and at least a checksum were expected")
    if min(values) < 0:
        raise MalformedError("not Bech32: a character outside its alphabet")
    if _polymod([*_expand(prefix), *values]) != 1:
        raise MalformedError("the checksum is wrong: a character was mistyped or lost")
    return prefix, bytes(_regroup(values[:-_CHECKSUM], 5, 8, pad=False))


def _expand(prefix: str) -> list[int]:
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def _polymod(values: Iterable[int]) -> int:
    mod = 1
    for value in values:
        top = mod >> 25
        mod = (mod & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate(_GENERATOR):
            if top >> place & 1:
                mod ^= term
    return mod


def _regroup(values: Iterable[int], width: int, into: int, *, pad: bool) -> list[int]:
    """Cut a row of ``width``-bit values anew into ``into``-bit ones."""
    bits, held, result = 0, 0, []
    for value in values:
        bits, held = bits << width | value, held + width
        while held >= into:
            held -= into
            result.append(bits >> held)
            bits &= (1 << held) - 1
    if pad:
        return [*result, bits << into - held] if held else result
    if held >= width or bits:
        raise MalformedError("not Bech32: bits are left over after the last byte")
    return result
