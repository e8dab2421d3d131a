"""Restores a whole object of an answer: each string in it, but for names of the protocol."""

from __future__ import annotations

import json
from typing import Any

from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.restore import JsonRestorer, TextRestorer

__all__ = ["AS_IT_IS", "WholeRestorer", "dump"]

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

    def text(self, text: str, *, before: str = "\n") -> str:
        """Return a text restored; ``before`` is what it follows."""
        restorer = TextRestorer(self._table, self._own, before=before)
        return restorer.feed(text) + restorer.end()

    def json(self, text: str) -> str:
        """Return JSON restored inside its strings."""
        restorer = JsonRestorer(self._table, self._own)
        return restorer.feed(text) + restorer.end()

    def value(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """Return an object restored; ``key`` is what it stands under."""
        if depth > _MAX_DEPTH or key in AS_IT_IS:
            return value
        if isinstance(value, str):
            if key in _JSON_TEXTS or (self._as_json and key in ("content", "text")):
                return self.json(value)
            return self.text(value, before='"' if key.endswith(("url", "uri")) else "\n")
        if isinstance(value, list):
            return [self.value(one, key, depth + 1) for one in value]
        if isinstance(value, dict):
            if isinstance(value.get("signature"), str) and isinstance(value.get("thinking"), str):
                self._place.keep_text(f"thinking {value['signature']}", value["thinking"])
            if key == "input" or (depth > 0 and key == "arguments"):
                return self._free(value, depth)
            return {k: self.value(one, k, depth + 1) for k, one in value.items()}
        return value

    def _free(self, value: Any, depth: int) -> Any:
        """Restore data of no known form, such as a tool's input, keys and large numbers too."""
        if depth > _MAX_DEPTH:
            return value
        if isinstance(value, str):
            return self.text(value, before='"')
        if isinstance(value, list):
            return [self._free(one, depth + 1) for one in value]
        if isinstance(value, dict):
            return {self.text(k): self._free(one, depth + 1) for k, one in value.items()}
        if isinstance(value, int) and not isinstance(value, bool):
            made = self.json(str(value))
            return value if made == str(value) else json.loads(made)
        return value


def dump(value: Any) -> bytes:
    """Return an object as JSON in one line; half a character stays escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
