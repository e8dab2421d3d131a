"""The host's certificate table and the agent's log are read by total functions."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from privity.attest.quoters.dstack import _runtime_events
from privity.attest.quoters.nitro import _document
from privity.attest.quoters.tsm import certificate_table
from privity.errors import PeerError


@given(st.binary(max_size=400))
def test_any_certificate_table_is_read_or_yields_nothing(data: bytes) -> None:
    assert isinstance(certificate_table(data), list)


@given(st.binary(max_size=300))
def test_any_answer_of_the_module_is_a_document_or_an_error(data: bytes) -> None:
    try:
        assert _document(data)
    except PeerError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["imr", "event", "digest", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_event_log_is_read_or_refused(log: Any) -> None:
    try:
        events = _runtime_events(json.loads(json.dumps(log)))
    except PeerError:
        return
    assert all(event["imr"] == 3 for event in events)
