"""A text as recognisers read it: what hides a number from a pattern is folded, offsets are kept.

Zero-width characters, soft hyphens, unusual spaces and dashes, full-width digits, HTML entities and
the escapes of JSON come into prompts by copying, not by intent. Each stretch of the text becomes at
most one plain character; what is found in the folded text is mapped back onto the whole stretch.
Encodings that hide everything, such as base64, are not opened.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, replace

from privity.infer.pseudonyms.finding import Finding

__all__ = ["Folded", "fold"]

_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_DASHES = "\u2010-\u2015\u2212\ufe58\ufe63"
_WIDE = "\uff01-\uff5e"
_DIGITS = "\u0660-\u0669\u06f0-\u06f9\u0966-\u096f"
_SPECIAL = re.compile(
    # A path of Windows is left alone: its \n and \t are no escapes.
    r"(?P<path>(?<![A-Za-z])[A-Za-z]:\\(?!u[0-9A-Fa-f]{4})[^\s\"'<>|]{1,260}+)"
    r"|(?P<pair>\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|(?P<code>\\u[0-9A-Fa-f]{4})"
    r"|(?P<line>(?<!\\)\\[nrt])"
    r"|(?P<entity>&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});)"
    rf"|(?P<gone>[{_INVISIBLE}])"
    rf"|(?P<space>[{_SPACES}])"
    rf"|(?P<dash>[{_DASHES}])"
    rf"|(?P<wide>[{_WIDE}{_DIGITS}])"
)
_GONE = re.compile(f"[{_INVISIBLE}]")
_FLAT = re.compile(f"[{_SPACES}]")
_DASH = re.compile(f"[{_DASHES}]")


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text and where each of its characters came from; `repr` hides the text.

    Attributes:
        text: the folded text; one without anything special is the text itself.
        starts: for each folded character, where its stretch begins; None where nothing was folded.
        ends: the same for where it ends.
    """

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def __repr__(self) -> str:
        return f"Folded({len(self.text)} characters)"

    def back(self, finding: Finding) -> Finding:
        """Return a finding in the folded text as one in the text it came from."""
        if self.starts is None or self.ends is None:
            return finding
        return replace(finding, start=self.starts[finding.start], end=self.ends[finding.end - 1])


def fold(text: str) -> Folded:
    """Return a text in the form recognisers read.

    Guarantees:
        Every character of the result stands for a stretch of the text, in order
        (tests/property/test_detector.py::test_folding_keeps_offsets).
    """
    if _SPECIAL.search(text) is None:
        return Folded(text)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _SPECIAL.finditer(text):
        _copy(text, done, match.start(), pieces, starts, ends)
        done = match.end()
        if match.lastgroup == "path":
            _copy(text, match.start(), done, pieces, starts, ends)
            continue
        plain = _plain(match.lastgroup or "", match.group())
        pieces.append(plain)
        starts.extend([match.start()] * len(plain))
        ends.extend([done] * len(plain))
    _copy(text, done, len(text), pieces, starts, ends)
    return Folded("".join(pieces), starts, ends)


def _copy(
    text: str, start: int, end: int, pieces: list[str], starts: list[int], ends: list[int]
) -> None:
    pieces.append(text[start:end])
    starts.extend(range(start, end))
    ends.extend(range(start + 1, end + 1))


def _plain(group: str, found: str) -> str:
    """Return the plain characters for one special stretch; none where it is invisible."""
    if group == "line":
        return "\n"
    if group == "pair":
        high, low = int(found[2:6], 16), int(found[8:12], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    if group == "code":
        value = int(found[2:6], 16)
        return _simple(chr(value)) if not 0xD800 <= value <= 0xDFFF else "\ufffd"
    if group == "entity":
        return _simple(html.unescape(found)[:1])
    return _simple(found)


def _simple(character: str) -> str:
    if _GONE.fullmatch(character):
        return ""
    if _FLAT.fullmatch(character):
        return " "
    if _DASH.fullmatch(character):
        return "-"
    if unicodedata.decimal(character, None) is not None:
        return str(unicodedata.decimal(character))
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - 0xFEE0)
    return character
