"""Restores a whole object of an answer: each string in it, but for names of the protocol."""

from __future__ import annotations

import json
from typing import Any

from privity.infer.pseudonyms.links import Fence
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.restore import FencedText
from privity.infer.pseudonyms.restore_json import FencedJson, names_address

__all__ = ["AS_IT_IS", "MAX_THOUGHT", "WholeRestorer", "dump"]

MAX_THOUGHT = 1 << 20
"""Characters of a signed thought that is kept; a longer one goes back without its originals."""
_MAX_DEPTH = 64
AS_IT_IS = frozenset(
    # Names, identifiers, signatures and sound: an original has no business in them.
    "id object type role model finish_reason stop_reason status index created item_id call_id "
    "tool_call_id tool_use_id signature encrypted_content data b64_json system_fingerprint "
    "service_tier logprobs token bytes response_id obfuscation".split()
)
"""Keys whose values are passed as they are."""
_JSON_TEXTS = frozenset({"arguments", "partial_json"})


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
        fence = Fence(self._own, string=True, address=names_address(key))
        return _through(FencedText(self._table, fence, before='"'), text)

    def value(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """Return an object restored; ``key`` is what it stands under."""
        if depth > _MAX_DEPTH or key in AS_IT_IS:
            return value
        if isinstance(value, str):
            if key in _JSON_TEXTS or (self._as_json and key in ("content", "text")):
                return self.json(value)
            return self.string(value, key) if names_address(key) else self.text(value)
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


def _through(restorer: FencedText | FencedJson, text: str) -> str:
    return restorer.feed(text) + restorer.end()


def dump(value: Any) -> bytes:
    """Return an object as JSON in one line; half a character stays escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
