"""Every parser of NVIDIA's evidence is total, whatever the bytes."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from pki.certificates import NOON, to_pem
from pki.nvidia import DSIG, HASHES, SWID, NvidiaPki
from privity.attest.evidence import Companions
from privity.attest.evidence_nvidia import NvidiaVerifier, from_file, recognises
from privity.attest.nvidia.device import Device
from privity.attest.nvidia.rim import Rim
from privity.attest.nvidia.signed_xml import SignedXml, canonical_xml, parse_xml
from privity.attest.nvidia.spdm import SpdmReport
from privity.errors import EvidenceError, MalformedError, OversizeError

GPU = NvidiaPki(rims=True)
REPORT = GPU.report(bytes(32))
PEM = to_pem(*GPU.chain)
(MANIFEST,) = GPU.but(driver="").manifests()
VERIFIER = NvidiaVerifier(GPU.anchors, rim_anchors=GPU.rim_anchors)

edits = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 20), st.binary(max_size=20)), max_size=4
)


def _edit(data: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    for at, size, inserted in cuts:
        at %= len(data) + 1
        data = data[:at] + inserted + data[at + size :]
    return data


@given(st.binary(max_size=300) | edits.map(lambda cuts: _edit(REPORT, cuts)))
def test_reports(data: bytes) -> None:
    with suppress(MalformedError):
        report = SpdmReport.parse(data)
        assert report.signed + report.signature == data
        Device.of_report(report)


@given(st.binary(max_size=300) | edits.map(lambda cuts: _edit(MANIFEST, cuts)))
def test_manifests(data: bytes) -> None:
    with suppress(MalformedError, OversizeError):
        SignedXml.parse(data)
    with suppress(MalformedError, OversizeError, EvidenceError):
        rim = Rim.open(data, GPU.rim_anchors, NOON)
        assert rim == Rim.open(MANIFEST, GPU.rim_anchors, NOON)


_FILES = st.one_of(
    st.binary(max_size=200),
    edits.map(lambda cuts: _edit(REPORT, cuts)),
    edits.map(lambda cuts: _edit(REPORT.hex().encode(), cuts)),
    edits.map(
        lambda cuts: _edit(
            json.dumps(
                [
                    {
                        "arch": "HOPPER",
                        "certificate": base64.b64encode(PEM).decode(),
                        "evidence": base64.b64encode(REPORT).decode(),
                        "nonce": bytes(32).hex(),
                    }
                ],
                indent=1,
            ).encode(),
            cuts,
        )
    ),
)


@given(_FILES, edits)
def test_files(data: bytes, cuts: list[tuple[int, int, bytes]]) -> None:
    recognises(data)
    with suppress(MalformedError):
        evidence, endorsements = from_file(data, Companions((_edit(PEM, cuts),), None, (MANIFEST,)))
        for one in evidence:
            VERIFIER.examine(one, bytes(32), endorsements, NOON)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["kind", "report", "certificates", "nonce", "arch", "more"]), _json
    )
)
def test_evidence(changes: dict[str, object]) -> None:
    for evidence in (changes, {**GPU.evidence(bytes(32)), **changes}):
        with suppress(MalformedError):
            VERIFIER.examine(evidence, bytes(32), [], NOON)


_name = st.sampled_from(["a", "p:a", "q:b", "ds:Signature", "b"])
_value = st.text(st.sampled_from("ab&<>\"'\t\n\r é\U0001f600"), max_size=6)


@st.composite
def _elements(draw: st.DrawFn, depth: int = 0) -> str:
    """Return the text of an element, spelled in one of many ways."""

    def escape(text: str) -> str:
        for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
            text = text.replace(char, entity)
        return text.replace("\r", "&#13;").replace("\n", "&#10;").replace("\t", "&#9;")

    name = draw(_name)
    attributes = draw(
        st.dictionaries(
            st.sampled_from(["x", "y", "p:x", "q:y", "xmlns:p", "xmlns:q", "xmlns"]),
            _value,
            max_size=4,
        )
    )
    for declared, uri in (("xmlns:p", SWID), ("xmlns:q", HASHES), ("xmlns:ds", DSIG)):
        if not depth or attributes.get(declared) == "":
            attributes[declared] = uri
    attributes = {key: value or "u" for key, value in attributes.items()}
    inner = ""
    if depth < 2:
        inner = "".join(draw(st.lists(_elements(depth + 1) | _value.map(escape), max_size=3)))
    listed = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{listed}>{inner}</{name}>"


@given(_elements())
def test_canonical_xml_is_its_own_canonical_form(document: str) -> None:
    with suppress(MalformedError):
        written = canonical_xml(parse_xml(document.encode()))
        assert canonical_xml(parse_xml(written)) == written
