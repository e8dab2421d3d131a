"""Whatever bytes come: messages, sealed payloads, questions and answers are read or refused."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.anon.messages import Channel, WakuMessage, open_payload, seal_payload
from privity.anon.messages.sealing import MAX_PAYLOAD
from privity.anon.messages.store import Page, Question, Stored
from privity.anon.messages.store_wire import (
    decode_page,
    decode_question,
    encode_page,
    encode_question,
)
from privity.anon.messages.waku import RateLimitProof, content_digest, message_hash
from privity.errors import MalformedError, OversizeError, PeerError, SealError
from privity.hazmat.hpke import SUITES

CHANNEL = Channel("/privity/1/test/sealed", SUITES[0x0020, 0x0001, 0x0001])
KEY = CHANNEL.suite.kem.load_private_key(b"\7" * 32)
PUBSUB = "/waku/2/rs/1789/0"

fields = st.binary(min_size=32, max_size=32)
proofs = st.builds(RateLimitProof, st.binary(min_size=1, max_size=256), *[fields] * 6)
topics = st.from_regex(r"/[a-z]{1,8}/[0-9]/[a-z]{1,8}/[a-z]{1,8}", fullmatch=True)
messages = st.builds(
    WakuMessage,
    st.binary(max_size=300),
    topics,
    version=st.none() | st.integers(0, 2**32 - 1),
    timestamp=st.none() | st.integers(-(2**63), 2**63 - 1),
    meta=st.none() | st.binary(max_size=64),
    ephemeral=st.none() | st.booleans(),
    rate_limit_proof=st.none() | proofs,
)


@given(messages)
def test_a_message_reads_back_as_it_was_written(message: WakuMessage) -> None:
    encoded = message.to_bytes()
    assert WakuMessage.from_bytes(encoded) == message
    assert WakuMessage.from_bytes(encoded).to_bytes() == encoded


@given(messages, messages)
def test_different_contents_have_different_digests(one: WakuMessage, two: WakuMessage) -> None:
    same = (one.payload, one.content_topic) == (two.payload, two.content_topic)
    assert (content_digest(one) == content_digest(two)) is same


@given(st.binary(max_size=2000))
def test_reading_any_bytes_is_total(data: bytes) -> None:
    for read in (
        WakuMessage.from_bytes,
        decode_question,
        lambda found: decode_page(found, "1"),
        lambda found: open_payload(CHANNEL, KEY, found),
        lambda found: open_payload(CHANNEL, KEY, CHANNEL.header + found),
    ):
        with suppress(SealError, PeerError):
            read(data)


@given(messages, st.data())
def test_reading_nearly_right_messages_is_total(message: WakuMessage, data: st.DataObject) -> None:
    encoded = bytearray(message.to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedError, OversizeError):
        read = WakuMessage.from_bytes(bytes(encoded))
        assert WakuMessage.from_bytes(read.to_bytes()) == read


@given(
    st.builds(
        Question,
        pubsub_topic=st.none() | topics,
        content_topics=st.lists(topics, max_size=5).map(tuple),
        hashes=st.lists(fields, max_size=5).map(tuple),
        start=st.none() | st.integers(-(2**63), 2**63 - 1),
        end=st.none() | st.integers(-(2**63), 2**63 - 1),
        cursor=st.none() | fields,
        forward=st.booleans(),
        limit=st.integers(1, 100),
        data=st.booleans(),
    )
)
def test_a_question_reads_back_as_it_was_written(question: Question) -> None:
    assert decode_question(encode_question(question, "7")) == (question, "7")


@given(st.lists(messages, max_size=5), st.booleans(), st.none() | fields)
def test_a_page_reads_back_as_it_was_written(
    found: list[WakuMessage], data: bool, cursor: bytes | None
) -> None:
    rows = [Stored(message_hash(PUBSUB, each), *((PUBSUB, each) if data else ())) for each in found]
    page = Page(tuple(rows), cursor)
    assert decode_page(encode_page(page, "7"), "7") == page


@settings(max_examples=30)
@given(st.binary(max_size=3000) | st.just(b"x" * MAX_PAYLOAD), st.integers(1, 4))
def test_what_is_sealed_opens_as_it_was(payload: bytes, recipients: int) -> None:
    sealed = seal_payload(CHANNEL, payload, [KEY.public_bytes] * recipients)
    assert open_payload(CHANNEL, KEY, sealed) == payload
