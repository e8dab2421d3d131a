"""Restores a whole object of an answer: each string in it, but for names of the protocol.

And what restores one text or one piece of JSON with a fence around what is in strangers' addresses,
which streams use too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence, Set
from typing import Any

from privity.infer.pseudonyms.links import Fence, Link
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.restore import JsonRestorer, TextRestorer, Write, escape
from privity.infer.pseudonyms.table import Hit, Table

__all__ = ["AS_IT_IS", "MAX_THOUGHT", "FencedJson", "FencedText", "WholeRestorer", "dump"]

MAX_THOUGHT = 1 << 20
"""Characters of a signed thought that is kept; a longer one goes back without its originals."""
_MAX_DEPTH = 64
_MAX_KEY = 64
_ADDRESS_KEY = re.compile(
    r"ur[il]s?(?![a-z])|href|src(?![a-z])|link|host|domain|endpoint|webhook|callback|redirect|origin"
    r"|website|server",
    re.IGNORECASE,
)
_NOT_JSON = re.compile(r"[/\\?&%#<@]")
AS_IT_IS = frozenset(
    # Names, identifiers, signatures and sound: an original has no business in them.
    "id object type role model finish_reason stop_reason status index created item_id call_id "
    "tool_call_id tool_use_id signature encrypted_content data b64_json system_fingerprint "
    "service_tier logprobs token bytes response_id obfuscation".split()
)
"""Keys whose values are passed as they are."""
_JSON_TEXTS = frozenset({"arguments", "partial_json"})


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
            if shut:
                out.append(super().end())
            self.link = Link() if shut else None
            out.append(super().feed(self._waiting[at:end], raw))
            self.link = None
            at = end
        self._waiting = self._waiting[at:]
        if self._spelled_so is not None:
            self._spelled_so = self._spelled_so[at:] if self._waiting else None
        return "".join(out)


class FencedJson(JsonRestorer):
    """One channel of JSON, of which nothing is restored in strangers' addresses.

    A string under a key such as ``url`` is an address, whatever it looks like. What has signs
    outside of its strings that JSON has not is no JSON, and goes on as it is from there on.

    Args:
        table: from stand-ins to originals.
        own: hosts in whose addresses originals may be put.
        nested: in how many strings this stands.
    """

    def __init__(self, table: Table, own: Set[str] = frozenset(), *, nested: int = 0) -> None:
        super().__init__(table, own, nested=nested)
        self._over = False
        self._key = self._last = self._said = ""

    def feed(self, text: str, raw: Sequence[str] | None = None) -> str:
        """Take more; return what may be given out. ``raw`` is not looked at."""
        return text if self._over else super().feed(text)

    def end(self) -> str:
        """Return what was held; what follows all the same goes on as it is."""
        rest = super().end()
        self._over = True
        return rest

    def _leave_alone(self, text: str, at: int, out: list[str]) -> int:
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
        return super()._leave_alone(text, at, out)

    def _put(self, text: str, spelled: str | None) -> str:
        self._said = (self._said + text)[:_MAX_KEY]
        return super()._put(text, spelled)

    def _begin(self, text: str) -> TextRestorer | JsonRestorer:
        address = _ADDRESS_KEY.search(self._key) is not None
        if not address and isinstance(super()._begin(text), JsonRestorer):
            return FencedJson(self._table, self._own, nested=self._nested + 1)
        fence = Fence(self._own, string=True, address=address)
        return FencedText(self._table, fence, before='"', write=_in_string)

    def _close(self) -> str:
        rest = super()._close()
        self._last, self._said = self._said, ""
        return rest


def _in_string(hit: Hit) -> str:
    return escape(hit.target)


class WholeRestorer:
    """Restores whole objects.

    Args:
        place: the map of the conversation.
        own: hosts in whose addresses originals may be put.
        as_json: the answer's text was asked for as JSON.
    """

    def __init__(self, place: ConversationMap, own: frozenset[str], *, as_json: bool) -> None:
        self._table = place.backward()
        self._place = place
        self._own = own
        self._as_json = as_json

    def text(self, text: str) -> str:
        """Return a text restored."""
        return _through(FencedText(self._table, Fence(self._own)), text)

    def json(self, text: str) -> str:
        """Return JSON restored inside its strings."""
        return _through(FencedJson(self._table, self._own), text)

    def string(self, text: str, key: str) -> str:
        """Return a string of free data restored; ``key`` is what it stands under."""
        address = _ADDRESS_KEY.search(key) is not None
        fence = Fence(self._own, string=True, address=address)
        return _through(FencedText(self._table, fence, before='"'), text)

    def value(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """Return an object restored; ``key`` is what it stands under."""
        if depth > _MAX_DEPTH or key in AS_IT_IS:
            return value
        if isinstance(value, str):
            if key in _JSON_TEXTS or (self._as_json and key in ("content", "text")):
                return self.json(value)
            return self.string(value, key) if _ADDRESS_KEY.search(key) else self.text(value)
        if isinstance(value, list):
            return [self.value(one, key, depth + 1) for one in value]
        if isinstance(value, dict):
            signature, thought = value.get("signature"), value.get("thinking")
            if isinstance(signature, str) and isinstance(thought, str):
                self.keep(signature, thought)
            if key == "input" or (depth > 0 and key == "arguments"):
                return self._free(value, depth)
            return {k: self.value(one, k, depth + 1) for k, one in value.items()}
        return value

    def keep(self, signature: str, thought: str) -> None:
        """Keep a signed thought as the provider wrote it, if it is not too long."""
        if len(thought) <= MAX_THOUGHT:
            self._place.keep_text(f"thinking {signature}", thought)

    def _free(self, value: Any, depth: int, key: str = "") -> Any:
        """Restore data of no known form, such as a tool's input, keys and large numbers too."""
        if depth > _MAX_DEPTH:
            return value
        if isinstance(value, str):
            return self.string(value, key)
        if isinstance(value, list):
            return [self._free(one, depth + 1, key) for one in value]
        if isinstance(value, dict):
            return {self.string(k, ""): self._free(one, depth + 1, k) for k, one in value.items()}
        if isinstance(value, int) and not isinstance(value, bool):
            made = self.json(str(value))
            return value if made == str(value) else json.loads(made)
        return value


def _through(restorer: TextRestorer | JsonRestorer, text: str) -> str:
    return restorer.feed(text) + restorer.end()


def dump(value: Any) -> bytes:
    """Return an object as JSON in one line; half a character stays escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
