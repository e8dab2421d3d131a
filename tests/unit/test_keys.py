"""Signing keys: what they sign, and what they never show."""

from __future__ import annotations

import copy
import pickle

import pytest

from privity.errors import MalformedError, OpenError
from privity.identity.did_key import encode_secret
from privity.identity.keys import SigningKey, VerifyKey

ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_signature_verifies_under_its_did() -> None:
    key = SigningKey.generate()
    VerifyKey(key.did).verify(key.sign(b"message"), b"message")


def test_another_key_or_message_is_refused() -> None:
    key, other = SigningKey.generate(), SigningKey.generate()
    signature = key.sign(b"message")
    for verify, message in ((other.verify_key, b"message"), (key.verify_key, b"messagf")):
        with pytest.raises(OpenError):
            verify.verify(signature, message)


def test_no_second_signature_can_be_made_from_a_first() -> None:
    key = SigningKey.generate()
    signature = key.sign(b"message")
    s = int.from_bytes(signature[32:], "little")
    moved = signature[:32] + (s + ORDER).to_bytes(32, "little")
    for forged in (moved, signature + b"\0", signature[:-1], b"", b"\0" * 64):
        with pytest.raises(OpenError):
            key.verify_key.verify(forged, b"message")


def test_generate_takes_its_secret_from_the_entropy_given() -> None:
    assert SigningKey.generate(entropy=lambda n: b"\7" * n).unsafe_seed() == b"\7" * 32
    assert SigningKey.generate().did != SigningKey.generate().did


def test_the_secret_shows_in_no_text() -> None:
    key = SigningKey(b"\x5a" * 32)
    shown = f"{key!r} {key} {key.verify_key!r} {vars(type(key))}"
    for spelling in (b"\x5a" * 32, "5a" * 32, "Z" * 32, encode_secret(key.unsafe_seed())):
        assert str(spelling) not in shown
    for serialise in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            serialise(key)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedError):
        SigningKey(b"\0" * 31)


def test_verify_keys_are_equal_by_their_did() -> None:
    key = SigningKey.generate()
    assert {VerifyKey(key.did), key.verify_key} == {key.verify_key}
    assert key.verify_key != key.did
