"""HPKE for all inputs: what is sealed opens, whatever is changed does not, nothing crashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError, OpenError
from privity.hazmat.hpke import KEMS, SUITES, Suite, setup_recipient, setup_sender
from privity.hazmat.kem import Kem

SUITE_CHOICES = st.sampled_from(list(SUITES.values()))
KEM_CHOICES = st.sampled_from(list(KEMS.values()))
KEYS = {kem.id: kem.generate() for kem in KEMS.values()}
MESSAGES = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=40)), max_size=6)


@given(SUITE_CHOICES, st.binary(max_size=60), MESSAGES)
def test_what_is_sealed_in_order_opens_in_order(
    chosen: Suite, info: bytes, messages: list[tuple[bytes, bytes]]
) -> None:
    key = KEYS[chosen.kem.id]
    enc, sender = setup_sender(chosen, key.public_bytes, info)
    recipient = setup_recipient(chosen, key, enc, info)
    for plaintext, aad in messages:
        assert recipient.open(sender.seal(plaintext, aad), aad) == plaintext
    assert sender.export(info, 33) == recipient.export(info, 33)


@given(SUITE_CHOICES, st.binary(min_size=1, max_size=100), st.data())
def test_any_flipped_bit_is_refused(chosen: Suite, plaintext: bytes, draw: st.DataObject) -> None:
    key = KEYS[chosen.kem.id]
    enc, sender = setup_sender(chosen, key.public_bytes, b"info")
    aad = b"aad"
    parts = [enc, b"info", aad, sender.seal(plaintext, aad)]
    which = draw.draw(st.integers(0, 3), label="part")
    bit = draw.draw(st.integers(0, 8 * len(parts[which]) - 1), label="bit")
    altered = bytearray(parts[which])
    altered[bit // 8] ^= 1 << bit % 8
    parts[which] = bytes(altered)
    with pytest.raises(OpenError):
        setup_recipient(chosen, key, parts[0], parts[1]).open(parts[3], parts[2])


@given(SUITE_CHOICES, st.permutations(range(4)))
def test_messages_open_in_their_order_only(chosen: Suite, order: list[int]) -> None:
    key = KEYS[chosen.kem.id]
    enc, sender = setup_sender(chosen, key.public_bytes, b"")
    recipient = setup_recipient(chosen, key, enc, b"")
    sealed = [sender.seal(b"the same text") for _ in order]
    expected = 0
    for position in order:
        if position == expected:
            assert recipient.open(sealed[position]) == b"the same text"
            expected += 1
        else:
            with pytest.raises(OpenError):
                recipient.open(sealed[position])
    # A message that was opened does not open a second time.
    for position in range(expected):
        with pytest.raises(OpenError):
            recipient.open(sealed[position])


@given(SUITE_CHOICES, SUITE_CHOICES)
def test_a_message_opens_in_its_own_context_only(chosen: Suite, other: Suite) -> None:
    key = KEYS[chosen.kem.id]
    enc, sender = setup_sender(chosen, key.public_bytes, b"")
    sealed, exported = sender.seal(b"text"), sender.export(b"", 32)

    stranger = chosen.kem.generate()
    wrong_key = setup_recipient(chosen, stranger, enc, b"")
    again, _ = setup_sender(chosen, key.public_bytes, b"")
    wrong_enc = setup_recipient(chosen, key, again, b"")
    wrong = [wrong_key, wrong_enc]
    if other.kem == chosen.kem and other != chosen:
        wrong.append(setup_recipient(other, key, enc, b""))
    for context in wrong:
        with pytest.raises(OpenError):
            context.open(sealed)
        assert context.export(b"", 32) != exported


@given(SUITE_CHOICES, st.binary(max_size=1300), st.binary(max_size=100), st.binary(max_size=20))
def test_arbitrary_bytes_never_open(chosen: Suite, enc: bytes, sealed: bytes, aad: bytes) -> None:
    with pytest.raises(OpenError):
        setup_recipient(chosen, KEYS[chosen.kem.id], enc, b"").open(sealed, aad)


@given(SUITE_CHOICES, st.binary(min_size=1120, max_size=1120), st.binary(max_size=100))
def test_arbitrary_bytes_of_the_right_size_never_open(
    chosen: Suite, enc: bytes, sealed: bytes
) -> None:
    key = KEYS[chosen.kem.id]
    with pytest.raises(OpenError):
        setup_recipient(chosen, key, enc[: chosen.kem.n_enc], b"").open(sealed)


@given(KEM_CHOICES, st.binary(max_size=1300))
def test_arbitrary_public_keys_are_refused_or_used(kem: Kem, public_key: bytes) -> None:
    try:
        shared_secret, enc = kem.encapsulate(public_key)
    except MalformedError:
        return
    assert len(public_key) == kem.n_pk
    assert (len(shared_secret), len(enc)) == (kem.n_secret, kem.n_enc)


@given(KEM_CHOICES, st.binary(min_size=32, max_size=80))
def test_derived_key_pairs_are_determined_and_distinct(kem: Kem, ikm: bytes) -> None:
    key = kem.derive_key_pair(ikm)
    assert key.public_bytes == kem.derive_key_pair(ikm).public_bytes
    assert key.public_bytes != kem.derive_key_pair(ikm + b"\0").public_bytes
    shared_secret, enc = kem.encapsulate(key.public_bytes)
    assert kem.decapsulate(key, enc) == shared_secret
