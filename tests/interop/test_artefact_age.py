"""Our keys are age's: what its tools make we read, and what we make they read."""

from __future__ import annotations

import base64
import hmac
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from privity.hazmat.hpke import SUITES, setup_recipient
from privity.hazmat.kdf import expand, extract
from privity.vault import BytesSource, Meta, Reader, read_header, seal_stream, unwrap
from privity.vault.recipients import (
    Identity,
    Recipient,
    new_identity,
    parse_identity_file,
)

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "artefact_age_pq.json").read_text())
LABEL = b"age-encryption.org/mlkem768x25519"


def from_base64(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def open_age_file(data: bytes, identity: Identity) -> bytes:
    """Open an age file of one post-quantum stanza and one chunk, by the letter of C2SP age."""
    head, _, payload = data.partition(b"\n--- ")
    mac, _, payload = payload.partition(b"\n")
    version, stanza, body = head.split(b"\n")
    arrow, kind, enc = stanza.split(b" ")
    assert (version, arrow, kind) == (b"age-encryption.org/v1", b"->", b"mlkem768x25519")
    suite = SUITES[0x647A, 0x0001, 0x0003]
    context = setup_recipient(suite, identity.key, from_base64(enc), LABEL)
    file_key = context.open(from_base64(body))
    mac_key = expand(extract(b"", file_key), b"header", 32)
    assert hmac.digest(mac_key, head + b"\n---", "sha256") == from_base64(mac)
    payload_key = expand(extract(payload[:16], file_key), b"payload", 32)
    return ChaCha20Poly1305(payload_key).decrypt(bytes(11) + b"\1", payload[16:], None)


def test_a_post_quantum_key_of_age_is_ours() -> None:
    identity = Identity.parse(VECTOR["secret"])
    assert str(identity.recipient) == VECTOR["recipient"]
    assert Recipient.parse(VECTOR["recipient"]).post_quantum
    opened = open_age_file(base64.b64decode(VECTOR["file"]), identity)
    assert opened.decode() == VECTOR["plaintext"]


def test_what_is_sealed_to_a_key_of_age_opens_with_it() -> None:
    sink = io.BytesIO()
    recipient = Recipient.parse(VECTOR["recipient"])
    seal_stream(io.BytesIO(b"weights"), sink, meta=Meta("m", "model"), recipients=[recipient])
    source = BytesSource(sink.getvalue())
    key = unwrap(read_header(source), Identity.parse(VECTOR["secret"]))
    assert Reader(source, key).read_at(0, 99) == b"weights"


def test_a_classical_key_of_pyrage_is_understood() -> None:
    pyrage = pytest.importorskip("pyrage", reason="pyrage is not installed")
    theirs = pyrage.x25519.Identity.generate()
    ours = Identity.parse(str(theirs))
    assert str(ours.recipient) == str(theirs.to_public())
    assert not ours.recipient.post_quantum
    sink = io.BytesIO()
    seal_stream(
        io.BytesIO(b"weights"),
        sink,
        meta=Meta("m", "model"),
        recipients=[ours.recipient],
        unsafe_classical=True,
    )
    source = BytesSource(sink.getvalue())
    assert Reader(source, unwrap(read_header(source), ours)).read_at(0, 99) == b"weights"


@pytest.mark.skipif(
    shutil.which("age") is None or shutil.which("age-keygen") is None,
    reason="age is not on PATH (1.3 or later; go install filippo.io/age/cmd/...@latest)",
)
def test_age_reads_our_keys_and_we_read_its(tmp_path: Path) -> None:
    identity, secret = new_identity()
    (tmp_path / "ours.key").write_text(secret + "\n")
    keygen = ["age-keygen", "-y", tmp_path / "ours.key"]
    told = subprocess.run(keygen, capture_output=True, text=True)
    if "unknown" in told.stderr:
        pytest.skip("this age is older than 1.3, which brought post-quantum keys")
    assert told.stdout.strip() == str(identity.recipient)
    sealed = subprocess.run(
        ["age", "-r", str(identity.recipient)], input=b"hello", capture_output=True, check=True
    )
    assert open_age_file(sealed.stdout, identity) == b"hello"
    subprocess.run(["age-keygen", "-pq", "-o", tmp_path / "theirs.key"], check=True)
    theirs = parse_identity_file((tmp_path / "theirs.key").read_bytes(), "theirs.key")
    assert f"# public key: {theirs.recipient}\n" in (tmp_path / "theirs.key").read_text()
