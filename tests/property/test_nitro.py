"""CBOR, COSE and Nitro documents: every parser is total, and agrees with another's writer."""

from __future__ import annotations

from typing import Any

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.certificates import NOON
from pki.nitro import NitroPki
from privity.attest.aws.cbor import read_cbor
from privity.attest.aws.cose import Sign1
from privity.attest.aws.document import NitroDocument
from privity.attest.evidence import Companions
from privity.attest.evidence_nitro import NitroVerifier, from_file, recognises
from privity.errors import MalformedError
from privity.identity.multibase import encode_base64url

PKI = NitroPki()
PAYLOAD = PKI.payload(bytes(64), NOON)
DOCUMENT = PKI.sign(PAYLOAD)

keys = st.one_of(st.text(max_size=8), st.integers(-(2**64), 2**64 - 1))
scalars = st.one_of(keys, st.binary(max_size=300), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=8,
)


def depth_of(value: Any) -> int:
    below = [*value, *value.values()] if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((depth_of(one) for one in below), default=0)


@given(values)
def test_what_another_library_writes_is_read(value: Any) -> None:
    data = cbor2.dumps(value)
    if depth_of(value) > 4:
        return
    assert read_cbor(data, most=1 << 16) == value


@given(st.one_of(st.binary(max_size=64), values.map(cbor2.dumps)), st.binary(max_size=2))
def test_any_bytes_are_one_value_or_refused(data: bytes, tail: bytes) -> None:
    try:
        value = read_cbor(data + tail, most=1 << 16)
    except MalformedError:
        return
    assert cbor2.dumps(value) == data + tail


@given(st.binary(max_size=64))
def test_maps_of_indefinite_length_are_read_where_allowed(data: bytes) -> None:
    try:
        value = read_cbor(data, most=64, open_maps=True)
    except MalformedError:
        return
    assert cbor2.loads(data) == value


@given(st.one_of(st.integers(1, 8), st.integers(1, 200_000)))
def test_depth_is_limited(depth: int) -> None:
    for head, tail in ((b"\x81", b""), (b"\xa1\x00", b""), (b"\xbf\x00", b"\xff")):
        try:
            value = read_cbor(head * depth + b"\x00" + tail * depth, most=1 << 20, open_maps=True)
        except MalformedError:
            assert depth > 4
        else:
            assert depth_of(value) == depth <= 4


@given(st.integers(1, 32), st.integers(0, 32))
def test_size_is_limited(size: int, most: int) -> None:
    data = cbor2.dumps(bytes(size))
    try:
        assert read_cbor(data, most=most) == bytes(size)
    except MalformedError:
        assert len(data) > most
    else:
        assert len(data) <= most


@st.composite
def altered(draw: st.DrawFn, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 8)))
    return data[:start] + draw(st.binary(max_size=8)) + data[end:]


@settings(deadline=None)  # keys are made when first used
@given(altered(DOCUMENT))
def test_any_altered_message_is_judged_or_refused_by_a_privity_error(data: bytes) -> None:
    if not data or len(data) > 16_384:
        return
    evidence = {"document": encode_base64url(data), "kind": "nitro"}
    try:
        found = NitroVerifier(PKI.anchors).examine(evidence, bytes(64), [], NOON)
    except MalformedError:
        return
    assert found.accepted == (data == DOCUMENT)


@settings(deadline=None)  # keys are made when first used
@given(altered(PAYLOAD))
def test_any_altered_document_that_is_signed_is_judged_or_refused(payload: bytes) -> None:
    evidence = {"document": encode_base64url(PKI.sign(payload)), "kind": "nitro"}
    try:
        NitroVerifier(PKI.anchors).examine(evidence, bytes(64), [], NOON)
    except MalformedError:
        pass


@given(st.binary(max_size=300))
def test_reading_messages_documents_and_files_is_total(data: bytes) -> None:
    recognises(data)
    for read in (
        lambda: Sign1.parse(data, most=16_384),
        lambda: NitroDocument.parse(data),
        lambda: from_file(b"hEShATgi" + data, Companions((data,))),
        lambda: from_file(b"\0\x02" + data.ljust(99), Companions()),
    ):
        try:
            read()
        except MalformedError:
            continue
        raise AssertionError("read as something")


@given(st.binary(max_size=70_000))
def test_what_is_signed_is_as_the_standard_says(payload: bytes) -> None:
    told = cbor2.dumps(["Signature1", b"\xa1\x01\x38\x22", b"", payload])
    assert Sign1(payload, bytes(96)).signed == told
