"""SNP reports, their certificates and dstack's wrapper: every parser is total."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pki.certificates import NOON
from pki.snp import SnpPki
from privity.attest.amd.report import REPORT_BYTES, SnpReport, SnpTcb
from privity.attest.dstack.scale import Scale
from privity.attest.evidence import Companions
from privity.attest.evidence_snp import SnpVerifier, from_file, recognises
from privity.errors import MalformedError
from privity.identity.multibase import encode_base64url

PKI = SnpPki()
REPORT = PKI.report(bytes(64))


@st.composite
def altered(draw: st.DrawFn, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 8)))
    return data[:start] + draw(st.binary(max_size=8)) + data[end:]


@given(st.one_of(st.binary(max_size=64), altered(REPORT)))
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    try:
        report = SnpReport.parse(data)
    except MalformedError:
        return
    again = report.signed + b"".join(
        report.signature[at : at + 48][::-1] + bytes(24) for at in (0, 48)
    )
    assert again.ljust(REPORT_BYTES, b"\0") == data


@settings(deadline=None)  # keys are made when first used
@given(altered(REPORT))
def test_any_altered_report_is_judged_or_refused_by_a_privity_error(data: bytes) -> None:
    evidence = {"kind": "snp", "report": encode_base64url(data)}
    try:
        found = SnpVerifier(PKI.anchors).examine(evidence, bytes(64), PKI.endorsements, NOON)
    except MalformedError:
        return
    assert found.accepted == (data == REPORT)


@given(st.one_of(st.just(b"\0\x03"), st.just(b""), st.just(b"-----BEGIN")), st.binary(max_size=99))
def test_any_file_is_read_or_refused(head: bytes, rest: bytes) -> None:
    recognises(head + rest)
    try:
        evidence, _ = from_file(head + rest, Companions((head + rest,)))
    except MalformedError:
        return
    raise AssertionError(f"read as {evidence}")


@given(st.binary(min_size=8, max_size=8), st.sampled_from(["milan", "genoa", "turin"]))
def test_a_tcb_version_is_read_in_each_products_layout(data: bytes, product: str) -> None:
    middle = slice(4, 7) if product == "turin" else slice(2, 6)
    try:
        parts = SnpTcb.parse(data, product).parts  # type: ignore[arg-type]
    except MalformedError:
        assert any(data[middle])
        return
    outer = data[: middle.start] + data[middle.stop :]
    assert not any(data[middle]) and sorted(parts.values()) == sorted(outer)


@given(st.binary(max_size=16))
def test_a_compact_number_has_one_spelling(data: bytes) -> None:
    scale = Scale(data)
    try:
        number = scale.compact()
        rest = scale.take(0)
    except MalformedError:
        return
    size = 1 if number < 1 << 6 else 2 if number < 1 << 14 else 4
    told = (number << 2 | {1: 0, 2: 1, 4: 2}[size]).to_bytes(size, "little")
    assert data.startswith(told) and rest == b""
