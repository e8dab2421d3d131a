"""A ledger node in memory: answers as told, counts what it was asked, can be made to lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
from eth_utils.crypto import keccak

CHAIN = 31337


class Down(Exception):
    """The node does not answer this question."""


class ScriptedNode:
    """Mines what is sent, one transaction a block, unless told otherwise.

    Attributes:
        asked: every question, in order: its method and its parameters.
        mined: hash to raw transaction, in order.
        answers: what to answer for a method, in place of what this node would.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Any]]] = []
        self.sent: list[str] = []
        self.mined: dict[str, str] = {}
        self.answers: dict[str, Callable[..., Any]] = {}
        self.tip = 10**9
        self.chain = CHAIN
        self.status = "0x1"

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.asked)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        question = json.loads(request.content)
        method, params = question["method"], question["params"]
        self.asked.append((method, params))
        answer = self.answers.get(method) or getattr(self, method)
        try:
            reply = {"result": answer(*params)}
        except Down as error:
            raise httpx.ConnectError("down") from error
        except RuntimeError as error:
            reply = {"error": {"code": -32000, "message": str(error)}}
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": question["id"], **reply})

    def eth_chainId(self) -> str:
        return hex(self.chain)

    def eth_blockNumber(self) -> str:
        return hex(len(self.mined))

    def eth_getTransactionCount(self, _address: str, _at: str) -> str:
        return hex(len(self.mined))

    def eth_getCode(self, _address: str, _at: str) -> str:
        return "0x60"

    def eth_estimateGas(self, _call: dict[str, Any]) -> str:
        return "0x5208"

    def eth_maxPriorityFeePerGas(self) -> str:
        return hex(self.tip)

    def eth_getBlockByNumber(self, number: str, _full: bool) -> dict[str, Any]:
        height = len(self.mined) if number == "latest" else int(number, 16)
        return {
            "number": hex(height),
            "hash": "0x" + height.to_bytes(32, "big").hex(),
            "timestamp": "0x1",
            "baseFeePerGas": "0x7",
        }

    def eth_sendRawTransaction(self, raw: str) -> str:
        hash_ = "0x" + keccak(hexstr=raw).hex()
        self.sent.append(hash_)
        if hash_ in self.mined:
            raise RuntimeError("already known")
        self.mined[hash_] = raw
        return hash_

    def eth_getTransactionByHash(self, hash_: str) -> dict[str, Any] | None:
        return {"hash": hash_} if hash_ in self.mined else None

    def eth_getTransactionReceipt(self, hash_: str) -> dict[str, Any] | None:
        if hash_ not in self.mined:
            return None
        height = list(self.mined).index(hash_) + 1
        return {
            "transactionHash": hash_,
            "blockNumber": hex(height),
            "blockHash": "0x" + height.to_bytes(32, "big").hex(),
            "status": self.status,
            "gasUsed": "0x5208",
            "contractAddress": None,
            "logs": [],
        }
