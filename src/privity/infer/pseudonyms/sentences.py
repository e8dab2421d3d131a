"""Where sentences and lines begin: models read a text in pieces that end there."""

from __future__ import annotations

import re

__all__ = ["starts"]

_BORDER = re.compile(r"\n+|(?<=[.!?…])[\"'»”)]{0,2}[ \t]{1,3}(?=[\"'«“¿¡(]{0,2}[A-ZÀ-ÖØ-Þ])")
_SHORT = re.compile(
    r"(?:^|[\s(])(?:[A-ZÀ-Þ]|Dr|Prof|Mr|Mrs|Ms|St|Sr|Sra|Srta|Hr|Fr|Mme|Mlle|No|Nr|Tel|Co|Inc|Ltd|"
    r"bzw|Abs|Art|Av|Avda|Str|str|ca|vs|geb|gest|Jr)\.$"
)
_LOOK_BACK = 8


def starts(text: str) -> list[int]:
    """Return where each sentence or line begins but the first, in order."""
    found = []
    for border in _BORDER.finditer(text):
        if text[border.start()] != "\n":
            end = border.start()
            if _SHORT.search(text, max(0, end - _LOOK_BACK), end):
                continue
        if border.end() < len(text):
            found.append(border.end())
    return found
