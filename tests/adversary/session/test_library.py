"""`privity.ask` and its kin, opened from config.toml as a person would have it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import privity
from privity.attest.manifest import Manifest, ReferenceValue, Source
from privity.attest.signed_manifest import Revocation, SignedManifest, SignedRevocation
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.infer.opening import SessionSettings, open_session
from privity.infer.receipts import ReceiptStore
from privity.seal import exchange
from privity.seal.shaping import Pace, Shape

MESSAGES: Any = [{"role": "user", "content": "what is sealed?"}]


@pytest.fixture
def configured(world: Any, privity_home: Path) -> Any:
    privity_home.mkdir(exist_ok=True)
    (privity_home / "config.toml").write_text(
        f'[trust]\ndev_roots = ["{world.root.did}"]\n'
        f'[[enclave]]\nname = "stub"\nurl = "{world.peer.url}"\nrelay = "{world.peer.relay}"\n'
    )
    return world


def test_ask_returns_a_text_with_its_receipt(configured: Any) -> None:
    answer = privity.ask("what is sealed?", policy="dev", model="tokens-3")
    assert answer == "word0 word1 word2 "
    assert answer.receipt_id == next(ReceiptStore().ids())
    assert answer.receipt.record["credentialSubject"]["outcome"] == "complete"


def test_stream_yields_the_pieces(configured: Any) -> None:
    with privity.stream("what?", system="be brief", policy="dev", enclave="stub") as stream:
        assert list(stream) == ["word0 ", "word1 ", "word2 "]
    assert stream.receipt.record["credentialSubject"]["model"] == "scripted"
    assert b"be brief" in configured.enclave.seen[0]["body"]


def test_the_configured_policy_refuses_a_dev_enclave(configured: Any) -> None:
    with pytest.raises(privity.PolicyRefusal):
        privity.ask("what is sealed?")
    assert configured.enclave.seen == []
    assert list(ReceiptStore().ids()) == []


def test_an_enclave_by_url_needs_no_name(configured: Any) -> None:
    answer = privity.ask("x", policy="dev", enclave=configured.peer.url + "/")
    disclosure = answer.receipt.record["credentialSubject"]["disclosure"]
    assert "relay" in disclosure


@pytest.mark.parametrize("base_url", ["http://enclave/v1", "https://api.openai.com/v1"])
def test_the_stock_client_needs_only_the_http_client(configured: Any, base_url: str) -> None:
    with openai.OpenAI(
        base_url=base_url, api_key="unused", http_client=privity.http_client(policy="dev")
    ) as client:
        stream = client.chat.completions.create(model="tokens-2", messages=MESSAGES, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in stream) == "word0 word1 "
    assert "authorization" not in configured.enclave.seen[0]["headers"]


@pytest.mark.anyio
async def test_the_asynchronous_http_client(configured: Any) -> None:
    async with privity.async_http_client(policy="dev") as client:
        response = await client.post(
            "http://x/v1/chat/completions", json={"model": "m", "messages": MESSAGES}
        )
    assert response.json()["choices"][0]["message"]["content"] == "all of it"


def test_proxies_of_the_environment_are_not_followed(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert privity.ask("x", policy="dev", model="tokens-2") == "word0 word1 "


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SessionSettings(route="confidential"), "no enclave is configured"),
        (SessionSettings(route="local", enclave="http://x"), "no enclave and no relay"),
        (SessionSettings(enclave="nobody"), "no enclave is called"),
        (SessionSettings(policy="nonsense"), "no policy named"),
    ],
)
def test_a_wrong_setting_is_an_input_error(settings: SessionSettings, words: str) -> None:
    with pytest.raises(privity.InputError, match=words):
        open_session(settings)


@pytest.mark.parametrize(
    ("table", "asked"),
    [
        ("", Shape()),
        ("[seal]\nrecords = 1024\ncadence_ms = 0", Shape(1024, None, pace=Pace.EVEN)),
        ("[seal]\ncadence_ms = 7", Shape(cadence_ms=7)),
        ('[seal]\npace = "batch"\ndelay_ms = 9', Shape(pace=Pace.BATCH, delay_ms=9)),
        ('[seal]\npace = "whole"', Shape(cadence_ms=None, pace=Pace.WHOLE)),
    ],
)
def test_the_configured_shape_is_asked_for_in_the_sealed_request(
    configured: Any,
    privity_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    asked: Shape,
) -> None:
    opened: list[Shape] = []  # what the gateway reads in the fields it opened

    class Spy:
        @staticmethod
        def read(fields: Any) -> Shape:
            opened.append(Shape.read(fields))
            return opened[-1]

    monkeypatch.setattr(exchange, "Shape", Spy)
    with (privity_home / "config.toml").open("a") as file:
        file.write(table)
    with privity.http_client(policy="dev") as client:
        body = {"model": "tokens-2", "messages": MESSAGES}
        assert client.post("http://x/v1/chat/completions", json=body).status_code == 200
    assert opened == [asked]


@pytest.mark.parametrize("named", ["mine.toml", "./mine.toml", "policies/mine.toml"])
def test_the_current_directory_does_not_choose_the_configured_policy(
    privity_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    for folder in (tmp_path / "elsewhere", privity_home):
        (folder / named).parent.mkdir(parents=True, exist_ok=True)
    text = 'name = "mine"\n'
    (tmp_path / "elsewhere" / named).write_text(text)
    (privity_home / "config.toml").write_text(f'policy = "{named}"\n')
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(privity.InputError, match="No such file"):
        open_session(SessionSettings(route="local"))
    (privity_home / named).write_text(text)
    open_session(SessionSettings(route="local"))
    (privity_home / named).unlink()
    # Who types a path means the directory they stand in.
    open_session(SessionSettings(route="local", policy=named))


def test_a_revocation_put_into_the_configuration_counts_in_a_session_that_is_open(
    configured: Any, privity_home: Path
) -> None:
    key, now = SigningKey.generate(), datetime.now(UTC)
    value = ReferenceValue("dev", {"measurement": "sha256:" + "0" * 64})
    source = Source("https://git.example/stub", "0123abcd")
    ends = now + timedelta(days=1)
    signed = SignedManifest.sign(Manifest("stub", "b", source, (value,), now, ends), key)
    revoked = SignedRevocation.sign(Revocation(signed.manifest.digest, "backdoor", now), key)
    (privity_home / "approved.json").write_bytes(canonical(signed.to_json()))
    (privity_home / "revoked.json").write_bytes(canonical(revoked.to_json()))
    path = privity_home / "config.toml"
    terms = f'[trust]\nmax_age = 1\nsigners = ["{key.did}"]\nmanifests = ["approved.json"]\n'
    path.write_text(path.read_text().replace("[trust]\n", terms))
    body = {"model": "tokens-2", "messages": MESSAGES}
    with privity.http_client(policy="dev") as client:
        assert client.post("http://x/v1/chat/completions", json=body).status_code == 200
        path.write_text(path.read_text().replace('["approved', '["revoked.json", "approved'))
        time.sleep(1.1)  # the age to which a verified statement is used
        with pytest.raises(privity.EvidenceError, match="took the approval back: backdoor"):
            client.post("http://x/v1/chat/completions", json=body)
    assert len(configured.enclave.seen) == 1


def test_a_failed_enclave_does_not_fall_back_to_the_local_engine(configured: Any) -> None:
    configured.relay.stop()
    with privity.http_client(policy="dev") as client, pytest.raises(privity.PeerError):
        client.post("http://x/v1/chat/completions", json={"messages": MESSAGES})
    with pytest.raises(httpx.ConnectError):
        httpx.get(configured.relay.url, trust_env=False)
