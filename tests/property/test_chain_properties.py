"""Certificates and DER: every parser is total, and has one spelling for each value."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pki.certificates import NOON, Authority, new_key, to_der, to_pem
from privity.attest.chain import load_certificates, verify_chain
from privity.attest.der import read_der, write_der
from privity.errors import EvidenceError, MalformedError, OversizeError

ROOT = Authority.root("Root")
LEAF = ROOT.leaf("Leaf", new_key())
FILES = (to_der(LEAF), to_pem(LEAF), to_pem(LEAF, ROOT.certificate))


@given(st.binary(max_size=256))
def test_any_bytes_are_certificates_or_refused(data: bytes) -> None:
    try:
        assert load_certificates(data)
    except MalformedError:
        pass


@settings(deadline=None)  # keys are made when first used
@given(st.sampled_from(FILES), st.data())
def test_any_altered_file_is_refused_by_a_privity_error(file: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(file)))
    end = draw.draw(st.integers(start, min(len(file), start + 8)))
    altered = file[:start] + draw.draw(st.binary(max_size=8)) + file[end:]
    try:
        found = load_certificates(altered)
        verify_chain(found, [ROOT.anchor], NOON)
    except (MalformedError, OversizeError, EvidenceError):
        return
    again = to_pem(*found) if altered.startswith(b"-----") else to_der(found[0])
    assert again.rstrip(b"\n") == altered.rstrip(b"\n") and set(found) <= {LEAF, ROOT.certificate}


@given(st.binary(max_size=64), st.integers(-4, 70))
def test_reading_der_is_total(data: bytes, at: int) -> None:
    try:
        element = read_der(data, max(at, 0))
    except MalformedError:
        return
    assert write_der(element.tag, element.content) == data[element.start : element.end]


@given(st.integers(0, 30), st.binary(max_size=70_000))
def test_der_is_read_back(tag: int, content: bytes) -> None:
    if len(content) < 1 << 16:
        assert read_der(write_der(tag, content)).content == content
