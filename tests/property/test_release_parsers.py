"""What grants, deposits, logs and brokers' answers are read from is anything at all."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from privity.attest.grant import Grant, Price, Purpose, SignedGrant
from privity.attest.grant_revocation import SignedGrantRevocation
from privity.attest.manifest import ReferenceValue
from privity.errors import EvidenceError, PeerError, PrivityError
from privity.identity.jcs import canonical
from privity.node.broker_log import Line
from privity.node.deposit import Deposit
from privity.node.key_client import RELEASE_PROBLEM, refusal_of
from releases import Owner

OWNER = Owner()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (SignedGrant.parse, Line.parse):
        with contextlib.suppress(PrivityError):
            read(data)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    for read in (SignedGrant.from_json, SignedGrantRevocation.from_json, Deposit.from_json):
        with contextlib.suppress(PrivityError):
            read(value)


@given(st.sampled_from(sorted(OWNER.grant().to_json())), JSON)
def test_a_grant_with_any_member_replaced_is_refused(name: str, value: Any) -> None:
    document = OWNER.signed().to_json()
    if document["grant"][name] == value and type(document["grant"][name]) is type(value):
        return
    document["grant"][name] = value
    with contextlib.suppress(PrivityError):
        SignedGrant.from_json(document)
        raise AssertionError("taken")


@given(
    st.integers(100, 599),
    st.binary(max_size=100)
    | st.builds(
        lambda check, detail: canonical(
            {"type": RELEASE_PROBLEM, "check": check, "detail": detail}
        ),
        JSON,
        JSON,
    ),
)
def test_any_answer_of_a_broker_is_some_error(status: int, body: bytes) -> None:
    error = refusal_of(status, body)
    assert isinstance(error, PeerError | EvidenceError)
    assert len(error.message) < 500


GRANTS = st.builds(
    OWNER.grant,
    purpose=st.just(Purpose.SERVE),
    name=st.text(
        st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40
    ),
    expires=st.integers(1, 10**8).map(lambda s: OWNER.clock() + timedelta(seconds=s)),
    measurements=st.lists(
        st.dictionaries(
            st.text("abc", min_size=1, max_size=9),
            st.text("01", min_size=1, max_size=9),
            max_size=4,
        ).map(lambda more: ReferenceValue("dev", {"measurement": "sha256:00", **more})),
        min_size=1,
        max_size=4,
    ).map(tuple),
    unsafe_dev=st.booleans(),
    uses=st.none() | st.integers(1, 10**9),
    price=st.none()
    | st.builds(Price, st.integers(1, 10**9), st.text("EUR", min_size=1, max_size=9)),
    lease_s=st.integers(1, 86_400),
)


@given(GRANTS)
def test_grants_come_back_as_they_were(grant: Grant) -> None:
    signed = grant.sign(OWNER.key)
    assert SignedGrant.parse(signed.to_bytes()) == signed
    assert SignedGrant.parse(signed.to_bytes()).digest == grant.digest
