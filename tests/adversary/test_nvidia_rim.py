"""Attacks on signed manifests: what is signed is what is read, and nothing else is read."""

from __future__ import annotations

import re

import pytest

from pki.certificates import NOON
from pki.nvidia import DSIG, MEASUREMENTS, SWID, NvidiaPki
from privity.attest.nvidia.rim import Rim
from privity.attest.nvidia.signed_xml import MAX_BYTES, SignedXml, canonical_xml, parse_xml
from privity.errors import EvidenceError, MalformedError, OversizeError, PrivityError

GPU = NvidiaPki()
GOLDEN = {index: [value] for index, value in MEASUREMENTS.items()}
MANIFEST = GPU.manifest(GPU.version, GOLDEN)


def _open(data: bytes) -> Rim:
    return Rim.open(data, GPU.rim_anchors, NOON)


def test_a_genuine_manifest_is_read() -> None:
    rim = _open(MANIFEST)
    assert (rim.product, rim.version) == ("GH100", "96.00.9F.00.01")
    assert dict(rim.golden) == {index: frozenset(values) for index, values in GOLDEN.items()}


@pytest.mark.parametrize(
    ("pattern", "spelling"),
    [
        (b"></ns0:Meta>", b"/>"),  # an empty element
        (b'product="GH100"', b"product = 'GH100'"),  # other quotes
        (b'active="True" alternatives="1"', b'alternatives="1"\n\tactive="True"'),  # other order
        (b"<Software", b'<?xml version="1.0" encoding="UTF-8"?>\n<Software'),
        (b"GH100", b"&#71;H100"),  # a character by its number
        (b"\n", b"\r\n"),  # other ends of lines
        (b"<ds:SignedInfo>", b"<ds:SignedInfo >"),
    ],
)
def test_another_spelling_of_the_same_document_is_the_same(pattern: bytes, spelling: bytes) -> None:
    assert pattern in MANIFEST
    assert _open(MANIFEST.replace(pattern, spelling)) == _open(MANIFEST)


@pytest.mark.parametrize(
    ("pattern", "forgery"),
    [
        (MEASUREMENTS[1].hex().encode(), b"00" * 48),
        (b'colloquialVersion="96.00.9F.00.01"', b'colloquialVersion="96.00.9F.00.02"'),
        (b'active="True"', b'active="False"'),
        (b'index="0"', b'index="9"'),
        (b"  <ns0:Payload>\n", b"<ns0:Payload>\n"),  # white space is signed as well
        (b'tagId="test"', b'tagId="test" extra=""'),
        (b"ns0:Entity", b"ns2:Entity"),  # the same name in another namespace
        (b'xmlns:ns1="https', b'xmlns:ns9="urn:x" xmlns:ns1="https'),
    ],
)
def test_an_altered_manifest_is_refused(pattern: bytes, forgery: bytes) -> None:
    assert pattern in MANIFEST
    with pytest.raises(EvidenceError, match="altered after it was signed") as caught:
        _open(MANIFEST.replace(pattern, forgery))
    assert caught.value.check == "collateral"


def test_a_digest_made_to_fit_is_refused() -> None:
    forged = MANIFEST.replace(MEASUREMENTS[1].hex().encode(), b"00" * 48)
    digest = re.search(rb"<ds:DigestValue>(.*?)</", GPU.manifest("1", GOLDEN))
    assert digest is not None
    forged = re.sub(rb"(?<=<ds:DigestValue>).*?(?=</)", digest[1], forged)
    with pytest.raises(EvidenceError):
        _open(forged)
    # The digest is right, but then the signature is not of it.
    own = GPU.manifest("2", GOLDEN)
    value = re.search(rb"<ds:SignatureValue>.*?</ds:SignatureValue>", MANIFEST)
    assert value is not None
    other = re.sub(rb"<ds:SignatureValue>.*?</ds:SignatureValue>", value[0], own)
    with pytest.raises(EvidenceError, match="signature is not of these bytes"):
        _open(other)


def test_a_manifest_by_someone_else_is_refused() -> None:
    with pytest.raises(EvidenceError, match=r"no anchor|not its issuer's"):
        _open(NvidiaPki().manifest(GPU.version, GOLDEN))


def test_a_second_document_around_the_signed_one_is_refused() -> None:
    inner = MANIFEST.strip()
    for wrapped in (
        b'<SoftwareIdentity xmlns="' + SWID.encode() + b'">' + inner + b"</SoftwareIdentity>",
        inner.replace(b"<ds:Signature ", b"<x>" + inner + b"</x><ds:Signature "),
    ):
        with pytest.raises((MalformedError, EvidenceError)):
            _open(wrapped)


def test_two_signatures_are_refused() -> None:
    signature = re.search(rb"<ds:Signature .*</ds:Signature>", MANIFEST, re.S)
    assert signature is not None
    with pytest.raises(MalformedError, match="more than one signature"):
        _open(MANIFEST.replace(signature[0], signature[0] * 2))


@pytest.mark.parametrize(
    ("pattern", "forgery"),
    [
        (b'URI=""', b'URI="#part"'),
        (b"ecdsa-sha384", b"hmac-sha384"),
        (b"2006/12/xml-c14n11", b"TR/2001/REC-xml-c14n-20010315"),
        (b"#enveloped-signature", b"#base64"),
        (b"#sha384", b"#sha1"),
        (b"<ds:KeyInfo>", b"<ds:KeyInfo><ds:KeyName>x</ds:KeyName>"),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>!"),
        (b"</ds:DigestValue>", b"=</ds:DigestValue>"),
        (b"</ds:Transforms>", b"text</ds:Transforms>"),
    ],
)
def test_another_form_of_signature_is_not_read(pattern: bytes, forgery: bytes) -> None:
    assert pattern in MANIFEST
    with pytest.raises(MalformedError):
        _open(MANIFEST.replace(pattern, forgery))


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<a><!-- hidden --></a>",
        b"<a><?run this?></a>",
        b"<a><![CDATA[b]]></a>",
        b"<a>&unknown;</a>",
        b"<a xml:base='b'/>",
        b"<a xmlns=''/>",
        b"<a xmlns:b='u' xmlns:c='u' b:d='1' c:d='2'/>",
        b"<b:a/>",
        b"<a b:c='1'/>",
        b"<a:b:c xmlns:a='u' xmlns:b='u'/>",
        b"<a></b>",
        b"<a/><a/>",
        b"",
        b"\xff",
        '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'.encode("latin-1"),
        b'<?xml version="1.0" encoding="UTF-16"?><a/>',
        b'<?xml version="1.1"?><a/>',
        "<a/>".encode("utf-16"),
        b"<a>" * 17 + b"</a>" * 17,
        b"<a>" + b"<b/>" * 3000 + b"</a>",
    ],
)
def test_xml_that_could_be_read_in_two_ways_is_not_read(document: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_xml(document)


def test_a_document_beyond_the_limit_is_not_read() -> None:
    with pytest.raises(OversizeError):
        parse_xml(b"<a>" + b" " * MAX_BYTES + b"</a>")


@pytest.mark.parametrize(
    ("pattern", "forgery"),
    [
        ('alternatives="1"', 'alternatives="2"'),
        ('alternatives="1"', 'alternatives="0"'),
        ('size="48"', 'size="47"'),
        ('active="True"', 'active="true"'),
        ('type="Measurement"', 'type="Other"'),
        ('index="0"', 'index="1"'),
        ('index="0"', 'index="00"'),
        ('index="0"', 'index="254"'),
        ("ns0:Payload", "ns0:Other"),
        ('product="GH100"', 'other="GH100"'),
        ("ns2:Hash0", "ns0:Hash0"),
    ],
)
def test_a_manifest_signed_but_of_another_form_is_not_read(pattern: str, forgery: str) -> None:
    class Signer(NvidiaPki):
        def _signature(self, document: str) -> str:
            return super()._signature(document.replace(pattern, forgery))

    signer = Signer(rim_root=GPU.rim_root)
    data = signer.manifest(GPU.version, GOLDEN)
    head, mark, signature = data.partition(b"<ds:Signature ")
    assert pattern.encode() in head
    data = head.replace(pattern.encode(), forgery.encode()) + mark + signature
    assert SignedXml.parse(data).digest_holds
    with pytest.raises(MalformedError):
        _open(data)


def test_a_flipped_bit_changes_no_value_that_is_compared() -> None:
    genuine = _open(MANIFEST)
    for at in range(len(MANIFEST)):
        flipped = bytearray(MANIFEST)
        flipped[at] ^= 1 << at % 8
        try:
            rim = _open(bytes(flipped))
        except PrivityError:
            continue
        assert (rim.golden, rim.product, rim.version) == (
            genuine.golden, genuine.product, genuine.version
        ), at  # fmt: skip


def test_canonical_xml_is_that_of_the_recommendation() -> None:
    # Canonical XML 1.1 §3.3 and §3.4, without the parts that are not read here.
    document = b"""<doc>
   <e1   />
   <e2   ></e2>
   <e3   name = "elem3"   id="elem3"   />
   <e5 a:attr="out" b:attr="sorted" attr2="all" attr="I'm"
      xmlns:b="http://www.ietf.org"
      xmlns:a="http://www.w3.org"
      xmlns="http://example.org"/>
   <e6 xmlns:a="http://www.w3.org"><e7 xmlns:a="http://www.w3.org"><e8 a:x="1"/></e7></e6>
   <text>First line&#x0d;&#10;Second line</text>
   <compute expr='value>"0" &amp;&amp; value&lt;"10" ?"valid":"error"'>&gt;</compute>
   <norm attr=' &apos;   &#x20;&#13;&#xa;&#9;   &apos; '/>
</doc>"""
    expected = """<doc>
   <e1></e1>
   <e2></e2>
   <e3 id="elem3" name="elem3"></e3>
   <e5 xmlns="http://example.org" xmlns:a="http://www.w3.org" xmlns:b="http://www.ietf.org" \
attr="I'm" attr2="all" b:attr="sorted" a:attr="out"></e5>
   <e6 xmlns:a="http://www.w3.org"><e7><e8 a:x="1"></e8></e7></e6>
   <text>First line&#xD;
Second line</text>
   <compute expr="value>&quot;0&quot; &amp;&amp; value&lt;&quot;10&quot; \
?&quot;valid&quot;:&quot;error&quot;">&gt;</compute>
   <norm attr=" '    &#xD;&#xA;&#x9;   ' "></norm>
</doc>"""
    assert canonical_xml(parse_xml(document)).decode() == expected


def test_a_subset_declares_the_namespaces_in_scope() -> None:
    document = parse_xml(b'<a xmlns="u:d" xmlns:p="u:p"><p:b q="1"><c xmlns:p="u:o"/></p:b></a>')
    (inner,) = document.elements
    assert canonical_xml(inner) == (
        b'<p:b xmlns="u:d" xmlns:p="u:p" q="1"><c xmlns:p="u:o"></c></p:b>'
    )
    assert DSIG not in canonical_xml(inner).decode()
