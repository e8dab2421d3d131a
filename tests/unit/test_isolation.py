"""What of a request reaches an engine, and what never does."""

from __future__ import annotations

import json

import pytest

from privity.errors import MalformedError
from privity.infer.engines.engine import PrefixCache
from privity.infer.engines.isolation import fields_for, isolate, prefix_cache_of

CHAT = "/v1/chat/completions"


def test_steering_fields_are_taken_out_and_the_rest_is_kept() -> None:
    request = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.25,
        "cache_prompt": True,
        "id_slot": 3,
        "cache_salt": "mine",
        "kv_transfer_params": {"remote_host": "x"},
        "prompt_cache_key": "k",
        "keep_alive": -1,
    }
    isolated = isolate(json.dumps(request).encode(), CHAT)
    assert isolated.fields == {key: request[key] for key in ("model", "messages", "temperature")}
    assert isolated.model == "m"


def test_a_field_named_twice_or_by_escapes_does_not_slip_through() -> None:
    body = rb'{"cache_prompt":false,"cache\u005fprompt":true,"id_slot":1,"id_slot":2,"n":1}'
    assert isolate(body, CHAT).fields == {"n": 1}


def test_our_fields_win_over_the_callers() -> None:
    isolated = isolate(b'{"cache_prompt": true, "id_slot": 0}', CHAT)
    assert json.loads(isolated.encode({"cache_prompt": False, "id_slot": 2})) == {
        "cache_prompt": False,
        "id_slot": 2,
    }


def test_each_kind_gets_only_fields_it_knows() -> None:
    assert fields_for("embedded") == fields_for("llama-server") == {"cache_prompt": False}
    assert fields_for("ollama") == fields_for("openai") == {}
    assert fields_for("vllm", randomness=lambda size: f"salt{size}") == {"cache_salt": "salt32"}
    assert fields_for("vllm") != fields_for("vllm"), "two requests under one salt share prefixes"


def test_what_an_engine_can_do_about_its_cache_is_not_flattered() -> None:
    assert prefix_cache_of("llama-server") is PrefixCache.OFF
    assert prefix_cache_of("vllm") is PrefixCache.SALTED
    assert prefix_cache_of("ollama") is PrefixCache.SHARED
    assert prefix_cache_of("anything new") is PrefixCache.SHARED


def test_answers_are_not_stored_by_the_responses_api() -> None:
    body = b'{"input": "hi", "store": true, "previous_response_id": "r"}'
    assert isolate(body, "/v1/responses").fields == {"input": "hi", "store": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff\xfe",
        b'{"model": 7}',
        b'{"a": "\\ud800"' + b"[" * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        isolate(body, CHAT)


@pytest.mark.parametrize("part", ["image_url", "video_url", "audio_url", "file_url"])
@pytest.mark.parametrize("url", ["http://x.example/a", "HTTPS://x.example", "file:///etc/passwd"])
def test_media_by_address_is_refused(part: str, url: str) -> None:
    for value in (url, {"url": url}):
        content = [{"type": part, part: value}]
        request = {"messages": [{"role": "user", "content": content}]}
        with pytest.raises(MalformedError, match="by URL"):
            isolate(json.dumps(request).encode(), CHAT)


def test_media_in_the_request_itself_passes() -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    request = {"messages": [{"role": "user", "content": content}]}
    assert isolate(json.dumps(request).encode(), CHAT).fields == request


def test_tools_that_reach_out_are_refused_and_the_callers_own_pass() -> None:
    for kind in ("mcp", "web_search", "code_interpreter"):
        with pytest.raises(MalformedError, match="tools"):
            isolate(json.dumps({"tools": [{"type": kind}]}).encode(), "/v1/responses")
    own = {"tools": [{"type": "function", "function": {"name": "f"}}]}
    assert isolate(json.dumps(own).encode(), CHAT).fields == own


def test_a_request_for_several_answers_is_wide() -> None:
    assert not isolate(b"{}", CHAT).wide
    assert not isolate(b'{"n": 1}', CHAT).wide
    assert isolate(b'{"n": 2}', CHAT).wide
    assert isolate(b'{"prompt": ["a", "b"]}', "/v1/completions").wide
    assert isolate(b'{"input": "a"}', "/v1/embeddings").wide
