"""The published test vectors of HPKE, of X-Wing and of HPKE over X-Wing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privity.errors import MalformedError, OpenError
from privity.hazmat.aead import EXPORT_ONLY
from privity.hazmat.hpke import SUITES, Suite, setup_recipient, setup_sender, suite
from privity.hazmat.kem import Kem
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.hazmat.kem_xwing import XWing

FOLDER = Path(__file__).parent
MLKEM_CIPHERTEXT = 1088


def load(name: str) -> list[Any]:
    document = json.loads((FOLDER / name).read_text())
    assert document["source"]
    return [pytest.param(vector, id=vector["name"]) for vector in document["vectors"]]


def suite_of(vector: dict[str, Any], kem: Kem | None = None) -> Suite:
    """The vector's suite; with a KEM of fixed randomness if one is given."""
    ids = vector["kem_id"], vector["kdf_id"], vector["aead_id"]
    if vector["aead_id"] == EXPORT_ONLY.id:
        return Suite(kem or DhkemX25519(), EXPORT_ONLY)
    chosen = suite(*ids)
    assert chosen.ids == ids
    return chosen if kem is None else Suite(kem, chosen.aead)


def data(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


RFC9180 = load("hpke_rfc9180_x25519.json")
PQ = load("hpke_pq_xwing.json")
XWING = load("xwing_kem.json")
LOW_ORDER = load("x25519_low_order.json")


def test_the_vectors_cover_every_cipher() -> None:
    seen = {(p.values[0]["kem_id"], p.values[0]["aead_id"]) for p in RFC9180}
    assert seen == {(0x20, 1), (0x20, 2), (0x20, 3), (0x20, 0xFFFF)}
    assert len(SUITES) == 6


@pytest.mark.parametrize("vector", RFC9180 + PQ)
def test_key_pairs_derive_as_published(vector: dict[str, Any]) -> None:
    kem = suite_of(vector).kem
    assert kem.derive_key_pair(data(vector, "ikmR")).public_bytes == data(vector, "pkRm")
    assert kem.load_private_key(data(vector, "skRm")).public_bytes == data(vector, "pkRm")
    if "skEm" in vector:
        assert kem.derive_key_pair(data(vector, "ikmE")).public_bytes == data(vector, "enc")


@pytest.mark.parametrize("vector", RFC9180)
def test_sender_makes_the_published_ciphertexts(vector: dict[str, Any]) -> None:
    fixed = DhkemX25519(entropy=lambda size: data(vector, "skEm")[:size])
    chosen = suite_of(vector, fixed)
    shared_secret, enc = fixed.encapsulate(data(vector, "pkRm"))
    assert (shared_secret, enc) == (data(vector, "shared_secret"), data(vector, "enc"))

    enc, sender = setup_sender(chosen, data(vector, "pkRm"), data(vector, "info"))
    assert enc == data(vector, "enc")
    wanted = {e["sequence"]: e for e in vector["encryptions"]}
    for number in range(max(wanted, default=-1) + 1):
        entry = wanted.get(number)
        if entry is None:
            sender.seal(b"a message that the vector leaves out")
        else:
            assert sender.seal(data(entry, "pt"), data(entry, "aad")) == data(entry, "ct")
    for entry in vector["exports"]:
        exported = sender.export(data(entry, "exporter_context"), entry["L"])
        assert exported == data(entry, "exported_value")


@pytest.mark.parametrize("vector", RFC9180 + PQ)
def test_recipient_opens_the_published_ciphertexts(vector: dict[str, Any]) -> None:
    assert vector["expect"] == "opens"
    chosen = suite_of(vector)
    key = chosen.kem.load_private_key(data(vector, "skRm"))
    enc, info = data(vector, "enc"), data(vector, "info")
    shared_secret = chosen.kem.decapsulate(key, enc)
    assert shared_secret == data(vector, "shared_secret")

    recipient = setup_recipient(chosen, key, enc, info)
    for entry in vector["encryptions"]:
        # Skipped numbers are those that a counting recipient would have opened in between.
        recipient._number = entry["sequence"]
        assert recipient.open(data(entry, "ct"), data(entry, "aad")) == data(entry, "pt")
    for entry in vector["exports"]:
        exported = recipient.export(data(entry, "exporter_context"), entry["L"])
        assert exported == data(entry, "exported_value")


@pytest.mark.parametrize("vector", XWING)
def test_xwing_derives_keys_and_decapsulates(vector: dict[str, Any]) -> None:
    assert vector["expect"] == "decapsulates"
    kem = XWing()
    key = kem.load_private_key(data(vector, "sk"))
    assert key.public_bytes == data(vector, "pk")
    assert kem.decapsulate(key, data(vector, "ct")) == data(vector, "ss")
    if "ikm" in vector:
        assert kem.derive_key_pair(data(vector, "ikm")).public_bytes == data(vector, "pk")


@pytest.mark.parametrize("vector", [p for p in XWING if "eseed" in p.values[0]])
def test_xwing_encapsulates_its_x25519_half_as_published(vector: dict[str, Any]) -> None:
    # The ML-KEM half of `eseed` cannot be given to `cryptography`: see XWing's docstring.
    fixed = XWing(entropy=lambda size: data(vector, "eseed")[32 : 32 + size])
    shared_secret, enc = fixed.encapsulate(data(vector, "pk"))
    assert enc[MLKEM_CIPHERTEXT:] == data(vector, "ct")[MLKEM_CIPHERTEXT:]
    key = fixed.load_private_key(data(vector, "sk"))
    assert fixed.decapsulate(key, enc) == shared_secret


@pytest.mark.parametrize("vector", LOW_ORDER)
def test_low_order_public_key_is_refused(vector: dict[str, Any]) -> None:
    assert vector["expect"] == "refused"
    point = data(vector, "public_key")
    with pytest.raises(MalformedError):
        DhkemX25519().encapsulate(point)
    kem = XWing()
    with pytest.raises(MalformedError):
        kem.encapsulate(kem.generate().public_bytes[:-32] + point)


@pytest.mark.parametrize("vector", LOW_ORDER)
def test_low_order_enc_is_refused(vector: dict[str, Any]) -> None:
    point = data(vector, "public_key")
    dhkem, xwing = DhkemX25519(), XWing()
    with pytest.raises(OpenError):
        dhkem.decapsulate(dhkem.generate(), point)
    key = xwing.generate()
    _, enc = xwing.encapsulate(key.public_bytes)
    with pytest.raises(OpenError):
        xwing.decapsulate(key, enc[:MLKEM_CIPHERTEXT] + point)
