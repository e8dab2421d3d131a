"""Chains of certificates: what leads to an anchor, and all that does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509.oid import ObjectIdentifier

from pki.certificates import (
    AROUND_NOON,
    NOON,
    Authority,
    key_usage,
    name_of,
    new_key,
    rsa_key,
    to_der,
    to_pem,
)
from privity.attest import chain as chains
from privity.attest.chain import Chain, check_chain, load_certificates, verify_chain
from privity.attest.der import BIT_STRING, SEQUENCE, read_der, write_der
from privity.errors import EvidenceError, MalformedError, OversizeError

ROOT = Authority.root("Root")
ISSUER = ROOT.authority("Issuer", path_length=0)
LEAF = ISSUER.leaf("Leaf", new_key(), extensions=[(key_usage(sign=True), True)])
PATH = [LEAF, ISSUER.certificate]
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    chains.forget()


def refused(path: list[x509.Certificate], *anchors: Authority, now: datetime = NOON) -> str:
    with pytest.raises(EvidenceError) as caught:
        verify_chain(path, [one.anchor for one in anchors or (ROOT,)], now)
    assert caught.value.check in ("certificate chain", "certificate period")
    return f"{caught.value.check}: {caught.value.message}"


def flips(data: bytes) -> Iterator[bytes]:
    """Yield the data with one bit flipped, once for each byte."""
    for at in range(len(data)):
        yield data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]


def test_a_chain_that_leads_to_an_anchor_is_verified() -> None:
    found = verify_chain(PATH, [ROOT.anchor], NOON)
    assert found == Chain(LEAF, ROOT.anchor, (AROUND_NOON[0], AROUND_NOON[1] + SECOND))


def test_a_chain_may_end_with_the_root_or_at_an_authority_that_is_trusted_itself() -> None:
    whole = [*PATH, ROOT.certificate]
    assert verify_chain(whole, [ROOT.anchor], NOON).anchor == ROOT.anchor
    assert verify_chain([LEAF], [ISSUER.anchor], NOON).anchor == ISSUER.anchor


@pytest.mark.parametrize("place", range(3))
def test_a_flipped_bit_in_any_byte_of_any_certificate_is_refused(place: int) -> None:
    whole = [*PATH, ROOT.certificate]
    accepted = []
    for at, der in enumerate(flips(to_der(whole[place]))):
        try:
            path = [*whole[:place], *load_certificates(der), *whole[place + 1 :]]
            verify_chain(path, [ROOT.anchor], NOON)
        except (EvidenceError, MalformedError):
            continue
        accepted.append(at)
    assert accepted == []


def test_a_flipped_bit_in_any_byte_of_a_pem_file_is_refused() -> None:
    accepted = []
    for at, pem in enumerate(flips(to_pem(*PATH))):
        try:
            verify_chain(load_certificates(pem), [ROOT.anchor], NOON)
        except (EvidenceError, MalformedError):
            continue
        accepted.append(at)
    assert accepted == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pem: b"\n" + pem,
        lambda pem: pem + b"\n",
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: pem.replace(b"CERTIFICATE", b"X509 CRL"),
        lambda pem: b"a comment\n" + pem,
        lambda pem: pem.replace(b"\n", b"", 2),
        lambda pem: b"",
    ],
)
def test_pem_in_another_spelling_is_refused(spoil: Any) -> None:
    pem = to_pem(*PATH)
    assert load_certificates(pem) == load_certificates(pem.rstrip(b"\n")) == PATH
    with pytest.raises(MalformedError):
        load_certificates(spoil(pem))


def test_der_with_more_after_it_is_refused() -> None:
    assert load_certificates(to_der(LEAF)) == [LEAF]
    with pytest.raises(MalformedError):
        load_certificates(to_der(LEAF) + b"\0")


def test_files_with_too_much_are_refused() -> None:
    with pytest.raises(OversizeError):
        load_certificates(to_pem(*PATH), most=1)
    with pytest.raises(OversizeError):
        load_certificates(bytes(chains.MAX_FILE_BYTES + 1))


def test_another_root_of_the_same_name_is_refused() -> None:
    other = Authority.root("Root")
    assert "not its issuer's" in refused(PATH, other)
    assert verify_chain(PATH, [other.anchor, ROOT.anchor], NOON).anchor == ROOT.anchor
    assert verify_chain(PATH, [ROOT.anchor, other.anchor], NOON).anchor == ROOT.anchor


def test_a_root_in_the_chain_that_is_no_anchor_is_refused() -> None:
    other = Authority.root("Other")
    path = [other.leaf("Leaf", new_key()), other.certificate]
    assert "no anchor" in refused(path)
    assert "no anchor" in refused([*PATH, ROOT.certificate], other)


def test_no_chain_and_no_anchors_are_refused() -> None:
    assert "no certificate" in refused([])
    with pytest.raises(EvidenceError):
        verify_chain(PATH, [], NOON)


def test_certificates_out_of_order_left_out_or_too_many_are_refused() -> None:
    stranger = ROOT.authority("Stranger")
    for path in (PATH[::-1], [LEAF], [LEAF, stranger.certificate], [*PATH, stranger.certificate]):
        refused(path)


@pytest.mark.parametrize("place", range(3))
def test_each_certificate_must_be_valid_at_the_time(place: int) -> None:
    periods = [AROUND_NOON] * 3
    periods[place] = (NOON, NOON + timedelta(hours=1))
    root = Authority.root("Root", period=periods[2])
    issuer = root.authority("Issuer", period=periods[1])
    leaf = issuer.leaf("Leaf", new_key(), period=periods[0])
    path = [leaf, issuer.certificate]
    # The last second is still in it (RFC 5280 §4.1.2.5).
    for now in (NOON, NOON + timedelta(hours=1, milliseconds=999)):
        verify_chain(path, [root.anchor], now)
    for now in (NOON - SECOND, NOON + timedelta(hours=1) + SECOND):
        assert refused(path, root, now=now).startswith("certificate period")


def test_a_chain_that_is_remembered_still_expires() -> None:
    verify_chain(PATH, [ROOT.anchor], NOON)
    assert refused(PATH, now=NOON + timedelta(days=400)).startswith("certificate period")


def test_a_remembered_chain_is_remembered_for_its_anchors_and_its_role_alone() -> None:
    verify_chain(PATH, [ROOT.anchor], NOON)
    refused(PATH, Authority.root("Root"))
    check_chain([ISSUER.certificate], [ROOT.anchor], authority=True)
    refused([ISSUER.certificate])


def test_the_memory_of_chains_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "_verified", chains._Memory(2))
    for name in "abc":
        verify_chain([ROOT.leaf(name, new_key())], [ROOT.anchor], NOON)
    assert len(chains._verified._chains) == 2


def test_a_certificate_without_an_end_is_read() -> None:
    endless = (AROUND_NOON[0], datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    leaf = ROOT.leaf("Leaf", new_key(), period=endless)
    anchor = replace(ROOT.anchor, not_after=None)
    assert verify_chain([leaf], [anchor], NOON).period[1].year == 9999


def test_a_serial_number_of_zero_is_read_without_a_warning() -> None:
    """AMD gives all chips' certificates that number, and `cryptography` warns of it."""
    body = read_der(LEAF.tbs_certificate_bytes).content
    version = read_der(body)
    rest = body[read_der(body, version.end).end :]
    algorithm = read_der(rest)
    tbs = write_der(SEQUENCE, body[: version.end] + b"\x02\x01\x00" + rest)
    key = ISSUER.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = write_der(BIT_STRING, b"\0" + key.sign(tbs, ec.ECDSA(hashes.SHA384())))
    der = write_der(SEQUENCE, tbs + rest[: algorithm.end] + signature)
    (leaf,) = load_certificates(der)
    assert leaf.tbs_certificate_bytes == tbs  # asking for the number itself warns once more
    verify_chain([leaf, ISSUER.certificate], [ROOT.anchor], NOON)


def test_an_issuer_that_is_no_authority_is_refused() -> None:
    false = ROOT.leaf("Issuer", ISSUER.key, extensions=[(key_usage(sign=True), True)])
    assert "not of an authority" in refused([LEAF, false])
    bare = (x509.BasicConstraints(ca=True, path_length=None), True)
    signing = [bare, (key_usage(sign=True), True)]
    for extensions in ([bare], signing, [(key_usage(certify=True), True)]):
        issuer = ROOT.authority("Issuer", key=ISSUER.key, extensions=extensions)
        assert "not of an authority" in refused([LEAF, issuer.certificate])


def test_an_authority_does_not_sign_evidence() -> None:
    assert "signs evidence" in refused([ISSUER.certificate])
    leaf = ROOT.leaf("Leaf", new_key(), extensions=[(key_usage(certify=True), True)])
    assert "signs evidence" in refused([leaf])


def test_the_length_of_a_path_is_kept() -> None:
    below = ISSUER.authority("Below")  # its issuer may have no authority below it
    assert "this far up" in refused([below.leaf("Leaf", new_key()), below.certificate, PATH[1]])


def test_an_unknown_critical_extension_is_refused() -> None:
    value = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    verify_chain([ROOT.leaf("Leaf", new_key(), extensions=[(value, False)])], [ROOT.anchor], NOON)
    leaf = ROOT.leaf("Leaf", new_key(), extensions=[(value, True)])
    assert "unknown here" in refused([leaf])


def test_weak_and_unusual_keys_are_refused() -> None:
    for key in (rsa_key("weak", 1024), new_key(ec.SECP256K1())):
        issuer = ROOT.authority("Issuer", key=key)
        assert "public key" in refused([issuer.leaf("Leaf", new_key()), issuer.certificate])
        root = Authority.root("Weak", key=key)
        refused([root.leaf("Leaf", new_key())], root)


def test_the_kinds_of_signature_that_vendors_use_are_accepted() -> None:
    for key in (rsa_key("strong"), new_key(ec.SECP256R1())):
        root = Authority.root("Root", key=key)
        verify_chain([root.leaf("Leaf", new_key())], [root.anchor], NOON)


def test_a_signature_of_a_kind_not_allowed_is_refused() -> None:
    key = rsa_key("strong")
    root = Authority.root("Root", key=key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of("Leaf"))
        .issuer_name(name_of("Root"))
        .public_key(new_key().public_key())
        .serial_number(1)
        .not_valid_before(AROUND_NOON[0])
        .not_valid_after(AROUND_NOON[1])
    )
    old = builder.sign(key, hashes.SHA384(), rsa_padding=padding.PKCS1v15())
    assert "not allowed here" in refused([old], root)
    short = builder.sign(
        key, hashes.SHA224(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA224()), 28)
    )
    assert "digest not allowed" in refused([short], root)


def test_a_name_in_an_error_is_cut() -> None:
    root = Authority.root("x" * 64)
    assert len(refused([root.leaf("y" * 64, new_key())])) < 400
