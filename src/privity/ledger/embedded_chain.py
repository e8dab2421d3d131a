"""The embedded EVM (eth-tester over py-evm) behind JSON-RPC, where there is no anvil.

``python -m privity.ledger.embedded_chain PORT`` serves it on loopback. It mines each transaction at
once and forgets all when it ends. For the devnet and tests: nothing here guards against anyone.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

from privity.errors import MissingDependency

__all__ = ["EmbeddedChain"]

_MOST = 4 * 1024 * 1024
_REVERTED = 3


class EmbeddedChain:
    """An EVM in this process that answers JSON-RPC as anvil does, as far as `privity.ledger` asks.

    Raises:
        MissingDependency: eth-tester, py-evm or web3 is not installed.
    """

    def __init__(self) -> None:
        try:
            # By name: eth-tester has no types.
            tester: Any = import_module("eth_tester")
            from web3 import EthereumTesterProvider, Web3
        except ImportError as error:
            raise MissingDependency(
                "the embedded chain needs eth-tester, py-evm and web3",
                hint="pip install 'eth-tester[py-evm]' web3",
            ) from error
        self._tester = tester.EthereumTester(tester.PyEVMBackend())
        provider = EthereumTesterProvider(self._tester)
        web3 = Web3(provider)
        self._request: Any = provider.request_func(web3, web3.middleware_onion)
        self._lock = threading.Lock()

    def answer(self, body: bytes) -> bytes:
        """Return the answer to one JSON-RPC question."""
        question = json.loads(body)
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": question.get("id")}
        with self._lock:
            try:
                reply |= self._ask(question["method"], list(question.get("params", [])))
            except Exception as error:  # a chain of one's own says whatever went wrong
                reply["error"] = _error(error)
        return json.dumps(reply).encode()

    def _ask(self, method: str, params: list[Any]) -> dict[str, Any]:
        """Return the result or the error of a question."""
        if method == "anvil_setBalance":
            self._give(params[0], int(params[1], 16))
            return {"result": None}
        if method == "evm_increaseTime":
            now = self._tester.get_block_by_number("latest")["timestamp"]
            self._tester.time_travel(now + int(params[0]))
            return {"result": params[0]}
        if method == "eth_maxPriorityFeePerGas":
            return {"result": "0x3b9aca00"}
        if method == "eth_getBlockByNumber" and str(params[0]).startswith("0x"):
            head = int(self._tester.get_block_by_number("latest")["number"])
            if int(params[0], 16) > head:
                return {"result": None}
        if method == "eth_call" and isinstance(params[1], Mapping):
            found = self._request("eth_getBlockByHash", [params[1]["blockHash"], False])
            params[1] = hex(found["result"]["number"])
        if method == "eth_getLogs":
            return {"result": _plain(self._logs(**params[0]))}
        answer = self._request(method, params)
        if "error" in answer:
            return {"error": answer["error"]}
        return {"result": _plain(answer["result"])}

    def _logs(self, *, address: str, fromBlock: str, toBlock: str) -> list[dict[str, Any]]:
        """Return what a contract wrote in some blocks."""
        first, last = int(fromBlock, 16), int(toBlock, 16)
        found = self._tester.get_logs(address=address, from_block=first, to_block=last)
        return [
            {
                "address": log["address"],
                "topics": list(log["topics"]),
                "data": log["data"],
                "blockNumber": log["block_number"],
                "blockHash": log["block_hash"],
                "logIndex": log["log_index"],
            }
            for log in found
        ]

    def _give(self, address: str, wei: int) -> None:
        """Give an account ether, from one that the tester filled."""
        richest = max(self._tester.get_accounts(), key=self._tester.get_balance)
        self._tester.send_transaction(
            {"from": richest, "to": address, "value": wei, "gas": 21_000, "gas_price": 10**10}
        )


def _error(error: Exception) -> dict[str, Any]:
    """Return an exception as other nodes give it: a revert with what the contract returned."""
    from eth_abi.abi import encode

    text = str(error)
    _, reverted, reason = text.partition("execution reverted: ")
    if not reverted:
        return {"code": -32603, "message": f"{type(error).__name__}: {text}"}
    data = "0x08c379a0" + encode(["string"], [reason]).hex()
    return {"code": _REVERTED, "message": text, "data": data}


def _plain(value: Any) -> Any:
    """Return a value in the encodings of JSON-RPC: numbers and bytes in hexadecimal."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]


class _Handler(BaseHTTPRequestHandler):
    chain: EmbeddedChain
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one question."""
        size = int(self.headers.get("content-length", "0"))
        answer = self.chain.answer(self.rfile.read(min(size, _MOST)))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    """Serve a chain on the loopback port given as the only argument, until killed."""
    _Handler.chain = EmbeddedChain()
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()


if __name__ == "__main__":
    main()
