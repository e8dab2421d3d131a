"""What the registry's commands take, and the digest that they fetch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest

from privity import statement
from privity.cli import output
from privity.cli.app import run
from privity.cli.ledger_options import chosen_ledger
from privity.errors import InputError, PeerError, PrivityError
from privity.ledger.providers import ProviderKind
from privity.node import registry_entry
from privity.node.registry_entry import fetch_digest
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.key_config import KEYS_TYPE, GatewayKeys

RELAY, GATEWAY = ProviderKind.RELAY, ProviderKind.GATEWAY


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))
    return tmp_path


def fetched(
    kind: ProviderKind,
    answer: Callable[[httpx.Request], httpx.Response],
    url: str = "http://x.test",
) -> bytes:
    async def fetch() -> bytes:
        return await fetch_digest(kind, url, transport=httpx.MockTransport(answer))

    return anyio.run(fetch)


def test_the_digest_of_a_relay_is_that_of_its_keys() -> None:
    keys = GatewayKeys.generate().configs_bytes

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/base" + GATEWAY_PATH
        assert request.headers["accept"] == KEYS_TYPE
        return httpx.Response(200, content=keys)

    assert fetched(RELAY, answer, "http://x.test/base/") == hashlib.sha256(keys).digest()


@pytest.mark.parametrize("kind", [RELAY, GATEWAY])
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"\x00"),
        httpx.Response(200, content=b"{}"),
        httpx.Response(200, content=b"[" * 9999),
        httpx.Response(200, content=bytes(32 << 20)),
        httpx.Response(404, content=b"nothing here"),
        httpx.Response(302, headers={"location": "http://elsewhere.test"}),
    ],
)
def test_what_has_no_keys_is_refused(kind: ProviderKind, answer: httpx.Response) -> None:
    with pytest.raises(PeerError):
        fetched(kind, lambda _: httpx.Response(answer.status_code, content=answer.content))


def test_what_cannot_be_reached_is_said() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == statement.PATH
        raise httpx.ConnectError("no")

    with pytest.raises(PeerError, match="no connection to it can be made"):
        fetched(GATEWAY, answer)
    with pytest.raises(PrivityError):
        fetched(GATEWAY, answer, "http://[")


def test_options_come_before_what_is_configured(home: Path) -> None:
    with pytest.raises(InputError, match="which ledger"):
        chosen_ledger(None, None)
    with pytest.raises(InputError, match="which ledger"):
        chosen_ledger("http://node.test", None)
    text = '[anonymous]\nledger = "http://mine.test"\ncontracts = "c.json"\nconfirmations = 3\n'
    (home / "config.toml").write_text(text + 'proxy = "socks5h://127.0.0.1:9050"\n')
    found = chosen_ledger(None, None)
    assert (found.url, found.contracts, found.confirmations) == (
        "http://mine.test",
        home / "c.json",
        3,
    )
    assert found.proxy
    assert chosen_ledger("http://other.test", None, 0).url == "http://other.test"
    assert chosen_ledger("http://other.test", None, 0).confirmations == 0
    assert chosen_ledger("http://other.test", Path("d.json")).proxy  # the proxy is for all of this


ENTRY = ["registry", "register", "--kind", "relay", "--endpoint", "http://x.test"]
ENTRY += ["--account", "none.key", "--ledger", "http://x.test", "--contracts", "none.json"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "one identifier"),
        (["--did", "did:a:1", "--key", "x.key"], "one identifier"),
        (["--did", "did:a:1"], "digest of keys"),
        (["--did", "did:a:1", "--keys-digest", "ab"], "64 hexadecimal"),
        (["--did", "did:a:1", "--keys-digest", "ab" * 32, "--from", "http://y"], "same thing"),
        (["--did", "did:a:1", "--keys-digest", "ab" * 32], "none.json"),
    ],
)
def test_what_an_entry_lacks_is_said(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*ENTRY, *words, "--json"]) == 2
    assert told in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_relay_without_targets_is_told_of_the_registry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["serve", "relay"]) == 2
    assert "--follow-registry" in capsys.readouterr().err
    assert run(["serve", "relay", "--target", "a=http://x.test", "--local-targets"]) == 2
    assert "--follow-registry" in capsys.readouterr().err
    assert run(["serve", "relay", "--follow-registry"]) == 2
    assert "[anonymous]" in capsys.readouterr().err


def test_contracts_are_not_written_over(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = home / "contracts.json"
    out.write_text("mine")
    words = ["ledger", "deploy", "--ledger", "http://x.test", "--account", "a", "--issuer", "b"]
    assert run([*words, "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_a_digest_that_is_not_agreed_to_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fetch(kind: ProviderKind, url: str) -> bytes:
        return bytes(32)

    monkeypatch.setattr(registry_entry, "fetch_digest", fetch)
    monkeypatch.setattr(output, "confirm", lambda question: False)
    key = tmp_path / "relay.key"
    code = run(
        [
            *("registry", "register", "--kind", "relay", "--endpoint", "http://relay.test"),
            *("--from", "http://relay.test", "--account", str(tmp_path / "account.key")),
            *("--key", str(key)),
        ]
    )
    said = capsys.readouterr().err
    assert (code, key.exists()) == (output.FAILURE, False)
    assert "00" * 32 in said
    assert "nothing was done" in said
