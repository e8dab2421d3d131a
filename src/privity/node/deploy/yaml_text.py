"""YAML for manifests: block style, strings in double quotes, the same bytes every time.

Some platforms measure the file's bytes, so they must not depend on a library's version. Strings
are JSON strings in ASCII, which every YAML 1.1 and 1.2 reader takes alike, save the pairs that JSON
writes for characters beyond 16 bits: YAML has its own escape for those.
"""

from __future__ import annotations

import json
import re
from typing import Any

from privity.errors import InputError

__all__ = ["yaml_text"]

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_PAIR = re.compile(r"\\\\|\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\x7f")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def yaml_text(value: dict[str, Any], *, head: str = "") -> str:
    """Return a mapping as YAML.

    Args:
        value: of mappings, lists, strings, integers, booleans and None.
        head: comment lines to begin with.

    Raises:
        InputError: a value of another type.

    Guarantees:
        What a YAML reader returns equals ``value`` (tests/property/test_deploy.py).
    """
    comments = "".join(f"# {line}\n" for line in head.splitlines())
    return comments + "\n".join(_block(value, "")) + "\n"


def _block(value: Any, indent: str) -> list[str]:
    lines = []
    if isinstance(value, dict):
        for key, inner in value.items():
            lines += _item(f"{indent}{_key(key)}:", inner, indent + "  ")
    else:
        for inner in value:
            if isinstance(inner, dict) and inner:
                first, *rest = _block(inner, indent + "  ")
                lines += [f"{indent}- {first.lstrip()}", *rest]
            else:
                lines += _item(f"{indent}-", inner, indent + "  ")
    return lines


def _item(head: str, value: Any, indent: str) -> list[str]:
    if isinstance(value, dict | list) and value:
        return [head, *_block(value, indent)]
    return [f"{head} {_scalar(value)}"]


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, int) or value in ({}, []):
        return json.dumps(value)
    raise InputError(f"a {type(value).__name__} has no place in a manifest")


def _key(key: str) -> str:
    plain = _KEY.fullmatch(key) and key.lower() not in _WORDS
    return key if plain else _quoted(key)


def _quoted(text: str) -> str:
    def rewrite(match: re.Match[str]) -> str:
        if match[1] is None:
            return "\\x7f" if match[0] == "\x7f" else match[0]
        char = (bytes.fromhex(match[1]) + bytes.fromhex(match[2])).decode("utf-16-be")
        return f"\\U{ord(char):08x}"

    return _PAIR.sub(rewrite, json.dumps(text))
