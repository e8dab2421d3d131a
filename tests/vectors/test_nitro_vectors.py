"""Real Nitro documents, under AWS's own root. See MANIFEST.json beside them."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cbor2
import pytest
from cryptography import x509

from privity.attest.anchor import Anchor
from privity.attest.aws.anchors import AWS, ROOT_FINGERPRINT
from privity.attest.evidence import Companions, Findings
from privity.attest.evidence_nitro import NitroVerifier, from_file, recognises
from privity.errors import MalformedError

MADE = datetime(2025, 12, 25, 16, 4, 19, tzinfo=UTC)
DEBUG_MADE = datetime(2025, 12, 25, 8, 20, 46, tzinfo=UTC)
LEAF_ENDS = datetime(2025, 12, 25, 19, 4, 19, tzinfo=UTC)
ASKED = hashlib.sha256(b"").digest().ljust(64, b"\0")


def examine(data: bytes, now: datetime, bound: bytes | None = None) -> Findings:
    evidence, endorsements = from_file(data, Companions())
    return NitroVerifier().examine(evidence[0], bound, endorsements, now)


def failed(found: Findings) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def read(folder: Path, name: str) -> tuple[bytes, bytes]:
    """Return the file, and the document in it."""
    data = (folder / name).read_bytes()
    size = int.from_bytes(data[2:4], "little") >> 2
    return data, data[4 : 4 + size]


def test_the_anchor_is_aws_published_root(attestation_vectors: Path) -> None:
    _, document = read(attestation_vectors, "nitro_attestation.bin")
    root = cbor2.loads(cbor2.loads(document)[2])["cabundle"][0]
    assert hashlib.sha256(root).hexdigest() == ROOT_FINGERPRINT
    assert ROOT_FINGERPRINT.startswith("641a0321")
    assert AWS == (Anchor.of_certificate(x509.load_der_x509_certificate(root)),)


def test_a_real_document(attestation_vectors: Path) -> None:
    data, document = read(attestation_vectors, "nitro_attestation.bin")
    for form in (data, document, base64.b64encode(document)):
        assert recognises(form)
        found = examine(form, MADE, ASKED)
        assert found.accepted, found.failed
    assert found.registers["pcr0"].startswith("eb7d0dab08ff4154")
    assert set(found.registers) == {"pcr0", "pcr1", "pcr2", "pcr4"}
    assert failed(examine(data, MADE, bytes(64))) == ["key binding"]


def test_a_real_document_is_good_for_three_hours(attestation_vectors: Path) -> None:
    data, _ = read(attestation_vectors, "nitro_attestation.bin")
    assert examine(data, LEAF_ENDS).accepted
    second = timedelta(seconds=1)
    assert failed(examine(data, LEAF_ENDS + second)) == ["certificate period"]
    assert failed(examine(data, MADE - 4 * second)) == ["certificate period"]


def test_a_real_debug_enclave(attestation_vectors: Path) -> None:
    data, _ = read(attestation_vectors, "nitro_attestation_dbg.bin")
    assert failed(examine(data, DEBUG_MADE)) == ["debug"]


def test_a_flipped_bit_in_every_third_byte_of_a_real_document_is_refused(
    attestation_vectors: Path,
) -> None:
    _, document = read(attestation_vectors, "nitro_attestation.bin")
    accepted = []
    for at in range(0, len(document), 3):  # each byte of a synthetic one is in tests/adversary
        flipped = document[:at] + bytes((document[at] ^ 1 << at % 8,)) + document[at + 1 :]
        try:
            found = examine(flipped, MADE)
        except MalformedError:
            continue
        if found.accepted or "signature" not in failed(found):
            accepted.append(at)
    assert accepted == []


@pytest.mark.parametrize("at", [1, 2, 4700])
def test_a_wrapper_that_is_altered_is_refused(attestation_vectors: Path, at: int) -> None:
    data, document = read(attestation_vectors, "nitro_attestation.bin")
    cut = data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :]
    if at > 4 + len(document):
        assert examine(cut, MADE).accepted  # the configuration: nothing vouches for it
        cut = data[: 4 + len(document)] + bytes(66)
    with pytest.raises(MalformedError):
        examine(cut, MADE)
