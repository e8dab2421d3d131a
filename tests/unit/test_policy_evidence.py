"""What a policy demands of evidence: read, inherited, compared, and hard to misread."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from privity.errors import InputError
from privity.policy import EvidencePolicy, Policy, TcbStatus

STRICT = EvidencePolicy()


def read(text: str) -> EvidencePolicy:
    return Policy.parse(f'name = "mine"\nextends = "confidential"\n{text}').evidence


def test_the_default_is_the_strictest_that_real_machines_meet() -> None:
    assert STRICT.tcb == {TcbStatus.UP_TO_DATE}
    assert STRICT.reference and STRICT.log
    assert Policy.load("confidential").evidence == STRICT


def test_dev_lets_code_pass_that_nobody_approved() -> None:
    dev = Policy.load("dev").evidence
    assert not dev.reference and not dev.log
    assert dev.tcb == STRICT.tcb


def test_a_file_says_only_what_differs() -> None:
    mine = read('[evidence]\ntcb = ["UpToDate", "SWHardeningNeeded"]\nwitnesses = 2\n')
    assert mine.tcb == {TcbStatus.UP_TO_DATE, TcbStatus.SW_HARDENING_NEEDED}
    assert mine.witnesses == 2 and mine.reference and mine.max_age == timedelta(hours=24)


def test_floors_of_each_product_are_kept_beside_each_other() -> None:
    mine = read("[evidence.snp.genoa]\nmicrocode = 72\n[evidence.snp.milan]\nsnp = 8\n")
    assert mine.snp == {"genoa": {"microcode": 72}, "milan": {"snp": 8}}


def test_a_written_policy_reads_back_the_same() -> None:
    text = '[evidence]\nlog = "optional"\nmax_age = 60\n[evidence.snp.turin]\nfmc = 1\n'
    policy = Policy.parse(f'extends = "dev"\n{text}')
    assert Policy.parse(policy.to_toml()).evidence == policy.evidence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("evidence = 1", "table"),
        ("[evidence]\nmore = 1", "more"),
        ('[evidence]\ntcb = ["Fine"]', "Fine"),
        ('[evidence]\ntcb = "UpToDate"', "list"),
        ('[evidence]\ntcb = ["Revoked"]', "revoked"),
        ("[evidence]\nmax_age = 0", "max_age"),
        ("[evidence]\nmax_age = true", "max_age"),
        ("[evidence]\nmax_age = nan", "max_age"),
        ("[evidence]\nreference = false", "reference"),
        ("[evidence]\nwitnesses = -1", "witnesses"),
        ("[evidence]\nwitnesses = 1.5", "witnesses"),
        ("[evidence]\nvmpl = 4", "vmpl"),
        ('[evidence]\nplatform = ["odd"]', "odd"),
        ("[evidence.snp]\nrome = 1", "genoa"),
        ("[evidence.snp.rome]\nsnp = 1", "rome"),
        ("[evidence.snp.milan]\nspl = 1", "spl"),
        ("[evidence.snp.milan]\nsnp = 256", "snp"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read(text)
    assert "policy" in str(caught.value)


LOOSER: list[dict[str, Any]] = [
    {"tcb": frozenset(TcbStatus) - {TcbStatus.REVOKED}},
    {"max_age": timedelta(days=2)},
    {"reference": False},
    {"log": False},
    {"vmpl": 2},
]


@pytest.mark.parametrize("change", LOOSER, ids=lambda change: next(iter(change)))
def test_strictness_compares_each_demand(change: dict[str, Any]) -> None:
    loose = EvidencePolicy(**change)
    assert STRICT <= loose and not loose <= STRICT


def test_a_floor_is_stricter_than_none_and_a_higher_one_than_a_lower() -> None:
    low, high = (EvidencePolicy(snp={"milan": {"snp": number}}) for number in (8, 9))
    assert high <= low <= STRICT
    assert not STRICT <= low and not low <= high
    assert EvidencePolicy(witnesses=1) <= STRICT and not STRICT <= EvidencePolicy(witnesses=1)
    assert EvidencePolicy(platform=frozenset()) <= STRICT
    assert hash(low) == hash(EvidencePolicy(snp={"milan": {"snp": 8}}))
