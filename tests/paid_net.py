"""A paid provider as real processes: a chain, two enclaves over one store, two gateways over one.

Each process can be killed and started again; the engine is a script in this process. There are no
relays: who pays, and for what, is decided behind them. Persons act from this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx

from privity.anon.credits import CreditTerms
from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER, TERMS_PATH, PaymentTerms
from privity.anon.stores import open_store
from privity.errors import AdmissionError
from privity.home import write_private
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.admitted import AdmittedTransport
from privity.infer.anonymous.job import asked
from privity.infer.anonymous.network import Network
from privity.infer.anonymous.paid import PaidTransport
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.teller import Teller
from privity.ledger.accounts import Account, load_or_create_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.deploy import DevTerms, deploy_all
from privity.ledger.local_chain import LocalChain, run_chain
from privity.node.payments import load_issuer_key
from privity.receipt import RECEIPT_TRAILER, SALT_HEADER, decode_trailer, encode_salt, new_salt
from privity.seal.connections import Connections
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.key_config import KeyConfig, parse_configs, preferred
from privity.seal.transport import SealedTransport
from store_servers import free_port

LIMIT_S = 120.0
LEASE_S = 20
LIMIT, STAKE, FUNDS = 1024, 10, 10**6
CHAT = "https://enclave.privity/v1/chat/completions"
SLOW = "slowly"
_CLI = (sys.executable, "-m", "privity.cli")
_PIECES = 200
_PAUSE_S = 0.25


class _Engine(BaseHTTPRequestHandler):
    """Looks like llama-server; streams slowly when it is asked to."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._whole({"data": [{"id": "tiny", "owned_by": "llamacpp"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        if SLOW not in json.dumps(body["messages"]):
            self._whole({"choices": [{"message": {"content": "hi"}}], "usage": usage})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            for _ in range(_PIECES):
                self.wfile.write(b'data: {"choices": [{"delta": {"content": "a "}}]}\n\n')
                self.wfile.flush()
                time.sleep(_PAUSE_S)
        except OSError:
            pass  # the caller left
        self.close_connection = True

    def _whole(self, said: Any) -> None:
        data = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def engine() -> Iterator[str]:
    """Run the scripted engine; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Engine)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Role:
    """A process that can be killed, and started again at its address."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self._log = folder / f"{name}.log"
        self._home = folder / "home"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [*_CLI, "serve", *arguments]
        self._command = [*command, "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PRIVITY_HOME": str(self._home)},
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), self._log.read_text()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(9)

    def stop(self) -> None:
        """End it with SIGTERM, as a supervisor would."""
        self._end(15)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


@dataclass
class PaidNet:
    """The provider.

    Attributes:
        store: the URL of the store that all of it shares.
        receipts: what each whole answer cost, by its receipt.
    """

    folder: Path
    chain: LocalChain
    addresses: Addresses
    accounts: dict[str, Account]
    store: str
    enclaves: list[Role] = field(default_factory=list)
    gateways: list[Role] = field(default_factory=list)
    receipts: list[int] = field(default_factory=list)

    @property
    def payments(self) -> Path:
        return self.folder / "payments.toml"

    @property
    def scope(self) -> str:
        return self.accounts["operator"].address.lower()

    def ledger(self, account: Account | None = None, journal: Path | None = None) -> Ledger:
        return Ledger(
            self.chain.url, self.addresses, signer=account, confirmations=0, journal=journal
        )

    async def charged(self) -> int:
        """Return what all jobs together were charged, by the store."""
        total = cursor = 0
        async with open_store(self.store) as store:
            while True:
                rows, cursor = await store.charged_since(cursor, 100)
                if not rows:
                    return total
                total += sum(amount for _, amount in rows)

    def operator(self, command: str) -> dict[str, Any]:
        """Run a command of the operator's."""
        done = subprocess.run(
            [*_CLI, "operator", command, "--json", "--payments", str(self.payments)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            env={**os.environ, "PRIVITY_HOME": str(self.folder / "home")},
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return dict(json.loads(done.stdout))


@contextmanager
def paid_net(folder: Path, store: str | None = None) -> Iterator[PaidNet]:
    """Run a provider; all of it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        chain = stack.enter_context(run_chain(embedded=False))
        net = _contracts(folder, chain, store)
        url = stack.enter_context(engine())
        root = folder / "root.key"
        for name in ("enclave-a", "enclave-b"):
            role = Role(
                *(folder, name, "enclave", "--dev-root", str(root), "--engine", url),
                *("--payments", str(net.payments)),
            )
            stack.callback(role.stop)
            net.enclaves.append(role)
        for name, enclave in zip(("gateway-a", "gateway-b"), net.enclaves, strict=True):
            role = Role(
                *(folder, name, "gateway", "--enclave", enclave.url, "--scope", net.scope),
                *("--store", net.store, "--ledger", chain.url, "--confirmations", "0"),
                *("--contracts", str(folder / "contracts.json"), "--every", "0.5"),
            )
            stack.callback(role.stop)
            net.gateways.append(role)
        yield net


def _contracts(folder: Path, chain: LocalChain, store: str | None) -> PaidNet:
    import anyio

    accounts = {
        name: load_or_create_account(folder / f"{name}.key") for name in ("deployer", "operator")
    }
    for account in accounts.values():
        chain.fund(account.address)
    terms = DevTerms(
        issuer_key=load_issuer_key(folder / "issuer.key").public,
        operator=accounts["operator"].address,
        signer=accounts["operator"].address,
        stake_per_message=STAKE,
        bounty=STAKE // 2,
        denominations=(100, 1000),
        issue_delay=60,
    )

    async def deploy() -> Addresses:
        journal = folder / "deployer.journal"
        return await deploy_all(chain.url, accounts["deployer"], terms, journal=journal)

    addresses = anyio.run(deploy)
    write_private(folder / "contracts.json", addresses.to_bytes())
    net = PaidNet(folder, chain, addresses, accounts, store or f"sqlite:{folder / 'shared.db'}")
    kept = "sqlite:shared.db" if store is None else store
    text = (
        f'key = "issuer.key"\nstore = "{kept}"\nscope = "{net.scope}"\nlease = {LEASE_S}\n'
        f'[ledger]\nurl = "{chain.url}"\ncontracts = "contracts.json"\n'
        'account = "operator.key"\nconfirmations = 0\n'
    )
    write_private(net.payments, text.encode())
    return net


class _Keys:
    """The keys of whatever enclave a gateway leads to; its evidence is tested elsewhere."""

    def __init__(self, gateway: str, http: httpx.AsyncClient) -> None:
        self._url = gateway + GATEWAY_PATH
        self._http = http

    async def current(self) -> KeyConfig:
        return preferred(parse_configs((await self._http.get(self._url)).content))

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        return await self.current()


@dataclass
class Answer:
    """One answer, read to its end.

    Attributes:
        code: of an error, else empty.
        refund: from the sealed trailer; empty where there was none.
    """

    status: int
    code: str
    refund: bytes


class Payer:
    """A member with credits, in this process."""

    def __init__(self, net: PaidNet, network: Network, ledger: Ledger) -> None:
        self.net = net
        self.network = network
        self.pool = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._http = httpx.AsyncClient(trust_env=False, timeout=30)
        self.teller = Teller(network.wallet, ledger, self._desk, young_s=0)
        self.at = 0
        self.credit_terms: CreditTerms | None = None

    @property
    def wallet(self) -> SharedWallet:
        return self.network.wallet

    def sealed(self, gateway: int) -> httpx.AsyncBaseTransport:
        """Return the way through one gateway: sealed and admitted, not paid for."""
        url = self.net.gateways[gateway].url

        async def prove(digest: bytes) -> str:
            return await self.network.member_prover.prove(self.net.scope, digest)

        admitted = AdmittedTransport(self.pool, prove)
        return SealedTransport(_Keys(url, self._http), url + GATEWAY_PATH, inner=admitted)

    async def _desk(self) -> httpx.AsyncBaseTransport:
        return self.sealed(self.at)

    async def known(self) -> None:
        """Wait until both gateways have read that this one joined."""
        for gateway in range(len(self.net.gateways)):
            with anyio.fail_after(60):
                while not await self._admitted(gateway):
                    await anyio.sleep(0.3)

    async def _admitted(self, gateway: int) -> bool:
        try:
            await asked(self.sealed(gateway), "GET", TERMS_PATH)
        except AdmissionError as error:
            if error.check != "root":
                raise
            return False
        return True

    async def terms(self) -> PaymentTerms:
        status, body = await asked(self.sealed(self.at), "GET", TERMS_PATH)
        assert status == 200
        terms = PaymentTerms.from_bytes(body)
        self.credit_terms = CreditTerms(terms.deployment, terms.issuer)
        return terms

    async def paid(self, gateway: int) -> httpx.AsyncBaseTransport:
        """Return the way through one gateway that pays from the wallet."""
        terms = await self.terms()
        assert self.credit_terms is not None
        purse = self.wallet.purse(self.credit_terms)
        return PaidTransport(self.sealed(gateway), purse, terms.tariff)

    async def ask(self, gateway: int) -> Answer:
        """Ask one question, paid from the wallet."""
        return await self.answered(await self.paid(gateway), chat())

    async def present(self, gateway: int, spend: bytes) -> Answer:
        """Ask one question with these bytes for a spend."""
        request = chat()
        request.headers[SPEND_HEADER] = encode_base64url(spend)
        return await self.answered(self.sealed(gateway), request)

    async def answered(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer:
        """Send a request and read the answer to its end, keeping what its receipt says."""
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        body = b"".join([piece async for piece in response.stream])
        await response.aclose()
        trailers = response.extensions["sealed"].trailers
        if response.status_code == 200:
            document = decode_trailer(trailers[RECEIPT_TRAILER.encode()])
            self.net.receipts.append(document["credentialSubject"]["price"]["charged"])
            return Answer(200, "", _refund(trailers))
        return Answer(response.status_code, json.loads(body)["error"]["code"], _refund(trailers))

    async def aclose(self) -> None:
        await self.pool.aclose()
        await self._http.aclose()
        await self.network.aclose()


def chat(words: str = "Say hi.", *, stream: bool = False) -> httpx.Request:
    """Return a question."""
    return httpx.Request(
        "POST",
        CHAT,
        headers={SALT_HEADER: encode_salt(new_salt())},
        json={
            "model": "tiny",
            "max_tokens": 256,
            "stream": stream,
            "messages": [{"role": "user", "content": words}],
        },
        extensions={"timeout": httpx.Timeout(LIMIT_S).as_dict()},
    )


def _refund(trailers: dict[bytes, bytes]) -> bytes:
    value = trailers.get(REFUND_TRAILER.encode())
    return b"" if value is None else decode_base64url(value.decode())


@asynccontextmanager
async def payer(
    net: PaidNet, folder: Path, *, tokens: int = 1, credits: int = 1000
) -> AsyncIterator[Payer]:
    """Return a new member who bought some tokens."""
    folder.mkdir(parents=True)
    account = Account.generate()
    net.chain.fund(account.address)
    async with net.ledger(net.accounts["deployer"], net.folder / "deployer.journal") as ledger:
        await ledger.token.mint(account.address, FUNDS)
    wallet = SharedWallet(folder / "wallet", os.urandom(32))
    network = Network(net.ledger(), wallet, Connections(), folder=folder)
    async with net.ledger(account, folder / "account.journal") as ledger:
        one = Payer(net, network, ledger)
        try:
            await one.teller.join(LIMIT)
            await one.known()
            for _ in range(tokens):
                await one.teller.top_up(credits)
            yield one
        finally:
            await one.aclose()


__all__ = [
    "FUNDS",
    "LEASE_S",
    "LIMIT",
    "SLOW",
    "STAKE",
    "Answer",
    "PaidNet",
    "Payer",
    "chat",
    "paid_net",
    "payer",
]
