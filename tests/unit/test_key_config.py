"""Key configurations as bytes, and the private side's lifetime."""

from __future__ import annotations

import copy
import pickle

import pytest

from privity.errors import InputError, MalformedError, StaleKeyError
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.hazmat.kem_xwing import XWing
from privity.seal.key_config import (
    GatewayKeys,
    KeyConfig,
    encode_configs,
    parse_configs,
    preferred,
)
from privity.seal.ohttp import encapsulate_request, open_request

X25519 = KeyConfig(1, 0x0020, bytes(range(32)))
UNKNOWN_KEM = b"\x09\x7f\x7f" + bytes(40)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def listed(*items: bytes) -> bytes:
    return b"".join(len(item).to_bytes(2, "big") + item for item in items)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        X25519.encode()[:2],
        X25519.encode()[:20],
        X25519.encode()[:35],
        X25519.encode()[:-1],
        X25519.encode() + b"\x00",
        X25519.encode()[:35] + b"\x00\x00",
        X25519.encode()[:35] + b"\x00\x02\x00\x01",
        X25519.encode()[:35] + b"\x00\x04\x00\x01\x7f\x7f",
        UNKNOWN_KEM,
    ],
)
def test_a_malformed_or_unusable_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        KeyConfig.parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        listed(X25519.encode())[:-1],
        listed(X25519.encode()) + b"\x00",
        listed(X25519.encode(), b""),
        listed(X25519.encode(), X25519.encode()[:-1]),
        listed(UNKNOWN_KEM),
        bytes(64 * 1024 + 1),
    ],
)
def test_one_encoding_error_refuses_the_whole_list(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_configs(data)


def test_configurations_of_unknown_kems_are_left_out() -> None:
    assert parse_configs(listed(UNKNOWN_KEM, X25519.encode())) == (X25519,)


def test_a_configuration_is_checked_however_it_is_made() -> None:
    for key_id, kem_id, key in ((256, 0x0020, 32), (-1, 0x0020, 32), (1, 0x0020, 31), (1, 1, 32)):
        with pytest.raises(MalformedError):
            KeyConfig(key_id, kem_id, bytes(key))
    with pytest.raises(MalformedError):
        KeyConfig(1, 0x0020, bytes(32), ())


def test_clients_prefer_the_post_quantum_key() -> None:
    configs = GatewayKeys.generate([DhkemX25519(), XWing()]).configs
    assert preferred(configs) is configs[1]
    assert preferred(configs[:1]) is configs[0]
    with pytest.raises(InputError):
        preferred(())


def test_generated_keys_are_published_and_found() -> None:
    keys = GatewayKeys.generate()
    assert [config.kem_id for config in keys.configs] == [XWing.id, DhkemX25519.id]
    assert parse_configs(keys.configs_bytes) == keys.configs == keys.configs
    assert encode_configs(keys.configs) == keys.configs_bytes
    for config in keys.configs:
        assert keys.find(config.key_id).config is config


def test_a_retired_key_is_stale_after_its_grace_period() -> None:
    clock = Clock()
    keys = GatewayKeys.generate([DhkemX25519()], grace_s=600, clock=clock)
    before = keys.configs[0]
    sealed, _ = encapsulate_request(before, b"request")
    clock.now = 5.0
    keys.rotate()
    assert keys.configs[0].key_id == (before.key_id + 1) % 256
    assert keys.configs[0].public_key != before.public_key
    assert before not in keys.configs
    clock.now = 604.9
    assert open_request(keys, sealed)[0] == b"request"
    assert len(keys.live) == 2
    clock.now = 605.0
    with pytest.raises(StaleKeyError):
        open_request(keys, sealed)
    assert len(keys.live) == 1


def test_identifiers_are_unique_among_live_keys_and_run_out_loudly() -> None:
    clock = Clock()
    keys = GatewayKeys.generate([DhkemX25519()] * 100, clock=clock)
    keys.rotate()
    assert len({key.config.key_id for key in keys.live}) == 200
    with pytest.raises(InputError, match="256"):
        keys.rotate()
    clock.now = 1000.0
    keys.rotate()
    assert len({key.config.key_id for key in keys.live}) == 200


def test_a_gateway_needs_a_key() -> None:
    with pytest.raises(InputError):
        GatewayKeys([])


def test_private_keys_are_neither_shown_nor_copied() -> None:
    keys = GatewayKeys.generate([DhkemX25519()])
    assert repr(keys) == f"GatewayKeys(ids=[{keys.configs[0].key_id}])"
    assert "private=<DhkemX25519Key of public key" in repr(keys.live[0])
    for secret in (keys, keys.live[0]):
        for copier in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                copier(secret)
