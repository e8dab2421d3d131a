"""Our canonical XML beside libxml2's, on a manifest and on documents made up at random.

libxml2 writes Canonical XML 1.0; the two differ in ``xml:`` attributes alone, which are not read.
Subsets of documents are not compared: of those, libxml2 as lxml calls it declares some default
namespaces away that are in scope.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.nvidia import NvidiaPki
from privity.attest.nvidia.signed_xml import canonical_xml, parse_xml
from privity.errors import MalformedError

etree = pytest.importorskip("lxml.etree", reason="lxml is not installed: no peer for XML")


def _theirs(document: bytes) -> bytes:
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    written: bytes = etree.tostring(etree.fromstring(document, parser), method="c14n")
    return written


def test_a_manifest() -> None:
    (manifest,) = NvidiaPki(driver="").manifests()
    assert canonical_xml(parse_xml(manifest)) == _theirs(manifest)


_VALUES = st.text(st.sampled_from("ab&<>\"'\t\n\r é\U0001f600"), max_size=6)
_NAMES = st.sampled_from(["a", "b", "p:a", "q:b"])
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["x", "y", "p:x", "q:y", "xmlns:p", "xmlns:q", "xmlns"]), _VALUES, max_size=4
)


def _escape(text: str) -> str:
    numbered = {char: f"&#{ord(char)};" for char in "\r\n\t<>&\"'"}
    return text.translate(str.maketrans(numbered))


def _spell(name: str, attributes: dict[str, str], inner: list[str], top: bool) -> str:
    known = {"xmlns:p": "urn:p", "xmlns:q": "urn:q"} if top else {}
    # Namespaces are absolute: libxml2 refuses to write relative ones.
    named = {
        key: "urn:x" + "".join(char for char in value if char in "ab")
        for key, value in attributes.items()
        if key.startswith("xmlns")
    }
    listed = {**attributes, **known, **named}
    text = "".join(f' {key}="{_escape(value)}"' for key, value in listed.items())
    return f"<{name}{text}>{''.join(inner)}</{name}>"


def _document(depth: int = 0) -> st.SearchStrategy[str]:
    inner = st.just([]) if depth == 3 else st.lists(
        st.deferred(lambda: _document(depth + 1)) | _VALUES.map(_escape), max_size=3
    )  # fmt: skip
    return st.builds(_spell, _NAMES, _ATTRIBUTES, inner, st.just(depth == 0))


@given(_document())
def test_documents_made_up_at_random(document: str) -> None:
    data = document.encode()
    with suppress(MalformedError):
        assert canonical_xml(parse_xml(data)) == _theirs(data)
