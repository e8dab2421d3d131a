"""`privity receipts` and `privity policy`: what people and programs read, what is refused."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from privity.attest import DevQuoter, DevRoot, build_statement
from privity.cli import app, output
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.identity.keys import SigningKey
from privity.infer.receipts import ReceiptStore, new_receipt_id
from privity.policy import PRESETS, Policy
from privity.receipt import (
    BodyDigest,
    DeviceRecord,
    EvidenceRef,
    JobReceipt,
    Outcome,
    Price,
    ReceiptFile,
    document_digest,
    issue_receipt,
    issue_record,
    salt_commitment,
)
from privity.statement import Keyset, Model

Capture = pytest.CaptureFixture[str]

STARTED = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENDED = STARTED + timedelta(seconds=2)
ROOT, ENCLAVE, DEVICE = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
SALT, REQUEST, ANSWER = b"\4" * 32, b'{"prompt":"p"}', b'{"answer":"a"}'
MODEL = Model("small", "sha256:" + "ab" * 32, "llama.cpp")


def receipt_file(model: Model = MODEL, price: Price | None = None) -> ReceiptFile:
    keyset = Keyset(b"ohttp keys", ENCLAVE.did, (model,))
    quoter = DevQuoter(DevRoot(ROOT), now=STARTED, measurement="sha256:" + "cd" * 32)
    statement = build_statement(keyset, [quoter], now=STARTED, nonce=b"\5" * 32)
    job = JobReceipt(
        model=model,
        request=BodyDigest("request", SALT).update(REQUEST).digest(),
        answer=BodyDigest("answer", SALT).update(ANSWER).digest(),
        status=200,
        prompt_tokens=3,
        completion_tokens=None,
        keyset=keyset.digest,
        evidence=tuple(EvidenceRef.of(one) for one in statement.evidence),
        started=STARTED,
        ended=ENDED,
        outcome=Outcome.COMPLETE,
        price=price,
    )
    receipt = issue_receipt(job, ENCLAVE)
    nothing = Basis(Ground.NOTHING, "a dev enclave does not stop its host")
    record = DeviceRecord(
        route="confidential",
        policy="dev",
        model="small",
        disclosure=Disclosure(
            {
                (Party.PERSON, Asset.PROMPT): Cell(View.EVERYTHING),
                (Party.HOST, Asset.PROMPT): Cell(View.EVERYTHING, frozenset({nothing})),
            }
        ),
        statement=statement.digest,
        receipt=document_digest(receipt),
        request=job.request,
        answer=job.answer,
        salt=salt_commitment(SALT),
        started=STARTED,
        ended=ENDED,
        outcome=Outcome.COMPLETE,
    )
    return ReceiptFile(issue_record(record, DEVICE), receipt, statement, SALT)


@pytest.fixture
def stored(privity_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep one receipt in the home, whose settings trust its development root."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    receipt_id = new_receipt_id(STARTED)
    ReceiptStore().put(receipt_id, receipt_file())
    (privity_home / "config.toml").write_text(f'[trust]\ndev_roots = ["{ROOT.did}"]\n')
    return receipt_id


def test_list_is_one_line_a_receipt(stored: str, capsys: Capture) -> None:
    assert app.run(["receipts", "list"]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"{stored}  complete")
    assert "confidential, dev" in line
    assert "host could read" in line


def test_list_of_none_says_what_would_leave_one(capsys: Capture) -> None:
    assert app.run(["receipts", "list"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "privity ask" in captured.err
    assert app.run(["receipts", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_list_names_a_receipt_that_was_altered(stored: str, capsys: Capture) -> None:
    path = ReceiptStore().folder / f"{stored}.json"
    path.write_bytes(path.read_bytes().replace(b'"policy":"dev"', b'"policy":"mine"'))
    assert app.run(["receipts", "list"]) == 0
    assert "does not verify" in capsys.readouterr().out


def test_show_draws_the_table_and_says_dev(stored: str, capsys: Capture) -> None:
    assert app.run(["receipts", "show", "last"]) == 0
    text = capsys.readouterr().out
    assert "who was privy to what" in text
    assert "could read" in text
    assert "admitted by the policy dev" in text
    assert "prompt 3, answer not reported" in text
    assert f"the enclave · dev   {ENCLAVE.did}" in text
    assert DEVICE.did in text


def test_show_says_what_a_paid_answer_cost(stored: str, capsys: Capture) -> None:
    price = Price(charged=4, held=62, tariff="sha256:" + "ef" * 32)
    ReceiptStore().put(new_receipt_id(ENDED), receipt_file(price=price))
    assert app.run(["receipts", "show", "last"]) == 0
    assert "4 credits, of 62 that were held" in capsys.readouterr().out
    assert app.run(["receipts", "show", stored]) == 0
    assert "credits" not in capsys.readouterr().out, "nothing was asked for"


def test_verify_checks_everything_and_says_dev(
    stored: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "request").write_bytes(REQUEST)
    (tmp_path / "answer").write_bytes(ANSWER)
    arguments = ["receipts", "verify", stored, "--device", DEVICE.did]
    bodies = ["--request", str(tmp_path / "request"), "--answer", str(tmp_path / "answer")]
    assert app.run([*arguments, *bodies]) == 0
    text = capsys.readouterr().out
    assert "✓ request    body" in text
    assert "✓ answer     body" in text
    assert "✓ record     issuer, proof type, proof signer" in text
    assert "✗" not in text
    assert "verified: " in text
    assert "dev evidence: plain software" in text


def test_verify_can_say_what_each_check_found(stored: str, capsys: Capture) -> None:
    assert app.run(["receipts", "verify", "--all"]) == 0
    text = capsys.readouterr().out
    assert f"✓ record issuer              {DEVICE.did}" in text
    assert "✓ statement quote signature  dev: by software, not by hardware" in text


def test_verify_names_the_check_that_failed(stored: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "answer").write_bytes(ANSWER + b" ")
    assert app.run(["receipts", "verify", "--answer", str(tmp_path / "answer")]) == output.FAILURE
    captured = capsys.readouterr()
    assert "✗ answer body" in captured.out
    assert "verified" not in captured.out
    assert captured.err.startswith("error: ")
    assert "answer body" in captured.err


def test_verify_refuses_a_root_that_is_not_trusted(
    stored: str, privity_home: Path, capsys: Capture
) -> None:
    (privity_home / "config.toml").unlink()
    assert app.run(["receipts", "verify", "--json"]) == output.FAILURE
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["check"] == "statement endorsement root"
    assert app.run(["receipts", "verify", "--json", "--dev-root", ROOT.did]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verified"] is True
    assert document["dev"] is True


@pytest.mark.parametrize("device", ["bogus", "did:key:bogus", "did:web:example"])
def test_a_device_that_is_no_key_is_a_wrong_argument(
    device: str, stored: str, capsys: Capture
) -> None:
    assert app.run(["receipts", "verify", stored, "--device", device]) == output.USAGE
    assert f"--device '{device}' is no did:key" in capsys.readouterr().err


def test_an_export_verifies_elsewhere_and_holds_no_salt(
    stored: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "receipt.json"
    assert app.run(["receipts", "export", stored, "--output", str(path)]) == 0
    assert str(path) in capsys.readouterr().err
    assert ReceiptFile.parse(path.read_bytes()).salt is None
    ReceiptStore().folder.rename(tmp_path / "elsewhere")
    assert app.run(["receipts", "verify", str(path)]) == 0
    capsys.readouterr()
    (tmp_path / "answer").write_bytes(ANSWER)
    code = app.run(["receipts", "verify", str(path), "--answer", str(tmp_path / "answer")])
    assert code == output.FAILURE
    assert "without its salt" in capsys.readouterr().err


def test_show_as_json_keeps_the_salt_back(stored: str, capsys: Capture) -> None:
    assert app.run(["receipts", "show", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["id"] == stored
    assert document["file"]["opening"] is None


def test_a_name_in_a_receipt_fakes_no_row(stored: str, capsys: Capture) -> None:
    forged = replace(MODEL, id="small\nweights  sha256:good\x1b[2K")
    ReceiptStore().put(stored, receipt_file(forged))
    assert app.run(["receipts", "show"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row for row in rows if row.startswith("weights")] == [f"weights  {MODEL.weights}"]
    assert not any("\x1b" in row for row in rows)


HOSTILE = "a\x9b31m\x7f\u202e\u2066\u200b\u200d\u2028\x1b\x85\U000e0041é"


@pytest.mark.parametrize("write", [output.emit_json, output.json_line])
def test_json_holds_nothing_a_terminal_obeys_and_reads_back_the_same(
    write: Callable[[object], None], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "takes_unicode", lambda stream=None: True)
    write({HOSTILE: [HOSTILE]})
    text = capsys.readouterr().out
    raw = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")}
    assert raw == {"\n"}
    assert "\\u202e" in text and "é" in text
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


@pytest.mark.parametrize("which", ["nonesuch", "no/such/file.json"])
def test_a_receipt_that_is_not_there(stored: str, which: str, capsys: Capture) -> None:
    assert app.run(["receipts", "show", which]) == output.USAGE
    assert which in capsys.readouterr().err


def test_show_refuses_a_record_that_was_altered(stored: str, tmp_path: Path) -> None:
    file = receipt_file()
    record = json.loads(json.dumps(file.record))
    record["credentialSubject"]["policy"] = "confidential"
    path = tmp_path / "altered.json"
    path.write_bytes(replace(file, record=record).to_bytes())
    assert app.run(["receipts", "show", str(path)]) == output.FAILURE


def test_policy_show_lists_the_presets(capsys: Capture) -> None:
    assert app.run(["policy", "show"]) == 0
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == list(PRESETS)
    assert "in force: confidential" in captured.err
    assert app.run(["policy", "show", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == list(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_policy_show_writes_a_file_that_can_be_used(
    name: str, tmp_path: Path, capsys: Capture
) -> None:
    assert app.run(["policy", "show", name]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capsys.readouterr().out)
    mine = Policy.load(path)
    assert mine.ceilings == Policy.load(name).ceilings
    assert mine.name not in PRESETS


def test_policy_show_of_none(capsys: Capture) -> None:
    assert app.run(["policy", "show", "strictest"]) == output.USAGE
    assert "no policy named 'strictest'" in capsys.readouterr().err
