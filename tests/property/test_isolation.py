"""Isolation holds for any request there is."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError
from privity.infer.engines.isolation import isolate

PATHS = st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/x"])
STEERING = ("cache_prompt", "id_slot", "cache_salt", "kv_transfer_params", "previous_response_id")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
NAMES = st.sampled_from([*STEERING, "model", "messages", "tools", "image_url", "n"]) | st.text()


@given(st.binary(max_size=200), PATHS)
def test_any_bytes_are_isolated_or_refused(body: bytes, path: str) -> None:
    try:
        isolate(body, path)
    except MalformedError:
        pass


@given(st.dictionaries(NAMES, VALUES), PATHS)
def test_no_steering_field_survives_and_nothing_else_changes(
    request: dict[str, object], path: str
) -> None:
    try:
        isolated = isolate(json.dumps(request).encode(), path)
    except MalformedError:
        return
    sent = json.loads(isolated.encode({}))
    assert not set(STEERING) & set(sent)
    kept = {name: value for name, value in request.items() if name in sent and name != "store"}
    assert {name: sent[name] for name in kept} == json.loads(json.dumps(kept))
