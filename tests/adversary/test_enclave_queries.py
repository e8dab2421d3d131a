"""Attacks on the enclave's comparison of proofs with prompts, through a real seal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

from native import needs_kernel
from privity.anon.query import (
    QUERY_OPENING_HEADER,
    Opening,
    QueryProof,
    prove_query,
)
from privity.anon.query_opening import verify_mismatch
from privity.anon.query_terms import QueryTerms
from privity.anon.vocabulary import DESK_VOCABULARY, Vocabulary
from privity.errors import InputError
from privity.identity.keys import SigningKey
from privity.infer.anonymous.admitted import AdmittedTransport
from privity.infer.engines.query_tokens import tokens_of_exchange
from privity.infer.engines.tokens import RequestTokens
from privity.node.enclave_queries import ProvedQueries, QueryMiddleware, SealedRequests
from privity.seal.asgi import Receive, Scope, Send, answer, read_body
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.key_config import GatewayKeys, KeyConfig, parse_configs, preferred
from privity.seal.transport import SealedTransport
from tiny_tokens import tiny_tokens

pytestmark = [
    pytest.mark.anyio,
    needs_kernel("QueryKey"),
    pytest.mark.skipif(
        find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
    ),
]
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
KEY = SigningKey(b"k" * 32)
CHAT = "/v1/chat/completions"
PROMPT = {"prompt": "a secret word"}

Prove = Callable[[Opening, bytes], QueryProof | None]


@cache
def tokens() -> RequestTokens:
    return tiny_tokens()


def terms() -> QueryTerms:
    return QueryTerms(tokens().vocabulary, (128,))


class Engine:
    """Notes what reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, list[tuple[bytes, bytes]]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive, 1 << 20, 5)
        self.seen.append((scope["path"], body, scope["headers"]))
        await answer(send, 200, [], b"served")


class World:
    """An enclave with a seal, and a client that proves what it likes."""

    def __init__(self) -> None:
        self.engine = Engine()
        keys = GatewayKeys.generate()
        queries = ProvedQueries(terms(), tokens())
        inside = QueryMiddleware(self.engine, queries, KEY, clock=lambda: NOW)
        self.app = SealedRequests(Gateway(inside, keys))
        self._config = preferred(parse_configs(keys.configs_bytes))

    async def current(self) -> KeyConfig:
        return self._config

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        raise AssertionError

    async def ask(
        self,
        prove: Prove,
        *,
        opening: Opening | None = None,
        sealed: str | None = "",
        path: str = CHAT,
        body: Any = None,
    ) -> httpx.Response:
        """Ask; ``sealed`` is the opening's header where it is not the opening's own."""
        opening = opening or Opening.fresh()
        carried = httpx.ASGITransport(self.app)

        class Adding(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if not request.headers["privity-query-proof"]:
                    del request.headers["privity-query-proof"]
                return await carried.handle_async_request(request)

        async def admit(digest: bytes) -> str:
            return "admitted"

        async def header(digest: bytes) -> str:
            made = prove(opening, digest)
            return "" if made is None else made.to_header()

        admitted = AdmittedTransport(Adding(), admit, header)
        transport = SealedTransport(self, "http://enclave" + GATEWAY_PATH, inner=admitted)
        given = opening.to_header() if sealed == "" else sealed
        headers = {} if given is None else {QUERY_OPENING_HEADER: given}
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.post(
                "https://enclave.privity" + path,
                content=json.dumps(PROMPT if body is None else body),
                headers=headers,
            )


def proving(body: Any = None, **other: Any) -> Prove:
    """Prove the tokens of a body."""
    text = json.dumps(PROMPT if body is None else body).encode()

    def prove(opening: Opening, digest: bytes) -> QueryProof:
        return prove_query(
            tokens_of_exchange(tokens(), "POST", CHAT, text),
            **{
                "vocabulary": terms().vocabulary,
                "bucket": 128,
                "digest": digest,
                "opening": opening,
                **other,
            },
        )

    return prove


async def refusal(world: World, prove: Prove, **options: Any) -> dict[str, Any]:
    response = await world.ask(prove, **options)
    assert response.status_code in (400, 403)
    assert world.engine.seen == []
    error: dict[str, Any] = response.json()["error"]
    assert "secret" not in json.dumps(error)
    return error


async def test_a_job_with_its_own_proof_reaches_the_engine_and_the_opening_does_not() -> None:
    world = World()
    assert (await world.ask(proving())).status_code == 200
    ((path, body, headers),) = world.engine.seen
    assert path == CHAT
    assert json.loads(body) == PROMPT
    assert QUERY_OPENING_HEADER.encode() not in dict(headers)


async def test_a_job_without_proof_or_opening_is_refused() -> None:
    world = World()
    assert (await refusal(world, lambda *_: None))["code"] == "query-missing"
    assert (await refusal(world, proving(), sealed=None))["code"] == "query-missing"
    assert (await refusal(world, proving(), sealed="A" * 44))["code"] == "query"


async def test_a_proof_of_another_request_vocabulary_or_bucket_is_refused() -> None:
    world = World()
    assert (await refusal(world, proving(digest=b"\7" * 32)))["code"] == "query-proof"
    lax = Vocabulary(tokens().vocabulary.size, (), tokens().vocabulary.tokenizer)
    assert (await refusal(world, proving(vocabulary=lax)))["code"] == "query-vocabulary"
    assert (await refusal(world, proving(bucket=512)))["code"] == "query-vocabulary"


async def test_a_job_is_not_passed_off_as_a_question_to_the_desk() -> None:
    """The gateway takes such a proof: it cannot see that this is a job."""
    small = proving(vocabulary=DESK_VOCABULARY)
    assert (await refusal(World(), small))["code"] == "query-vocabulary"


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "a secret wore"},
        {"prompt": "a secret word", "tools": []},
        {"input": "a secret word"},
        {"prompt": "a secret" * 40},
    ],
)
async def test_a_proof_of_another_prompt_is_evidence_against_its_maker(body: Any) -> None:
    world = World()
    error = await refusal(world, proving(), body=body)
    assert error["code"] == "query-mismatch"
    found = verify_mismatch(
        error["evidence"], issuer=KEY.did, vocabulary=terms().vocabulary, now=NOW
    )
    assert found.by_maker


async def test_a_proof_put_in_the_clients_place_accuses_nobody() -> None:
    world, another = World(), Opening.fresh()
    error = await refusal(world, proving({"prompt": "b"}), sealed=another.to_header())
    assert error["code"] == "query-opening"
    found = verify_mismatch(
        error["evidence"], issuer=KEY.did, vocabulary=terms().vocabulary, now=NOW
    )
    assert not found.by_maker


async def test_no_other_tag_passes() -> None:
    def forge(opening: Opening, digest: bytes) -> QueryProof:
        made = proving()(opening, digest)
        assert made is not None
        return dataclasses.replace(made, tag=bytes(32))

    assert (await refusal(World(), forge))["code"] == "query-opening"


async def test_a_model_reads_nothing_beside_what_was_proved() -> None:
    """A long text in a member, or at a path, that no proof is of is refused."""
    world = World()
    beside = {**PROMPT, "suffix": "a secret" * 200}
    assert (await refusal(world, proving(), body=beside))["code"] == "query"
    body = {**PROMPT, "system": "x"}
    assert (await refusal(world, proving(), path="/v1/messages", body=body))["code"] == "query"


async def test_what_no_model_reads_is_not_looked_at() -> None:
    world = World()
    assert (await world.ask(lambda *_: None, path="/privity/x")).status_code == 200


async def test_a_job_that_came_by_no_seal_is_refused() -> None:
    engine = Engine()
    app = QueryMiddleware(engine, ProvedQueries(terms(), tokens()), KEY, clock=lambda: NOW)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        headers = {QUERY_OPENING_HEADER: Opening.fresh().to_header()}
        response = await client.post("http://enclave" + CHAT, json=PROMPT, headers=headers)
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("query_error", "query-missing")
    assert engine.seen == []


def test_terms_of_another_model_are_refused() -> None:
    other = QueryTerms(Vocabulary(1000, (), tokens().vocabulary.tokenizer))
    with pytest.raises(InputError):
        ProvedQueries(other, tokens())


@pytest.mark.parametrize("body", [{"prompt": "a" * (1 << 20)}, {"tools": [[]] * 150_000}])
async def test_what_no_bucket_holds_is_not_made_into_tokens(
    body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight MiB of it took a minute and two GiB of an enclave, for a proof of a few tokens."""
    lengths: list[int] = []
    former = RequestTokens.of_text

    def counted(self: RequestTokens, text: str) -> tuple[int, ...]:
        lengths.append(len(text))
        return former(self, text)

    monkeypatch.setattr(RequestTokens, "of_text", counted)
    error = await refusal(World(), proving(), body=body)
    assert error["code"] == "query"
    assert max(lengths) < 1000, "but for the client's own"
