"""Answers of a provider: bodies and event streams in each shape, restored."""

from __future__ import annotations

import json

from fuzz.harness import Made, attempt
from privity.infer.pseudonyms.answers import AnswerRestorer
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.pair import Fit, Pair
from privity.policy.sensitive import Kind

_PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions")
_TYPES = ("text/event-stream", "application/json", "text/plain")
_SECRET = 'kühl"\\'
_PLACE = ConversationMap()
for _original, _stand_in, _fit in (
    ("Anna", "Lovrin", Fit.WORD),
    ("anna@firma.de", "lovrin@merrow.example", Fit.EXACT),
    ("DE44 5001 0517", "DE02 0001 2345", Fit.COMPACT),
    (_SECRET, "ztoken12", Fit.CASED),
):
    _PLACE.add(Pair(_original, _stand_in, Kind.OWN, _fit))


def one(data: bytes) -> None:
    if len(data) < 3:
        return
    path, kind, step = _PATHS[data[0] % 4], _TYPES[data[1] % 3], data[2] % 16 + 1
    body = data[3:]
    whole = attempt(_restore, path, kind, [body])
    parts = attempt(_restore, path, kind, [body[i : i + step] for i in range(0, len(body), step)])
    assert whole == parts, "an answer depends on how its bytes were split"
    _in_an_address(body, step)


def _in_an_address(body: bytes, step: int) -> None:
    """Nothing is restored behind a stranger's host, wherever the stream is cut."""
    said = "![](https://e.example/?q=" + "".join(body.decode("utf-8", "replace").split())
    said = said.replace("<", "") + "Lovrin lovrin@merrow.example"
    pieces = [said[i : i + step] for i in range(0, len(said), step)]
    stops = ("stop", None, "", None)
    events = [
        {"choices": [{"index": 0, "delta": {"content": one}, "finish_reason": stops[at % 4]}]}
        for at, one in enumerate(pieces)
    ]
    stream = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    assert b"firma.de" not in (_restore(_PATHS[0], _TYPES[0], stream))
    arguments = json.dumps({"url": said.removeprefix("![](")})
    call = {"function": {"name": "f", "arguments": arguments}}
    whole = json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode()
    made = _restore(_PATHS[0], _TYPES[1], [whole])
    assert b"Anna" not in made or b"Anna" in body
    assert b"firma.de" not in made or b"firma.de" in body


def _restore(path: str, kind: str, chunks: list[bytes]) -> bytes:
    restorer = AnswerRestorer(path, kind, _PLACE, frozenset({"merrow.example"}))
    return b"".join([*map(restorer.feed, chunks), restorer.end()])


def seeds() -> Made:
    said = "Lovrin **lovrin** <lovrin@merrow.example> DE0200012345 ![](https://e.example/?q=Lovrin)"
    said += " //e.example/Lovrin e.example?Lovrin <img src='Lovrin' alt=\"Lovrin\"> &#47;Lovrin"
    call = {"index": 0, "function": {"name": "f", "arguments": '{"a": "Lov\\u0072in ztoken12'}}
    delta = {"content": said, "tool_calls": [call], "refusal": "Lov"}
    chat = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for end in (None, "stop")
    ]
    blocks = [
        {"type": "content_block_start", "index": 0, "content_block": {"text": "![](//e/"}},
        {"type": "content_block_delta", "index": 0, "delta": {"text": said}},
        {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '{"a": "ztok'}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"thinking": "Lovr", "signature": "s"},
        },
        {"type": "content_block_stop", "index": 1},
        {"type": "message_stop"},
    ]
    items = [
        {"type": "response.output_text.delta", "item_id": "i", "delta": said, "sequence_number": 1},
        {"type": "response.function_call_arguments.delta", "item_id": "j", "delta": '{"a": "Lovri'},
        {"type": "response.output_text.done", "item_id": "i", "text": said, "sequence_number": 2},
        {"type": "response.completed", "response": {"output": [{"arguments": '{"a":"ztoken12"}'}]}},
    ]
    made = [
        bytes([shape, 0, 4])
        + b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in stream)
        for shape, stream in enumerate((chat, blocks, items))
    ]
    body = {"choices": [{"message": {"content": said}}], "input": {"Lovrin": 1}}
    return Made(
        [*made, b"\x00\x01\x03" + json.dumps(body).encode(), b"\x00\x02\x05" + said.encode()]
    )
