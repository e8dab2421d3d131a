"""Messages of the bus, sealed payloads, questions to a store and its answers."""

from __future__ import annotations

from fuzz.harness import Made, attempt
from privity.anon.messages.sealing import Channel, open_payload
from privity.anon.messages.store import Page, Question, Stored
from privity.anon.messages.store_wire import (
    decode_page,
    decode_question,
    encode_page,
    encode_question,
)
from privity.anon.messages.waku import RateLimitProof, WakuMessage, message_hash
from privity.hazmat.hpke import SUITES

_CHANNEL = Channel("/privity/1/fuzz/sealed", SUITES[0x0020, 0x0001, 0x0001])
_KEY = _CHANNEL.suite.kem.load_private_key(b"\5" * 32)
_PUBSUB = "/waku/2/rs/1789/0"
_PROOF = RateLimitProof(b"\1" * 128, *[bytes([place]) * 32 for place in range(2, 8)])
_MESSAGE = WakuMessage(b"payload", _CHANNEL.topic, timestamp=9, rate_limit_proof=_PROOF)


def one(data: bytes) -> None:
    message = attempt(WakuMessage.from_bytes, data)
    if message is not None:
        assert WakuMessage.from_bytes(message.to_bytes()) == message
        attempt(open_payload, _CHANNEL, _KEY, message.payload)
    question = attempt(decode_question, data)
    if question is not None:
        attempt(encode_question, *question)
    page = attempt(decode_page, data, "1")
    if page is not None:
        assert decode_page(encode_page(page, "1"), "1") == page
    assert attempt(open_payload, _CHANNEL, _KEY, data) is None, "opened what nobody sealed"


def seeds() -> Made:
    whole = WakuMessage(b"x", "/a/0/b/c", 1, -1, b"meta", True)
    page = Page((Stored(message_hash(_PUBSUB, _MESSAGE), _PUBSUB, _MESSAGE),), b"\3" * 32)
    question = Question(_PUBSUB, (_CHANNEL.topic,), start=1, end=2, cursor=b"\4" * 32)
    sealed = _CHANNEL.header + b"\1" + bytes(_CHANNEL.slot_size + 256 + 16)
    return Made(
        [
            _MESSAGE.to_bytes(),
            whole.to_bytes(),
            WakuMessage(sealed, _CHANNEL.topic).to_bytes(),
            encode_question(question, "1"),
            encode_question(Question(hashes=(b"\6" * 32,)), "1"),
            encode_page(page, "1"),
            sealed,
        ]
    )
