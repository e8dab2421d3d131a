"""Which strings of a request are looked at, and how the detector is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from privity.errors import MalformedError
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.pseudonyms.walk import Place, shape_of, walk
from privity.policy.sensitive import Kind, Mode
from scripted_detector import ScriptedDetector

CHAT = "/v1/chat/completions"


def visited(path: str, body: dict[str, Any]) -> dict[str, str]:
    seen: dict[str, str] = {}

    def look(text: str, place: Place) -> str:
        if not place.quick:
            seen[place.pointer] = text
        return text

    assert walk(path, body, look, media=True) == body
    return seen


def test_names_of_the_protocol_are_passed_and_the_rest_is_looked_at() -> None:
    seen = visited(
        CHAT,
        {
            "model": "gpt-x",
            "messages": [{"role": "user", "content": "one", "id": "msg_1"}],
            "user": "two",
            "brand_new": {"deep": ["three"]},
            "stop": ["four"],
            "temperature": 0.5,
        },
    )
    assert set(seen.values()) == {"one", "two", "three", "four"}


def test_an_identifier_that_is_none_is_looked_at() -> None:
    seen = visited(CHAT, {"messages": [{"role": "Anna Schmidt", "id": "of Anna", "content": "x"}]})
    assert {"Anna Schmidt", "of Anna"} <= set(seen.values())


def test_json_inside_of_a_string_is_looked_into_with_its_keys() -> None:
    arguments = json.dumps({"Anna": {"phone": 4917112345678, "small": 7}, "b": ["x"]})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    seen = visited(CHAT, {"messages": [{"role": "assistant", "tool_calls": [call]}]})
    begin = "/messages/0/tool_calls/0/function/arguments#"
    assert seen[f"{begin}/Anna/phone"] == "4917112345678"
    assert seen[f"{begin}/b/0"] == "x" and seen[f"{begin}/Anna (key)"] == "Anna"
    assert f"{begin}/Anna/small" not in seen


def test_the_key_a_value_stands_under_is_told_to_the_detector() -> None:
    class Keyed:
        def find(self, text: str) -> tuple[Finding, ...]:
            at = text.find("password: ")
            return (Finding(at, len(text), Kind.SECRET, 1.0, "key"),) if at >= 0 else ()

    body = {"messages": [{"role": "tool", "content": '{"password": "swordfish"}'}]}
    departure = Pseudonymiser(Keyed()).replace(CHAT, body, Mode.REPLACE)
    made = json.loads(departure.body["messages"][0]["content"])
    assert list(made) == ["password"] and made["password"] != "swordfish"
    assert departure.replaced == {Kind.SECRET: 1}


def test_a_text_is_looked_at_once() -> None:
    detector = ScriptedDetector({"Anna": Kind.PERSON})
    pseudonymiser = Pseudonymiser(detector)
    body = {"messages": [{"role": "user", "content": "Anna"}]}
    assert pseudonymiser.examine(CHAT, body) == {Kind.PERSON: 1}
    pseudonymiser.replace(CHAT, body, Mode.REPLACE)
    pseudonymiser.replace(CHAT, body, Mode.WARN)
    assert detector.calls == 1


def test_a_preview_shows_each_text_in_pieces() -> None:
    detector = ScriptedDetector({"Anna": Kind.PERSON, "diabetes": Kind.HEALTH})
    body = {"messages": [{"role": "user", "content": "Is Anna's diabetes bad?"}]}
    departure = Pseudonymiser(detector).replace(CHAT, body, Mode.REPLACE)
    (passage,) = departure.passages
    spans = [piece.span for piece in passage.pieces if piece.span is not None]
    assert [(s.before, s.kept, s.kind) for s in spans] == [
        ("Anna", False, Kind.PERSON),
        ("diabetes", True, Kind.HEALTH),
    ]
    assert "".join(p.text for p in passage.pieces) == departure.body["messages"][0]["content"]
    warned = Pseudonymiser(detector).replace(CHAT, body, Mode.WARN)
    assert "".join(p.text for p in warned.passages[0].pieces) == "Is Anna's diabetes bad?"


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", "chat"), ("/v1/messages", "messages"),
        ("/v1/responses", "responses"),
        ("/v1/completions", "completions"), ("/v1/embeddings?x=1", "embeddings"),
    ],
)  # fmt: skip
def test_a_path_has_a_shape(path: str, shape: str) -> None:
    assert shape_of(path) == shape


def test_another_path_is_refused() -> None:
    with pytest.raises(MalformedError):
        shape_of("/v1/audio/speech")
