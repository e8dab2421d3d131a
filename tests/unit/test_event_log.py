"""The event log of dstack: both digest forms, the chain, and what is read from it."""

from __future__ import annotations

import hashlib

import pytest

from pki.intel import event, event_log, rtmr3
from privity.attest.dstack.event_log import MAX_EVENTS, EventLog
from privity.errors import EvidenceError, MalformedError

COMPOSE = "{}"


def test_the_first_digest_form_is_the_one_dstack_documents() -> None:
    """cc-eventlog: SHA-384 of the event type (LE), a colon, the name, a colon, the payload."""
    payload = bytes.fromhex("deadbeef")
    preimage = b"\x01\x00\x00\x08:app-id:" + payload
    log = EventLog.from_json([event("app-id", payload)])
    assert log.events[0].digest == hashlib.sha384(preimage).digest()


def test_the_second_digest_form_is_the_one_dstack_documents() -> None:
    preimage = b'{"name":"compose-hash","payload":"abcd","type":134217729}'
    log = EventLog.from_json([event("compose-hash", b"\xab\xcd", version=2)])
    assert log.events[0].digest == hashlib.sha384(preimage).digest()


def test_the_register_extends_from_zero() -> None:
    one = hashlib.sha384(b"\x01\x00\x00\x08:a:").digest()
    first = hashlib.sha384(bytes(48) + one).digest()
    assert EventLog.from_json([event("a", b"")]).register == first
    second = hashlib.sha384(first + one).digest()
    assert EventLog.from_json([event("a", b"")] * 2).register == second


def test_a_log_whose_digests_were_stripped_leads_to_the_same_register() -> None:
    log = event_log(COMPOSE)
    stripped = [{**one, "digest": ""} for one in log]
    assert EventLog.from_json(stripped).register == rtmr3(log)


def test_empty_values_are_no_registers() -> None:
    """A dstack application without an instance has an instance-id of no bytes."""
    log = EventLog.from_json([event("instance-id", b""), event("app-id", b"\1" * 20)])
    assert log.registers() == {"app_id": "01" * 20}


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("compose-hash", b"\1" * 31),
        ("app-id", b"\1"),
        ("key-provider", b""),
        ("key-provider", b"\xff"),
        ("key-provider", b"a\nb"),
        ("key-provider", b"x" * 1025),
    ],
)
def test_a_value_of_another_form_is_refused(name: str, payload: bytes) -> None:
    log = EventLog.from_json([event(name, payload)])
    with pytest.raises(EvidenceError) as caught:
        log.check(log.register)
    assert caught.value.check == "event log"


def test_the_applications_events_are_counted_and_not_read() -> None:
    values = [*event_log(COMPOSE), event("app-id", b"\1"), event("anything", b"at all")]
    log = EventLog.from_json(values)
    assert log.check(rtmr3(values)) == "10 events lead to RTMR3, 2 of them the application's own"
    assert log.registers() == EventLog.from_json(event_log(COMPOSE)).registers()


def test_a_log_has_limits() -> None:
    one = event("a", b"")
    assert len(EventLog.from_json([one] * MAX_EVENTS).events) == MAX_EVENTS
    for values in (
        [],
        [one] * (MAX_EVENTS + 1),
        [event("a" * 129, b"")],
        [event("a", bytes(4097))],
    ):
        with pytest.raises(MalformedError):
            EventLog.from_json(values)


def test_hex_has_one_spelling() -> None:
    one = event("a", b"\xab")
    assert one["digest"] != one["digest"].upper()
    for change in (
        {"event_payload": "AB"},
        {"event_payload": "ab "},
        {"digest": one["digest"].upper()},
        {"digest": one["digest"] + "00"},
    ):
        with pytest.raises(MalformedError):
            EventLog.from_json([{**one, **change}])


def test_a_preimage_that_is_shown_must_be_the_events_own() -> None:
    one = event("a", b"\xab", version=2)
    without = {name: value for name, value in one.items() if name != "preimage"}
    assert EventLog.from_json([without]).register == EventLog.from_json([one]).register
    other = event("a", b"\xac", version=2)["preimage"]
    with pytest.raises(MalformedError):
        EventLog.from_json([{**one, "preimage": other}])
    with pytest.raises(MalformedError):
        EventLog.from_json([{**one, "version": 1}])
