"""What the network sees of sizes: buckets and records, never lengths."""

from __future__ import annotations

import functools
import itertools

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from privity.hazmat.kem_x25519 import DhkemX25519
from privity.seal import binary_http as bhttp
from privity.seal.chunked_ohttp import RequestOpener, RequestSealer, ResponseSealer
from privity.seal.key_config import GatewayKeys
from privity.seal.ohttp import encapsulate_request
from privity.seal.padding import PAD_HEADER, PaddedBlocks, bucket, pad, pad_head
from privity.seal.records import RecordWriter


@functools.cache
def keys() -> GatewayKeys:
    return GatewayKeys.generate([DhkemX25519()])


def response_sealer() -> ResponseSealer:
    opener = RequestOpener(keys())
    opener.feed(RequestSealer(keys().configs[0]).header)
    return opener.response_sealer()


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_buckets_hold_their_messages_and_waste_little(size: int, other: int) -> None:
    assert bucket(size) >= size
    assert bucket(bucket(size)) == bucket(size)
    if size <= other:
        assert bucket(size) <= bucket(other)
    if size > 16384:
        assert bucket(size) - size < size / 8
    elif size > 1024:
        assert bucket(size) < 2 * size


def test_buckets_are_few() -> None:
    assert len({bucket(size) for size in range(1 << 17)}) == 5 + 3 * 8


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_requests_of_one_bucket_have_one_size_sealed(one: bytes, other: bytes) -> None:
    head = bhttp.RequestHead("POST", "https", "a.example", "/")
    messages = [pad(bhttp.encode_request(head, content)) for content in (one, other)]
    assume(len(messages[0]) == len(messages[1]))
    sealed = [encapsulate_request(keys().configs[0], message)[0] for message in messages]
    assert len(sealed[0]) == len(sealed[1])
    decoder = bhttp.Decoder("request")
    content = [e.data for e in decoder.feed(messages[0]) if isinstance(e, bhttp.Content)]
    decoder.finish()
    assert b"".join(content) == one


WRITES = st.lists(st.integers(0, 40_000).map(bytes), max_size=5)


@settings(max_examples=50)
@given(WRITES, WRITES, st.sampled_from([1000, 16384]))
def test_streamed_requests_of_one_bucket_have_one_size_sealed(
    one: list[bytes], other: list[bytes], size: int
) -> None:
    def wire(writes: list[bytes]) -> list[int]:
        blocks = PaddedBlocks(size)
        sealer = RequestSealer(keys().configs[0])
        *chunks, last = [b for data in writes for b in blocks.write(data)] + list(blocks.end())
        assert sum(map(len, (*chunks, last))) == bucket(sum(map(len, writes)))
        assert last, "an empty final chunk would be one chunk too many"
        return [*map(len, map(sealer.chunk, chunks)), len(sealer.final(last))]

    total = sum(map(len, one))
    assert wire(one) == wire([bytes(total)])
    other.append(bytes(max(0, bucket(total) - sum(map(len, other)))))
    assume(bucket(sum(map(len, other))) == bucket(total))
    assert wire(one) == wire(other)


@given(WRITES)
def test_blocks_without_padding_are_the_message(writes: list[bytes]) -> None:
    blocks = PaddedBlocks(1000)
    out = [b for data in writes for b in blocks.write(data)] + list(blocks.end(padded=False))
    assert b"".join(out) == b"".join(writes)


@given(st.lists(st.binary(min_size=1, max_size=510), min_size=2, max_size=10))
def test_records_of_any_content_have_one_size_sealed(tokens: list[bytes]) -> None:
    sealer, encoder, writer = response_sealer(), bhttp.ResponseEncoder(), RecordWriter(512)
    sealer.chunk(encoder.head(bhttp.ResponseHead(200)))
    records = [*itertools.chain.from_iterable(map(writer.write, tokens)), writer.cover()]
    assert len(records) == len(tokens) + 1
    assert len({len(sealer.chunk(encoder.content(record))) for record in records}) == 1


@settings(max_examples=300)
@given(st.integers(0, 2200), st.integers(200, 599))
def test_heads_are_brought_to_a_bucket(size: int, status: int) -> None:
    head = bhttp.ResponseHead(status, ((b"x", b"a" * size),))
    padded = pad_head(head)
    encoded = len(bhttp.ResponseEncoder().head(padded))
    assert encoded == bucket(encoded)
    assert padded.headers[:-1] == head.headers
    assert padded.headers[-1][0] == PAD_HEADER


def test_heads_are_brought_to_a_bucket_whatever_is_missing() -> None:
    for size in range(1400):
        encoded = bhttp.ResponseEncoder().head(
            pad_head(bhttp.ResponseHead(200, ((b"x", b"a" * size),)))
        )
        assert len(encoded) in (1024, 2048)


def test_the_end_of_a_response_is_brought_to_a_bucket() -> None:
    encoder = bhttp.ResponseEncoder()
    sizes = {len(pad(encoder.end(((b"privity-receipt", b"r" * n),)))) for n in range(1100, 1900)}
    assert sizes == {2048}


def test_padding_of_a_large_message_is_never_held_whole() -> None:
    blocks = PaddedBlocks()
    blocks.write(bytes(16384))
    blocks._total = (1 << 30) + 1  # a message whose bucket is an eighth of a gigabyte away
    held = max(len(blocks._buffer) for _ in blocks.end())
    assert held <= 2 * 16384
