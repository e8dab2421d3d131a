"""In what a provider wants queries proved: the file it publishes, and the enclave that serves."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from privity.anon.query_terms import QueryTerms
from privity.cli.app import run
from privity.errors import InputError
from privity.infer.engines.tokenizer_file import digest_of_tokenizer
from privity.node.attestation import AttestationSettings
from privity.node.enclave_role import EnclaveSettings
from tiny_tokens import CONTROL, write_tokenizer

pytestmark = pytest.mark.skipif(
    find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
)


def written(folder: Path, *options: str) -> tuple[Path, QueryTerms]:
    tokenizer, out = write_tokenizer(folder), folder / "query.json"
    command = ["operator", "query-terms", "--tokenizer", str(tokenizer), "--out", str(out)]
    assert run([*command, *options]) == 0
    return tokenizer, QueryTerms.from_file(out)


def test_terms_are_written_for_a_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer, terms = written(tmp_path, "--bucket", "512", "--bucket", "128", "--json")
    assert terms.buckets == (128, 512)
    assert terms.vocabulary.tokenizer == digest_of_tokenizer(tokenizer)
    assert CONTROL + 1 in terms.vocabulary.denied
    assert json.loads(capsys.readouterr().out)["tokenizer"] == terms.vocabulary.tokenizer


@pytest.mark.parametrize(
    "options", [["--bucket", "512"], ["--bucket", "100"], ["--weights", "model.gguf"]]
)
def test_terms_that_nobody_could_meet_are_not_written(tmp_path: Path, options: list[str]) -> None:
    tokenizer, out = write_tokenizer(tmp_path), tmp_path / "query.json"
    command = ["operator", "query-terms", "--tokenizer", str(tokenizer), "--out", str(out)]
    assert run([*command, *options]) == 2
    assert not out.exists()


def queries(terms: QueryTerms, tokenizer: Path | None, **settings: Any) -> Any:
    """Return what an enclave of such settings compares queries with."""
    paid = SimpleNamespace(settings=SimpleNamespace(query=terms, tokenizer=tokenizer))
    attestation = AttestationSettings(Path("root.key"))
    return EnclaveSettings(attestation, **settings).make_queries(cast("Any", paid))


def test_an_enclave_serves_any_engine_with_its_tokenizer(tmp_path: Path) -> None:
    tokenizer, terms = written(tmp_path)
    found = queries(terms, tokenizer, engine="http://127.0.0.1:1")
    assert found.tokens.vocabulary == terms.vocabulary


def test_an_enclave_does_not_start_with_another_tokenizer(tmp_path: Path) -> None:
    tokenizer, terms = written(tmp_path)
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with pytest.raises(InputError) as caught:
        queries(terms, tokenizer)
    assert terms.vocabulary.tokenizer.removeprefix("sha256:") in caught.value.hint


def test_an_engine_whose_vocabulary_is_not_at_hand_is_refused(tmp_path: Path) -> None:
    _, terms = written(tmp_path)
    with pytest.raises(InputError) as caught:
        queries(terms, None, engine="http://127.0.0.1:1")
    assert "tokenizer" in caught.value.hint
