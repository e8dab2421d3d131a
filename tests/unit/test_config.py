from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from privity.attest.evidence_dev import DevRoot
from privity.errors import InputError
from privity.infer.config import Config, load_config, load_devnet
from privity.infer.peers import EnclavePeer
from privity.seal.shaping import Shape

FULL = """
policy = "anonymous"

[[enclave]]
name = "home"
url = "https://enclave.example"
relay = "https://relay.example/home"

[[enclave]]
url = "http://127.0.0.1:9000"

[trust]
dev_roots = ["did:key:one"]
max_age = 60

[seal]
records = 1024
cadence_ms = 25

[device]
port = 8585
allowed_origins = ["http://localhost:3000"]
engine = "http://127.0.0.1:11434/v1"
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text)
    return folder


def devnet_file(folder: Path, **change: object) -> None:
    (folder / "devnet").mkdir(parents=True, exist_ok=True)
    description = {
        "enclave": "http://127.0.0.1:4001",
        "relay": "http://127.0.0.1:4002/devnet",
        "root": "did:key:devnet",
        "pids": {"relay": os.getpid()},
        **change,
    }
    (folder / "devnet" / "devnet.json").write_text(json.dumps(description))


def test_an_absent_file_means_the_defaults(tmp_path: Path) -> None:
    config = load_config(tmp_path)
    assert config == Config()
    assert config.peer() is None
    assert config.trusted_dev_roots == ()


def test_a_full_file_is_read(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, FULL))
    home_peer = EnclavePeer("https://enclave.example", "https://relay.example/home", "home")
    assert config.policy == "anonymous"
    assert config.enclaves == (home_peer, EnclavePeer("http://127.0.0.1:9000"))
    assert (config.max_age, config.port) == (60, 8585)
    assert config.shape == Shape(1024, 25)
    assert config.allowed_origins == ("http://localhost:3000",)
    assert config.engine == "http://127.0.0.1:11434/v1"
    assert config.peer() == config.peer("home") == home_peer
    assert config.peer("https://enclave.example/") == home_peer
    assert config.peer("https://other.example") == EnclavePeer("https://other.example")
    assert config.peer(relay="https://r.example/x") == EnclavePeer(
        "https://enclave.example", "https://r.example/x", "home"
    )
    with pytest.raises(InputError, match="configured: home"):
        config.peer("work")


@pytest.mark.parametrize(
    "text",
    [
        "policy = 1",
        'polcy = "dev"',
        'enclave = "x"',
        '[[enclave]]\nname = "x"',
        '[[enclave]]\nurl = "ftp://x"',
        '[[enclave]]\nurl = "http://user:pass@x"',
        '[[enclave]]\nurl = "http://x/?q=1"',
        '[[enclave]]\nurl = "http://x:99999"',
        '[[enclave]]\nurl = "http://x"\nrely = "http://y"',
        "[trust]\ndev_roots = 'x'",
        "[trust]\nmax_age = 0",
        "[trust]\nmax_age = true",
        "trust = 1",
        "[device]\nport = 70000",
        "[device]\nengine = 'x'",
        "not toml",
        "\x00",
    ],
)
def test_a_wrong_setting_is_refused_with_the_file_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"config\.toml"):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        *((f"records = {value}", "'records'") for value in ("0", "15", "16381", "512.0", "true")),
        *((f"cadence_ms = {value}", "'cadence_ms'") for value in ("-1", "60001", "2.5", "'5'")),
        ("cadence = 5", r"\[seal\] 'cadence'"),
    ],
)
def test_a_wrong_shape_names_its_key(tmp_path: Path, setting: str, key: str) -> None:
    with pytest.raises(InputError, match=key):
        load_config(write(tmp_path, f"[seal]\n{setting}"))


def test_a_running_devnet_stands_in_where_no_enclave_is_configured(tmp_path: Path) -> None:
    devnet_file(tmp_path)
    config = load_config(tmp_path)
    assert config.peer() == EnclavePeer(
        "http://127.0.0.1:4001", "http://127.0.0.1:4002/devnet", "devnet"
    )
    assert config.peer("devnet") == config.peer("http://127.0.0.1:4001")
    assert config.trusted_dev_roots == ("did:key:devnet",)
    configured = load_config(write(tmp_path, FULL))
    assert configured.peer() == configured.enclaves[0]
    assert configured.trusted_dev_roots == ("did:key:one", "did:key:devnet")


def test_a_devnet_whose_processes_are_gone_is_not_there(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    devnet_file(tmp_path, pids={"relay": os.getpid(), "enclave": gone.pid})
    assert load_devnet(tmp_path) is None
    assert load_config(tmp_path).peer() is None


@pytest.mark.parametrize(
    "change", [{"enclave": 1}, {"root": None}, {"pids": 3}, {"pids": ["x"]}, {"relay": "nonsense"}]
)
def test_a_malformed_devnet_file_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    devnet_file(tmp_path, **change)
    with pytest.raises(InputError):
        load_devnet(tmp_path)


def test_a_relay_without_an_enclave_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no enclave to reach"):
        load_config(tmp_path).peer(relay="http://127.0.0.1:1/x")


def test_the_root_of_this_homes_devnet_is_trusted_after_it_has_stopped(tmp_path: Path) -> None:
    root = DevRoot.load_or_create(tmp_path / "devnet" / "root.key")
    config = load_config(tmp_path)
    assert config.devnet is None
    assert config.trusted_dev_roots == (root.did,)


@pytest.mark.parametrize("kind", ["engine", "enclave", "provider"])
def test_two_rungs_of_one_name_are_refused(kind: str, privity_home: Path) -> None:
    one = f'[[{kind}]]\nname = "openai"\nurl = "https://one.example"\n'
    privity_home.mkdir(mode=0o700, exist_ok=True)
    (privity_home / "config.toml").write_text(one + one.replace("one", "two"))
    with pytest.raises(InputError, match="there twice"):
        load_config()


def test_settings_that_others_could_change_are_refused(privity_home: Path) -> None:
    privity_home.mkdir(mode=0o700, exist_ok=True)
    path = privity_home / "config.toml"
    path.write_text("")
    path.chmod(0o666)
    load_config()  # nobody else gets into the folder
    privity_home.chmod(0o755)
    with pytest.raises(InputError, match="others on this machine can change"):
        load_config()
    path.chmod(0o644)
    load_config()


ANONYMOUS = """
[anonymous]
ledger = "http://127.0.0.1:8545"
contracts = "contracts.json"
"""


def test_queries_are_proved_here_unless_a_node_is_named(tmp_path: Path) -> None:
    network = load_config(write(tmp_path, ANONYMOUS)).network
    assert network is not None
    assert (network.prover, network.prover_fallback, network.tokenizers) == ("", False, ())
    more = 'prover = "https://edge.example"\nprover_fallback = true\ntokenizers = ["a.json"]\n'
    network = load_config(write(tmp_path, ANONYMOUS + more)).network
    assert network is not None
    assert (network.prover, network.prover_fallback) == ("https://edge.example", True)
    assert network.tokenizers == ("a.json",)


RUNNING = {"ledger": "http://127.0.0.1:8545", "contracts": "/devnet/contracts.json"}


def test_a_devnet_fills_in_the_network_that_is_not_named(tmp_path: Path) -> None:
    devnet_file(tmp_path, anonymous={**RUNNING, "provider": "0x" + "11" * 20, "confirmations": 0})
    plain = load_config(tmp_path).network
    assert plain is not None and plain.prover == ""
    more = '[anonymous]\nprover = "http://127.0.0.1:9301"\n'
    assert load_config(write(tmp_path, more)).network == replace(
        plain, prover="http://127.0.0.1:9301"
    )
    network = load_config(write(tmp_path, ANONYMOUS)).network
    assert network is not None  # named, it is another network, and nothing of the devnet's
    assert (network.contracts, network.provider) == ("contracts.json", "")


def test_a_network_without_a_ledger_is_told_what_is_missing(tmp_path: Path) -> None:
    lines = '[anonymous]\nprover = "http://127.0.0.1:9301"\n'
    with pytest.raises(InputError, match=r"\[anonymous\] 'ledger' is missing") as refused:
        load_config(write(tmp_path, lines))
    assert "privity devnet --anonymous" in refused.value.hint
    with pytest.raises(InputError, match=r"\[anonymous\] 'contracts' is missing"):
        load_config(write(tmp_path, lines + 'ledger = "http://127.0.0.1:8545"\n'))


@pytest.mark.parametrize(
    "line",
    [
        'prover = "edge.example"',
        'prover = "https://user:word@edge.example"',
        'prover = ""',
        "prover_fallback = true",
        'tokenizers = "a.json"',
        "tokenizers = [1]",
    ],
)
def test_a_prover_that_is_none_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError):
        load_config(write(tmp_path, ANONYMOUS + line + "\n"))
