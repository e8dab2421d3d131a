"""Every reader of what a ledger node, or a stranger through it, says is total."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from privity.errors import MalformedError, OversizeError, PeerError
from privity.ledger import wire
from privity.ledger.abi import load_artefact, revert_reason
from privity.ledger.addresses import Addresses
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent
from privity.ledger.providers import parse_entry
from privity.ledger.rpc import printable
from privity.ledger.wire import Address, Log

HEX = st.binary(max_size=40).map(lambda data: "0x" + data.hex())
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | HEX
KEYS = st.sampled_from(
    "number hash timestamp baseFeePerGas transactionHash blockNumber blockHash status gasUsed "
    "contractAddress logs address topics data logIndex".split()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=12),
    max_leaves=20,
)


@given(VALUES)
@example("0x" + "f" * 64)
@example({"logs": []})
def test_readers_of_answers_are_total(value: Any) -> None:
    for read in (
        wire.read_quantity,
        wire.read_data,
        wire.read_hash,
        wire.read_address,
        wire.read_block,
        wire.read_logs,
        wire.read_receipt,
    ):
        with suppress(PeerError):
            read(value)


@given(st.binary(max_size=600))
def test_readers_of_what_contracts_say_are_total(data: bytes) -> None:
    for contract, function in (
        ("Providers", "entry"),
        ("Credits", "denominations"),
        ("Credits", "depositAt"),
        ("Membership", "member"),
    ):
        with suppress(MalformedError):
            load_artefact(contract).result(function, data)
    assert isinstance(revert_reason(data), str)
    assert isinstance(revert_reason(b"\x08\xc3\x79\xa0" + data), str)
    assert isinstance(revert_reason(b"\x4e\x48\x7b\x71" + data), str)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=4), st.binary(max_size=200))
def test_readers_of_logs_are_total(topics: list[bytes], data: bytes) -> None:
    for contract in ("Membership", "Credits", "Providers", "Token"):
        artefact = load_artefact(contract)
        for topic in (*artefact._events, b"\0" * 32):
            log = Log(Address("0x"), (topic, *topics)[:4], data, 1, 0)
            with suppress(MalformedError):
                artefact.event(log)


@given(st.tuples(*[SCALARS] * 8) | SCALARS | st.tuples(SCALARS))
def test_the_reader_of_entries_is_total(value: Any) -> None:
    with suppress(MalformedError):
        parse_entry(0, value)


@given(st.binary(max_size=300))
def test_the_reader_of_addresses_is_total(data: bytes) -> None:
    with suppress(MalformedError, OversizeError):
        Addresses.from_bytes(data)


ADDRESS = st.binary(min_size=20, max_size=20).map(lambda data: Address("0x" + data.hex()))


@given(
    st.builds(
        Addresses,
        st.integers(1, 2**53 - 1),
        st.integers(0, 2**53 - 1),
        *[ADDRESS] * 4,
        settle_s=st.integers(1, 3600),
    )
)
def test_addresses_have_one_spelling(addresses: Addresses) -> None:
    assert Addresses.from_bytes(addresses.to_bytes()) == addresses


def test_a_document_without_a_period_has_the_usual_one() -> None:
    addresses = Addresses(1, 0, *[Address("0x" + "11" * 20)] * 4, settle_s=7)
    older = addresses.to_bytes().replace(b'"settle":7,', b"")
    assert Addresses.from_bytes(older).settle_s == 60
    for wrong in (b"0", b"-1", b"3601", b"1.5", b"true", b'"7"', b"null"):
        with pytest.raises(MalformedError):
            Addresses.from_bytes(addresses.to_bytes().replace(b":7,", b":" + wrong + b","))


@given(st.binary(max_size=300) | VALUES.map(cbor2.dumps))
def test_the_reader_of_histories_is_total(data: bytes) -> None:
    with suppress(MalformedError):
        MemberHistory.restore(data)


@st.composite
def histories(draw: st.DrawFn) -> list[MemberEvent]:
    events: list[MemberEvent] = []
    leaves: list[bytes] = []
    present: list[int] = []
    for _ in range(draw(st.integers(0, 30))):
        if present and draw(st.booleans()):
            index = present.pop(draw(st.integers(0, len(present) - 1)))
            events.append(LeafRemoved(index, leaves[index], draw(st.booleans()), 0))
        else:
            leaf = draw(st.binary(min_size=32, max_size=32))
            events.append(LeafAdded(len(leaves), leaf, draw(st.integers(1, 65535)), 0))
            present.append(len(leaves))
            leaves.append(leaf)
    return events


@given(histories())
def test_a_history_survives_a_restart(events: list[MemberEvent]) -> None:
    history = MemberHistory()
    history._commit([], 0, None, None)
    history._leaves = history._leaves.followed_by(events)
    history._events = list(events)
    if events:
        from privity.ledger.history import _Point

        history._points = [_Point(1, b"\0" * 32, len(events))]
    assert MemberHistory.restore(history.dump()).events == tuple(events)


@given(st.text())
def test_a_strangers_text_is_bounded_and_on_one_line(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= 201
    assert shown.isprintable()
