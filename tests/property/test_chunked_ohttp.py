"""Chunked Oblivious HTTP: round trips however bytes are split, and openers that are total."""

from __future__ import annotations

import functools
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import PrivityError
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.hazmat.kem_xwing import XWing
from privity.seal import ohttp
from privity.seal.chunked_ohttp import RequestOpener, RequestSealer, ResponseOpener
from privity.seal.key_config import GatewayKeys, KeyConfig, encode_configs, parse_configs


@functools.cache
def keys() -> GatewayKeys:
    return GatewayKeys.generate([XWing(), DhkemX25519()])


CONFIGS = st.integers(0, 1).map(lambda index: keys().configs[index])
CHUNKS = st.lists(st.binary(max_size=300), max_size=8)
CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


def opened(opener: RequestOpener | ResponseOpener, data: bytes, cuts: list[int]) -> list[bytes]:
    chunks = [chunk for piece in pieces(data, cuts) for chunk in opener.feed(piece)]
    assert not opener.ended
    chunks += opener.finish()
    assert opener.ended
    return chunks


@settings(max_examples=60)
@given(CONFIGS, CHUNKS, st.binary(max_size=300), CHUNKS, st.binary(max_size=300), CUTS)
def test_exchanges_round_trip(
    config: KeyConfig,
    request: list[bytes],
    request_last: bytes,
    response: list[bytes],
    response_last: bytes,
    cuts: list[int],
) -> None:
    sealer = RequestSealer(config)
    data = sealer.header + b"".join(map(sealer.chunk, request)) + sealer.final(request_last)
    opener = RequestOpener(keys())
    assert opened(opener, data, cuts) == [chunk for chunk in (*request, request_last) if chunk]

    answerer = opener.response_sealer()
    data = b"".join(map(answerer.chunk, response)) + answerer.final(response_last)
    chunks = opened(sealer.response_opener(), data, cuts)
    assert chunks == [chunk for chunk in (*response, response_last) if chunk]


@settings(max_examples=60)
@given(CONFIGS, st.binary(max_size=2000), st.binary(max_size=2000))
def test_single_shots_round_trip(config: KeyConfig, request: bytes, response: bytes) -> None:
    sealed, opener = ohttp.encapsulate_request(config, request)
    plaintext, sealer = ohttp.open_request(keys(), sealed)
    assert plaintext == request
    assert opener.open(sealer.seal(response)) == response


def feed_all(opener: RequestOpener | ResponseOpener, data: bytes, cuts: list[int]) -> None:
    """Only errors of the tree come out, and nothing that was not sealed is let through."""
    with pytest.raises(PrivityError):
        assert not [chunk for piece in pieces(data, cuts) for chunk in opener.feed(piece)]
        opener.finish()


@given(st.binary(max_size=200), CUTS, st.booleans(), st.integers(0, 1))
def test_the_request_opener_is_total(data: bytes, cuts: list[int], named: bool, key: int) -> None:
    config = keys().configs[key]
    head = config.encode()[:3] + b"\x00\x01\x00\x01" if named else b""
    feed_all(RequestOpener(keys()), head + data, cuts)
    with pytest.raises(PrivityError):
        ohttp.open_request(keys(), head + data)


@given(st.binary(max_size=200), CUTS)
def test_the_response_opener_is_total(data: bytes, cuts: list[int]) -> None:
    feed_all(RequestSealer(keys().configs[1]).response_opener(), data, cuts)
    with pytest.raises(PrivityError):
        ohttp.encapsulate_request(keys().configs[1], b"")[1].open(data)


@given(st.binary(max_size=80), st.booleans())
def test_reading_key_configurations_is_total(data: bytes, x25519: bool) -> None:
    if x25519:
        data = b"\x07\x00\x20" + data
    for read in (KeyConfig.parse, lambda raw: parse_configs(len(raw).to_bytes(2, "big") + raw)):
        try:
            read(data)
        except PrivityError:
            continue
        assert KeyConfig.parse(data).encode() == data


@given(st.binary(max_size=200))
def test_reading_lists_of_key_configurations_is_total(data: bytes) -> None:
    with pytest.raises(PrivityError):
        parse_configs(data)


@given(st.integers(0, 255), st.binary(min_size=32, max_size=32), st.permutations([1, 2, 3, 9]))
def test_key_configurations_round_trip(key_id: int, public_key: bytes, aeads: list[int]) -> None:
    config = KeyConfig(key_id, 0x0020, public_key, tuple((1, aead) for aead in aeads))
    assert KeyConfig.parse(config.encode()) == config
    assert parse_configs(encode_configs([config, config])) == (config, config)
    assert config.suite.aead.id == next(aead for aead in aeads if aead != 9)
