"""For all inputs: a statement parses to the same bytes again, or is refused as it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.attest import DevQuoter, DevRoot, Trust, build_statement, verify_statement
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.statement import Beacon, Keyset, Model, Nonce, Software, Statement

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROOT = DevRoot(SigningKey(b"\1" * 32))
TRUST = Trust((ROOT.did,))
KEYSET = Keyset(b"keys", ROOT.did, (Model("small", None, "engine"),))
HONEST = build_statement(KEYSET, [DevQuoter(ROOT, now=NOW)], now=NOW, nonce=b"\0" * 32).to_json()

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda data: "sha256:" + data.hex())
TIMES = st.datetimes(timezones=st.just(UTC))
MODELS = st.builds(Model, id=TEXT, weights=st.none() | DIGESTS, engine=TEXT)
KEYSETS = st.builds(
    Keyset,
    ohttp=st.binary(min_size=1, max_size=99),
    receipts=st.binary(min_size=32, max_size=32).map(lambda seed: SigningKey(seed).did),
    models=st.lists(MODELS, max_size=3).map(tuple),
    software=st.lists(st.builds(Software, name=TEXT, version=TEXT), max_size=3).map(tuple),
)
FRESHNESS = st.builds(Nonce, st.binary(min_size=32, max_size=32)) | st.builds(
    lambda at, seconds: Beacon(at, at + timedelta(seconds=seconds)),
    st.datetimes(max_value=datetime(9000, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 10**6),
)
KINDS = st.builds(lambda kind, rest: {**rest, "kind": kind}, TEXT, st.dictionaries(TEXT, TEXT))
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT | DIGESTS | TIMES.map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(KEYSETS, FRESHNESS, st.lists(KINDS, min_size=1, max_size=3), st.lists(KINDS, max_size=3))
def test_a_statement_comes_back_equal(
    keyset: Keyset, freshness: Nonce | Beacon, evidence: list[Any], endorsements: list[Any]
) -> None:
    statement = Statement(keyset, freshness, tuple(evidence), tuple(endorsements))
    again = Statement.parse(statement.to_bytes())
    assert again == statement
    assert again.to_bytes() == statement.to_bytes()
    assert again.keyset.digest == keyset.digest


def _paths(value: Any) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value."""
    found: list[tuple[str | int, ...]] = [()]
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, item in inner:
        found += [(name, *path) for path in _paths(item)]
    return found


def _with(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(value[path[0]], path[1:], new)
    return copied


@settings(max_examples=400)
@given(st.sampled_from(_paths(HONEST)[1:]), ODD)
def test_any_value_anywhere_is_refused_and_never_crashes(path: Any, value: Any) -> None:
    changed = _with(HONEST, path, value)
    try:
        verify_statement(canonical(changed), nonce=b"\0" * 32, trust=TRUST, now=NOW)
    except EvidenceError as error:
        assert error.check
        return
    assert canonical(changed) == canonical(HONEST)


@given(st.binary(max_size=200))
def test_parsing_any_bytes_returns_or_refuses(data: bytes) -> None:
    try:
        statement = Statement.parse(data)
    except (MalformedError, OversizeError):
        return
    assert statement.to_bytes() == data


@given(TIMES, TIMES, TIMES)
def test_no_time_makes_verification_crash(issued: datetime, made: datetime, now: datetime) -> None:
    try:
        quoter = DevQuoter(ROOT, now=min(issued, datetime(9999, 1, 1, tzinfo=UTC)))
        statement = build_statement(KEYSET, [quoter], now=made, nonce=b"\0" * 32)
        verify_statement(statement.to_bytes(), nonce=b"\0" * 32, trust=TRUST, now=now)
    except EvidenceError as error:
        assert error.check in {"endorsement period", "quote time"}
