"""`privity model grant|revoke|grants|log`, run as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privity.attest import DevQuoter, DevRoot, Trust, measure_package
from privity.cli.app import run
from privity.identity.keystore import device_key
from privity.identity.timestamps import utc_now
from privity.node.broker import Broker
from privity.node.broker_app import BrokerApp
from privity.train.program import measure_program

Invoke = Callable[..., Any]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    def call(*arguments: str, code: int = 0) -> Any:
        assert run([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def sealed(tmp_path: Path, invoke: Invoke) -> dict[str, Any]:
    plain = tmp_path / "tiny.gguf"
    plain.write_bytes(b"GGUF" + bytes(1000))
    return invoke("model", "seal", str(plain))  # type: ignore[no-any-return]


def test_a_grant_is_given_listed_and_taken_back(
    invoke: Invoke, sealed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given = invoke("model", "grant", sealed["file"], "--unsafe-dev", "--uses", "3")
    assert (given["artefact"], given["root"]) == (sealed["id"], sealed["root"])
    (row,) = invoke("model", "grants")
    assert (row["state"], row["uses"], row["of"], row["name"]) == ("runs", 0, 3, "tiny.gguf")
    (gone,) = invoke("model", "revoke", given["grant"][7:20], "--reason", "sold")
    assert gone["grant"] == given["grant"]
    (row,) = invoke("model", "grants")
    assert (row["state"], row["reason"]) == ("revoked", "sold")
    assert [line["event"] for line in invoke("model", "log")] == ["added", "revoked"]
    assert invoke("model", "log", "--verify")["lines"] == 2
    for command in (["grants"], ["log"], ["log", "--verify"]):
        assert run(["model", *command]) == 0
    assert "revoked" in capsys.readouterr().out


def test_dev_evidence_has_to_be_named(invoke: Invoke, sealed: dict[str, Any]) -> None:
    error = invoke("model", "grant", sealed["file"], code=2)["error"]
    assert "does not say which code" in error["message"]
    assert "--unsafe-dev" in error["hint"]


def test_an_altered_log_is_told(invoke: Invoke, sealed: dict[str, Any], privity_home: Path) -> None:
    for _ in range(2):
        invoke("model", "grant", sealed["file"], "--unsafe-dev")
    path = privity_home / "broker" / "decisions.log"
    path.write_bytes(path.read_bytes().replace(b"serve", b"train", 1))
    error = invoke("model", "log", "--verify", code=1)["error"]
    assert error["check"] in ("log chain", "log end")


def test_measurements_signers_and_the_rest_are_in_the_grant(
    invoke: Invoke, sealed: dict[str, Any], privity_home: Path
) -> None:
    signer = DevRoot.generate().did
    launch = "5f" * 48
    measured = f"snp:measurement={launch},product=genoa"
    terms = ("--measurement", measured, "--signer", signer, "--price", "250 EUR-cent")
    given = invoke("model", "grant", sealed["file"], *terms, "--expires", "2h", "--lease", "60")
    kept = json.loads((privity_home / "grants" / f"{given['grant'][7:]}.json").read_text())
    grant = kept["signed"]["grant"]
    registers = {"measurement": launch, "product": "genoa"}
    assert grant["measurements"] == [{"kind": "snp", "registers": registers}]
    assert (grant["signers"], grant["lease_s"], grant["unsafe_dev"]) == ([signer], 60, False)
    assert grant["price"] == {"amount": 250, "unit": "EUR-cent"}


def test_the_code_here_is_what_dev_grants_name(
    invoke: Invoke, sealed: dict[str, Any], privity_home: Path
) -> None:
    given = invoke("model", "grant", sealed["file"], "--unsafe-dev")
    kept = json.loads((privity_home / "grants" / f"{given['grant'][7:]}.json").read_text())
    (entry,) = kept["signed"]["grant"]["measurements"]
    assert entry == {"kind": "dev", "registers": {"measurement": measure_package()}}


def test_a_grant_to_train_is_for_the_program_here_unless_another_is_named(
    invoke: Invoke, sealed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    terms = ("model", "grant", sealed["file"], "--unsafe-dev", "--purpose", "train")
    assert invoke(*terms)["programs"] == [measure_program()]
    assert invoke(*terms, "--program", (other := "sha256:" + "7" * 64))["programs"] == [other]
    assert invoke(*terms[:-2])["programs"] == []
    assert run(list(terms)) == 0
    told = capsys.readouterr().out
    assert f"{measure_program()}, the one installed here" in told
    assert run([*terms, "--program", other]) == 0
    told = capsys.readouterr().out
    assert other in told and "installed here" not in told


@pytest.mark.parametrize(
    "terms",
    [
        ("--purpose", "sell"),
        ("--expires", "soon"),
        ("--expires", "2001-01-01T00:00:00Z"),
        ("--price", "much"),
        ("--uses", "0"),
        ("--measurement", "snp"),
        ("--policy", "nowhere.toml"),
        ("--purpose", "train", "--program", "sha256:short"),
        ("--signer", "did:web:example.com"),
    ],
    ids=lambda terms: " ".join(terms),
)
def test_terms_that_are_none_are_wrong_arguments(
    invoke: Invoke, sealed: dict[str, Any], terms: tuple[str, ...], privity_home: Path
) -> None:
    invoke("model", "grant", sealed["file"], "--unsafe-dev", *terms, code=2)
    assert not (privity_home / "grants").exists()


@pytest.mark.parametrize(
    ("terms", "hint"),
    [
        (("--uses", "0"), "model grant --help"),
        (("--signer", "somebody"), "model grant --help"),
        (("--policy", "nowhere.toml"), "write-a-policy.md"),
        (("--purpose", "train", "--recipient", "somebody"), "age1pq1"),
        (("--broker", "tiny.gguf"), "a folder"),
    ],
    ids=lambda one: one if isinstance(one, str) else " ".join(one),
)
def test_who_asks_for_what_cannot_be_is_told_what_can(
    invoke: Invoke,
    sealed: dict[str, Any],
    terms: tuple[str, ...],
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(sealed["file"]).parent)
    error = invoke("model", "grant", sealed["file"], "--unsafe-dev", *terms, code=2)["error"]
    assert error["type"] == "InputError" and hint in error["hint"]


def test_a_reason_that_is_none_is_told(invoke: Invoke, sealed: dict[str, Any]) -> None:
    given = invoke("model", "grant", sealed["file"], "--unsafe-dev")["grant"]
    error = invoke("model", "revoke", given, "--reason", "", code=2)["error"]
    assert "--reason" in error["hint"]


def test_a_grant_that_is_not_yours_to_revoke_is_an_error(invoke: Invoke) -> None:
    assert "you gave no grant" in invoke("model", "revoke", "abcdef", code=2)["error"]["message"]


def remote(folder: Path, root: DevRoot, owner: str) -> BrokerApp:
    broker = Broker(folder, owners=(owner,), trust=Trust(dev_roots=(root.did,)))
    return BrokerApp(broker, [DevQuoter(root, now=utc_now())])


def test_a_broker_elsewhere_is_verified_first(
    invoke: Invoke,
    sealed: dict[str, Any],
    tmp_path: Path,
    privity_home: Path,
    serve: Callable[..., str],
) -> None:
    root = DevRoot.generate()
    url = serve(remote(tmp_path / "remote", root, device_key().did))
    terms = ("model", "grant", sealed["file"], "--broker", url)
    error = invoke(*terms, "--unsafe-dev", code=1)["error"]
    assert error["check"] == "endorsement root"  # nobody said that this root is trusted
    (privity_home / "config.toml").write_text(f'[trust]\ndev_roots = ["{root.did}"]\n')
    measured = ("--measurement", "snp:measurement=" + "5f" * 48)
    assert invoke(*terms, *measured, code=1)["error"]["check"] == "dev evidence"
    assert not (tmp_path / "remote" / "decisions.log").exists()
    given = invoke(*terms, "--unsafe-dev")
    assert given["broker_evidence"] == "dev"
    assert invoke("model", "grants")[0]["state"] == "unknown"
    invoke("model", "revoke", sealed["id"])
    folder = str(tmp_path / "remote")
    events = [line["event"] for line in invoke("model", "log", "--broker", folder)]
    assert events == ["added", "revoked"]
