"""What spec/seal.md promises of plain Oblivious HTTP, attacked one sentence at a time."""

from __future__ import annotations

import functools

import pytest

from privity.errors import OpenError, SealError, StaleKeyError, TruncatedError
from privity.hazmat.kem import Kem
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.hazmat.kem_xwing import XWing
from privity.seal import chunked_ohttp
from privity.seal.encapsulation import HEADER_SIZE
from privity.seal.key_config import GatewayKey, GatewayKeys, KeyConfig
from privity.seal.ohttp import encapsulate_request, open_request

REQUEST, RESPONSE = b"the request", b"the response"
KEMS = [pytest.param(DhkemX25519(), id="X25519"), pytest.param(XWing(), id="X-Wing")]
AEAD_ID = range(HEADER_SIZE - 2, HEADER_SIZE)


@functools.cache
def gateway(kem: Kem, key_id: int = 7) -> GatewayKeys:
    private = kem.generate()
    return GatewayKeys([GatewayKey(KeyConfig(key_id, kem.id, private.public_bytes), private)])


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def refusal_of_request(keys: GatewayKeys, data: bytes) -> type[SealError]:
    with pytest.raises(SealError) as caught:
        open_request(keys, data)
    return type(caught.value)


@pytest.mark.parametrize("kem", KEMS)
def test_every_flipped_bit_of_a_request_is_refused(kem: Kem) -> None:
    keys = gateway(kem)
    sealed, _ = encapsulate_request(keys.configs[0], REQUEST)
    for bit in range(8 * len(sealed)):
        data = flipped(sealed, bit)
        # A bit of the header makes it a key or suite the gateway lacks, except the one that turns
        # AES-128-GCM (1) into ChaCha20-Poly1305 (3), which the gateway offers too.
        other_suite = data[AEAD_ID.start : AEAD_ID.stop] == b"\x00\x03"
        stale = bit < 8 * HEADER_SIZE and not other_suite
        assert refusal_of_request(keys, data) is (StaleKeyError if stale else OpenError), bit


@pytest.mark.parametrize("kem", KEMS)
def test_a_request_truncated_anywhere_is_refused(kem: Kem) -> None:
    keys = gateway(kem)
    sealed, _ = encapsulate_request(keys.configs[0], REQUEST)
    shortest = HEADER_SIZE + kem.n_enc + 16
    for size in range(len(sealed)):
        error = TruncatedError if size < shortest else OpenError
        assert refusal_of_request(keys, sealed[:size]) is error, size


def test_a_lengthened_request_is_refused() -> None:
    keys = gateway(DhkemX25519())
    sealed, _ = encapsulate_request(keys.configs[0], REQUEST)
    assert refusal_of_request(keys, sealed + b"\x00") is OpenError


def test_every_flipped_bit_of_a_response_is_refused() -> None:
    keys = gateway(DhkemX25519())
    sealed, opener = encapsulate_request(keys.configs[0], REQUEST)
    _, sealer = open_request(keys, sealed)
    answer = sealer.seal(RESPONSE)
    for bit in range(8 * len(answer)):
        with pytest.raises(OpenError):
            opener.open(flipped(answer, bit))
    assert opener.open(answer) == RESPONSE


def test_a_response_truncated_anywhere_or_lengthened_is_refused() -> None:
    keys = gateway(DhkemX25519())
    sealed, opener = encapsulate_request(keys.configs[0], REQUEST)
    answer = open_request(keys, sealed)[1].seal(RESPONSE)
    for size in range(len(answer)):
        with pytest.raises(TruncatedError if size < 32 else OpenError):
            opener.open(answer[:size])
    with pytest.raises(OpenError):
        opener.open(answer + b"\x00")


@pytest.mark.parametrize("kem", KEMS)
def test_another_gateway_with_the_same_key_identifier_opens_nothing(kem: Kem) -> None:
    sealed, _ = encapsulate_request(gateway(kem).configs[0], REQUEST)
    other = gateway.__wrapped__(kem)
    assert other.configs[0].key_id == gateway(kem).configs[0].key_id
    assert refusal_of_request(other, sealed) is OpenError


def test_a_gateway_that_knows_no_such_key_says_it_is_stale() -> None:
    sealed, _ = encapsulate_request(gateway(DhkemX25519()).configs[0], REQUEST)
    assert refusal_of_request(gateway(DhkemX25519(), 8), sealed) is StaleKeyError
    assert refusal_of_request(gateway(XWing(), 7), sealed) is StaleKeyError


def test_the_response_to_another_request_is_refused() -> None:
    keys = gateway(DhkemX25519())
    _, opener = encapsulate_request(keys.configs[0], REQUEST)
    other, _ = encapsulate_request(keys.configs[0], REQUEST)
    answer = open_request(keys, other)[1].seal(RESPONSE)
    with pytest.raises(OpenError):
        opener.open(answer)


def test_a_request_does_not_open_as_its_chunked_form() -> None:
    keys = gateway(DhkemX25519())
    sealed, _ = encapsulate_request(keys.configs[0], REQUEST)
    head = HEADER_SIZE + 32
    as_chunked = sealed[:head] + b"\x00" + sealed[head:]
    opener = chunked_ohttp.RequestOpener(keys)
    assert opener.feed(as_chunked) == []
    with pytest.raises(OpenError):
        opener.finish()
    sealer = chunked_ohttp.RequestSealer(keys.configs[0])
    as_plain = sealer.header + sealer.final(REQUEST)[1:]
    assert refusal_of_request(keys, as_plain) is OpenError


def test_equal_messages_never_look_equal() -> None:
    keys = gateway(DhkemX25519())
    first, opener = encapsulate_request(keys.configs[0], REQUEST)
    second, _ = encapsulate_request(keys.configs[0], REQUEST)
    assert first[HEADER_SIZE:] != second[HEADER_SIZE:]
    sealer = open_request(keys, first)[1]
    one, other = sealer.seal(RESPONSE), sealer.seal(RESPONSE)
    assert one[:16] != other[:16]
    assert one[16:] != other[16:]
    assert opener.open(one) == opener.open(other) == RESPONSE
