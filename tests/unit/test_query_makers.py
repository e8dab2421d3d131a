"""Which tokenizer a query is made with, and what a question to a desk is proved in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.anon.query import Opening, QueryProof
from privity.anon.query_terms import QueryTerms
from privity.anon.vocabulary import DESK_VOCABULARY, Vocabulary
from privity.errors import InputError, MissingDependency
from privity.infer.anonymous import makers
from privity.infer.anonymous.makers import QueryMakers, tokens_for
from privity.infer.engines.tokenizer_file import tokens_of_tokenizer
from tiny_tokens import tiny_tokens, tokenizer_table, write_tokenizer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
    ),
]
JOB = httpx.Request("POST", "https://e/v1/chat/completions", json={"prompt": "hi"})
ASKED = httpx.Request("GET", "https://e/privity/payment")
NOT_HERE = Vocabulary(256, (), "sha256:" + "cd" * 32)


class Noting:
    """Notes what it is asked to prove."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int, int]] = []
        self.closed = 0

    async def warm(self, vocabulary: Vocabulary, bucket: int) -> None:
        pass

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        self.asked.append((vocabulary.digest, bucket, len(tokens)))
        return QueryProof(bucket, vocabulary.digest, bytes(32), bytes(2000))

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo model's tokenizer is the tiny one."""
    monkeypatch.setattr(makers, "find_default", lambda: None)
    monkeypatch.setattr(makers, "tokens_of_file", lambda _: tiny_tokens())


def no_demo(*_: Any) -> Any:
    raise MissingDependency("the demo model is not installed", hint="pip install it")


def others(folder: Path) -> list[Path]:
    """Return two tokenizer files of different models."""
    paths = []
    for name, merges in (("one", []), ("two", ["h i"])):
        (folder / name).mkdir()
        paths.append(write_tokenizer(folder / name, tokenizer_table(merges=merges)))
    return paths


def test_the_tokenizer_that_the_terms_name_is_taken(tmp_path: Path) -> None:
    files = others(tmp_path)
    for path in files:
        wanted = tokens_of_tokenizer(path).vocabulary
        assert tokens_for(wanted, files).vocabulary == wanted
    demo = tiny_tokens().vocabulary
    assert tokens_for(demo, files).vocabulary == demo


def test_a_file_that_is_gone_does_not_hide_the_right_one(tmp_path: Path) -> None:
    gone, path = tmp_path / "gone.json", write_tokenizer(tmp_path)
    wanted = tokens_of_tokenizer(path).vocabulary
    assert tokens_for(wanted, [gone, path]).vocabulary == wanted
    with pytest.raises(InputError) as caught:
        tokens_for(NOT_HERE, [gone, path])
    assert "cd" * 32 in caught.value.hint and str(gone) in caught.value.hint


async def test_a_file_that_is_gone_does_not_tell_questions_from_jobs(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path)
    terms = QueryTerms(tokens_of_tokenizer(path).vocabulary)
    maker = await QueryMakers([tmp_path / "gone.json", path]).for_desk(terms)
    assert maker._terms == terms, "in bytes they would stand out"


@pytest.mark.parametrize("some", [True, False])
def test_what_is_wanted_is_named_where_it_is_not_here(tmp_path: Path, some: bool) -> None:
    with pytest.raises(InputError) as caught:
        tokens_for(NOT_HERE, others(tmp_path) if some else [])
    assert "cd" * 32 in caught.value.hint
    assert "[anonymous] tokenizers" in caught.value.hint


def test_a_demo_model_that_is_missing_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(makers, "find_default", no_demo)
    with pytest.raises(MissingDependency) as missing:
        tokens_for(NOT_HERE, [])
    assert "cd" * 32 in missing.value.hint
    with pytest.raises(InputError):
        tokens_for(NOT_HERE, others(tmp_path))


async def test_jobs_are_proved_in_the_providers_vocabulary(tmp_path: Path) -> None:
    files, prover = others(tmp_path), Noting()
    terms = QueryTerms(tokens_of_tokenizer(files[1]).vocabulary, (128,))
    queries = QueryMakers(files, prover=prover)
    query = await (await queries.for_jobs(terms)).begin(JOB)
    await query.prove(bytes(32))
    text = '{"prompt":"hi"}'
    assert prover.asked == [(terms.vocabulary.digest, 128, len(text) - 1)]
    with pytest.raises(InputError):
        await queries.for_jobs(QueryTerms(NOT_HERE))
    await queries.aclose()
    assert prover.closed == 1


@pytest.mark.parametrize("terms", [None, QueryTerms(NOT_HERE)])
async def test_a_question_to_a_desk_needs_no_model(terms: QueryTerms | None) -> None:
    """Else who lacks a model could neither learn that, nor take their credits out."""
    maker = await QueryMakers().for_desk(terms)
    await maker.check(ASKED)
    assert maker._terms.vocabulary == DESK_VOCABULARY
    assert maker._terms.buckets == (128,)


async def test_a_question_to_a_desk_looks_like_a_short_job_where_it_can() -> None:
    terms = QueryTerms(tiny_tokens().vocabulary, (128, 512))
    maker = await QueryMakers().for_desk(terms)
    assert maker._terms == terms


async def test_questions_to_a_desk_need_no_edge_node() -> None:
    elsewhere = Noting()
    maker = await QueryMakers(prover=elsewhere).for_desk(QueryTerms(tiny_tokens().vocabulary))
    assert maker._prover is not elsewhere
