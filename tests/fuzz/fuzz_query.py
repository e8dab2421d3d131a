"""Headers of proved queries and of their openings, vocabularies and witnesses."""

from __future__ import annotations

import json

from fuzz.harness import Made, attempt
from privity.anon.query import Opening, QueryProof
from privity.anon.vocabulary import Vocabulary
from privity.identity.jcs import canonical
from privity.identity.multibase import encode_base64url
from privity.node.prover import ProverApp

_VOCABULARY = Vocabulary(1000, (0, 1, 500), "sha256:" + "00" * 32)
_PROOF = QueryProof(128, _VOCABULARY.digest, bytes(32), bytes(range(256)) * 8 + bytes(96))
_OPENING = Opening(b"\5" * 32)
_PROVER = ProverApp([_VOCABULARY])


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (QueryProof.from_header, Opening.from_header):
        found = attempt(read, text)
        assert found is None or found.to_header() == text
    attempt(_PROVER._read, data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    vocabulary = attempt(Vocabulary.from_json, value)
    assert vocabulary is None or vocabulary.to_json() == value


def seeds() -> Made:
    witness = {
        "blinding": encode_base64url(bytes(32)),
        "bucket": 128,
        "request": encode_base64url(bytes(32)),
        "tokens": [2, 3],
        "vocabulary": encode_base64url(_VOCABULARY.digest),
    }
    return Made(
        [
            _PROOF.to_header().encode(),
            _OPENING.to_header().encode(),
            canonical(_VOCABULARY.to_json()),
            canonical(witness),
        ]
    )
