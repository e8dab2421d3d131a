"""Puts originals back into a text while it streams by.

Only what could still become a stand-in waits: at most the longest one, its inflection and the
character after it. A text without borders, however long, is never held.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence, Set

from privity.infer.pseudonyms.links import (
    LOOK_BACK,
    OPENER,
    PARTIAL_OPENER,
    Link,
    close_link,
    open_link,
)
from privity.infer.pseudonyms.table import Hit, Table

__all__ = ["JsonRestorer", "TextRestorer", "escape"]

Write = Callable[[Hit], str | None]
_MAX_NESTING = 4
_RUN = re.compile(r'[^"\\]+')
_OUTSIDE = re.compile(r'[^"]+')
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_OPENERS = re.compile(OPENER)
_UNSAFE = re.compile(r'["\\\x00-\x1f]')


class TextRestorer:
    """One channel of text.

    Args:
        table: from stand-ins to originals.
        own: hosts in whose addresses originals may be put (`privity.infer.pseudonyms.links`).
        before: the character that the text follows: a quote for the inside of one.
        write: how a hit is written; None leaves the stand-in.
        link: the stranger's address that the text begins in, if it does.

    Guarantees:
        However the text is split, what comes out is the same, and what it holds is bounded
        (tests/property/test_restore.py).
    """

    __slots__ = ("_before", "_own", "_raw", "_table", "_text", "_write", "link")

    def __init__(
        self,
        table: Table,
        own: Set[str] = frozenset(),
        *,
        before: str = "\n",
        write: Write | None = None,
        link: Link | None = None,
    ) -> None:
        self._table = table
        self._own = own
        self._before = before
        self._write: Write = write or (lambda hit: hit.target)
        self._text = ""
        self._raw: list[str] | None = None
        self.link = link

    def feed(self, text: str, raw: Sequence[str] | None = None) -> str:
        """Take more; return what may be given out.

        Args:
            text: its characters.
            raw: how each is spelled where that is not as itself; what is not restored comes out so.
        """
        if raw is not None or self._raw is not None:
            held = self._raw if self._raw is not None else list(self._text)
            self._raw = [*held, *(raw if raw is not None else text)]
        self._text += text
        return self._run(final=False)

    def end(self) -> str:
        """Return what was held; nothing follows."""
        return self._run(final=True)

    @property
    def held(self) -> int:
        """How many characters wait."""
        return len(self._text)

    def _run(self, *, final: bool) -> str:
        # One character that went out before stands in front, for borders to be seen.
        text = self._before[-1] + self._text
        out: list[str] = []
        done, at, stop = 1, 1, len(text)
        while at < stop:
            if self.link is not None:
                at, self.link = close_link(text, at, self.link)
                continue
            found = self._table.start_or_link.search(text, at)
            if found is None:
                break
            at = found.start()
            step = self._step(text, at, found.group("link") is not None, found.end(), final)
            if step is None:
                stop = at
                break
            after, hit = step
            written = self._write(hit) if hit is not None else None
            if written is not None:
                out += [self._spelled(done, at), written]
                done = after
            at = after
        if not final and stop == len(text) and self.link is None:
            partial = PARTIAL_OPENER.search(text, max(done, len(text) - LOOK_BACK))
            stop = partial.start() if partial else stop
        out.append(self._spelled(done, stop))
        self._before = (self._before + text[1:stop])[-LOOK_BACK:]
        self._text = text[stop:]
        self._raw = self._raw[stop - 1 :] if self._raw is not None and self._text else None
        return "".join(out)

    def _step(
        self, text: str, at: int, linked: bool, end: int, final: bool
    ) -> tuple[int, Hit | None] | None:
        """Return how far to go on from a place where something may begin, and what was found."""
        hit = self._table.match(text, at, text[at - 1], final=final)
        if hit is True:
            return None
        if isinstance(hit, Hit):
            return hit.end, hit
        again = self._link_at(text, at, end, linked)
        if again is None:
            return at + 1, None
        judged = open_link(text, at, again, self._before[:-1], self._own, final=final)
        if judged is None:
            return None
        self.link = judged[1]
        return max(judged[0], at + 1), None

    def _link_at(self, text: str, at: int, end: int, linked: bool) -> int | None:
        """Return where the opener of an address ends that begins here too, if one does."""
        if linked:
            return end
        found = _OPENERS.match(text, at)
        return found.end() if found else None

    def _spelled(self, begin: int, end: int) -> str:
        if self._raw is None:
            return self._text[begin - 1 : end - 1]
        return "".join(self._raw[begin - 1 : end - 1])


def escape(text: str) -> str:
    """Return a text as it is written inside a JSON string."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    # A lone surrogate has no UTF-8; escaped, it has.
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", quoted)


class JsonRestorer:
    """One channel of JSON in the making, such as the arguments of a tool call.

    Inside its strings text is restored, and escaped; outside of them only what cannot change the
    structure. A string that is JSON itself is restored so too.

    Args:
        table: from stand-ins to originals.
        own: hosts in whose addresses originals may be put.
        nested: in how many strings this stands.

    Guarantees:
        What is put in stays inside the string it stands in
        (tests/adversary/test_pseudonyms.py::test_an_original_cannot_leave_the_json_string_it_is_in).
    """

    def __init__(self, table: Table, own: Set[str] = frozenset(), *, nested: int = 0) -> None:
        self._table, self._own, self._nested = table, own, nested
        self._outside = TextRestorer(table, own, write=_outside)
        self._inside: TextRestorer | JsonRestorer | None = None
        self._in_string = False
        self._escape = ""
        self._high = ""

    def feed(self, text: str, raw: Sequence[str] | None = None) -> str:
        """Take more; return what may be given out. ``raw`` is not looked at."""
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
        """Return what was held; nothing follows."""
        rest = self._close() + self._escape if self._in_string else self._outside.end()
        self._escape = ""
        return rest

    @property
    def held(self) -> int:
        """How many characters wait."""
        inside = self._inside.held if self._inside is not None else 0
        return inside + self._outside.held + len(self._escape) + len(self._high)

    def _leave_alone(self, text: str, at: int, out: list[str]) -> int:
        found = _OUTSIDE.match(text, at)
        if found:
            out.append(self._outside.feed(found[0]))
            return found.end()
        out += [self._outside.end(), '"']
        self._in_string, self._inside = True, None
        return at + 1

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
        if self._inside is None:
            self._inside = self._begin(text)
        if isinstance(self._inside, JsonRestorer):
            return escape(self._inside.feed(text))
        return self._inside.feed(text, None if spelled is None else [spelled])

    def _begin(self, text: str) -> TextRestorer | JsonRestorer:
        if text[0] in "{[" and self._nested < _MAX_NESTING:
            return JsonRestorer(self._table, self._own, nested=self._nested + 1)
        link = self._outside.link
        write = _inside
        return TextRestorer(self._table, self._own, before='"', write=write, link=link)

    def _close(self) -> str:
        out = self._give("", None)
        inside, self._inside, self._in_string = self._inside, None, False
        if inside is None:
            return out
        rest = inside.end()
        return out + (escape(rest) if isinstance(inside, JsonRestorer) else rest)


def _inside(hit: Hit) -> str:
    return escape(hit.target)


def _outside(hit: Hit) -> str | None:
    target = hit.target
    if _UNSAFE.search(target):
        return None
    if hit.text.isdigit() and not _NUMBER.match(target):
        return json.dumps(target)
    return target
