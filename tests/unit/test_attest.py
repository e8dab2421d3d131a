"""Trust, measurement, the development root, and who may make an AttestedEnclave."""

from __future__ import annotations

import ast
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import privity
from privity.attest import (
    DevQuoter,
    DevRoot,
    Trust,
    build_statement,
    measure_package,
    measure_tree,
    reverifier,
    verify_statement,
)
from privity.disclosure import Ground
from privity.errors import EvidenceError, InputError, MalformedError
from privity.identity.keys import SigningKey
from privity.policy.evidence import EvidencePolicy
from privity.statement import Beacon, Keyset, Model, Nonce, report_data

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEYSET = Keyset(b"keys", SigningKey(b"\2" * 32).did)


def test_only_verify_names_the_token_that_makes_an_attested_enclave() -> None:
    source = Path(privity.__file__).parent
    named: dict[str, set[str]] = {"token": set(), "made": set()}
    for path in source.rglob("*.py"):
        place = path.relative_to(source).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "privity.attested":
                if any(alias.name in ("_MINT", "*") for alias in node.names):
                    named["token"].add(place)
            elif isinstance(node, ast.Attribute) and node.attr == "_MINT":
                named["token"].add(place)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("AttestedEnclave"):
                named["made"].add(place)
    assert named == {"token": {"attest/verify.py"}, "made": {"attest/verify.py"}}


def test_an_attested_enclave_cannot_be_altered_into_another() -> None:
    root = DevRoot.generate()
    statement = build_statement(KEYSET, [DevQuoter(root, now=NOW)], now=NOW, nonce=b"\0" * 32)
    trust = Trust((root.did,))
    enclave = verify_statement(statement.to_bytes(), nonce=b"\0" * 32, trust=trust, now=NOW)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(enclave, evidence=())
    with pytest.raises(dataclasses.FrozenInstanceError):
        enclave.evidence = ()  # type: ignore[misc]


def test_dev_evidence_rests_on_nothing() -> None:
    root = DevRoot.generate()
    statement = build_statement(KEYSET, [DevQuoter(root, now=NOW)], now=NOW)
    enclave = verify_statement(statement.to_bytes(), nonce=None, trust=Trust((root.did,)), now=NOW)
    (evidence,) = enclave.evidence
    assert evidence.dev
    assert {basis.ground for basis in evidence.basis} == {Ground.NOTHING}
    assert evidence.measurement == measure_package()
    assert measure_package() == measure_tree(Path(privity.__file__).parent)


def test_reverify_takes_the_challenge_from_the_statement_and_the_time_given() -> None:
    root = DevRoot.generate()
    quoter, reverify = DevQuoter(root, now=NOW), reverifier(Trust((root.did,)))
    for nonce in (b"\3" * 32, None):
        statement = build_statement(KEYSET, [quoter], now=NOW, nonce=nonce)
        assert reverify(statement, NOW).verified_at == NOW
        with pytest.raises(EvidenceError):
            reverify(statement, NOW + timedelta(days=2))


def test_the_root_is_kept_0600_and_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "devnet" / "root.key"
    root = DevRoot.load_or_create(path)
    assert DevRoot.load(path).did == root.did == DevRoot.load_or_create(path).did
    assert path.stat().st_mode & 0o777 == 0o600
    assert repr(root) == f"DevRoot(did={root.did!r})"


def test_trust_refuses_what_cannot_be_meant() -> None:
    with pytest.raises(InputError, match="dev root"):
        Trust(("did:web:example.com",))
    with pytest.raises(InputError, match="max_age"):
        EvidencePolicy(max_age=timedelta(0))


def test_a_measurement_changes_with_any_name_or_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("x")
    (tmp_path / "c.toml").write_text("y")
    before = measure_tree(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "b.pyc").write_text("cache")
    assert measure_tree(tmp_path) == before
    (tmp_path / "a" / "b.py").write_text("X")
    changed = measure_tree(tmp_path)
    (tmp_path / "a" / "b.py").rename(tmp_path / "b.py")
    moved = measure_tree(tmp_path)
    (tmp_path / "d").write_text("")
    assert len({before, changed, moved, measure_tree(tmp_path)}) == 4


def test_a_tree_measured_inside_a_cache_folder_still_counts(tmp_path: Path) -> None:
    root = tmp_path / "__pycache__" / "package"
    root.mkdir(parents=True)
    (root / "code.py").write_text("x")
    assert measure_tree(root).startswith("sha256:")


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        measure_tree(tmp_path / "none")


def test_report_data_is_the_formula_of_the_specification() -> None:
    import hashlib

    from privity.identity.jcs import canonical

    expected = hashlib.sha512(b"privity/keyset/v1" + canonical(KEYSET.to_json()) + b"n" * 32)
    assert report_data(KEYSET, b"n" * 32) == expected.digest()
    with pytest.raises(MalformedError):
        report_data(KEYSET, b"n" * 31)


def test_statement_parts_refuse_what_they_could_not_publish() -> None:
    with pytest.raises(MalformedError):
        Nonce(b"\0" * 31)
    with pytest.raises(MalformedError):
        Beacon(NOW, NOW)
    with pytest.raises(MalformedError):
        Keyset(b"", KEYSET.receipts)
    with pytest.raises(MalformedError):
        Keyset(b"keys", "did:web:example.com")
    with pytest.raises(MalformedError):
        Model("", None, "engine")
    with pytest.raises(MalformedError):
        Model("id", "ab" * 32, "engine")
