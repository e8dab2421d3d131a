"""Attacks on proved queries; spec/proved-queries.md names them."""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from native import needs_kernel
from privity.anon.query import (
    ClaimedQuery,
    Opening,
    QueryProof,
    VerifiedQuery,
    prove_query,
    verify_queries,
    verify_query,
)
from privity.anon.query_opening import (
    Mismatch,
    OpenedQuery,
    VerifiedMismatch,
    check_opening,
    verify_mismatch,
)
from privity.anon.vocabulary import Vocabulary
from privity.errors import AdmissionError, InputError, MalformedError, ReceiptError
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url, encode_base64url
from proved_queries import (
    BUCKET,
    OPENING,
    REQUEST,
    TOKENIZER,
    TOKENS,
    VOCABULARY,
    proved,
    verified,
)

pytestmark = needs_kernel("QueryKey")

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENCLAVE = SigningKey(b"\1" * 32)
OTHER = b"\7" * 32


def refused(proof: QueryProof, check: str, **given: Any) -> None:
    with pytest.raises(AdmissionError) as caught:
        verify_query(proof, **{"vocabulary": VOCABULARY, "digest": REQUEST, **given})
    assert caught.value.check == check


def opened(tokens: tuple[int, ...], opening: Opening = OPENING) -> OpenedQuery | Mismatch:
    return check_opening(verified(proved()), opening, tokens)


@pytest.mark.parametrize(
    "tokens",
    [(), (2,) * (BUCKET + 1), (2, 0), (2, 500), (1000,), (2**32 - 1,), (2**32,), (-1,), ("2",)],
    ids=["none", "over-long", "denied", "denied too", "outside", "u32", "beyond", "below", "text"],
)
def test_no_proof_of_what_is_not_well_formed(tokens: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        proved(tokens)
    assert "500" not in caught.value.message


def test_a_proof_holds_for_its_request_and_opens_to_its_tokens() -> None:
    query = verified(QueryProof.from_header(proved().to_header()))
    assert query.bucket == BUCKET
    assert isinstance(check_opening(query, OPENING, TOKENS), OpenedQuery)


def test_a_proof_for_another_ciphertext_is_refused() -> None:
    refused(proved(), "query-proof", digest=OTHER)


def test_a_proof_for_another_bucket_is_refused() -> None:
    refused(dataclasses.replace(proved(), bucket=512), "query-proof")


def test_a_proof_in_another_vocabulary_is_refused() -> None:
    for other in (
        Vocabulary(1001, (0, 1, 500), TOKENIZER),
        Vocabulary(1000, (0, 1), TOKENIZER),
        Vocabulary(1000, (0, 1, 500), "sha256:" + "11" * 32),
    ):
        refused(proved(), "query-vocabulary", vocabulary=other)
        renamed = dataclasses.replace(proved(), vocabulary=other.digest)
        refused(renamed, "query-proof", vocabulary=other)


def test_any_bit_changed_is_refused() -> None:
    header = proved().to_header()
    size = len(header) * 6 // 8
    raw = bytearray(decode_base64url(header))
    for at in sorted({*range(3), *random.Random(1).sample(range(size), 150)}):
        changed = bytearray(raw)
        changed[at] ^= 1 << (at % 8)
        try:
            query = verified(QueryProof.from_header(encode_base64url(bytes(changed))))
        except (MalformedError, AdmissionError):
            continue
        # The gateway cannot check the tag; the enclave does, and accuses nobody for it.
        assert 35 <= at < 67
        found = check_opening(query, OPENING, TOKENS)
        assert isinstance(found, Mismatch)
        assert not found.by_maker


def test_a_batch_gives_each_proof_its_own_answer() -> None:
    good = proved()
    bad = dataclasses.replace(good, proof=good.proof[:-1] + bytes([good.proof[-1] ^ 1]))
    other = Vocabulary(1000, (0,), TOKENIZER)
    claims = [
        ClaimedQuery(good, VOCABULARY, REQUEST),
        ClaimedQuery(bad, VOCABULARY, REQUEST),
        ClaimedQuery(good, VOCABULARY, OTHER),
        ClaimedQuery(good, other, REQUEST),
        ClaimedQuery(good, VOCABULARY, REQUEST),
    ]
    verdicts = verify_queries(claims)
    assert [isinstance(one, VerifiedQuery) for one in verdicts] == [True, False, False, False, True]
    assert [one.check for one in verdicts if isinstance(one, AdmissionError)] == [
        "query-proof",
        "query-proof",
        "query-vocabulary",
    ]


@pytest.mark.parametrize(
    "tokens",
    [
        TOKENS[:-1],
        (*TOKENS, 7),
        TOKENS[::-1],
        (3, *TOKENS[1:]),
        (500, *TOKENS[1:]),
        (),
        (2,) * (BUCKET + 1),
    ],
    ids=["fewer", "more", "turned", "another", "denied", "none", "over-long"],
)
def test_a_proof_of_other_tokens_than_the_prompts_is_found(tokens: tuple[int, ...]) -> None:
    found = opened(tokens)
    assert isinstance(found, Mismatch)
    assert found.by_maker
    assert found.refusal().check == "query-mismatch"


def test_a_wrong_opening_opens_nothing() -> None:
    found = opened(TOKENS, Opening(b"\6" * 32))
    assert isinstance(found, Mismatch)
    assert not found.by_maker
    assert found.refusal().check == "query-opening"


def test_a_proof_put_in_place_of_the_clients_accuses_nobody() -> None:
    """A gateway can prove other tokens for the same request; it cannot tag for the client."""
    stranger = proved((3, 4), opening=Opening(b"\x08" * 32))
    swapped = dataclasses.replace(stranger, tag=proved().tag)
    for proof in (stranger, swapped):
        found = check_opening(verified(proof), OPENING, TOKENS)
        assert isinstance(found, Mismatch)
        assert not found.by_maker


def test_a_tag_is_of_one_proof_and_one_request() -> None:
    again = prove_query(
        TOKENS, vocabulary=VOCABULARY, bucket=BUCKET, digest=REQUEST, opening=OPENING
    )
    assert again.tag != proved().tag
    elsewhere = dataclasses.replace(proved(digest=OTHER), tag=proved().tag)
    found = check_opening(verified(elsewhere, digest=OTHER), OPENING, TOKENS)
    assert isinstance(found, Mismatch)
    assert not found.by_maker


def test_evidence_is_checked_by_whoever_gets_it() -> None:
    found = opened(TOKENS[:-1])
    assert isinstance(found, Mismatch)
    document = found.sign(ENCLAVE, at=NOW)
    checked = verify_mismatch(document, issuer=ENCLAVE.did, vocabulary=VOCABULARY, now=NOW)
    assert isinstance(checked, VerifiedMismatch)
    assert checked.by_maker
    assert checked.query == found.query
    with pytest.raises(ReceiptError):
        verify_mismatch(document, issuer=SigningKey(b"\2" * 32).did, vocabulary=VOCABULARY, now=NOW)
    for name, value in (("byMaker", False), ("request", "A" * 43), ("found", None)):
        altered = json.loads(json.dumps(document))
        altered["credentialSubject"][name] = value
        with pytest.raises(ReceiptError):
            verify_mismatch(altered, issuer=ENCLAVE.did, vocabulary=VOCABULARY, now=NOW)


def test_evidence_that_contradicts_itself_is_none() -> None:
    query = verified(proved())
    for wrong in (
        Mismatch(query, by_maker=True, found=query.proof.commitment),
        Mismatch(query, by_maker=False, found=b"\1" * 32),
    ):
        document = wrong.sign(ENCLAVE, at=NOW)
        with pytest.raises(ReceiptError):
            verify_mismatch(document, issuer=ENCLAVE.did, vocabulary=VOCABULARY, now=NOW)


def test_evidence_of_a_proof_that_does_not_hold_is_none() -> None:
    found = opened(TOKENS[:-1])
    assert isinstance(found, Mismatch)
    query = found.query
    elsewhere = dataclasses.replace(query.proof, proof=query.proof.proof[:-1] + b"\0")
    object.__setattr__(query, "proof", elsewhere)
    document = found.sign(ENCLAVE, at=NOW)
    with pytest.raises(ReceiptError) as caught:
        verify_mismatch(document, issuer=ENCLAVE.did, vocabulary=VOCABULARY, now=NOW)
    assert caught.value.check == "query-proof"


def test_evidence_holds_nothing_of_the_prompt() -> None:
    found = opened(TOKENS[:-1])
    assert isinstance(found, Mismatch)
    subject = found.sign(ENCLAVE, at=NOW)["credentialSubject"]
    assert set(subject) == {"byMaker", "found", "proof", "request"}
    for secret in (OPENING.seed, OPENING.blinding):
        assert encode_base64url(secret) not in json.dumps(subject)


def test_two_proofs_of_one_prompt_share_nothing() -> None:
    one, two = proved(), proved(opening=Opening(b"\x09" * 32), digest=OTHER)
    words = [{one.proof[at : at + 32] for at in range(0, len(one.proof), 32)} for one in (one, two)]
    assert not words[0] & words[1]
    assert len(one.proof) == len(two.proof)


def test_a_proof_is_as_long_for_one_token_as_for_a_full_bucket() -> None:
    assert len(proved((2,)).to_header()) == len(proved((2,) * BUCKET).to_header())


def test_no_secret_is_in_a_repr() -> None:
    assert repr(OPENING) == "Opening()"


def test_verified_things_come_from_verification_alone() -> None:
    query = verified(proved())
    with pytest.raises(TypeError):
        VerifiedQuery(proved(), VOCABULARY, OTHER)
    with pytest.raises(TypeError):
        OpenedQuery(query)
    with pytest.raises(TypeError):
        VerifiedMismatch(query, True, ENCLAVE.did)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(query, digest=OTHER)
