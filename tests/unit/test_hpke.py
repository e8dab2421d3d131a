"""What HPKE contexts, suites and keys refuse, and what they keep to themselves."""

from __future__ import annotations

import copy
import itertools
import mmap
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from privity.errors import InputError, MalformedError, OpenError, OversizeError, SealError
from privity.hazmat.aead import AES_128_GCM, AES_256_GCM, EXPORT_ONLY
from privity.hazmat.hpke import (
    DEFAULT,
    KEMS,
    SUITES,
    RecipientContext,
    SenderContext,
    Suite,
    setup_recipient,
    setup_sender,
    suite,
)
from privity.hazmat.kdf import expand, labeled_expand
from privity.hazmat.kem import Kem
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.hazmat.kem_xwing import XWing

each_kem = pytest.mark.parametrize("kem", KEMS.values(), ids=lambda kem: kem.name)


def pair(chosen: Suite = DEFAULT) -> tuple[SenderContext, RecipientContext]:
    key = chosen.kem.generate()
    enc, sender = setup_sender(chosen, key.public_bytes, b"info")
    return sender, setup_recipient(chosen, key, enc, b"info")


def test_the_default_is_post_quantum() -> None:
    assert DEFAULT.ids == (0x647A, 0x0001, 0x0001)
    assert DEFAULT.name == "X-Wing, HKDF-SHA256, AES-128-GCM"


@pytest.mark.parametrize("chosen", SUITES.values(), ids=lambda chosen: chosen.name)
def test_every_suite_seals_and_opens(chosen: Suite) -> None:
    sender, recipient = pair(chosen)
    for number in range(3):
        sealed = sender.seal(b"message %d" % number, b"aad")
        assert len(sealed) == 9 + chosen.aead.tag_size
        assert recipient.open(sealed, b"aad") == b"message %d" % number
    assert sender.export(b"purpose", 40) == recipient.export(b"purpose", 40)
    assert sender.export(b"purpose", 40) != sender.export(b"another", 40)


@pytest.mark.parametrize(
    "ids", [(0x20, 1, 4), (0x20, 2, 1), (0x10, 1, 1), (0x647A, 1, 0xFFFF), (0, 0, 0)]
)
def test_unknown_suites_are_refused(ids: tuple[int, int, int]) -> None:
    with pytest.raises(MalformedError, match="not supported"):
        suite(*ids)


def test_another_kdf_is_refused() -> None:
    with pytest.raises(InputError, match="KDF"):
        Suite(XWing(), AES_128_GCM, kdf_id=0x0003)


def test_an_export_only_context_only_exports() -> None:
    sender, recipient = pair(Suite(XWing(), EXPORT_ONLY))
    with pytest.raises(InputError, match="does not seal"):
        sender.seal(b"")
    with pytest.raises(InputError, match="does not open"):
        recipient.open(b"")
    assert sender.export(b"purpose", 32) == recipient.export(b"purpose", 32)
    with pytest.raises(InputError, match="only export"):
        EXPORT_ONLY.cipher(b"")


def test_exports_have_a_longest_length() -> None:
    sender, recipient = pair()
    assert sender.export(b"", 8160) == recipient.export(b"", 8160)
    assert sender.export(b"", 0) == b""
    for length in (-1, 8161, 1 << 20):
        with pytest.raises(InputError, match="8160"):
            sender.export(b"", length)
        with pytest.raises(InputError, match="8160"):
            expand(bytes(32), b"", length)
        with pytest.raises(InputError, match="8160"):
            labeled_expand(b"", bytes(32), b"", b"", length)


def test_an_exhausted_context_seals_nothing() -> None:
    sender, recipient = pair()
    sender._numbers = itertools.count(2**96 - 2)
    recipient._number = 2**96 - 2
    assert recipient.open(sender.seal(b"the last")) == b"the last"
    for _ in range(2):
        with pytest.raises(SealError, match="exhausted"):
            sender.seal(b"one more")
        with pytest.raises(SealError, match="exhausted"):
            recipient.open(bytes(16))


def test_threads_never_share_a_nonce() -> None:
    sender, _ = pair()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # change threads at nearly every bytecode
    try:
        with ThreadPoolExecutor(4) as pool:
            parts = pool.map(lambda _: [sender.seal(bytes(32)) for _ in range(1000)], range(4))
            sealed = [message for part in parts for message in part]
    finally:
        sys.setswitchinterval(interval)
    # Equal plaintexts under one key: a nonce used twice would show as an equal ciphertext.
    assert len(set(sealed)) == 4000


def test_messages_that_openssl_cannot_count_are_refused() -> None:
    sender, recipient = pair()
    with mmap.mmap(-1, (1 << 31) + 64) as untouched, memoryview(untouched) as huge:
        with pytest.raises(OversizeError):
            sender.seal(huge)
        with pytest.raises(OversizeError):
            recipient.open(huge)
    assert recipient.open(sender.seal(b"still in step")) == b"still in step"


def test_a_refused_message_does_not_advance_the_recipient() -> None:
    sender, recipient = pair()
    first, second = sender.seal(b"first"), sender.seal(b"second")
    with pytest.raises(OpenError):
        recipient.open(second)
    assert recipient.open(first) == b"first"
    assert recipient.open(second) == b"second"


def test_every_refusal_to_open_reads_the_same() -> None:
    key = DEFAULT.kem.generate()
    enc, sender = setup_sender(DEFAULT, key.public_bytes, b"")
    sealed = sender.seal(b"text")
    altered = bytes([enc[0] ^ 1]) + enc[1:]

    def attempt(enc: bytes, info: bytes, sealed: bytes, aad: bytes) -> Callable[[], bytes]:
        return lambda: setup_recipient(DEFAULT, key, enc, info).open(sealed, aad)

    attempts = [
        attempt(altered, b"", sealed, b""),
        attempt(enc[:-1], b"", sealed, b""),
        attempt(enc[:1088] + bytes(32), b"", sealed, b""),
        attempt(enc, b"other", sealed, b""),
        attempt(enc, b"", sealed[:-1], b""),
        attempt(enc, b"", b"", b""),
        attempt(enc, b"", sealed, b"other"),
    ]
    messages = set()
    for opening in attempts:
        with pytest.raises(OpenError) as caught:
            opening()
        messages.add((caught.value.message, caught.value.hint, caught.value.__cause__))
    assert len(messages) == 1
    assert attempt(enc, b"", sealed, b"")() == b"text"


@each_kem
def test_malformed_public_keys_are_refused(kem: Kem) -> None:
    good = kem.generate().public_bytes
    for bad in (b"", good[:-1], good + b"\0", bytes(kem.n_pk)):
        with pytest.raises(MalformedError):
            kem.encapsulate(bad)


def test_mlkem_coefficients_out_of_range_are_refused() -> None:
    good = XWing().generate().public_bytes
    with pytest.raises(MalformedError):
        XWing().encapsulate(b"\xff\xff\xff" + good[3:])  # 4095 twice, above q = 3329


@each_kem
def test_keys_of_the_wrong_size_or_kind_are_refused(kem: Kem) -> None:
    with pytest.raises(InputError, match="private key is"):
        kem.load_private_key(bytes(kem.n_sk - 1))
    with pytest.raises(InputError, match="derive from"):
        kem.derive_key_pair(bytes(kem.n_sk - 1))
    other = next(k for k in KEMS.values() if k.id != kem.id).generate()
    with pytest.raises(InputError, match="the private key is not"):
        kem.decapsulate(other, bytes(kem.n_enc))
    with pytest.raises(InputError, match="32 bytes"):
        AES_256_GCM.cipher(bytes(16))


@each_kem
def test_sizes_are_as_declared(kem: Kem) -> None:
    key = kem.generate()
    shared_secret, enc = kem.encapsulate(key.public_bytes)
    assert (len(key.public_bytes), len(enc)) == (kem.n_pk, kem.n_enc)
    assert len(shared_secret) == kem.n_secret
    assert (key.kem_id, KEMS[kem.id]) == (kem.id, kem)


@pytest.mark.parametrize("kem_type", [DhkemX25519, XWing])
def test_given_entropy_determines_the_key_pair(
    kem_type: Callable[..., DhkemX25519 | XWing],
) -> None:
    fixed = kem_type(entropy=lambda size: b"\x07" * size)
    assert fixed.generate().public_bytes == fixed.generate().public_bytes
    assert fixed.generate().public_bytes == fixed.load_private_key(b"\x07" * 32).public_bytes
    system = kem_type()
    assert system.generate().public_bytes != system.generate().public_bytes


@each_kem
def test_representations_hold_no_secret(kem: Kem) -> None:
    seed = bytes(range(32))
    key = kem.load_private_key(seed)
    enc, sender = setup_sender(Suite(kem, AES_128_GCM), key.public_bytes, b"")
    recipient = setup_recipient(Suite(kem, AES_128_GCM), key, enc, b"")
    assert repr(key).endswith(f"of public key {key.public_bytes[:4].hex()}…>")
    for context in (sender, recipient):
        assert context.suite.name in repr(context)
        assert context._exporter_secret.hex()[:8] not in repr(context)
    assert seed.hex()[:8] not in repr(key)


@each_kem
def test_keys_and_contexts_are_neither_copied_nor_pickled(kem: Kem) -> None:
    sender, recipient = pair(Suite(kem, AES_128_GCM))
    for secret in (kem.generate(), sender, recipient):
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                duplicate(secret)
