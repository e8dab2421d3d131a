"""Restores an answer in the client's shape, as a JSON body or as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from privity.errors import OversizeError
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.streams import StreamRestorer
from privity.infer.pseudonyms.walk import shape_of
from privity.infer.pseudonyms.whole import WholeRestorer, dump

__all__ = ["AnswerRestorer", "wants_json"]

_MAX_BODY = 32 << 20


class AnswerRestorer:
    """Puts originals into one answer, however its bytes are split.

    Args:
        path: of the request.
        media_type: of the answer.
        place: the map of the conversation; None changes nothing.
        own: hosts in whose addresses originals may be put.
        as_json: the answer's text was asked for as JSON.

    Guarantees:
        The same comes out however the bytes were split, and an event stream stays one that the
        stock clients read (tests/unit/test_restore_clients.py, tests/property/test_restore.py).
    """

    def __init__(
        self,
        path: str,
        media_type: str,
        place: ConversationMap | None,
        own: frozenset[str],
        *,
        as_json: bool = False,
    ) -> None:
        self._place = place
        kind = media_type.partition(";")[0].strip().lower()
        self._stream: StreamRestorer | None = None
        if place is not None and kind == "text/event-stream":
            self._stream = StreamRestorer(shape_of(path), place, own, as_json=as_json)
        self._own = own
        self._as_json = as_json
        self._body = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Take more of the answer; return what may be given on.

        Raises:
            OversizeError: a body of more than 32 MiB, or an event that is too large.
        """
        if self._place is None:
            return chunk
        if self._stream is not None:
            return self._stream.feed(chunk)
        self._body += chunk
        if len(self._body) > _MAX_BODY:
            raise OversizeError(f"an answer of more than {_MAX_BODY >> 20} MiB in one piece")
        return b""

    def end(self) -> bytes:
        """Return what is left; called once the answer is whole."""
        if self._place is None:
            return b""
        if self._stream is not None:
            return self._stream.end()
        body = bytes(self._body)
        self._body.clear()
        whole = WholeRestorer(self._place, self._own, as_json=self._as_json)
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return whole.text(body.decode("utf-8", "surrogateescape")).encode(
                "utf-8", "surrogateescape"
            )
        made = whole.value(data)
        return body if made == data else dump(made)


def wants_json(body: Mapping[str, Any]) -> bool:
    """Tell whether a request asks for an answer whose text is JSON."""
    text = body.get("text")
    output = body.get("output_config")
    asked = [
        body.get("response_format"),
        text.get("format") if isinstance(text, Mapping) else None,
        body.get("output_format"),
        output.get("format") if isinstance(output, Mapping) else None,
    ]
    return any(isinstance(one, Mapping) and "json" in str(one.get("type")) for one in asked)
