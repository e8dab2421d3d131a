"""Attacks on sealed artefacts: what a store, a courier or another recipient does to the bytes."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privity.errors import (
    InputError,
    MalformedError,
    OpenError,
    OversizeError,
    TruncatedError,
)
from privity.hazmat.hpke import KEMS
from privity.identity.jcs import canonical, loads_canonical
from privity.vault import ArtefactKey, BytesSource, Meta, Reader, Sealed, artefact, seal_stream
from privity.vault import header as head
from privity.vault.files import new_file
from privity.vault.header import CHUNK_BYTES, make_header, read_header, unwrap
from privity.vault.recipients import Identity, Recipient, new_identity

CHUNK = CHUNK_BYTES + 16
META = Meta("canary-model.gguf", "model")
ME, OTHER = (new_identity()[0] for _ in range(2))
KEY = ArtefactKey(bytes(range(32)))


def seal(
    plain: bytes,
    *,
    meta: Meta = META,
    key: ArtefactKey = KEY,
    recipients: tuple[Recipient, ...] = (),
) -> tuple[bytes, Sealed]:
    sink = io.BytesIO()
    sealed = seal_stream(io.BytesIO(plain), sink, meta=meta, recipients=recipients, key=key)
    return sink.getvalue(), sealed


def open_all(data: bytes, key: ArtefactKey = KEY) -> bytes:
    sink = io.BytesIO()
    Reader(BytesSource(data), key).copy_to(sink)
    return sink.getvalue()


def read_all(data: bytes, key: ArtefactKey = KEY) -> bytes:
    """As `open_all`, without threads: for tests that try thousands of alterations."""
    reader = Reader(BytesSource(data), key)
    return reader.read_at(0, reader.size)


def flipped(data: bytes, place: int, bit: int) -> bytes:
    altered = bytearray(data)
    altered[place] ^= 1 << bit
    return bytes(altered)


SMALL = b"a few weights" * 20
SMALL_FILE, _ = seal(SMALL, recipients=(ME.recipient,))
BIG = random.Random(1).randbytes(3 * CHUNK_BYTES + 5)
BIG_FILE, _ = seal(BIG)
START = len(BIG_FILE) - len(BIG) - 4 * 16


def chunks_of(data: bytes, start: int = START) -> list[bytes]:
    return [data[at : at + CHUNK] for at in range(start, len(data), CHUNK)]


def with_chunks(chunks: list[bytes]) -> bytes:
    return BIG_FILE[:START] + b"".join(chunks)


def test_every_flipped_bit_of_a_small_artefact_is_refused() -> None:
    assert read_all(SMALL_FILE) == open_all(SMALL_FILE) == SMALL
    for place in range(len(SMALL_FILE)):
        for bit in range(8):
            with pytest.raises((OpenError, MalformedError, TruncatedError, OversizeError)):
                read_all(flipped(SMALL_FILE, place, bit))


def test_a_flipped_bit_in_the_head_gives_nobody_a_key() -> None:
    for place in range(read_header(BytesSource(SMALL_FILE)).end):
        with pytest.raises((OpenError, MalformedError, TruncatedError, OversizeError)):
            unwrap(read_header(BytesSource(flipped(SMALL_FILE, place, place % 8))), ME)


def test_a_flipped_bit_in_any_chunk_is_refused() -> None:
    assert open_all(BIG_FILE) == BIG
    edges = {START + number * CHUNK + off for number in range(4) for off in (-17, -16, -1, 0, 1)}
    places = edges | {random.Random(2).randrange(START, len(BIG_FILE)) for _ in range(60)}
    for place in places:
        with pytest.raises(OpenError):
            read_all(flipped(BIG_FILE, place, place % 8))


def test_reading_elsewhere_does_not_notice_an_altered_chunk_and_copying_does() -> None:
    altered = flipped(BIG_FILE, START + CHUNK + 7, 0)
    reader = Reader(BytesSource(altered), KEY)
    assert reader.read_at(0, 99) == BIG[:99]
    with pytest.raises(OpenError, match="chunk 1 "):
        reader.read_at(CHUNK_BYTES - 1, 2)
    with pytest.raises(OpenError, match="chunk 1 "):
        open_all(altered)


def test_every_truncation_is_refused() -> None:
    ends = {START + number * CHUNK + off for number in range(4) for off in (-1, 0, 1, 16)}
    for end in ends | {len(BIG_FILE) - off for off in (1, 5, 16, 21)}:
        with pytest.raises(TruncatedError):
            open_all(BIG_FILE[:end])
    for end in range(len(SMALL_FILE)):
        with pytest.raises((TruncatedError, MalformedError)):
            read_all(SMALL_FILE[:end])


def test_appended_bytes_are_refused() -> None:
    for tail in (b"\0", b"x" * CHUNK, BIG_FILE):
        with pytest.raises(MalformedError, match="follow"):
            open_all(BIG_FILE + tail)


def test_chunks_that_were_moved_repeated_or_left_out_are_refused() -> None:
    one, two, three, last = chunks_of(BIG_FILE)
    for chunks in (
        [two, one, three, last],
        [one, one, three, last],
        [one, three, two, last],
        [one, two, last + bytes(CHUNK - len(last)), three[: len(last)]],
    ):
        with pytest.raises(OpenError):
            open_all(with_chunks(chunks))
    with pytest.raises(TruncatedError):
        open_all(with_chunks([one, two, three]))
    with pytest.raises(MalformedError):
        open_all(with_chunks([one, two, three, three, last]))


def test_a_chunk_does_not_pass_for_the_last_nor_the_last_for_another() -> None:
    """The forged description is of the right size, so that only the chunks' own flag is left."""
    whole, _ = seal(BIG[: 2 * CHUNK_BYTES])
    start = len(whole) - 2 * CHUNK
    header = read_header(BytesSource(whole))
    shorter = artefact._seal_box(KEY, header.id, META, CHUNK_BYTES, "sha256:" + "0" * 64)
    with pytest.raises(OpenError, match="chunk 0 "):
        open_all(whole[: header.end] + shorter + whole[start : start + CHUNK])


def test_parts_of_two_artefacts_under_one_key_do_not_fit_together() -> None:
    other, _ = seal(BIG[::-1])
    first, second = chunks_of(BIG_FILE), chunks_of(other)
    for number in range(4):
        mixed = [*first[:number], second[number], *first[number + 1 :]]
        with pytest.raises(OpenError):
            open_all(with_chunks(mixed))
    end = read_header(BytesSource(BIG_FILE)).end
    with pytest.raises(OpenError):  # the head of the one, the rest of the other
        open_all(other[:end] + BIG_FILE[end:])
    with pytest.raises(OpenError, match="description"):
        open_all(BIG_FILE[:end] + other[end:START] + BIG_FILE[START:])


def test_no_two_artefacts_share_a_chunk_not_even_of_the_same_contents_under_one_key() -> None:
    other, _ = seal(BIG)
    assert not {chunk[:64] for chunk in chunks_of(BIG_FILE)} & {c[:64] for c in chunks_of(other)}


@pytest.mark.parametrize("key", [ArtefactKey(bytes(32)), ArtefactKey.generate()])
def test_another_key_is_refused(key: ArtefactKey) -> None:
    with pytest.raises(OpenError, match="key does not open"):
        open_all(BIG_FILE, key)


def test_an_identity_it_is_not_sealed_to_is_refused() -> None:
    header = read_header(BytesSource(SMALL_FILE))
    assert unwrap(header, ME) == KEY
    with pytest.raises(OpenError, match="not sealed to this key"):
        unwrap(header, OTHER)


def rewritten(data: bytes, **changes: object) -> bytes:
    """Return the artefact with members of its head changed; the mac is as it was."""
    header = read_header(BytesSource(data))
    body = canonical(loads_canonical(header.signed[24:]) | changes)
    signed = header.signed[:20] + len(body).to_bytes(4, "big") + body
    return signed + header.mac + data[header.end :]


def test_recipients_cannot_be_removed_added_or_exchanged() -> None:
    data, _ = seal(SMALL, recipients=(ME.recipient, OTHER.recipient))
    header = read_header(BytesSource(data))
    listed = loads_canonical(header.signed[24:])["recipients"]
    theirs = read_header(BytesSource(seal(SMALL, recipients=(ME.recipient,))[0]))
    foreign = loads_canonical(theirs.signed[24:])["recipients"]
    for recipients in (listed[:1], listed[::-1], [*listed, listed[0]], [], foreign):
        altered = rewritten(data, recipients=recipients)
        with pytest.raises(OpenError):
            read_all(altered)
        with pytest.raises(OpenError):
            unwrap(read_header(BytesSource(altered)), ME)


def test_a_stanza_does_not_open_in_another_artefact() -> None:
    """Not even where whoever moves it holds that artefact's key and can make its mac."""
    stanza = read_header(BytesSource(SMALL_FILE)).stanzas[0]
    with pytest.raises(OpenError, match="not sealed to this key"):
        unwrap(head.Header("00" * 16, (stanza,), b"", b""), ME)


def test_two_recipients_cannot_be_given_different_keys() -> None:
    """The mac commits to one key, so nobody can show two people two contents in one file."""
    mine = make_header("ab" * 16, KEY, [ME.recipient])
    theirs = make_header("ab" * 16, ArtefactKey.generate(), [OTHER.recipient])
    both = head.Header(mine.id, mine.stanzas + theirs.stanzas, mine.signed, mine.mac)
    assert unwrap(both, ME) == KEY
    with pytest.raises(OpenError, match="key does not open"):
        unwrap(both, OTHER)


@pytest.mark.parametrize(
    "changes",
    [
        {"chunk": 4096},
        {"chunk": True},
        {"cipher": "AES-128-GCM"},
        {"id": "AB" * 16},
        {"id": "../../etc/passwd"},
        {"more": 1},
        {"recipients": [{"enc": "", "kem": "X-Wing", "key": ""}]},
        {"recipients": [{"enc": "AA", "kem": "ROT13", "key": "AA"}]},
        {"recipients": "all"},
        {"recipients": [{}] * 65},
    ],
)
def test_a_head_of_another_form_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        read_header(BytesSource(rewritten(SMALL_FILE, **changes)))


def test_a_head_in_another_spelling_is_refused() -> None:
    header = read_header(BytesSource(SMALL_FILE))
    body = header.signed[24:].replace(b'{"chunk"', b'{ "chunk"')
    data = header.signed[:20] + len(body).to_bytes(4, "big") + body + header.mac
    with pytest.raises(MalformedError, match="canonical"):
        read_header(BytesSource(data + SMALL_FILE[header.end :]))


def test_a_head_that_claims_gigabytes_is_refused_before_they_are_read() -> None:
    class Counting(BytesSource):
        fetched = 0

        def fetch(self, offset: int, length: int) -> bytes:
            self.fetched += length
            return super().fetch(offset, length)

    source = Counting(SMALL_FILE[:20] + b"\xff" * 4 + bytes(200_000))
    with pytest.raises(OversizeError):
        read_header(source)
    assert source.fetched <= 4096


def test_contents_without_the_root_they_claim_are_refused_and_get_no_name(tmp_path: Path) -> None:
    """Whoever seals can lie about the root; a copy is refused, and nothing of it stays."""
    data, sealed = seal(SMALL)
    header = read_header(BytesSource(data))
    lie = artefact._seal_box(KEY, sealed.id, META, len(SMALL), "tree-sha256:" + "0" * 64)
    forged = data[: header.end] + lie + data[header.end + len(lie) :]
    with pytest.raises(OpenError, match="root"), new_file(tmp_path / "plain") as sink:
        Reader(BytesSource(forged), KEY).copy_to(sink)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"{}",
        b'{"kind":"model","media_type":"a","name":"../up","root":"sha256:00","size":1}',
        canonical({"kind": "virus", "media_type": "a", "name": "n", "root": "x", "size": 1}),
        canonical(
            {"kind": ["model"], "media_type": "a", "name": "n", "root": "sha256:0", "size": 1}
        ),
        canonical(
            {
                "kind": "model",
                "media_type": "a",
                "name": "n\x1b[2J",
                "root": "sha256:" + "0" * 64,
                "size": 1,
            }
        ),
        canonical(
            {
                "kind": "model",
                "media_type": "a",
                "name": "n",
                "root": "sha256:" + "0" * 64,
                "size": 2**50,
            }
        ),
    ],
)
def test_a_description_that_a_key_holder_malformed_is_refused(description: bytes) -> None:
    data, sealed = seal(SMALL)
    cipher = AESGCM(KEY.derive(sealed.id, "description"))
    box = cipher.encrypt(bytes(12), description.ljust(1024, b"\0"), None)
    end = read_header(BytesSource(data)).end
    with pytest.raises(MalformedError):
        read_all(data[:end] + box + data[end + len(box) :])


def test_nothing_of_contents_or_description_is_visible() -> None:
    plain = b"CANARY-CONTENT " * 1000
    data, sealed = seal(plain, meta=Meta("CANARY-NAME", "dataset", "text/CANARY"))
    assert b"CANARY" not in data and b"dataset" not in data
    assert sealed.root.split(":")[1].encode() not in data
    assert bytes.fromhex(sealed.root.split(":")[1]) not in data
    longer, _ = seal(plain, meta=Meta("n" * 255, "model"))
    assert len(longer) == len(data)


def test_the_recipients_are_not_named() -> None:
    public = ME.recipient.public_key
    assert public not in SMALL_FILE and public[-32:] not in SMALL_FILE
    assert str(ME.recipient).encode()[:40] not in SMALL_FILE


def test_a_recipient_whom_a_quantum_computer_would_rob_must_be_asked_for() -> None:
    classical = Recipient(0x0020, KEMS[0x0020].generate().public_bytes)
    with pytest.raises(InputError, match="quantum"):
        make_header("ab" * 16, KEY, [ME.recipient, classical])
    assert make_header("ab" * 16, KEY, [classical], unsafe_classical=True).stanzas


def test_a_recipient_key_of_low_order_is_refused() -> None:
    with pytest.raises(MalformedError):
        make_header("ab" * 16, KEY, [Recipient(0x0020, bytes(32))], unsafe_classical=True)
    with pytest.raises(MalformedError):
        make_header("ab" * 16, KEY, [Recipient(0x647A, b"\xff" * 1216)])


def test_the_key_is_not_shown_pickled_or_usable_once_erased() -> None:
    import pickle

    key = ArtefactKey(b"\x5a" * 32)
    assert "5a" not in repr(key) and "ZZ" not in repr(key)
    assert repr(Sealed("id", "root", 0, key)).count("<ArtefactKey>") == 1
    with pytest.raises(TypeError):
        pickle.dumps(key)
    inner = key._key
    key.erase()
    assert not inner
    with pytest.raises(InputError, match="erased"):
        key.derive("ab" * 16, "payload")


def test_a_secret_key_that_was_mistyped_is_not_quoted() -> None:
    head = "AGE-SECRET-KEY-PQ-1"
    _, secret = new_identity(lambda count: bytes(range(count)))
    assert secret.startswith(head)
    last = "P" if secret.endswith("Q") else "Q"
    for text in (secret[:-1] + last, secret.lower(), secret[:30], head):
        with pytest.raises(MalformedError) as caught:
            Identity.parse(text)
        told = f"{caught.value.message} {caught.value.hint}".lower()
        for at in range(len(head), len(secret) - 4):
            assert secret[at : at + 4].lower() not in told


def test_a_source_that_lies_about_its_size_is_refused() -> None:
    class Short(BytesSource):
        def fetch(self, offset: int, length: int) -> bytes:
            if offset + length > len(BIG_FILE) - 100:
                raise TruncatedError("no more")
            return super().fetch(offset, length)

    with pytest.raises(TruncatedError):
        Reader(Short(BIG_FILE), KEY).copy_to(io.BytesIO())


def test_an_error_of_the_sink_ends_all_lanes() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Reader(BytesSource(BIG_FILE), KEY).copy_to(Full())


def test_more_recipients_than_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at most 64"):
        make_header("ab" * 16, KEY, [ME.recipient] * 65)
