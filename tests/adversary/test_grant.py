"""Attacks on grants: forged, altered, respelled, or signed by somebody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from privity.attest.grant import Grant, Price, SignedGrant
from privity.attest.grant_revocation import GrantRevocation, SignedGrantRevocation
from privity.attest.manifest import ReferenceValue
from privity.errors import EvidenceError, MalformedError, OversizeError, PrivityError
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey
from releases import Owner


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_a_grant_signed_by_another_key_is_refused(owner: Owner) -> None:
    with pytest.raises(EvidenceError, check=lambda error: error.check == "grant signature"):
        owner.grant().sign(SigningKey.generate())


def test_a_grant_put_under_another_owners_name_is_refused(owner: Owner) -> None:
    signed = owner.signed()
    with pytest.raises(EvidenceError, match="not signed by the owner"):
        SignedGrant(replace(signed.grant, owner=SigningKey.generate().did), signed.signature)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uses", 1000),
        ("unsafe_dev", False),
        ("lease_s", 86_400),
        ("name", "other"),
        ("expires", "2030-01-01T00:00:00Z"),
        ("root", "tree-sha256:" + "b" * 64),
        ("recipient", "age1pq1attacker"),
        ("price", {"amount": 1, "unit": "EUR-cent"}),
        ("measurements", [{"kind": "dev", "registers": {"measurement": "sha256:00"}}]),
    ],
)
def test_a_grant_with_any_term_changed_is_refused(owner: Owner, name: str, value: Any) -> None:
    document = owner.signed(uses=1, price=Price(250, "EUR-cent")).to_json()
    document["grant"][name] = value
    with pytest.raises(EvidenceError, check=lambda error: error.check == "grant signature"):
        SignedGrant.parse(canonical(document))


def test_every_flipped_bit_of_a_grant_is_refused(owner: Owner) -> None:
    data = owner.signed(uses=3).to_bytes()
    assert SignedGrant.parse(data).to_bytes() == data
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= 1 << place % 8
        with pytest.raises(PrivityError):
            SignedGrant.parse(bytes(altered))


def test_the_same_grant_in_another_spelling_is_refused(owner: Owner) -> None:
    document = loads_strict(owner.signed().to_bytes())
    import json

    with pytest.raises(MalformedError):
        SignedGrant.parse(json.dumps(document).encode())
    document["grant"]["policy"].pop("tcb")  # what it would mean is then the reader's default
    with pytest.raises(MalformedError, match="does not say everything"):
        SignedGrant.from_json(document)


def test_a_grant_with_more_in_it_is_refused(owner: Owner) -> None:
    document = owner.signed().to_json()
    document["grant"]["also"] = "train"
    with pytest.raises(MalformedError):
        SignedGrant.parse(canonical(document))


def test_a_grant_too_large_is_refused() -> None:
    with pytest.raises(OversizeError):
        SignedGrant.parse(b" " * 100_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"measurements": ()},
        {"root": "sha256:" + "a" * 64},
        {"artefact": "../../etc/passwd"},
        {"uses": 0},
        {"lease_s": 0},
        {"lease_s": 86_401},
        {"name": "two\nlines"},
        {"programs": ("sha256:short",)},
        {"signers": ("did:web:example.com",)},
        {"recipient": ""},
    ],
)
def test_a_grant_that_says_too_little_or_too_much_is_none(
    owner: Owner, changes: dict[str, Any]
) -> None:
    with pytest.raises(MalformedError):
        owner.grant(**changes)


def test_a_grant_that_ends_before_it_begins_is_none(owner: Owner) -> None:
    with pytest.raises(MalformedError):
        owner.grant(expires=owner.clock())


@pytest.mark.parametrize("missing", ["programs", "recipient"])
def test_a_grant_to_train_names_programs_and_recipient(owner: Owner, missing: str) -> None:
    with pytest.raises(MalformedError):
        owner.training(**{missing: () if missing == "programs" else None})


@pytest.mark.parametrize(
    ("kind", "registers"),
    [
        ("dev", {}),
        ("snp", {"product": "genoa"}),
        ("tdx", {"mrtd": "00" * 48}),
        ("mine", {"a": "b"}),
    ],
)
def test_a_measurement_that_names_too_little_is_none(kind: str, registers: Any) -> None:
    with pytest.raises(MalformedError):
        ReferenceValue(kind, registers)


def test_a_revocation_by_another_key_is_refused(owner: Owner) -> None:
    revocation = GrantRevocation(owner.grant().digest, owner.key.did, "sold", owner.clock())
    assert (
        SignedGrantRevocation.from_json(revocation.sign(owner.key).to_json()).revocation
        == revocation
    )
    with pytest.raises(EvidenceError, check=lambda error: error.check == "revocation signature"):
        revocation.sign(SigningKey.generate())


def test_a_grant_is_no_revocation_nor_the_reverse(owner: Owner) -> None:
    """Each is signed under its own label, so that one signature never serves as another."""
    signed = owner.signed()
    revocation = GrantRevocation(signed.digest, owner.key.did, "sold", owner.clock())
    with pytest.raises(EvidenceError):
        SignedGrantRevocation(revocation, signed.signature)
    with pytest.raises(EvidenceError):
        SignedGrant(signed.grant, revocation.sign(owner.key).signature)


def test_grants_that_differ_have_different_names(owner: Owner) -> None:
    grant = owner.grant()
    assert isinstance(grant, Grant)
    names = {grant.digest, replace(grant, uses=1).digest, replace(grant, unsafe_dev=False).digest}
    assert len(names) == 3
