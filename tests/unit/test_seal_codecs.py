"""The codecs' own limits, misuse and memory."""

from __future__ import annotations

import itertools
import re
import tracemalloc

import pytest

from privity.errors import (
    InputError,
    MalformedError,
    OversizeError,
    SealError,
    TruncatedError,
)
from privity.hazmat.hpke import SUITES
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.seal import binary_http as bhttp
from privity.seal import varint
from privity.seal.chunked_ohttp import MAX_CHUNK, RequestOpener, RequestSealer, ResponseSealer
from privity.seal.key_config import GatewayKeys, KeyConfig
from privity.seal.ohttp import encapsulate_request
from privity.seal.padding import PaddedBlocks
from privity.seal.records import RecordReader, RecordWriter

GET = bhttp.RequestHead("GET", "https", "a.example", "/")
OK = bhttp.ResponseHead(200)


@pytest.fixture
def keys() -> GatewayKeys:
    return GatewayKeys.generate([DhkemX25519()])


def answering(keys: GatewayKeys, sealer: RequestSealer) -> ResponseSealer:
    opener = RequestOpener(keys)
    opener.feed(sealer.header)
    return opener.response_sealer()


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("c2197c5eff14e88c", 151288809941952652),  # RFC 9000 §A.1
        ("9d7f3e7d", 494878333),
        ("7bbd", 15293),
        ("25", 37),
        ("4025", 37),
        ("80000025", 37),
        ("c000000000000025", 37),
    ],
)
def test_integers_of_any_width_are_read(encoded: str, value: int) -> None:
    data = bytes.fromhex(encoded)
    assert varint.decode(data) == (value, len(data))
    assert len(varint.encode(value)) <= len(data)


@pytest.mark.parametrize(
    "fields",
    [
        ((b"", b"v"),),
        ((b":path", b"/"),),
        ((b"a b", b"v"),),
        ((b"a", b"v\n"),),
        ((b"a", b" v"),),
        ((b"a", b"v\t"),),
        ((b"a", b" "),),
    ],
)
def test_invalid_fields_cannot_be_made(fields: bhttp.Fields) -> None:
    for make in (
        lambda: bhttp.RequestHead("GET", "https", "a", "/", fields),
        lambda: bhttp.ResponseHead(200, fields),
        lambda: bhttp.Informational(103, fields),
        lambda: bhttp.ResponseEncoder().end(fields),
        lambda: bhttp.encode_response(OK, b"", fields),
    ):
        with pytest.raises(MalformedError):
            make()


def test_invalid_heads_cannot_be_made() -> None:
    for status in (0, 199, 600):
        with pytest.raises(MalformedError):
            bhttp.ResponseHead(status)
    for status in (99, 200):
        with pytest.raises(MalformedError):
            bhttp.Informational(status)
    with pytest.raises(MalformedError):
        bhttp.RequestHead("GET", "https", "é.example", "/")


def test_field_finds_the_first_of_its_name() -> None:
    fields = ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert bhttp.field(fields, b"a") == b"1"
    assert bhttp.field(fields, b"c") is None


@pytest.mark.parametrize("size", [0, 1, 61, 62, 63, 64, 512, 16383, 16384, 16385, 32768, 70000])
def test_content_chunks_of_every_width_pass(size: int) -> None:
    decoder, encoder = bhttp.Decoder("response"), bhttp.ResponseEncoder()
    decoder.feed(encoder.head(OK))
    content = bytes(range(256)) * (size // 256 + 1)
    events = decoder.feed(encoder.content(content[:size]))
    assert [e.data for e in events if isinstance(e, bhttp.Content)] == [content[:size]] * bool(size)
    assert decoder.feed(encoder.end()) == [bhttp.Trailers()]


def test_what_only_looks_like_one_whole_chunk_is_read_as_what_it_is() -> None:
    # Both begin with the two bytes that a chunk with a length of two bytes would, if there were
    # lengths of more than 14 bits in two bytes.
    decoder, encoder = bhttp.Decoder("response"), bhttp.ResponseEncoder()
    decoder.feed(encoder.head(OK))
    wide = (0xC000000000000000 | 0x7FFA).to_bytes(8, "big") + b"x" * 0x7FFA
    assert len(wide) == 0x8002
    assert decoder.feed(wide) == [bhttp.Content(b"x" * 0x7FFA)]
    assert decoder.feed(b"\x40\x00" + bytes(0x4000)) == [bhttp.Trailers()]
    assert decoder.finish() == []


def test_content_over_its_limit_is_refused_in_either_framing() -> None:
    limits = bhttp.Limits(content=1000)
    with pytest.raises(OversizeError):
        bhttp.Decoder("request", limits).feed(bhttp.encode_request(GET, bytes(1001)))
    decoder, encoder = bhttp.Decoder("response", limits), bhttp.ResponseEncoder()
    decoder.feed(encoder.head(OK))
    for _ in range(2):
        assert decoder.feed(encoder.content(bytes(500))) == [bhttp.Content(bytes(500))]
    with pytest.raises(OversizeError):
        decoder.feed(encoder.content(bytes(100)))
    for more in (encoder.content(b"x"), encoder.end()):
        with pytest.raises(MalformedError):
            decoder.feed(more)


def test_head_sections_over_their_limits_are_refused_in_either_framing() -> None:
    limits = bhttp.Limits(section=100, fields=3)
    small = ((b"a", b"v"),) * 4
    large = ((b"a", b"v" * 60),) * 2
    for fields in (small, large):
        head = bhttp.RequestHead("GET", "https", "a", "/", fields)
        for data in (bhttp.encode_request(head), bhttp.RequestEncoder().head(head)):
            with pytest.raises(OversizeError):
                bhttp.Decoder("request", limits).feed(data)


def test_a_finished_message_takes_no_more() -> None:
    decoder = bhttp.Decoder("request")
    decoder.feed(bhttp.encode_request(GET))
    assert decoder.finish() == []
    assert decoder.finish() == []
    with pytest.raises(MalformedError):
        decoder.feed(b"\x00")


def test_oversize_chunks_are_not_sealed(keys: GatewayKeys) -> None:
    request = RequestSealer(keys.configs[0])
    response = answering(keys, request)
    for sealer in (request, response):
        assert len(sealer.chunk(bytes(MAX_CHUNK))) > MAX_CHUNK
        for seal in (sealer.chunk, sealer.final):
            with pytest.raises(OversizeError):
                seal(bytes(MAX_CHUNK + 1))
        assert sealer.chunk(b"") == b""
        sealer.final()
        for seal in (sealer.chunk, sealer.final):
            with pytest.raises(InputError):
                seal(b"more")


def test_larger_chunks_pass_by_agreement_only(keys: GatewayKeys) -> None:
    sealer = RequestSealer(keys.configs[0], max_chunk=50_000)
    data = sealer.header + sealer.chunk(bytes(50_000))
    assert RequestOpener(keys, max_chunk=50_000).feed(data) == [bytes(50_000)]
    with pytest.raises(OversizeError):
        RequestOpener(keys).feed(data)


def test_what_the_header_tells_is_known_once_it_arrived(keys: GatewayKeys) -> None:
    sealer, opener = RequestSealer(keys.configs[0]), RequestOpener(keys)
    with pytest.raises(TruncatedError):
        assert opener.key
    opener.feed(sealer.header[:10])
    assert opener.key is keys.live[0]
    with pytest.raises(TruncatedError):
        assert opener.enc
    with pytest.raises(TruncatedError):
        opener.response_sealer()
    opener.feed(sealer.header[10:])
    assert opener.enc == sealer.header[7:]


def test_a_suite_the_gateway_does_not_offer_is_not_used(keys: GatewayKeys) -> None:
    config = KeyConfig(1, 0x0020, keys.configs[0].public_key, ((1, 3),))
    assert config.suite is SUITES[0x0020, 1, 3]
    for suite in (SUITES[0x0020, 1, 1], SUITES[0x647A, 1, 3]):
        with pytest.raises(InputError):
            RequestSealer(config, suite=suite)
        with pytest.raises(InputError):
            encapsulate_request(config, b"", suite=suite)


def test_an_unusable_public_key_is_refused() -> None:
    with pytest.raises(SealError):
        RequestSealer(KeyConfig(1, 0x0020, bytes(32)))


def test_every_suite_carries_an_exchange() -> None:
    keys = GatewayKeys.generate()
    for config in keys.configs:
        for pair in config.symmetric:
            sealer = RequestSealer(config, suite=SUITES[config.kem_id, *pair])
            opener = RequestOpener(keys)
            opener.feed(sealer.header + sealer.final(b"question"))
            assert opener.finish() == [b"question"]
            reader = sealer.response_opener()
            reader.feed(opener.response_sealer().final(b"answer"))
            assert reader.finish() == [b"answer"]


@pytest.mark.parametrize("size", [0, 15, 16381, 65536])
def test_records_have_a_sensible_size(size: int) -> None:
    for kind in (RecordWriter, RecordReader):
        with pytest.raises(InputError):
            kind(size)


def test_blocks_have_a_size() -> None:
    with pytest.raises(InputError):
        PaddedBlocks(0)


def test_a_long_body_passes_through_in_flat_memory(keys: GatewayKeys) -> None:
    request = RequestSealer(keys.configs[0])
    sealer, opener = answering(keys, request), request.response_opener()
    encoder, decoder = bhttp.ResponseEncoder(), bhttp.Decoder("response")
    writer, reader = RecordWriter(4096), RecordReader(4096)
    size, block = 0, bytes(16000)
    wire = sealer.chunk(encoder.head(OK))
    tracemalloc.start()
    try:
        for _ in range(2000):
            wire += b"".join(sealer.chunk(encoder.content(r)) for r in writer.write(block))
            while len(wire) > 9000:  # as a socket would split it
                piece, wire = wire[:9000], wire[9000:]
                for chunk in opener.feed(piece):
                    for event in decoder.feed(chunk):
                        if isinstance(event, bhttp.Content):
                            size += sum(map(len, reader.feed(event.data)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 31_000_000
    assert peak < 1_000_000


@pytest.mark.slow
def test_a_gibibyte_of_known_length_passes_through_in_flat_memory(keys: GatewayKeys) -> None:
    sealer, opener = RequestSealer(keys.configs[0]), RequestOpener(keys)
    decoder = bhttp.Decoder("request")
    opener.feed(sealer.header)
    total, block = 1 << 30, bytes(MAX_CHUNK)
    start = bhttp.encode_request(GET)[:-2] + varint.encode(total)
    size = peak = 0
    tracemalloc.start()
    try:
        for chunk in itertools.chain([start], itertools.repeat(block, total // MAX_CHUNK)):
            for opened in opener.feed(sealer.chunk(chunk)):
                events = decoder.feed(opened)
                size += sum(len(e.data) for e in events if isinstance(e, bhttp.Content))
        opener.feed(sealer.final())
        assert opener.finish() == []
        assert decoder.finish() == [bhttp.Trailers()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == total
    assert peak < 1_500_000


def test_reprs_show_nothing_of_a_message() -> None:
    fields = ((b"x-canary", b"canary"),)
    for part in (
        bhttp.RequestHead("CANARY", "canary", "canary.example", "/canary", fields),
        bhttp.ResponseHead(299, fields),
        bhttp.Informational(199, fields),
        bhttp.Content(b"canary"),
        bhttp.Trailers(fields),
    ):
        shown = re.sub(r"\b0x[0-9a-f]+", "", repr(part))  # an address may hold any digits
        assert type(part).__name__ in shown
        assert not any(told in shown.lower() for told in ("canary", "299", "199"))
