"""AWS Nitro documents: COSE, CBOR, and the chain in them."""

from __future__ import annotations

from fuzz.harness import BOUND, NOW, Made, anchors, attempt, examine, seeds_of
from pki.nitro import NitroPki
from privity.attest.aws.cbor import read_cbor
from privity.attest.aws.cose import Sign1
from privity.attest.aws.document import NitroDocument
from privity.attest.evidence_nitro import NitroVerifier
from privity.identity.multibase import encode_base64url

_VERIFIER = NitroVerifier(anchors("nitro"))
_GENUINE = set(seeds_of("nitro"))


def one(data: bytes) -> None:
    accepts(data)


def accepts(data: bytes) -> bool:
    attempt(read_cbor, data, most=65_536, open_maps=True)
    attempt(NitroDocument.parse, data)
    message = attempt(Sign1.parse, data, most=65_536)
    if message is not None:
        attempt(NitroDocument.parse, message.payload)
    evidence = {"document": encode_base64url(data), "kind": "nitro"}
    # The tag before a message is not signed; all else is.
    body = data.removeprefix(b"\xd2")
    genuine = {one.removeprefix(b"\xd2") for one in _GENUINE}
    return examine(_VERIFIER, evidence, [], genuine, body)


def seeds() -> Made:
    pki = NitroPki()
    return Made(
        [
            pki.document(BOUND, NOW),
            pki.payload(BOUND, NOW),
            NitroPki(tagged=True, open_map=False).document(None, NOW),
        ],
        [pki._root.certificate],
    )
