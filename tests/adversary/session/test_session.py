"""spec/receipt.md, from the device's side: a receipt never claims what did not happen."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest

from privity.attest.trust import Trust
from privity.attest.verify import reverifier
from privity.disclosure import Disclosure
from privity.errors import (
    EvidenceError,
    PeerError,
    PolicyRefusal,
    PrivityError,
    ReceiptError,
    TruncatedError,
)
from privity.identity.keys import SigningKey
from privity.receipt import Outcome, ReceiptFile, verify_receipt_file

pytestmark = pytest.mark.anyio
URL = "http://any.host/v1/chat/completions"
CANARY = "canary-7f1c"


def chat(model: str = "tokens-3", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": CANARY}], **more}


def subject(file: ReceiptFile) -> dict[str, Any]:
    found: dict[str, Any] = file.record["credentialSubject"]
    return found


def only(world: Any) -> ReceiptFile:
    assert len(list(world.store.ids())) == 1
    found: ReceiptFile = world.store.get("last")[1]
    return found


def check(world: Any, file: ReceiptFile, **bodies: bytes) -> Any:
    trust = Trust(dev_roots=(world.root.did,))
    return verify_receipt_file(
        file,
        now=datetime.now(UTC),
        reverify=reverifier(trust),
        device=world.device_key.did,
        **bodies,
    )


async def test_a_whole_answer_leaves_a_complete_receipt_that_verifies(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        response = await client.post(URL, json=chat())
    assert response.json()["choices"][0]["message"]["content"] == "all of it"
    file = only(world)
    assert response.headers["privity-receipt-id"] == next(world.store.ids())
    verified = check(world, file, request=response.request.content, answer=response.content)
    assert verified.record.record.outcome is Outcome.COMPLETE
    assert verified.record.record.policy == "dev"
    assert verified.record.record.model == "tokens-3"
    assert verified.receipt.job.status == 200
    assert CANARY.encode() not in file.to_bytes()


async def test_a_streamed_answer_is_receipted_before_its_end_mark_is_shown(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        async with client.stream("POST", URL, json=chat(stream=True)) as response:
            pieces = []
            async for piece in response.aiter_raw():
                outcome = subject(only(world))["outcome"]
                assert outcome == ("complete" if b"[DONE]" in piece else "unfinished")
                pieces.append(piece)
    assert pieces[-1] == b"data: [DONE]\n\n"
    check(world, only(world), answer=b"".join(pieces))


async def test_the_record_exists_before_a_byte_of_the_request_leaves(world: Any) -> None:
    seen: list[str] = []

    class Watching(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                seen.append(subject(only(world))["outcome"])
            return await super().handle_async_request(request)

    async with httpx.AsyncClient(transport=world.transport(inner=Watching())) as client:
        await client.post(URL, json=chat())
    assert seen == ["unfinished"]


async def test_the_enclave_learns_nothing_about_the_client(world: Any) -> None:
    headers = {
        "authorization": "Bearer secret",
        "user-agent": "Some App",
        "cookie": "a=b",
        "x-stainless-os": "Linux",
        "openai-organization": "org",
    }
    async with httpx.AsyncClient(transport=world.transport(), headers=headers) as client:
        await client.post("http://my.private.name:81/v1/chat/completions", json=chat())
    (request,) = world.enclave.seen
    assert request["headers"]["host"] == "enclave.privity"
    assert set(request["headers"]) <= {
        "host",
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "date",
        "privity-salt",
    }


async def test_a_request_without_a_body_is_sealed_and_leaves_no_receipt(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        response = await client.get("http://x/v1/models")
    assert response.json()["data"][0]["id"] == "scripted"
    assert list(world.store.ids()) == []
    assert world.enclave.seen[0]["path"] == "/v1/models"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda job: None, "receipt present"),
        (lambda job: dataclasses.replace(job, answer="sha256:" + "0" * 64), "receipt answer"),
        (lambda job: dataclasses.replace(job, request="sha256:" + "0" * 64), "receipt request"),
        (lambda job: dataclasses.replace(job, keyset="sha256:" + "0" * 64), "receipt keyset"),
        (lambda job: dataclasses.replace(job, status=201), "receipt status"),
        (
            lambda job: dataclasses.replace(
                job, model=dataclasses.replace(job.model, engine="another")
            ),
            "receipt model",
        ),
        (
            lambda job: dataclasses.replace(
                job, model=dataclasses.replace(job.model, id="scripted")
            ),
            "receipt model",
        ),
        (
            lambda job: dataclasses.replace(job, started=job.started - timedelta(minutes=6)),
            "receipt times",
        ),
        (
            lambda job: dataclasses.replace(
                job, evidence=(dataclasses.replace(job.evidence[0], kind="tdx"),)
            ),
            "receipt evidence",
        ),
    ],
)
async def test_an_answer_without_its_right_receipt_is_refused(
    world: Any, stream: bool, spoil: Any, name: str
) -> None:
    world.enclave.spoil = spoil
    shown = b""
    async with httpx.AsyncClient(transport=world.transport()) as client:
        with pytest.raises(ReceiptError) as caught:
            async with client.stream("POST", URL, json=chat(stream=stream)) as response:
                async for piece in response.aiter_raw():
                    shown += piece
    assert caught.value.check == name
    assert b"[DONE]" not in shown
    assert stream or shown == b""
    file = only(world)
    assert subject(file)["outcome"] == "failed"
    assert file.receipt is None
    check(world, file)


async def test_a_receipt_by_another_key_is_refused(world: Any) -> None:
    world.enclave.sign_with = SigningKey.generate()
    async with httpx.AsyncClient(transport=world.transport()) as client:
        with pytest.raises(ReceiptError) as caught:
            await client.post(URL, json=chat())
    assert caught.value.check == "issuer"
    assert subject(only(world))["outcome"] == "failed"


async def test_an_error_of_the_engine_passes_and_is_receipted_as_failed(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        response = await client.post(URL, json=chat("refuse"))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "length"
    verified = check(world, only(world))
    assert verified.record.record.outcome is Outcome.FAILED
    assert verified.receipt.job.status == 400


async def test_an_answer_given_up_is_interrupted_and_stops_the_engine(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        async with client.stream("POST", URL, json=chat("hang", stream=True)) as response:
            async for _ in response.aiter_raw():
                break
        assert subject(only(world))["outcome"] == "interrupted"
        assert await anyio.to_thread.run_sync(world.enclave.cancelled.wait, 60)
    check(world, only(world))


async def test_a_cancelled_request_is_interrupted(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.post(URL, json=chat("hang", stream=True)))
            with anyio.fail_after(60):
                while not world.enclave.seen:
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert subject(only(world))["outcome"] == "interrupted"


async def test_an_enclave_that_breaks_off_leaves_an_interrupted_record(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        with pytest.raises(TruncatedError):
            await client.post(URL, json=chat("crash", stream=True))
    assert subject(only(world))["outcome"] == "interrupted"


@pytest.mark.parametrize("hop", ["served", "relay"])
async def test_a_killed_peer_leaves_an_interrupted_record(world: Any, hop: str) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        with pytest.raises(TruncatedError):
            async with client.stream("POST", URL, json=chat("hang", stream=True)) as response:
                async for _ in response.aiter_raw():
                    getattr(world, hop).cut()
    assert subject(only(world))["outcome"] == "interrupted"


async def test_a_peer_that_is_gone_leaves_a_failed_record(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        await client.post(URL, json=chat())
        world.relay.stop()
        with pytest.raises(PeerError):
            await client.post(URL, json=chat())
    assert subject(world.store.get("last")[1])["outcome"] == "failed"


async def test_new_keys_are_verified_admitted_and_recorded_before_the_second_try(
    world: Any,
) -> None:
    async with httpx.AsyncClient(transport=world.transport()) as client:
        await client.post(URL, json=chat())
        first = only(world)
        world.restart_enclave()
        response = await client.post(URL, json=chat())
    assert response.status_code == 200
    second = world.store.get("last")[1]
    assert second.statement is not None and first.statement is not None
    assert second.statement.keyset.receipts == world.enclave.signing.did
    assert second.statement.digest != first.statement.digest
    check(world, second, request=response.request.content, answer=response.content)


async def test_a_policy_refuses_before_a_byte_leaves(world: Any) -> None:
    async with httpx.AsyncClient(transport=world.transport(policy="confidential")) as client:
        with pytest.raises(PolicyRefusal) as caught:
            await client.post(URL, json=chat())
    table = Disclosure.from_json(caught.value.report["disclosure"])
    assert table.labels
    assert world.enclave.seen == []
    assert list(world.store.ids()) == []


async def test_an_enclave_of_an_untrusted_root_is_refused(world: Any) -> None:
    other = SigningKey.generate().did
    async with httpx.AsyncClient(transport=world.transport(root=other)) as client:
        with pytest.raises(EvidenceError) as caught:
            await client.post(URL, json=chat())
    assert caught.value.check == "endorsement root"
    assert world.enclave.seen == []


async def test_a_job_that_cannot_be_journalled_is_not_sent(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("privity.infer.receipts.write_private", full)
    async with httpx.AsyncClient(transport=world.transport()) as client:
        with pytest.raises(PrivityError, match="No space left"):
            await client.post(URL, json=chat())
    assert world.enclave.seen == []


async def test_concurrent_jobs_keep_their_own_receipts(world: Any) -> None:
    answers: dict[str, bytes] = {}

    async def one(client: httpx.AsyncClient, number: int) -> None:
        response = await client.post(URL, json=chat(f"tokens-{number}", stream=True))
        answers[response.headers["privity-receipt-id"]] = response.content

    async with httpx.AsyncClient(transport=world.transport()) as client:
        async with anyio.create_task_group() as group:
            for number in range(3, 15):
                group.start_soon(one, client, number)
    assert len(answers) == 12
    for name, answer in answers.items():
        check(world, world.store.get(name)[1], answer=answer)
    assert world.enclave.statements == 1


async def test_a_streamed_request_body_is_digested_as_it_leaves(world: Any) -> None:
    body = httpx.Request("POST", URL, json=chat()).content

    async def pieces() -> Any:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    async with httpx.AsyncClient(transport=world.transport()) as client:
        response = await client.post(URL, content=pieces())
    check(world, only(world), request=body, answer=response.content)
