"""HPKE against pyhpke, an implementation of contexts and exports that privity did not write."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey
from pyhpke.exceptions import OpenError as PyhpkeOpenError

from privity.hazmat.aead import (
    AES_128_GCM,
    AES_256_GCM,
    CHACHA20_POLY1305,
    EXPORT_ONLY,
    Aead,
)
from privity.hazmat.hpke import Suite, setup_recipient, setup_sender
from privity.hazmat.kem_x25519 import DhkemX25519

SEED = bytes(range(1, 33))
INFO = b"privity and pyhpke"
KEM = DhkemX25519()
MESSAGES = [(b"", b""), (b"first", b"aad"), (bytes(4096), b""), (b"last", bytes(100))]

each_cipher = pytest.mark.parametrize(
    "aead", [AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305], ids=lambda aead: aead.name
)


def peer(aead: Aead) -> CipherSuite:
    return CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId(aead.id))


@each_cipher
def test_pyhpke_opens_what_privity_seals(aead: Aead) -> None:
    key = X25519PrivateKey.from_private_bytes(SEED)
    enc, sender = setup_sender(Suite(KEM, aead), key.public_key().public_bytes_raw(), INFO)
    recipient = peer(aead).create_recipient_context(
        enc, KEMKey.from_pyca_cryptography_key(key), INFO
    )
    for plaintext, aad in MESSAGES:
        assert recipient.open(sender.seal(plaintext, aad), aad) == plaintext
    assert recipient.export(b"exported", 77) == sender.export(b"exported", 77)
    with pytest.raises(PyhpkeOpenError):
        recipient.open(sender.seal(b"other aad", b"one"), b"two")


@each_cipher
def test_privity_opens_what_pyhpke_seals(aead: Aead) -> None:
    key = KEM.load_private_key(SEED)
    public_key = X25519PublicKey.from_public_bytes(key.public_bytes)
    enc, sender = peer(aead).create_sender_context(
        KEMKey.from_pyca_cryptography_key(public_key), INFO
    )
    recipient = setup_recipient(Suite(KEM, aead), key, enc, INFO)
    for plaintext, aad in MESSAGES:
        assert recipient.open(sender.seal(plaintext, aad), aad) == plaintext
    assert recipient.export(b"exported", 77) == sender.export(b"exported", 77)


def test_export_only_contexts_agree() -> None:
    key = X25519PrivateKey.from_private_bytes(SEED)
    enc, sender = setup_sender(Suite(KEM, EXPORT_ONLY), key.public_key().public_bytes_raw(), INFO)
    recipient = peer(EXPORT_ONLY).create_recipient_context(
        enc, KEMKey.from_pyca_cryptography_key(key), INFO
    )
    for length in (1, 32, 33, 8160):
        assert recipient.export(b"exported", length) == sender.export(b"exported", length)
