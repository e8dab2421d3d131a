"""Puts originals back into a text while it streams by.

Only what could still become a stand-in waits: at most the longest one, its inflection and the
character after it. A text without borders, however long, is never held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from privity.infer.pseudonyms.links import Fence
from privity.infer.pseudonyms.table import Hit, Table

__all__ = ["FencedText", "TextRestorer", "Write"]

Write = Callable[[Hit], str | None]


class TextRestorer:
    """One channel of text.

    Args:
        table: from stand-ins to originals.
        before: the character that the text follows: a quote for the inside of one.
        write: how a hit is written; None leaves the stand-in.

    Guarantees:
        However the text is split, what comes out is the same, and what it holds is bounded
        (tests/property/test_restore.py).
    """

    __slots__ = ("_before", "_raw", "_table", "_text", "_write")

    def __init__(self, table: Table, *, before: str = "\n", write: Write | None = None) -> None:
        self._table = table
        self._before = before
        self._write: Write = write or (lambda hit: hit.target)
        self._text = ""
        self._raw: list[str] | None = None

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

    def pass_on(self, text: str, raw: Sequence[str] | None = None) -> str:
        """Return what was held, and more as it is (see `feed`)."""
        rest = self._run(final=True)
        self._before = text[-1:] or self._before
        return rest + (text if raw is None else "".join(raw))

    @property
    def held(self) -> int:
        """How many characters wait."""
        return len(self._text)

    def _run(self, *, final: bool) -> str:
        # One character that went out before stands in front, for borders to be seen.
        text = self._before + self._text
        out: list[str] = []
        done, at, stop = 1, 1, len(text)
        while at < stop and (found := self._table.start.search(text, at)):
            at = found.start()
            hit = self._table.match(text, at, text[at - 1], final=final)
            if hit is True:
                stop = at
                break
            if not isinstance(hit, Hit):
                at += 1
                continue
            written = self._write(hit)
            if written is not None:
                out += [self._spelled(done, at), written]
                done = hit.end
            at = hit.end
        out.append(self._spelled(done, stop))
        self._before = text[stop - 1]
        self._text = text[stop:]
        self._raw = self._raw[stop - 1 :] if self._raw is not None and self._text else None
        return "".join(out)

    def _spelled(self, begin: int, end: int) -> str:
        if self._raw is None:
            return self._text[begin - 1 : end - 1]
        return "".join(self._raw[begin - 1 : end - 1])


class FencedText(TextRestorer):
    """One channel of text, of which nothing is restored in strangers' addresses.

    Args:
        table: from stand-ins to originals.
        fence: tells where addresses are.
        before: the character that the text follows.
        write: how a hit is written; None leaves the stand-in.
    """

    __slots__ = ("_fence", "_spelled_so", "_waiting")

    def __init__(
        self, table: Table, fence: Fence, *, before: str = "\n", write: Write | None = None
    ) -> None:
        super().__init__(table, before=before, write=write)
        self._fence = fence
        self._waiting = ""
        self._spelled_so: list[str] | None = None

    def feed(self, text: str, raw: Sequence[str] | None = None) -> str:
        """Take more; return what may be given out (see `TextRestorer.feed`)."""
        if raw is not None or self._spelled_so is not None:
            waits = self._spelled_so if self._spelled_so is not None else list(self._waiting)
            self._spelled_so = [*waits, *(raw if raw is not None else text)]
        self._waiting += text
        return self._pass(self._fence.feed(text))

    def end(self) -> str:
        """Return what was held; what follows all the same goes on as it is."""
        return self._pass(self._fence.end()) + super().end()

    @property
    def held(self) -> int:
        """How many characters wait."""
        return super().held + len(self._waiting)

    def _pass(self, stretches: list[tuple[int, bool]]) -> str:
        out: list[str] = []
        at = 0
        for size, shut in stretches:
            end = at + size
            raw = self._spelled_so[at:end] if self._spelled_so is not None else None
            go_on = super().pass_on if shut else super().feed
            out.append(go_on(self._waiting[at:end], raw))
            at = end
        self._waiting = self._waiting[at:]
        if self._spelled_so is not None:
            self._spelled_so = self._spelled_so[at:] if self._waiting else None
        return "".join(out)
