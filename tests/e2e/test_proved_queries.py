"""Proved queries from end to end: real processes, a real chain, a provider that asks for proofs.

Whatever a gateway refuses raises `AdmissionError`: it answers outside the enclave's seal. What the
enclave refuses is an answer inside it.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from anonymous_net import Net, Person, needs_network, person, run, running_net
from native import needs_kernel
from privity.anon.query import Opening, QueryProof, prove_query
from privity.anon.query_opening import verify_mismatch
from privity.anon.query_terms import QueryTerms
from privity.anon.vocabulary import Vocabulary
from privity.errors import AdmissionError, InputError, ReceiptError
from privity.identity.timestamps import utc_now
from privity.infer.anonymous.proved import Query, QueryMaker
from privity.infer.engines.tokens import RequestTokens, tokens_of_file
from privity.infer.engines.weights import find_default
from privity.infer.routes.anonymous import AnonymousRoute
from privity.seal.connections import Connections

pytestmark = [needs_network, needs_kernel("QueryKey"), pytest.mark.anyio]

OTHER = b"\7" * 32
CONTROL = 1  # <|im_start|>


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    home = tmp_path_factory.mktemp("proved") / "one"
    with running_net(home, "--prove-queries") as found:
        yield found


@pytest.fixture(scope="module")
def tokens() -> RequestTokens:
    return tokens_of_file(find_default())


@pytest.fixture(scope="module")
async def one(net: Net, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Person]:
    async with person(net, tmp_path_factory.mktemp("person")) as found:
        yield found


def terms(net: Net) -> QueryTerms:
    return QueryTerms.from_file(net.folder / "network" / "query.json")


class Forging(QueryMaker):
    """A client of its own making: it seals an opening, and sends whatever proof it likes."""

    def __init__(
        self,
        net: Net,
        tokens: RequestTokens,
        forge: Callable[[Opening, bytes], QueryProof],
        sealed: Opening | None = None,
    ) -> None:
        super().__init__(terms(net), tokens)
        self._forge = forge
        self._sealed = sealed

    async def check(self, request: httpx.Request) -> None:
        pass

    async def begin(self, request: httpx.Request) -> Query:
        opening = Opening.fresh()

        async def prove(digest: bytes) -> str:
            return self._forge(opening, digest).to_header()

        return Query(self._sealed or opening, prove)


@asynccontextmanager
async def forging(one: Person, made: Forging) -> AsyncIterator[None]:
    """Have a person's jobs proved so; questions to the desk stay as they are."""
    makers, key = one.network.queries._jobs, terms(one.net)
    honest = await one.network.queries.for_jobs(key)
    makers[key] = made
    try:
        yield
    finally:
        makers[key] = honest


async def refused(one: Person, made: Forging) -> str:
    async with forging(one, made):
        with pytest.raises(AdmissionError) as caught:
            await one.ask()
    await back(one)
    return caught.value.check


async def back(one: Person) -> None:
    """Get back what a refused job was to be paid with: the enclave never had it."""
    assert (await one.teller.recover()).credits == 0


async def test_a_proved_request_is_answered(one: Person) -> None:
    before = one.wallet.read().balance
    response = await one.ask()
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"]
    assert one.wallet.read().balance < before


def test_the_stock_command_proves_by_itself(net: Net) -> None:
    run(["wallet", "top-up", "--policy", "dev", "--json"], net.home)
    asked = ["ask", "--policy", "dev", "--route", "anonymous", "--max-tokens", "2", "Hi"]
    run(asked, net.home)
    (one,) = json.loads(run(["receipts", "list", "--json"], net.home).stdout)
    run(["receipts", "verify", one["id"]], net.home)


async def test_a_request_without_a_proof_is_refused(one: Person, net: Net) -> None:
    route = await one.find()
    keyset = route.enclave.keyset.digest
    kept = one.network._terms[keyset]
    assert kept is not None
    one.network._terms[keyset] = dataclasses.replace(kept, query=None)
    try:
        with pytest.raises(AdmissionError) as caught:
            await one.ask()
    finally:
        one.network._terms[keyset] = kept
    await back(one)
    assert caught.value.check == "query"


async def test_a_query_that_is_too_long_never_leaves(
    one: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = await one.find()
    sent: list[httpx.Request] = []
    carry = Connections.handle_async_request

    async def noted(self: Connections, request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return await carry(self, request)

    async def found() -> AnonymousRoute:
        return route

    monkeypatch.setattr(one, "find", found)
    monkeypatch.setattr(Connections, "handle_async_request", noted)
    assert (await one.ask()).status_code == 200
    assert sent, "what leaves is noted"
    sent.clear()
    spends = one.wallet.read().unfinished()
    with pytest.raises(InputError, match="512"):
        await one.ask("word " * 600)
    assert not sent
    assert one.wallet.read().unfinished() == spends


async def test_a_larger_bucket_than_is_taken_is_refused(
    one: Person, net: Net, tokens: RequestTokens
) -> None:
    def forge(opening: Opening, digest: bytes) -> QueryProof:
        vocabulary = terms(net).vocabulary
        return prove_query(
            [100] * 600, vocabulary=vocabulary, bucket=2048, digest=digest, opening=opening
        )

    assert await refused(one, Forging(net, tokens, forge)) == "query"


@pytest.mark.parametrize("what", ["out of vocabulary", "denied"])
async def test_tokens_that_are_not_taken_are_refused(
    one: Person, net: Net, tokens: RequestTokens, what: str
) -> None:
    """A proof of them can only be made in another vocabulary, whatever it is then called."""
    theirs = terms(net).vocabulary
    if what == "denied":
        lax, bad = Vocabulary(theirs.size, (), theirs.tokenizer), CONTROL
    else:
        lax, bad = Vocabulary(theirs.size + 1, theirs.denied, theirs.tokenizer), theirs.size
    for named in (lax.digest, theirs.digest):

        def forge(opening: Opening, digest: bytes, named: bytes = named) -> QueryProof:
            made = prove_query(
                [100, bad], vocabulary=lax, bucket=128, digest=digest, opening=opening
            )
            return dataclasses.replace(made, vocabulary=named)

        assert await refused(one, Forging(net, tokens, forge)) == "query"


async def test_a_proof_for_another_ciphertext_is_refused(
    one: Person, net: Net, tokens: RequestTokens
) -> None:
    def forge(opening: Opening, digest: bytes) -> QueryProof:
        vocabulary = terms(net).vocabulary
        return prove_query([100], vocabulary=vocabulary, bucket=128, digest=OTHER, opening=opening)

    assert await refused(one, Forging(net, tokens, forge)) == "query"


def of_other_tokens(net: Net) -> Callable[[Opening, bytes], QueryProof]:
    def forge(opening: Opening, digest: bytes) -> QueryProof:
        vocabulary = terms(net).vocabulary
        return prove_query([100], vocabulary=vocabulary, bucket=128, digest=digest, opening=opening)

    return forge


async def evidence_of(one: Person, made: Forging, check: str) -> Any:
    before = one.wallet.read().balance
    async with forging(one, made):
        response = await one.ask("What is a relay?")
    assert response.status_code == 403
    error = response.json()["error"]
    assert error["code"] == check
    assert one.wallet.read().balance == before, "a job that was refused costs nothing"
    assert "relay" not in json.dumps(error["evidence"])
    return error["evidence"]


async def test_a_lying_client_is_caught_with_evidence_that_verifies(
    one: Person, net: Net, tokens: RequestTokens
) -> None:
    made = Forging(net, tokens, of_other_tokens(net))
    document = await evidence_of(one, made, "query-mismatch")
    issuer = (await one.find()).enclave.keyset.receipts
    vocabulary = terms(net).vocabulary
    found = verify_mismatch(document, issuer=issuer, vocabulary=vocabulary, now=utc_now())
    assert found.by_maker
    document["credentialSubject"]["byMaker"] = False
    with pytest.raises(ReceiptError):
        verify_mismatch(document, issuer=issuer, vocabulary=vocabulary, now=utc_now())


async def test_a_proof_that_another_made_accuses_nobody(
    one: Person, net: Net, tokens: RequestTokens
) -> None:
    made = Forging(net, tokens, of_other_tokens(net), sealed=Opening.fresh())
    document = await evidence_of(one, made, "query-opening")
    issuer = (await one.find()).enclave.keyset.receipts
    vocabulary = terms(net).vocabulary
    found = verify_mismatch(document, issuer=issuer, vocabulary=vocabulary, now=utc_now())
    assert not found.by_maker


def test_the_gateways_let_nothing_of_it_into_a_log(net: Net) -> None:
    logs = sorted(Path(net.folder).glob("*.log"))
    assert {"gateway-a.log", "gateway-b.log", "enclave.log"} <= {log.name for log in logs}
    with closing(sqlite3.connect(Path(net.folder) / "network" / "signals.db")) as store:
        kept = [bytes(row[0]) for row in store.execute("SELECT nullifier FROM signals")]
    assert kept, "requests were admitted"
    told = ["privity-query-proof", "What is a relay", *(one.hex() for one in kept)]
    for log in logs:
        text = log.read_text(errors="replace")
        assert not [one for one in told if one in text], log.name
