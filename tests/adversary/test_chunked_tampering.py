"""What spec/seal.md promises of chunked Oblivious HTTP, attacked one sentence at a time."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import pytest

from privity.errors import (
    MalformedError,
    OpenError,
    OversizeError,
    SealError,
    StaleKeyError,
    TruncatedError,
)
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.seal import varint
from privity.seal.chunked_ohttp import (
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
)
from privity.seal.encapsulation import HEADER_SIZE
from privity.seal.key_config import GatewayKeys

CHUNKS = (b"first", b"second", b"third")
DIRECTIONS = ["request", "response"]
LASTS = [pytest.param(b"", id="empty-last"), pytest.param(b"fourth", id="full-last")]


@functools.cache
def keys() -> GatewayKeys:
    return GatewayKeys.generate([DhkemX25519()])


@dataclass(frozen=True)
class Exchange:
    """One sealed message in its parts, and where to try it."""

    preamble: bytes
    chunks: tuple[bytes, ...]
    last: bytes
    sealer: RequestSealer | None

    def opener(self) -> RequestOpener | ResponseOpener:
        return self.sealer.response_opener() if self.sealer else RequestOpener(keys())

    @property
    def parts(self) -> tuple[bytes, ...]:
        return (self.preamble, *self.chunks, self.last)


def exchange(direction: str, last: bytes = b"") -> Exchange:
    sealer = RequestSealer(keys().configs[0])
    if direction == "request":
        chunks = tuple(map(sealer.chunk, CHUNKS))
        return Exchange(sealer.header, chunks, sealer.final(last), None)
    answerer = answering(sealer)
    first = answerer.chunk(CHUNKS[0])
    chunks = (first[16:], *map(answerer.chunk, CHUNKS[1:]))
    return Exchange(first[:16], chunks, answerer.final(last), sealer)


def answering(sealer: RequestSealer) -> ResponseSealer:
    opener = RequestOpener(keys())
    opener.feed(sealer.header + sealer.final())
    opener.finish()
    return opener.response_sealer()


def refusal(
    opener: RequestOpener | ResponseOpener, data: bytes, genuine: tuple[bytes, ...] = CHUNKS
) -> type[SealError]:
    """How ``data`` is refused; what was let through before has to be the genuine beginning."""
    through: list[bytes] = []
    with pytest.raises(SealError) as caught:
        for at in range(len(data)):
            through += opener.feed(data[at : at + 1])
        through += opener.finish()
    assert tuple(through) == genuine[: len(through)]
    assert not opener.ended
    with pytest.raises(MalformedError):
        opener.feed(b"")
    return type(caught.value)


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


@pytest.mark.parametrize("last", LASTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_untouched_it_opens(direction: str, last: bytes) -> None:
    made = exchange(direction, last)
    opener = made.opener()
    opened = opener.feed(b"".join(made.parts)) + opener.finish()
    assert opened == [*CHUNKS, last][: 3 + bool(last)]
    assert opener.ended
    assert opener.finish() == []


@pytest.mark.parametrize("last", LASTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_flipped_bit_is_refused(direction: str, last: bytes) -> None:
    made = exchange(direction, last)
    data = b"".join(made.parts)
    lengths = set(itertools.accumulate(map(len, made.parts[:-1])))
    for bit in range(8 * len(data)):
        error = refusal(made.opener(), flipped(data, bit), (*CHUNKS, last))
        if bit // 8 in lengths:
            # Lengths are not authenticated (draft §6); a wrong one makes the next chunk not open,
            # or be missing, or be larger than a chunk can be.
            assert error in (OpenError, TruncatedError, OversizeError), bit
        elif direction == "request" and bit < 8 * HEADER_SIZE and bit != 8 * HEADER_SIZE - 7:
            assert error is StaleKeyError, bit
        else:
            assert error is OpenError, bit


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_truncated_anywhere_it_is_refused(direction: str) -> None:
    made = exchange(direction)
    data = b"".join(made.parts)
    for size in range(len(data)):
        assert refusal(made.opener(), data[:size]) is TruncatedError, size


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_truncated_inside_a_last_chunk_with_content_it_is_refused(direction: str) -> None:
    made = exchange(direction, b"fourth")
    data = b"".join(made.parts)
    for cut in range(1, len(made.last) + 1):
        rest = len(made.last) - 1 - cut
        error = TruncatedError if rest < 16 else OpenError
        assert refusal(made.opener(), data[:-cut]) is error, cut


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_chunks_in_any_other_order_are_refused(direction: str) -> None:
    made = exchange(direction)
    for order in list(itertools.permutations(made.chunks))[1:]:
        data = b"".join((made.preamble, *order, made.last))
        assert refusal(made.opener(), data) is OpenError


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_repeated_chunk_is_refused(direction: str, position: int) -> None:
    made = exchange(direction)
    chunks = [*made.chunks]
    chunks.insert(position, chunks[position])
    assert refusal(made.opener(), b"".join((made.preamble, *chunks, made.last))) is OpenError


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_left_out_chunk_is_refused(direction: str, position: int) -> None:
    made = exchange(direction)
    chunks = [*made.chunks]
    del chunks[position]
    assert refusal(made.opener(), b"".join((made.preamble, *chunks, made.last))) is OpenError


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_message_without_its_last_chunk_is_refused(direction: str) -> None:
    made = exchange(direction)
    assert refusal(made.opener(), b"".join(made.parts[:-1])) is TruncatedError


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_end_cannot_be_moved(direction: str) -> None:
    made = exchange(direction)
    # A chunk presented as the last one, and the last one presented as a chunk.
    earlier = made.preamble + made.chunks[0] + b"\x00" + made.chunks[1][1:]
    assert refusal(made.opener(), earlier) is OpenError
    later = b"".join((*made.parts[:-1], varint.encode(len(made.last) - 1), made.last[1:]))
    assert refusal(made.opener(), later) is OpenError


@pytest.mark.parametrize("last", LASTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_follows_the_last_chunk_is_refused(direction: str, last: bytes) -> None:
    made = exchange(direction, last)
    data = b"".join(made.parts)
    for extra in (b"\x00", made.chunks[0], made.last):
        assert refusal(made.opener(), data + extra) is OpenError
    assert refusal(made.opener(), data + bytes(16384 + 16)) is OversizeError
    opener = made.opener()
    opener.feed(data)
    opener.finish()
    with pytest.raises(MalformedError):
        opener.feed(b"\x00")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_empty_chunk_that_is_not_the_last_is_refused(direction: str) -> None:
    made = exchange(direction)
    sealer = RequestSealer(keys().configs[0])
    if direction == "request":
        seal, preamble = sealer._seal, sealer.header
        opener: RequestOpener | ResponseOpener = RequestOpener(keys())
    else:
        answerer = answering(sealer)
        seal, preamble, opener = answerer._seal, answerer._preamble, sealer.response_opener()
    assert refusal(opener, preamble + b"\x10" + seal(b"", b"")) is OpenError
    assert refusal(made.opener(), made.preamble + b"\x01\x00" + made.last) is OpenError


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_chunk_larger_than_stated_is_refused_before_it_is_held(direction: str) -> None:
    made = exchange(direction)
    opener = made.opener()
    opener.feed(made.preamble)
    with pytest.raises(OversizeError):
        opener.feed(varint.encode(16384 + 16 + 1))


def test_another_gateway_with_the_same_key_identifier_opens_nothing() -> None:
    made = exchange("request")
    other = GatewayKeys.generate([DhkemX25519()])
    while other.configs[0].key_id != keys().configs[0].key_id:
        other.rotate()
    assert refusal(RequestOpener(other), b"".join(made.parts)) is OpenError


def test_the_response_to_another_request_is_refused() -> None:
    made = exchange("response")
    other = RequestSealer(keys().configs[0])
    assert refusal(other.response_opener(), b"".join(made.parts)) is OpenError


def test_chunks_of_two_messages_do_not_mix() -> None:
    one, other = exchange("request"), exchange("request")
    mixed = (one.preamble, one.chunks[0], other.chunks[1], one.chunks[2], one.last)
    assert refusal(one.opener(), b"".join(mixed)) is OpenError


def test_two_responses_to_one_request_do_not_mix() -> None:
    sealer = RequestSealer(keys().configs[0])
    opener = RequestOpener(keys())
    opener.feed(sealer.header)
    one, other = opener.response_sealer(), opener.response_sealer()
    data = one.chunk(b"first")
    other.chunk(b"first")
    data += other.chunk(b"second")
    assert refusal(sealer.response_opener(), data) is OpenError
