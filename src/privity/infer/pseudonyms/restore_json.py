"""Puts originals back into JSON while it streams by, so that it stays JSON of the same form."""

from __future__ import annotations

import json
import re
from collections.abc import Set

from privity.infer.pseudonyms.links import Fence
from privity.infer.pseudonyms.restore import FencedText, TextRestorer
from privity.infer.pseudonyms.table import Hit, Table

__all__ = ["FencedJson", "names_address"]

_MAX_NESTING = 4
_MAX_KEY = 64
_RUN = re.compile(r'[^"\\]+')
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_UNSAFE = re.compile(r'["\\\x00-\x1f]')
_ADDRESS_KEY = re.compile(
    r"ur[il]s?(?![a-z])|href|src(?![a-z])|link|host|domain|endpoint|webhook|callback|redirect|origin"
    r"|website|server",
    re.IGNORECASE,
)
_NOT_JSON = re.compile(r"[/\\?&%#<@]")


def names_address(key: str) -> bool:
    """Tell whether what stands under a key is an address, whatever it looks like."""
    return _ADDRESS_KEY.search(key) is not None


class FencedJson:
    """One channel of JSON in the making, such as the arguments of a tool call.

    Inside its strings text is restored, and escaped; outside of them only what cannot change the
    structure. A string that is JSON itself is restored so too. Nothing is restored in strangers'
    addresses: a string under a key such as ``url`` is one, whatever it looks like. What has signs
    outside of its strings that JSON has not is no JSON, and goes on as it is from there on.

    Args:
        table: from stand-ins to originals.
        own: hosts in whose addresses originals may be put (`privity.infer.pseudonyms.links`).
        nested: in how many strings this stands.

    Guarantees:
        What is put in stays inside the string it stands in
        (tests/adversary/test_pseudonyms.py::test_an_original_cannot_leave_the_json_string_it_is_in).
    """

    def __init__(self, table: Table, own: Set[str], *, nested: int = 0) -> None:
        self._table, self._own, self._nested = table, own, nested
        self._outside = TextRestorer(table, write=_outside)
        self._inside: FencedText | FencedJson | None = None
        self._in_string = False
        self._escape = ""
        self._high = ""
        self._over = False
        self._key = self._last = self._said = ""

    def feed(self, text: str) -> str:
        """Take more; return what may be given out."""
        if self._over:
            return text
        out: list[str] = []
        at = 0
        while at < len(text):
            if self._escape:
                at = self._unescape(text, at, out)
            elif not self._in_string:
                at = self._leave_alone(text, at, out)
            elif text[at] == "\\":
                self._escape = "\\"
                at += 1
            elif text[at] == '"':
                out += [self._close(), '"']
                at += 1
            else:
                found = _RUN.match(text, at)
                at = found.end() if found else at + 1
                run = found[0] if found else ""
                out.append(self._give(run, None))
        return "".join(out)

    def end(self) -> str:
        """Return what was held; what follows all the same goes on as it is."""
        rest = self._close() + self._escape if self._in_string else self._outside.end()
        self._escape = ""
        self._over = True
        return rest

    @property
    def held(self) -> int:
        """How many characters wait."""
        inside = self._inside.held if self._inside is not None else 0
        return inside + self._outside.held + len(self._escape) + len(self._high)

    def _leave_alone(self, text: str, at: int, out: list[str]) -> int:
        if text[at] == '"':
            out += [self._outside.end(), '"']
            self._in_string, self._inside = True, None
            return at + 1
        quote = text.find('"', at)
        stop = quote if quote >= 0 else len(text)
        found = _NOT_JSON.search(text, at, stop)
        if found:
            out += [self._outside.feed(text[at : found.start()]), self._outside.end()]
            out.append(text[found.start() :])
            self._over = True
            return len(text)
        if ":" in text[at:stop]:
            self._key = self._last
        out.append(self._outside.feed(text[at:stop]))
        return stop

    def _unescape(self, text: str, at: int, out: list[str]) -> int:
        """Take one character of an escape; give it on when it is whole."""
        self._escape += text[at]
        code = self._escape[1:]
        if code[0] != "u":
            out.append(self._give(_SHORT.get(code, code), self._escape))
        elif len(code) == 5 or (len(code) > 1 and code[-1] not in "0123456789abcdefABCDEF"):
            self._hex(code, out)
        else:
            return at + 1
        self._escape = ""
        return at + 1

    def _hex(self, code: str, out: list[str]) -> None:
        try:
            char = chr(int(code[1:], 16)) if len(code) == 5 else ""
        except ValueError:
            char = ""
        if not char:  # not an escape: passed as it came
            out.append(self._give("\ufffd", self._escape))
        elif "\ud800" <= char <= "\udbff":
            out.append(self._give("", None))
            self._high = char + self._escape
        elif self._high and "\udc00" <= char <= "\udfff":
            high, spelled = self._high[0], self._high[1:]
            self._high = ""
            pair = (high + char).encode("utf-16", "surrogatepass").decode("utf-16")
            out.append(self._give(pair, spelled + self._escape))
        else:
            out.append(self._give(char, self._escape))

    def _give(self, text: str, spelled: str | None) -> str:
        """Give characters to the inside of the string; ``spelled`` is how a single one came."""
        before = ""
        if self._high:
            high, raw, self._high = self._high[0], self._high[1:], ""
            before = self._put(high, raw)
        return before + (self._put(text, spelled) if text else "")

    def _put(self, text: str, spelled: str | None) -> str:
        self._said = (self._said + text)[:_MAX_KEY]
        if self._inside is None:
            self._inside = self._begin(text)
        if isinstance(self._inside, FencedJson):
            return _escaped(self._inside.feed(text))
        return self._inside.feed(text, None if spelled is None else [spelled])

    def _begin(self, text: str) -> FencedText | FencedJson:
        address = names_address(self._key)
        if text[0] in "{[" and not address and self._nested < _MAX_NESTING:
            return FencedJson(self._table, self._own, nested=self._nested + 1)
        fence = Fence(self._own, string=True, address=address)
        return FencedText(self._table, fence, before='"', write=_inside)

    def _close(self) -> str:
        out = self._give("", None)
        self._last, self._said = self._said, ""
        inside, self._inside, self._in_string = self._inside, None, False
        if inside is None:
            return out
        rest = inside.end()
        return out + (_escaped(rest) if isinstance(inside, FencedJson) else rest)


def _inside(hit: Hit) -> str:
    return _escaped(hit.target)


def _outside(hit: Hit) -> str | None:
    target = hit.target
    if _UNSAFE.search(target):
        return None
    if hit.text.isdigit() and not _NUMBER.match(target):
        return json.dumps(target)
    return target


def _escaped(text: str) -> str:
    """Return a text as it is written inside a JSON string."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    # A lone surrogate has no UTF-8; escaped, it has.
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", quoted)
