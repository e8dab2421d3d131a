"""The published test vectors of Binary HTTP, Oblivious HTTP and its chunked form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privity import errors
from privity.hazmat.hpke import SUITES, Suite
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.seal import binary_http as bhttp
from privity.seal import chunked_ohttp, ohttp
from privity.seal.key_config import GatewayKey, GatewayKeys, KeyConfig

FOLDER = Path(__file__).parent
Vector = dict[str, Any]


def load(name: str) -> list[Any]:
    document = json.loads((FOLDER / name).read_text())
    assert document["source"]
    return [pytest.param(vector, id=vector["name"]) for vector in document["vectors"]]


def fields(lines: list[list[str]]) -> bhttp.Fields:
    return tuple((name.encode(), value.encode()) for name, value in lines)


def decode(vector: Vector, data: bytes, step: int) -> list[bhttp.Event]:
    decoder = bhttp.Decoder(vector["kind"])
    events = []
    for at in range(0, len(data), step):
        events += decoder.feed(data[at : at + step])
    return events + decoder.finish()


def expected(vector: Vector) -> list[bhttp.Event]:
    head = dict(vector["head"], headers=fields(vector["head"]["headers"]))
    kind = bhttp.RequestHead if vector["kind"] == "request" else bhttp.ResponseHead
    events: list[bhttp.Event] = [
        bhttp.Informational(interim["status"], fields(interim["headers"]))
        for interim in vector.get("informational", [])
    ]
    events.append(kind(**head))
    if vector["content"]:
        events.append(bhttp.Content(vector["content"].encode()))
    return [*events, bhttp.Trailers(fields(vector["trailers"]))]


def joined(events: list[bhttp.Event]) -> list[bhttp.Event]:
    """The events with neighbouring pieces of content as one."""
    out: list[bhttp.Event] = []
    for event in events:
        if out and isinstance(event, bhttp.Content) and isinstance(out[-1], bhttp.Content):
            out[-1] = bhttp.Content(out[-1].data + event.data)
        else:
            out.append(event)
    return out


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("vector", load("bhttp_rfc9292.json"))
def test_binary_http_decodes(vector: Vector, step: int) -> None:
    data = bytes.fromhex(vector["encoding"])
    assert joined(decode(vector, data, step)) == expected(vector)


@pytest.mark.parametrize("vector", load("bhttp_rfc9292.json"))
def test_binary_http_encodes(vector: Vector) -> None:
    data = bytes.fromhex(vector["encoding"])
    *interim, head, trailers = [e for e in expected(vector) if not isinstance(e, bhttp.Content)]
    assert isinstance(trailers, bhttp.Trailers)
    content = vector["content"].encode()
    encoded = b""
    match head, data[0]:
        case bhttp.RequestHead(), 0:
            encoded = bhttp.encode_request(head, content, trailers.fields)
        case bhttp.ResponseHead(), 1:
            encoded = bhttp.encode_response(head, content, trailers.fields)
        case bhttp.RequestHead(), 2:
            request = bhttp.RequestEncoder()
            encoded = request.head(head) + request.content(content) + request.end(trailers.fields)
        case bhttp.ResponseHead(), 3:
            response = bhttp.ResponseEncoder()
            encoded = b"".join(
                response.informational(event)
                for event in interim
                if isinstance(event, bhttp.Informational)
            )
            encoded += response.head(head) + response.content(content)
            encoded += response.end(trailers.fields)
    assert encoded + bytes(vector.get("padding", 0)) == data


def test_the_rfc_s_request_means_the_same_with_any_of_its_last_twelve_bytes_removed() -> None:
    vector = json.loads((FOLDER / "bhttp_rfc9292.json").read_text())["vectors"][1]
    data = bytes.fromhex(vector["encoding"])
    for cut in range(13):
        assert decode(vector, data[: len(data) - cut], 1000) == expected(vector)
    with pytest.raises(errors.TruncatedError):
        decode(vector, data[:-13], 1000)


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("vector", load("bhttp_invalid.json"))
def test_binary_http_refuses(vector: Vector, step: int) -> None:
    with pytest.raises(errors.SealError) as caught:
        decode(vector, bytes.fromhex(vector["encoding"]), step)
    assert type(caught.value).__name__ == vector["expect"]


def sender_suite(vector: Vector) -> Suite:
    """The vector's suite, whose sender draws the vector's ephemeral key."""
    kem = DhkemX25519(entropy=lambda size: bytes.fromhex(vector["sk_e"])[:size])
    return Suite(kem, SUITES[0x0020, 1, 1].aead)


def gateway(vector: Vector) -> tuple[KeyConfig, GatewayKeys]:
    config = KeyConfig.parse(bytes.fromhex(vector["config"]))
    assert config.encode().hex() == vector["config"]
    assert config.suite.ids == (0x0020, 1, 1)
    private = DhkemX25519().load_private_key(bytes.fromhex(vector["sk_r"]))
    return config, GatewayKeys([GatewayKey(config, private)])


def fixed_nonce(vector: Vector) -> Callable[[int], bytes]:
    return lambda size: bytes.fromhex(vector["encapsulated_response"])[:size]


@pytest.mark.parametrize("vector", load("ohttp_rfc9458.json"))
def test_oblivious_http(vector: Vector) -> None:
    config, keys = gateway(vector)
    request = bytes.fromhex(vector["request"])
    sealed, opener = ohttp.encapsulate_request(config, request, suite=sender_suite(vector))
    assert sealed.hex() == vector["encapsulated_request"]
    opened, sealer = ohttp.open_request(keys, sealed, random=fixed_nonce(vector))
    assert opened == request
    assert sealer.enc.hex() == vector["pk_e"]
    assert sealer.key.config == config
    answer = sealer.seal(bytes.fromhex(vector["response"]))
    assert answer.hex() == vector["encapsulated_response"]
    assert opener.open(answer).hex() == vector["response"]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [data[end - size : end] for size, end in zip(sizes, ends, strict=True)]


@pytest.mark.parametrize("vector", load("chunked_ohttp_draft08.json"))
def test_chunked_oblivious_http(vector: Vector) -> None:
    config, keys = gateway(vector)
    *chunks, last = cut(bytes.fromhex(vector["request"]), vector["request_chunks"])
    sealer = chunked_ohttp.RequestSealer(config, suite=sender_suite(vector))
    sealed = sealer.header + b"".join(map(sealer.chunk, chunks)) + sealer.final(last)
    assert sealed.hex() == vector["encapsulated_request"]

    opener = chunked_ohttp.RequestOpener(keys)
    assert opener.feed(sealed) == chunks
    assert opener.finish() == []
    assert opener.ended
    assert opener.enc.hex() == vector["pk_e"]

    *chunks, last = cut(bytes.fromhex(vector["response"]), vector["response_chunks"])
    answerer = opener.response_sealer(random=fixed_nonce(vector))
    answer = b"".join(map(answerer.chunk, chunks)) + answerer.final(last)
    assert answer.hex() == vector["encapsulated_response"]

    reader = sealer.response_opener()
    assert reader.feed(answer) + reader.finish() == chunks
    assert reader.ended
