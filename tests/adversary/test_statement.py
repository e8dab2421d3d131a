"""Attacks on statements: each promise of spec/statement.md a test, each attack its own check."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from privity.attest import DevQuoter, DevRoot, Trust, build_statement, verify_statement
from privity.attested import AttestedEnclave
from privity.errors import EvidenceError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.policy.evidence import EvidencePolicy
from privity.statement import Keyset, Model, Software, Statement

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NONCE = bytes(range(32))
ROOT = DevRoot(SigningKey(b"\1" * 32))
TRUST = Trust(dev_roots=(ROOT.did,))
OTHER_CODE = "sha256:" + "00" * 32


def _keyset() -> Keyset:
    return Keyset(
        ohttp=os.urandom(80),
        receipts=SigningKey.generate().did,
        models=(Model("small", "sha256:" + "ab" * 32, "llama.cpp"), Model("own", None, "vllm")),
        software=(Software("privity", "0.1.0"),),
    )


KEYSET = _keyset()


def _statement(
    *,
    nonce: bytes | None = NONCE,
    root: DevRoot = ROOT,
    now: datetime = NOW,
    keyset: Keyset = KEYSET,
) -> dict[str, Any]:
    quoter = DevQuoter(root, now=now, measurement="sha256:" + "cd" * 32)
    return build_statement(keyset, [quoter], now=now, nonce=nonce).to_json()


def _verify(
    statement: dict[str, Any] | bytes,
    *,
    nonce: bytes | None = NONCE,
    trust: Trust = TRUST,
    now: datetime = NOW,
) -> AttestedEnclave:
    data = statement if isinstance(statement, bytes) else canonical(statement)
    return verify_statement(data, nonce=nonce, trust=trust, now=now)


def _refused(statement: dict[str, Any] | bytes, check: str, **terms: Any) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        _verify(statement, **terms)
    assert caught.value.check == check, caught.value
    return caught.value


def test_an_honest_statement_verifies_and_says_dev() -> None:
    enclave = _verify(_statement())
    assert enclave.dev
    assert enclave.kinds == ("dev",)
    assert enclave.keyset == KEYSET
    assert [one.name for one in enclave.checks] == [
        "format",
        "nonce",
        "evidence kind",
        "endorsement root",
        "quoting key",
        "quote signature",
        "key binding",
        "quote time",
    ]
    assert all(one.ok for one in enclave.checks)


def test_a_beacon_verifies_for_whoever_sent_no_challenge() -> None:
    enclave = _verify(_statement(nonce=None), nonce=None, now=NOW + timedelta(minutes=59))
    assert "beacon" in [one.name for one in enclave.checks]


def test_every_flipped_bit_is_refused_by_a_named_check() -> None:
    data = canonical(_statement())
    seen: set[str] = set()
    for place in range(len(data)):
        for bit in range(8):
            forged = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            with pytest.raises(EvidenceError) as caught:
                _verify(forged)
            seen.add(caught.value.check)
    # The flips reach past the parser: each kind of check had some to refuse.
    assert {"format", "nonce", "key binding", "quote signature", "endorsement signature"} <= seen


def test_every_truncation_and_any_addition_is_refused() -> None:
    data = canonical(_statement())
    for length in range(len(data)):
        _refused(data[:length], "format")
    for more in (b" ", b"\n", b"{}", b"\0"):
        _refused(data + more, "format")
        _refused(more + data, "format")


def test_the_same_statement_in_another_spelling_is_refused() -> None:
    statement = _statement()
    _refused(json.dumps(statement).encode(), "format")
    _refused(canonical(statement).replace(b'"small"', b'"sm\\u0061ll"'), "format")


def test_evidence_replayed_for_another_challenge_is_refused() -> None:
    _refused(_statement(), "nonce", nonce=b"\xff" * 32)


def test_evidence_relabelled_for_another_challenge_is_refused() -> None:
    other = _statement(nonce=b"\xff" * 32)
    _refused({**_statement(), "freshness": other["freshness"]}, "key binding", nonce=b"\xff" * 32)


def test_a_beacon_does_not_answer_a_challenge_nor_the_reverse() -> None:
    _refused(_statement(nonce=None), "nonce")
    _refused(_statement(), "nonce", nonce=None)


def test_a_swapped_keyset_is_refused() -> None:
    _refused({**_statement(), "keyset": _keyset().to_json()}, "key binding")


@pytest.mark.parametrize("member", ["ohttp", "receipts", "models", "software"])
def test_any_swapped_part_of_the_keyset_is_refused(member: str) -> None:
    statement, other = _statement(), _keyset().to_json()
    other["models"], other["software"] = other["models"][:1], []
    statement["keyset"] = {**statement["keyset"], member: other[member]}
    _refused(statement, "key binding")


def test_a_quoting_key_endorsed_by_another_root_is_refused() -> None:
    error = _refused(_statement(root=DevRoot.generate()), "endorsement root")
    assert "trust.dev_roots" in error.hint


def test_no_root_is_trusted_unless_listed() -> None:
    _refused(_statement(), "endorsement root", trust=Trust())


def test_an_endorsement_in_the_name_of_a_trusted_root_is_refused() -> None:
    statement = _statement(root=DevRoot.generate())
    statement["endorsements"][0]["endorsement"]["root"] = ROOT.did
    _refused(statement, "endorsement signature")


def test_a_quoting_key_without_endorsement_is_refused() -> None:
    _refused({**_statement(), "endorsements": []}, "quoting key")
    _refused({**_statement(), "endorsements": _statement()["endorsements"]}, "quoting key")


def test_an_unused_endorsement_under_another_root_is_refused() -> None:
    statement = _statement()
    statement["endorsements"] += _statement(root=DevRoot.generate())["endorsements"]
    _refused(statement, "endorsement root")


def test_an_endorsement_of_a_kind_without_evidence_is_refused() -> None:
    statement = _statement()
    statement["endorsements"].append({"kind": "tdx", "certificates": []})
    _refused(statement, "endorsement kind")


def test_evidence_of_an_unknown_kind_is_refused_even_beside_a_known_one() -> None:
    statement = _statement()
    statement["evidence"].append({"kind": "sworn"})
    error = _refused(statement, "evidence kind")
    assert "dev" in error.hint


def test_a_statement_without_evidence_is_refused() -> None:
    _refused({**_statement(), "evidence": []}, "format")


def test_two_quotes_must_both_hold() -> None:
    statement, other = _statement(), _statement(nonce=b"\xff" * 32)
    statement["evidence"] += other["evidence"]
    statement["endorsements"] += other["endorsements"]
    _refused(statement, "key binding")


@pytest.mark.parametrize("late", [timedelta(hours=1), timedelta(days=365)])
def test_an_expired_beacon_is_refused(late: timedelta) -> None:
    _refused(_statement(nonce=None), "beacon", nonce=None, now=NOW + late)


def test_a_beacon_of_the_future_or_older_than_trust_allows_is_refused() -> None:
    _refused(_statement(nonce=None), "beacon", nonce=None, now=NOW - timedelta(minutes=6))
    strict = Trust(dev_roots=(ROOT.did,), policy=EvidencePolicy(max_age=timedelta(minutes=10)))
    _verify(_statement(nonce=None), nonce=None, now=NOW + timedelta(minutes=9), trust=strict)
    later = NOW + timedelta(minutes=10)
    _refused(_statement(nonce=None), "beacon", nonce=None, now=later, trust=strict)


def test_a_beacon_with_its_period_stretched_is_refused() -> None:
    statement = _statement(nonce=None)
    statement["freshness"]["expires"] = "2026-06-01T23:00:00Z"
    _refused(statement, "key binding", nonce=None, now=NOW + timedelta(hours=5))


def test_an_old_quote_is_refused() -> None:
    _verify(_statement(), now=NOW + timedelta(hours=23))
    _refused(_statement(), "quote time", now=NOW + timedelta(hours=24))


def test_an_endorsement_out_of_its_period_is_refused() -> None:
    trust = Trust(dev_roots=(ROOT.did,), policy=EvidencePolicy(max_age=timedelta(days=100)))
    _refused(_statement(), "endorsement period", now=NOW + timedelta(days=30), trust=trust)
    _refused(_statement(), "endorsement period", now=NOW - timedelta(minutes=6))


def test_a_quote_from_the_future_is_refused() -> None:
    quoter = DevQuoter(ROOT, now=NOW)
    statement = build_statement(KEYSET, [quoter], now=NOW + timedelta(minutes=6), nonce=NONCE)
    _refused(statement.to_json(), "quote time")


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(statement: dict[str, Any]) -> None:
        for step in path[:-1]:
            statement = statement[step]  # type: ignore[index]
        statement[path[-1]] = value  # type: ignore[index]

    return change


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (_set("evidence", 0, "quote", "measurement", value=OTHER_CODE), "quote signature"),
        (_set("evidence", 0, "quote", "issued", value="2026-06-01T12:00:01Z"), "quote signature"),
        (_set("evidence", 0, "quote", "more", value=1), "evidence format"),
        (_set("evidence", 0, "more", value=1), "evidence format"),
        (_set("evidence", 0, "key", value=ROOT.did), "quoting key"),
        (_set("evidence", 0, "signature", value=base64.b64encode(b"\0" * 64).decode()),
         "evidence format"),
        (_set("evidence", 0, "kind", value="quantum"), "evidence kind"),
        (_set("evidence", 0, "kind", value=1), "format"),
        (_set("evidence", 0, value="dev"), "format"),
        (_set("endorsements", 0, "endorsement", "expires", value="2036-01-01T00:00:00Z"),
         "endorsement signature"),
        (_set("endorsements", 0, "kind", value="tdx"), "endorsement kind"),
        (_set("endorsements", 0, "more", value=1), "evidence format"),
        (_set("version", value=2), "format"),
        (_set("more", value=1), "format"),
        (_set("freshness", "expires", value="2036-01-01T00:00:00Z"), "format"),
        (_set("keyset", "receipts", value="did:web:example.com"), "format"),
        (_set("keyset", "ohttp", value=""), "format"),
        (_set("keyset", "more", value=1), "format"),
    ],
)  # fmt: skip
def test_each_altered_member_is_refused_by_its_check(
    change: Callable[[dict[str, Any]], None], check: str
) -> None:
    statement = json.loads(canonical(_statement()))
    change(statement)
    _refused(statement, check)


def test_a_quote_of_a_verifying_signature_but_unknown_form_is_refused() -> None:
    """Even the holder of an endorsed key cannot add members a reader would skip."""
    quoter = DevQuoter(ROOT, now=NOW)
    from privity.attest.evidence_dev import _QUOTE_LABEL
    from privity.identity.multibase import encode_base64url
    from privity.statement import report_data

    evidence = quoter.quote(report_data(KEYSET, NONCE), NOW)
    quote = {**evidence["quote"], "more": 1}
    signature = encode_base64url(quoter._key.sign(_QUOTE_LABEL + canonical(quote)))
    evidence = {**evidence, "quote": quote, "signature": signature}
    statement = {**_statement(), "evidence": [evidence], "endorsements": [*quoter.endorsements]}
    _refused(statement, "evidence format")


def test_times_at_the_edge_of_the_calendar_do_not_crash() -> None:
    for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        statement = _statement(nonce=None)
        statement["freshness"] = {"issued": moment, "expires": "9999-12-31T23:59:59Z"}
        if moment.startswith("9999"):
            _refused(statement, "format", nonce=None)
        else:
            _refused(statement, "beacon", nonce=None)
    for at in (datetime.min, datetime.max):
        with pytest.raises(EvidenceError):
            _verify(_statement(), now=at.replace(tzinfo=UTC))


def test_an_oversize_statement_is_refused_unread() -> None:
    _refused(b"[" * 262_145, "format")


def test_the_error_for_a_bad_statement_quotes_nothing_of_it() -> None:
    data = canonical(_statement()).replace(b'"small"', b'"\x1b[31mred"')
    assert "\x1b" not in str(_refused(data, "format"))


def test_parsing_alone_makes_no_attested_enclave() -> None:
    from privity.errors import InputError

    statement = Statement.parse(canonical(_statement()))
    with pytest.raises(InputError, match="verify_statement"):
        AttestedEnclave(statement, (), NOW, (), mint=object())
    with pytest.raises(TypeError):
        AttestedEnclave(statement, (), NOW, ())  # type: ignore[call-arg]
