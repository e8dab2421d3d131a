"""Whom a grant allows, how it stands, and what a revocation left standing, as a person sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privity.attest import DevQuoter, DevRoot, Trust, measure_package
from privity.cli.app import run
from privity.errors import InputError
from privity.identity.keystore import device_key
from privity.identity.timestamps import utc_now
from privity.node.broker import Broker
from privity.node.broker_app import BrokerApp
from privity.node.owner_client import given

Invoke = Callable[..., Any]
SNP = "snp:measurement=" + "5f" * 48 + ",product=genoa"


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    def call(*arguments: str, code: int = 0) -> Any:
        assert run(["model", *arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Invoke:
    def call(*arguments: str) -> tuple[str, str]:
        assert run(["model", *arguments]) == 0
        said = capsys.readouterr()
        return said.out, said.err

    return call


@pytest.fixture
def sealed(tmp_path: Path, invoke: Invoke) -> dict[str, Any]:
    plain = tmp_path / "tiny.gguf"
    plain.write_bytes(b"GGUF" + bytes(1000))
    return invoke("seal", str(plain))  # type: ignore[no-any-return]


def test_a_revocation_names_the_grants_that_still_allow_the_artefact(
    invoke: Invoke, told: Invoke, sealed: dict[str, Any]
) -> None:
    first = invoke("grant", sealed["file"], "--unsafe-dev", "--uses", "1")["grant"]
    second = invoke("grant", sealed["file"], "--unsafe-dev", "--uses", "2")["grant"]
    out, err = told("revoke", first[7:20])
    assert f"revoked {first[7:19]}" in out
    assert f"grant {second[7:19]} still allows it" in err
    assert f"`privity model revoke {sealed['id']}` ends all" in err
    out, err = told("revoke", second[7:20])
    assert "still" not in err


def test_revoking_an_artefact_ends_all_and_names_none(
    invoke: Invoke, sealed: dict[str, Any]
) -> None:
    for uses in ("1", "2"):
        invoke("grant", sealed["file"], "--unsafe-dev", "--uses", uses)
    done = invoke("revoke", sealed["id"])
    assert [(one["already"], one["still"]) for one in done] == [(False, []), (False, [])]


def test_a_revoked_grant_was_revoked_already(
    invoke: Invoke, told: Invoke, sealed: dict[str, Any]
) -> None:
    grant = invoke("grant", sealed["file"], "--unsafe-dev")["grant"]
    told("revoke", grant[7:20])
    out, _ = told("revoke", grant[7:20])
    assert out == f"{grant[7:19]} was revoked already\n"
    assert [one["already"] for one in invoke("revoke", grant)] == [True]
    assert [one["event"] for one in invoke("log")] == ["added", "revoked"]


def test_whom_a_grant_allows_is_shown_when_given_and_when_listed(
    invoke: Invoke, told: Invoke, sealed: dict[str, Any]
) -> None:
    signer = DevRoot.generate().did
    terms = ("grant", sealed["file"], "--measurement", SNP, "--signer", signer)
    given_out, _ = told(*terms)
    assert SNP in given_out
    assert signer in given_out
    listed, _ = told("grants")
    assert "snp:measurement=5f5f5f5f" in listed
    assert "product=genoa" in listed
    assert signer in listed
    assert "dev" not in listed
    (row,) = invoke("grants")
    registers = {"measurement": "5f" * 48, "product": "genoa"}
    assert row["measurements"] == [{"kind": "snp", "registers": registers}]
    assert (row["signers"], row["unsafe_dev"], row["price"]) == ([signer], False, None)


def test_dev_and_programs_are_shown(invoke: Invoke, told: Invoke, sealed: dict[str, Any]) -> None:
    terms = ("grant", sealed["file"], "--unsafe-dev", "--purpose", "train")
    program = invoke(*terms, "--program", "sha256:" + "7" * 64)["programs"]
    assert program == ["sha256:" + "7" * 64]
    listed, _ = told("grants")
    assert "777777777777" in listed
    assert "dev       accepted" in listed
    assert measure_package().removeprefix("sha256:")[:12] in listed


def test_a_priced_grant_says_that_the_broker_refuses_it(
    invoke: Invoke, told: Invoke, sealed: dict[str, Any]
) -> None:
    said = "priced: no ledger yet, the broker refuses it"
    _, err = told("grant", sealed["file"], "--unsafe-dev", "--price", "250 EUR-cent")
    assert said in err
    listed, _ = told("grants")
    assert said in listed
    assert "250 EUR-cent" in listed
    assert "runs" not in listed
    (row,) = invoke("grants")
    assert row["price"] == {"amount": 250, "unit": "EUR-cent"}


def test_a_grant_at_a_broker_elsewhere_is_revoked_once_you_revoked_it(
    invoke: Invoke,
    sealed: dict[str, Any],
    tmp_path: Path,
    privity_home: Path,
    serve: Callable[..., str],
) -> None:
    root, owner = DevRoot.generate(), device_key().did
    broker = Broker(tmp_path / "there", owners=(owner,), trust=Trust(dev_roots=(root.did,)))
    url = serve(BrokerApp(broker, [DevQuoter(root, now=utc_now())]))
    (privity_home / "config.toml").write_text(f'[trust]\ndev_roots = ["{root.did}"]\n')
    grant = invoke("grant", sealed["file"], "--unsafe-dev", "--broker", url)["grant"]
    assert [row["state"] for row in invoke("grants")] == ["unknown"]
    assert invoke("revoke", grant, "--reason", "sold")[0]["already"] is False
    (row,) = invoke("grants")
    assert (row["state"], row["reason"]) == ("revoked", "sold")
    assert invoke("revoke", grant)[0]["already"] is True


def test_another_grants_revocation_in_a_copy_is_refused(
    invoke: Invoke, sealed: dict[str, Any], privity_home: Path
) -> None:
    for uses in ("1", "2"):
        invoke("grant", sealed["file"], "--unsafe-dev", "--uses", uses)
    invoke("revoke", sealed["id"])
    one, other = sorted((privity_home / "grants").glob("*.json"))
    copies = json.loads(one.read_text()), json.loads(other.read_text())
    one.write_text(json.dumps(copies[0] | {"revocation": copies[1]["revocation"]}))
    with pytest.raises(InputError, match="not a grant you gave"):
        given(privity_home / "grants")
