"""Sealed artefacts for every size and place, and parsers that are total."""

from __future__ import annotations

import functools
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import PrivityError
from privity.hazmat.merkle import Tree, leaf_hash
from privity.vault import (
    ArtefactKey,
    BytesSource,
    Meta,
    Reader,
    bech32,
    read_header,
    root_of,
    seal_stream,
)
from privity.vault.header import CHUNK_BYTES
from privity.vault.index import Index
from privity.vault.recipients import Identity, Recipient, new_identity, parse_identity_file
from privity.vault.root import root_of_file

KEY = ArtefactKey(b"\7" * 32)
ME, _ = new_identity()
POOL = hashlib.shake_256(b"contents").digest(3 * CHUNK_BYTES + 1)
EDGES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 1]
SIZES = st.sampled_from(EDGES) | st.integers(0, 3 * CHUNK_BYTES)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters='/\\".'),
    min_size=1,
    max_size=60,
)


@functools.cache
def sealed_bytes(size: int) -> bytes:
    sink = io.BytesIO()
    meta = Meta("data", "dataset")
    seal_stream(io.BytesIO(POOL[:size]), sink, meta=meta, recipients=[ME.recipient], key=KEY)
    return sink.getvalue()


@settings(max_examples=25, deadline=None)
@given(size=SIZES, name=NAMES)
def test_what_was_sealed_comes_back(size: int, name: str) -> None:
    sink, back = io.BytesIO(), io.BytesIO()
    meta = Meta(name, "adapter", "text/plain")
    sealed = seal_stream(io.BytesIO(POOL[:size]), sink, meta=meta, recipients=[], key=KEY)
    reader = Reader(BytesSource(sink.getvalue()), KEY)
    assert reader.copy_to(back) == sealed.root == reader.root == root_of(POOL[:size])
    assert back.getvalue() == POOL[:size]
    assert (reader.meta, reader.size, reader.id) == (meta, size, sealed.id)


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from(EDGES),
    reads=st.lists(
        st.tuples(st.integers(0, 3 * CHUNK_BYTES + 9), st.integers(0, 2 * CHUNK_BYTES)),
        min_size=1,
        max_size=4,
    ),
)
def test_reading_anywhere_gives_the_contents_there(size: int, reads: list[tuple[int, int]]) -> None:
    reader = Reader(BytesSource(sealed_bytes(size)), KEY)
    for offset, length in reads:
        assert reader.read_at(offset, length) == POOL[:size][offset : offset + length]


@settings(max_examples=20, deadline=None)
@given(size=SIZES, pieces=st.integers(1, 5))
def test_a_stream_that_comes_in_pieces_is_sealed_as_one(size: int, pieces: int) -> None:
    class Dripping(io.BytesIO):
        def readinto(self, buffer: object) -> int:
            view = memoryview(buffer)  # type: ignore[arg-type]
            return super().readinto(view[: len(view) // pieces + 1])

    sink = io.BytesIO()
    sealed = seal_stream(
        Dripping(POOL[:size]), sink, meta=Meta("d", "dataset"), recipients=[], key=KEY
    )
    assert sealed.size == size and sealed.root == root_of(POOL[:size])


@settings(max_examples=20, deadline=None)
@given(size=SIZES)
def test_the_root_is_that_of_rfc_9162_over_leaves_of_a_mebibyte(
    size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = POOL[:size]
    leaves = [leaf_hash(data[at : at + CHUNK_BYTES]) for at in range(0, size, CHUNK_BYTES)]
    assert root_of(data) == "tree-sha256:" + Tree(leaves).root().hex()
    path: Path = tmp_path_factory.mktemp("root") / "file"
    path.write_bytes(data)
    assert root_of_file(path) == root_of(data)


@settings(deadline=None)
@given(data=st.binary(max_size=400))
def test_no_bytes_get_anything_but_our_errors_out_of_the_head(data: bytes) -> None:
    for start in (b"", b"privity.artefact/v1\n", sealed_bytes(1)[: len(data)]):
        with pytest.raises(PrivityError):
            read_header(BytesSource(start + data))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_alteration_gets_anything_but_our_errors_out_of_a_reader(data: st.DataObject) -> None:
    original = sealed_bytes(1)
    altered = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(altered)))
        cut = data.draw(st.integers(0, 40))
        altered[at : at + cut] = data.draw(st.binary(max_size=40))
    if altered == original:
        return
    with pytest.raises(PrivityError):
        reader = Reader(BytesSource(bytes(altered)), KEY)
        reader.copy_to(io.BytesIO())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**53 - 1) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "artefact": st.just("ab" * 16) | JSON,
            "part_bytes": st.sampled_from([1 << 20, 1 << 24]) | JSON,
            "parts": st.lists(st.just("0" * 64) | JSON, max_size=3) | JSON,
            "size": st.integers(0, 1 << 26) | JSON,
            "version": st.just(1) | JSON,
        }
    )
)
def test_an_index_is_read_whole_or_refused(value: object) -> None:
    from privity.identity.jcs import canonical

    data = canonical(value)
    try:
        index = Index.parse(data)
    except PrivityError:
        return
    assert index.to_bytes() == data
    assert len(index.parts) == -(-index.size // index.part_bytes)


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_no_bytes_get_anything_but_our_errors_out_of_an_index(data: bytes) -> None:
    with pytest.raises(PrivityError):
        Index.parse(data)


@settings(deadline=None)
@given(text=st.text(max_size=120) | st.from_regex(r"(age1(pq1)?|AGE-SECRET-KEY-(PQ-)?1)\w{0,90}"))
def test_no_text_gets_anything_but_our_errors_out_of_a_key(text: str) -> None:
    for parse in (Recipient.parse, Identity.parse):
        with pytest.raises(PrivityError):
            parse(text)
    with pytest.raises(PrivityError):
        parse_identity_file(text.encode("utf-8", "replace"), "a file")


@settings(deadline=None)
@given(prefix=st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), data=st.binary(max_size=1300))
def test_bech32_comes_back_and_has_one_spelling(prefix: str, data: bytes) -> None:
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == (prefix, data)
    assert bech32.decode(text.upper()) == (prefix, data)


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=64), draw=st.data())
def test_a_mistyped_character_is_noticed(data: bytes, draw: st.DataObject) -> None:
    text = bech32.encode("age", data)
    at = draw.draw(st.integers(4, len(text) - 1))
    char = draw.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l").filter(text[at].__ne__))
    with pytest.raises(PrivityError):
        bech32.decode(text[:at] + char + text[at + 1 :])


@given(seed=st.binary(min_size=32, max_size=32))
@settings(max_examples=20, deadline=None)
def test_keys_read_back_as_they_are_written(seed: bytes) -> None:
    identity, secret = new_identity(lambda count: seed)
    assert Identity.parse(secret).recipient == identity.recipient
    assert Recipient.parse(str(identity.recipient)) == identity.recipient
