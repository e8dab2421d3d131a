"""Headers of proved queries and of their openings, vocabularies, witnesses and tokenizers."""

from __future__ import annotations

import json

from fuzz.harness import Made, attempt
from privity.anon.query import Opening, QueryProof
from privity.anon.query_witness import QueryWitness
from privity.anon.vocabulary import Vocabulary
from privity.identity.jcs import canonical
from privity.infer.engines.tokenizer_file import _parsed
from tiny_tokens import tokenizer_table

_VOCABULARY = Vocabulary(1000, (0, 1, 500), "sha256:" + "00" * 32)
_PROOF = QueryProof(128, _VOCABULARY.digest, bytes(32), bytes(range(256)) * 8 + bytes(96))
_OPENING = Opening(b"\5" * 32)
_WITNESS = QueryWitness((2, 3), _VOCABULARY.digest, 128, bytes(32), bytes(32))


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (QueryProof.from_header, Opening.from_header):
        found = attempt(read, text)
        assert found is None or found.to_header() == text
    witness = attempt(QueryWitness.from_bytes, data)
    assert witness is None or witness.to_bytes() == data
    attempt(_parsed, data, _VOCABULARY.tokenizer)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    vocabulary = attempt(Vocabulary.from_json, value)
    assert vocabulary is None or vocabulary.to_json() == value


def seeds() -> Made:
    return Made(
        [
            _PROOF.to_header().encode(),
            _OPENING.to_header().encode(),
            canonical(_VOCABULARY.to_json()),
            _WITNESS.to_bytes(),
            json.dumps(tokenizer_table()).encode(),
        ]
    )
