"""A relay's own keys in their file, and what its gateway publishes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.cli.app import run
from privity.errors import InputError
from privity.node import relay_role
from privity.node.relay import RelayLimits
from privity.node.relay_role import RelaySettings, load_relay_keys, make_relay
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.key_config import KEYS_TYPE, parse_configs


async def published(relay: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(relay)) as client:
        return await client.get(f"http://relay{GATEWAY_PATH}")


@pytest.mark.anyio
async def test_the_digest_of_its_keys_holds_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "relay.keys"
    answers = []
    for _ in range(2):
        relay = make_relay(RelaySettings({}, path))
        answer = await published(relay)
        assert answer.headers["content-type"] == KEYS_TYPE
        assert relay.keys_digest == hashlib.sha256(answer.content).digest()
        answers.append(answer.content)
    assert answers[0] == answers[1]
    assert [config.kem_id for config in parse_configs(answers[0])] == [0x647A, 0x0020]
    assert path.stat().st_mode & 0o777 == 0o600
    other = make_relay(RelaySettings({}, tmp_path / "other.keys"))
    assert other.keys_digest != relay.keys_digest


@pytest.mark.anyio
async def test_a_first_hop_alone_has_no_keys() -> None:
    relay = make_relay(RelaySettings({}))
    assert relay.keys_digest is None
    assert (await published(relay)).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 99999,
        b'{"type":"privity/relay-keys/v1","keys":[]}',
        b'{"type":"privity/relay-keys/v1","keys":[{"id":1,"kem":32,"seed":"canary"}]}',
        b'{"type":"privity/relay-keys/v1","keys":[{"id":1,"kem":99,"seed":"canary"}]}',
        b'{"type":"privity/relay-keys/v1","keys":[{"id":true,"kem":32,"seed":"canary"}]}',
    ],
)
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "relay.keys"
    path.write_bytes(wrong)
    path.chmod(0o600)
    with pytest.raises(InputError) as caught:
        load_relay_keys(path)
    assert "canary" not in str(caught.value)
    assert path.read_bytes() == wrong  # and stays, for a person to look at


def test_two_keys_with_one_identifier_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.keys"
    load_relay_keys(path)
    document = json.loads(path.read_bytes())
    document["keys"][1]["id"] = document["keys"][0]["id"]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError):
        load_relay_keys(path)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.keys"
    load_relay_keys(path)
    path.chmod(0o640)
    with pytest.raises(InputError, match="others"):
        load_relay_keys(path)


def test_the_command_sets_what_one_address_may_send(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RelaySettings] = []

    def made(settings: RelaySettings) -> Any:
        seen.append(settings)
        raise InputError("enough")

    monkeypatch.setattr(relay_role, "make_relay", made)
    command = ["serve", "relay", "--target", "a=http://x.test"]
    assert run(command) == 2
    assert run([*command, "--each-per-s", "0.5", "--each-burst", "7"]) == 2
    usual = RelayLimits()
    assert [(one.limits.each_per_s, one.limits.each_burst) for one in seen] == [
        (usual.each_per_s, usual.each_burst),
        (0.5, 7.0),
    ]
