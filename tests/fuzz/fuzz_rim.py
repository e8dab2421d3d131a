"""Signed XML manifests: read whether or not their signature holds."""

from __future__ import annotations

from fuzz.harness import NOW, Made, anchors, attempt, seeds_of
from pki.nvidia import MEASUREMENTS, NvidiaPki
from privity.attest.nvidia import rim
from privity.attest.nvidia.signed_xml import SignedXml, canonical_xml, parse_xml

_ANCHORS = anchors("rim")
_GENUINE = [attempt(rim.Rim.open, seed, _ANCHORS, NOW) for seed in seeds_of("rim")]


def one(data: bytes) -> None:
    tree = attempt(parse_xml, data)
    if tree is not None:
        written = canonical_xml(tree)
        assert canonical_xml(parse_xml(written)) == written
    document = attempt(SignedXml.parse, data)
    if document is not None:
        attempt(rim._meta, document.root)
        attempt(rim._golden, document.root)
    opened = attempt(rim.Rim.open, data, _ANCHORS, NOW)
    assert opened is None or opened in _GENUINE, "a manifest was read that no key signed"


def seeds() -> Made:
    pki = NvidiaPki()
    golden = {index: [value] for index, value in MEASUREMENTS.items() if index < 4}
    some = {index: [value, bytes(48)] for index, value in MEASUREMENTS.items() if index < 3}
    made = [pki.manifest("575.32", golden), pki.manifest("96.00", some, inactive={9: [bytes(48)]})]
    small = [b'<a xmlns="u:a" xmlns:b="u:b" b:c="&lt;1&#9;"><b:d/>&amp;</a>', b"<a/>"]
    return Made([*made, *small], [pki.rim_root.certificate])
