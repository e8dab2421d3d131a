"""Operators that are not the devnet: contracts, entries and relays by commands alone, on anvil."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from anvil import anvil
from native import needs_native
from privity.anon.relays import target_name
from privity.cli.app import run
from privity.ledger.local_chain import LocalChain
from privity.node.role_process import RoleProcess
from privity.seal.gateway import GATEWAY_PATH

pytestmark = [pytest.mark.slow, needs_native]

RELAY = [sys.executable, "-m", "privity.cli", "serve", "relay", "--lifeline"]


class Operator:
    """Runs commands with an account, and reads what they answer."""

    def __init__(self, chain: LocalChain, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.chain, self.folder, self._capsys = chain, folder, capsys
        self.contracts = folder / "contracts.json"
        self.where = ["--ledger", chain.url, "--contracts", str(self.contracts)]

    def __call__(self, *words: str, code: int = 0) -> Any:
        self.quiet()
        assert run([*words, "--json"]) == code, self._capsys.readouterr()
        return json.loads(self._capsys.readouterr().out)

    def quiet(self) -> None:
        """Forget what was written so far."""
        self._capsys.readouterr()

    def told(self) -> str:
        """Return what the last command wrote beside its result."""
        return self._capsys.readouterr().err

    def account(self, name: str) -> tuple[str, str]:
        """Make an account with fees; return its file and address."""
        path = str(self.folder / f"{name}.key")
        address = self("ledger", "account", path)["address"]
        self.chain.fund(address)
        return path, address

    def act(self, *words: str, account: str, code: int = 0) -> Any:
        zero = ["--confirmations", "0", "--account", account]
        return self("registry", *words, *self.where, *zero, code=code)

    def deploy(self, *words: str) -> str:
        owner, _ = self.account("owner")
        issuer, out = str(self.folder / "issuer.key"), str(self.contracts)
        options = ["--account", owner, "--issuer", issuer, "--out", out, "--delay", "1"]
        self("ledger", "deploy", "--ledger", self.chain.url, *options, *words)
        return owner


@pytest.fixture
def operator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Operator]:
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path / "home"))
    with anvil() as chain:
        yield Operator(chain, tmp_path, capsys)


def test_an_entry_is_made_changed_and_withdrawn_by_the_commands(operator: Operator) -> None:
    owner = operator.deploy()
    key = str(operator.folder / "gateway.did")
    made = operator.act(
        *("register", "--kind", "gateway", "--endpoint", "https://gateway.example"),
        *("--key", key, "--keys-digest", "sha256:" + "ab" * 32),
        account=owner,
    )
    assert made["index"] == 0 and made["did"].startswith("did:key:")
    (entry,) = operator("registry", "list", *operator.where)["entries"]
    assert entry["keys_digest"] == "ab" * 32 and entry["endpoint"] == "https://gateway.example"

    # The same identifier a second time would be reached by nobody.
    again = operator.act(
        *("register", "--kind", "gateway", "--endpoint", "https://other.example"),
        *("--key", key, "--keys-digest", "cd" * 32),
        account=owner,
        code=2,
    )
    assert "identifier" in again["error"]["message"]

    stranger, _ = operator.account("stranger")
    refused = operator.act("update", "0", "--price", "7", account=stranger, code=2)
    assert "owner" in refused["error"]["message"]
    operator.act("update", "0", "--price", "7", account=owner)
    (entry,) = operator("registry", "list", *operator.where)["entries"]
    assert (entry["price"], entry["keys_digest"]) == (7, "ab" * 32)

    # Who waits sees what for.
    words = ["register", "--kind", "gateway", "--endpoint", "https://second.example"]
    words += ["--key", str(operator.folder / "second.did"), "--keys-digest", "ab" * 32]
    zero = ["--confirmations", "0", "--account", owner]
    assert run(["registry", *words, *operator.where, *zero]) == 0
    assert "allowing the stake of 100000" in operator.told()

    # Who has no tokens is told so before anything is sent.
    words = ["register", "--kind", "gateway", "--endpoint", "https://poor.example"]
    words += ["--key", str(operator.folder / "poor.did"), "--keys-digest", "ab" * 32]
    sent = operator.chain.ask("eth_blockNumber")
    poor = operator.act(*words, account=stranger, code=2)["error"]
    assert "stakes 100000" in poor["message"] and "has 0" in poor["message"]
    assert "100000 more" in poor["hint"] and "privity ledger mint" in poor["hint"]
    assert operator.chain.ask("eth_blockNumber") == sent

    assert operator.act("withdraw", "0", account=owner, code=2)["error"]
    for index in ("0", "1"):
        operator.act("retire", index, account=owner)
    assert operator("registry", "list", *operator.where)["entries"] == []
    operator.chain.ask("evm_increaseTime", 5)
    operator.chain.ask("anvil_mine", "0x1")
    assert operator.act("withdraw", "0", account=owner)["stake"] == 100_000


def test_relays_that_follow_the_registry_reach_each_other(operator: Operator) -> None:
    owner = operator.deploy()
    roles: list[RoleProcess] = []
    try:
        for name in ("one", "two"):
            keys = ["--keys", str(operator.folder / f"{name}.keys"), "--local-targets"]
            command = [*RELAY, "--follow-registry", *operator.where, *keys]
            roles.append(RoleProcess(name, command, operator.folder, start_limit_s=60))
        first, second = (str(role.ready["url"]) for role in roles)
        listed = operator.act(
            *("register", "--kind", "relay", "--endpoint", second, "--from", second, "--yes"),
            *("--key", str(operator.folder / "two.did")),
            account=owner,
        )
        assert listed["keys_digest"] == roles[1].ready["keys_digest"]
        # Both were started before it was listed: a start reads at once, the rest every minute.
        roles.append(
            RoleProcess(
                "again",
                [*RELAY, "--follow-registry", *operator.where, "--local-targets"],
                operator.folder,
                start_limit_s=60,
            )
        )
        url = f"{roles[2].ready['url']}/{target_name(listed['did'])}"
        keys_found = httpx.get(url, trust_env=False)
        assert hashlib.sha256(keys_found.content).hexdigest() == listed["keys_digest"]
        assert first != second and keys_found.status_code == 200
    finally:
        for role in roles:
            role.stop()


def test_a_listed_address_of_this_machine_is_not_reached(
    operator: Operator, serve: Callable[[Any], str]
) -> None:
    owner = operator.deploy()
    asked: list[str] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

    url = serve(inside)
    listed = operator.act(
        *("register", "--kind", "gateway", "--endpoint", url, "--keys-digest", "ab" * 32),
        *("--did", "did:example:inside"),
        account=owner,
    )
    command = [*RELAY, "--follow-registry", *operator.where]
    role = RoleProcess("relay", command, operator.folder, start_limit_s=60)
    try:
        name = target_name(listed["did"])
        answer = httpx.get(f"{role.ready['url']}/{name}", trust_env=False)
        assert answer.status_code >= 500 and b"secret" not in answer.content
        assert GATEWAY_PATH not in asked
    finally:
        role.stop()


def test_a_relay_without_a_ledger_says_so(operator: Operator) -> None:
    operator.deploy()
    command = [*RELAY[:-1], "--follow-registry", "--ledger", "http://127.0.0.1:1"]
    command += ["--contracts", str(operator.contracts)]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    assert done.returncode != 0 and "error:" in done.stderr


def test_a_network_made_by_commands_alone_answers(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = operator.deploy("--denomination", "1000", "--delay", "600")
    folder = operator.folder
    scope = operator("ledger", "account", owner)["address"]
    (folder / "payments.toml").write_text(
        f'key = "issuer.key"\nstore = "sqlite:spent.db"\nscope = "{scope}"\n'
        f'[ledger]\nurl = "{operator.chain.url}"\ncontracts = "contracts.json"\n'
        'account = "owner.key"\nconfirmations = 0\n'
    )
    roles: dict[str, RoleProcess] = {}

    def start(name: str, kind: str, *words: str) -> dict[str, Any]:
        command = [*RELAY[:-2], kind, "--lifeline", *words]
        roles[name] = RoleProcess(name, command, folder, start_limit_s=90)
        return dict(roles[name].ready)

    def list_(name: str, kind: str, url: str, keys: str, account: str) -> None:
        key = ["--key", str(folder / f"{name}.did"), "--yes"]
        words = ["register", "--kind", kind, "--endpoint", url, "--from", keys, *key]
        operator.act(*words, account=account)

    try:
        root = str(folder / "root.key")
        paid = ["--payments", str(folder / "payments.toml"), "--dev-root", root]
        enclave = start("enclave", "enclave", *paid)
        gateway = start(
            "gateway",
            "gateway",
            *("--enclave", enclave["url"], "--scope", scope, *operator.where),
            *("--store", f"sqlite:{folder / 'signals.db'}", "--confirmations", "0"),
        )
        list_("gateway", "gateway", gateway["url"], gateway["url"], owner)
        fixed = free_ports()
        for name, port in zip(("one", "two"), fixed, strict=True):
            account, address = operator.account(name)
            words = [address, "1000000", "--account", owner, *operator.where]
            assert run(["ledger", "mint", *words]) == 0
            keys = ["--keys", str(folder / f"{name}.keys"), "--port", str(port)]
            start(name, "relay", "--follow-registry", "--local-targets", *operator.where, *keys)
            list_(name, "relay", f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}", account)
        # The first was started before the second was listed; a minute later it would know.
        roles["one"].stop()
        keys = ["--keys", str(folder / "one.keys"), "--port", str(fixed[0])]
        start("one", "relay", "--follow-registry", "--local-targets", *operator.where, *keys)

        person = folder / "person"
        person.mkdir(mode=0o700)
        (person / "config.toml").write_text(
            f'policy = "dev"\n[trust]\ndev_roots = ["{enclave["root"]}"]\n'
            f'[anonymous]\nledger = "{operator.chain.url}"\nconfirmations = 0\n'
            f'contracts = "{operator.contracts}"\nprovider = "{scope}"\n'
        )
        monkeypatch.setenv("PRIVITY_HOME", str(person))
        address = operator("wallet", "account")["address"]
        operator.chain.fund(address)
        words = [address, "1000000", "--account", owner, *operator.where]
        assert run(["ledger", "mint", *words]) == 0
        assert operator("wallet", "top-up")["credits"] == 1000
        assert run(["ask", "--route", "anonymous", "--max-tokens", "2", "Say hi."]) == 0
        assert 0 < operator("wallet", "balance")["credits"] < 1000
    finally:
        for role in roles.values():
            role.stop()


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
