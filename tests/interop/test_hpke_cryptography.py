"""HPKE against the one-shot HPKE of `cryptography`, over X25519 and over X-Wing."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.hpke import Suite as OneShot

from privity.errors import OpenError
from privity.hazmat.hpke import SUITES, Suite, setup_recipient, setup_sender

SEED = bytes(range(2, 34))
INFO = b"privity and cryptography"
PEER_KEMS = {0x0020: KEM.X25519, 0x647A: KEM.MLKEM768_X25519}
PEER_AEADS = {1: AEAD.AES_128_GCM, 2: AEAD.AES_256_GCM, 3: AEAD.CHACHA20_POLY1305}

each_suite = pytest.mark.parametrize("chosen", SUITES.values(), ids=lambda chosen: chosen.name)
each_size = pytest.mark.parametrize("size", [0, 1, 512, 70_000])


def peer(chosen: Suite) -> OneShot:
    return OneShot(PEER_KEMS[chosen.kem.id], KDF.HKDF_SHA256, PEER_AEADS[chosen.aead.id])


def peer_key(chosen: Suite) -> X25519PrivateKey | MLKEM768X25519PrivateKey:
    """The private key of SEED as the peer holds it, expanded by this test's own hand."""
    if chosen.kem.id == 0x0020:
        return X25519PrivateKey.from_private_bytes(SEED)
    expanded = hashlib.shake_256(SEED).digest(96)
    return MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


@each_suite
@each_size
def test_cryptography_opens_what_privity_seals(chosen: Suite, size: int) -> None:
    plaintext = SEED * (size // 32) + SEED[: size % 32]
    public_key = chosen.kem.load_private_key(SEED).public_bytes
    enc, sender = setup_sender(chosen, public_key, INFO)
    sealed = enc + sender.seal(plaintext)
    assert peer(chosen).decrypt(sealed, peer_key(chosen), INFO) == plaintext
    with pytest.raises(InvalidTag):
        peer(chosen).decrypt(sealed, peer_key(chosen), INFO + b"!")


@each_suite
@each_size
def test_privity_opens_what_cryptography_seals(chosen: Suite, size: int) -> None:
    plaintext = SEED * (size // 32) + SEED[: size % 32]
    sealed = peer(chosen).encrypt(plaintext, peer_key(chosen).public_key(), INFO)
    enc, message = sealed[: chosen.kem.n_enc], sealed[chosen.kem.n_enc :]
    key = chosen.kem.load_private_key(SEED)
    assert setup_recipient(chosen, key, enc, INFO).open(message) == plaintext
    with pytest.raises(OpenError):
        setup_recipient(chosen, key, enc, INFO + b"!").open(message)
