"""For all inputs: one spelling for each value; every parser returns or refuses."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from privity.errors import InputError, MalformedError, OversizeError
from privity.identity import multibase
from privity.identity.did_key import encode_did, parse_did, parse_secret
from privity.identity.digests import check_digest
from privity.identity.jcs import canonical, loads_canonical, loads_strict
from privity.identity.keys import SigningKey
from privity.identity.timestamps import format_time, parse_time, whole_second

INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
BASE64URL = st.text("ABCDwxyz0189-_=+/ \n", max_size=12)
BASE58 = st.text("123zyxABCabc0OIl \n", max_size=20)


@given(st.binary(max_size=100))
def test_bytes_as_text_come_back(data: bytes) -> None:
    assert multibase.decode_base64url(multibase.encode_base64url(data)) == data
    assert multibase.decode_base64(multibase.encode_base64(data)) == data
    assert multibase.decode_hex(data.hex()) == data
    assert multibase.decode(multibase.encode_z(data)) == data


@given(BASE64URL)
def test_base64url_has_one_spelling_or_none(text: str) -> None:
    try:
        data = multibase.decode_base64url(text)
    except MalformedError:
        return
    assert multibase.encode_base64url(data) == text


@given(BASE64URL)
def test_base64_has_one_spelling_or_none(text: str) -> None:
    try:
        data = multibase.decode_base64(text)
    except MalformedError:
        return
    assert multibase.encode_base64(data) == text


@given(st.text("0159abcfABF \n", max_size=12))
def test_hex_has_one_spelling_or_none(text: str) -> None:
    try:
        data = multibase.decode_hex(text)
    except MalformedError:
        return
    assert data.hex() == text


@given(BASE58)
def test_base58_has_one_spelling_or_none(text: str) -> None:
    try:
        data = multibase.decode("z" + text)
    except MalformedError:
        return
    assert multibase.encode_z(data) == "z" + text


@given(st.text())
def test_readers_of_text_are_total(text: str) -> None:
    readers = (
        multibase.decode_base64,
        multibase.decode_base64url,
        multibase.decode_hex,
        multibase.decode,
        parse_did,
        parse_secret,
        check_digest,
        parse_time,
    )
    for prefix in ("", "z", "u", "did:key:z6Mk", "sha256:"):
        for read in readers:
            try:
                read(prefix + text)
            except MalformedError:
                continue


@given(st.binary(min_size=32, max_size=32))
def test_a_did_key_names_one_key(seed: bytes) -> None:
    key = SigningKey(seed)
    assert parse_did(key.did) == key.verify_key.public_bytes
    assert encode_did(parse_did(key.did)) == key.did


@given(st.binary(min_size=32, max_size=32))
def test_a_did_key_of_any_bytes_is_the_same_text_again_or_refused(public: bytes) -> None:
    try:
        did = encode_did(public)
    except MalformedError:
        return
    assert parse_did(did) == public


@given(JSON)
def test_canonical_json_comes_back_equal(value: Any) -> None:
    data = canonical(value)
    assert loads_canonical(data) == value
    assert canonical(loads_strict(json.dumps(value, indent=1).encode())) == data


@given(JSON, st.data())
def test_canonical_json_has_one_spelling(value: Any, data: st.DataObject) -> None:
    original = canonical(value)
    place = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        other = loads_canonical(bytes(changed))
    except MalformedError:
        return
    # type-exact: True and 1 are equal in Python, and not in JSON
    assert json.dumps(other, sort_keys=True) != json.dumps(value, sort_keys=True)


@given(
    st.binary(max_size=60)
    | st.text('{}[]",:0123456789eE+-.truefalsn\\u dD', max_size=60).map(str.encode)
)
def test_the_json_readers_are_total(data: bytes) -> None:
    for read in (loads_strict, loads_canonical):
        try:
            value = read(data, max_bytes=50)
        except (MalformedError, OversizeError):
            continue
        if read is loads_canonical:
            assert canonical(value) == data


@given(st.datetimes(timezones=st.timezones()))
def test_times_come_back_to_the_second(moment: Any) -> None:
    try:
        text = format_time(moment)
    except InputError:  # a moment whose UTC year is 0 or 10000
        assert moment.year in (1, 9999)
        return
    assert parse_time(text) == whole_second(moment)
    assert format_time(parse_time(text)) == text
