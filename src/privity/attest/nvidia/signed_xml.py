"""Signed XML documents of one form: enveloped, Canonical XML 1.1, ECDSA P-384 with SHA-384.

XML signatures are dangerous where what was verified and what is read are not the same. Here they
are: the document is read once, into a tree; the tree without its signature is written canonically
and hashed; and the caller gets that same tree. Anything the form does not need is refused rather
than interpreted: document types, comments, processing instructions, CDATA, ``xml:`` attributes,
undeclared namespaces, another algorithm, a second signature.

Source: W3C Canonical XML 1.1 §1 and §2.3, W3C XML Signature 1.1 §3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from xml.parsers import expat

from privity.errors import MalformedError, OversizeError
from privity.identity.multibase import decode_base64

__all__ = ["MAX_BYTES", "Element", "SignedXml", "canonical_xml", "parse_xml"]

MAX_BYTES = 131_072
"""Largest document; NVIDIA's manifests have 20 to 26 kB."""

_MAX_DEPTH = 16
_MAX_ELEMENTS = 2048
_MAX_CERTIFICATES = 8
_SIGNATURE_BYTES = 96

_XMLNS = "xmlns"
_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_C14N11 = "http://www.w3.org/2006/12/xml-c14n11"
_ENVELOPED = _DSIG + "enveloped-signature"
_ECDSA_SHA384 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
_SHA384 = "http://www.w3.org/2001/04/xmldsig-more#sha384"


@dataclass
class Element:
    """One element of a document.

    Attributes:
        name: as written, with its prefix.
        uri: the namespace of the prefix.
        attributes: values by name as written, namespace declarations not among them.
        declared: the namespaces its own start tag declares, by prefix; ``""`` for the default.
        scope: all namespaces in scope, by prefix.
        children: elements and text, in order.
    """

    name: str
    uri: str
    attributes: Mapping[str, str]
    declared: Mapping[str, str]
    scope: Mapping[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def tag(self) -> tuple[str, str]:
        """Its namespace and its name without the prefix."""
        return self.uri, self.name.rpartition(":")[2]

    @property
    def elements(self) -> list[Element]:
        """Its children that are elements; raises `MalformedError` for text between them."""
        for child in self.children:
            if isinstance(child, str) and child.strip(" \t\n"):
                raise MalformedError(f"XML: text beside the elements of {self.name:.80}")
        return [child for child in self.children if isinstance(child, Element)]

    @property
    def text(self) -> str:
        """Its text; raises `MalformedError` where elements are in it."""
        if any(isinstance(child, Element) for child in self.children):
            raise MalformedError(f"XML: elements in the text of {self.name:.80}")
        return "".join(child for child in self.children if isinstance(child, str))

    def attribute(self, uri: str, name: str) -> str | None:
        """Return the value of an attribute by its namespace (``""`` for none) and name."""
        for written, value in self.attributes.items():
            prefix, _, local = written.rpartition(":")
            if local == name and (self.scope[prefix] if prefix else "") == uri:
                return value
        return None


@dataclass(frozen=True)
class SignedXml:
    """A document whose one signature has the expected form; nobody has verified it yet.

    Attributes:
        root: the document without its signature: what is signed.
        digest_holds: whether the signed digest is the document's.
        signed: the canonical bytes the signature is over.
        signature: r ‖ s, 96 bytes.
        certificates: the signer's chain as the document carries it, DER, the leaf first.
    """

    root: Element
    digest_holds: bool
    signed: bytes
    signature: bytes
    certificates: tuple[bytes, ...]

    @classmethod
    def parse(cls, data: bytes) -> SignedXml:
        """Read a signed document.

        Raises:
            MalformedError: not XML, not of the one form, or more than one signature.
            OversizeError: more than `MAX_BYTES`.

        Guarantees:
            Total (tests/property/test_nvidia_evidence.py); the tree returned is the tree hashed
            (tests/adversary/test_nvidia_rim.py).
        """
        root = parse_xml(data)
        signature = root.elements[-1] if root.elements else root
        if signature.tag != (_DSIG, "Signature"):
            raise MalformedError("XML: the document does not end in a signature")
        root.children.remove(signature)
        if any(one.uri == _DSIG for one in _below(root)):
            raise MalformedError("XML: more than one signature")
        info, value, key_info = _children(signature, "SignedInfo", "SignatureValue", "KeyInfo")
        digest = _signed_digest(info)
        return cls(
            root=root,
            digest_holds=hashlib.sha384(canonical_xml(root)).digest() == digest,
            signed=canonical_xml(info),
            signature=_base64(value.text, _SIGNATURE_BYTES),
            certificates=_certificates(key_info),
        )


def _signed_digest(info: Element) -> bytes:
    """Return the digest of the whole document that ``SignedInfo`` names, by the one way allowed."""
    method, signer, reference = _children(
        info, "CanonicalizationMethod", "SignatureMethod", "Reference"
    )
    _check_algorithm(method, _C14N11)
    _check_algorithm(signer, _ECDSA_SHA384)
    if dict(reference.attributes) != {"URI": ""}:
        raise MalformedError("XML: the signature is not over the whole document")
    transforms, digest, value = _children(reference, "Transforms", "DigestMethod", "DigestValue")
    enveloped, canonical = _children(transforms, "Transform", "Transform")
    _check_algorithm(enveloped, _ENVELOPED)
    _check_algorithm(canonical, _C14N11)
    _check_algorithm(digest, _SHA384)
    return _base64(value.text, hashlib.sha384().digest_size)


def _certificates(key_info: Element) -> tuple[bytes, ...]:
    (data,) = _children(key_info, "X509Data")
    if not 0 < len(data.elements) <= _MAX_CERTIFICATES:
        raise MalformedError(f"XML: a signature has 1 to {_MAX_CERTIFICATES} certificates")
    certificates = _children(data, *["X509Certificate"] * len(data.elements))
    return tuple(_base64(one.text) for one in certificates)


def _children(parent: Element, *names: str) -> list[Element]:
    elements = parent.elements
    if [one.tag for one in elements] != [(_DSIG, name) for name in names]:
        raise MalformedError(f"XML: {parent.name:.80} has other elements than a signature's")
    return elements


def _check_algorithm(element: Element, expected: str) -> None:
    if dict(element.attributes) != {"Algorithm": expected} or element.children:
        raise MalformedError(f"XML: {element.name:.80} is not {expected}")


def _base64(text: str, size: int | None = None) -> bytes:
    """Read base64 whose lines may be broken anywhere, as signers of XML break them."""
    packed = text.translate({ord(blank): None for blank in " \t\n"})
    data = decode_base64(packed)
    if size not in (None, len(data)):
        raise MalformedError(f"XML: a value has not {size} bytes")
    return data


def canonical_xml(apex: Element) -> bytes:
    """Return an element in Canonical XML 1.1, as a document subset that begins with it."""
    out: list[str] = []
    _write(apex, {}, apex.scope, out)
    return "".join(out).encode()


def _write(
    element: Element, rendered: Mapping[str, str], shown: Mapping[str, str], out: list[str]
) -> None:
    """Write ``element``; ``rendered`` are the namespaces the output above it already declares."""
    fresh = {prefix: uri for prefix, uri in shown.items() if rendered.get(prefix) != uri}
    out.append("<" + element.name)
    for prefix in sorted(fresh):
        out.append(f' {_XMLNS}{":" if prefix else ""}{prefix}="{_escape(fresh[prefix], True)}"')
    for name in sorted(element.attributes, key=lambda name: _expanded(name, element.scope)):
        out.append(f' {name}="{_escape(element.attributes[name], True)}"')
    out.append(">")
    for child in element.children:
        if isinstance(child, str):
            out.append(_escape(child, False))
        else:
            _write(child, {**rendered, **fresh}, child.declared, out)
    out.append(f"</{element.name}>")


def _expanded(name: str, scope: Mapping[str, str]) -> tuple[str, str]:
    prefix, _, local = name.rpartition(":")
    return (scope[prefix] if prefix else ""), local


_IN_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_IN_VALUE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
)


def _escape(text: str, in_value: bool) -> str:
    return text.translate(_IN_VALUE if in_value else _IN_TEXT)


def _below(element: Element) -> Iterator[Element]:
    yield element
    for child in element.children:
        if isinstance(child, Element):
            yield from _below(child)


def parse_xml(data: bytes) -> Element:
    """Read an XML document into a tree.

    Raises:
        MalformedError: not well-formed, not UTF-8, or with a part that is not allowed.
        OversizeError: more than `MAX_BYTES`.
    """
    if len(data) > MAX_BYTES:
        raise OversizeError(f"an XML document has more than {MAX_BYTES} bytes")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("XML: not UTF-8") from None
    builder = _Builder()
    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.XmlDeclHandler = builder.declaration
    # A document type is where entities come from; the others only hide text from readers.
    for handler in ("StartDoctypeDecl", "Comment", "ProcessingInstruction", "StartCdataSection"):
        setattr(parser, handler + "Handler", builder.refuse)
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise MalformedError(f"XML: {error}") from None
    if builder.root is None:
        raise MalformedError("XML: no element")
    return builder.root


class _Builder:
    """Makes the tree from the parser's events."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, flat: list[str]) -> None:
        self._count += 1
        if self._count > _MAX_ELEMENTS or len(self._open) >= _MAX_DEPTH:
            raise MalformedError("XML: too many elements, or too deep")
        declared: dict[str, str] = {}
        attributes: dict[str, str] = {}
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            prefix, _, local = key.rpartition(":")
            if prefix == _XMLNS or key == _XMLNS:
                declared["" if key == _XMLNS else local] = value
            else:
                attributes[key] = value
        scope = {**(self._open[-1].scope if self._open else {}), **declared}
        _check_names(name, attributes, declared, scope)
        prefix = name.rpartition(":")[0]
        element = Element(name, scope.get(prefix, ""), attributes, declared, scope)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1].children.append(text)

    def declaration(self, version: str, encoding: str | None, _standalone: int) -> None:
        if version != "1.0" or (encoding is not None and encoding.upper() != "UTF-8"):
            raise MalformedError("XML: not XML 1.0 in UTF-8")

    def refuse(self, *_parts: Any) -> NoReturn:
        raise MalformedError("XML: a document type, comment, instruction or CDATA section")


def _check_names(
    name: str, attributes: Mapping[str, str], declared: Mapping[str, str], scope: Mapping[str, str]
) -> None:
    """Refuse names that namespaces make ambiguous (Namespaces in XML 1.0 §3 to §6)."""
    for one in (name, *attributes):
        prefix, colon, local = one.rpartition(":")
        if ":" in prefix or not local or (colon and prefix not in scope):
            raise MalformedError(f"XML: {one:.80} has a prefix that nothing declares")
    if len({_expanded(one, scope) for one in attributes}) != len(attributes):
        raise MalformedError(f"XML: {name:.80} has an attribute twice")
    # An empty one takes a declaration back, and those of xml and xmlns are fixed.
    if "" in declared.values() or declared.keys() & {"xml", _XMLNS}:
        raise MalformedError(f"XML: {name:.80} declares a namespace that is not allowed")
