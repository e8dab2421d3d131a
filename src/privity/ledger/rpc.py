"""How the ledger is asked: JSON-RPC 2.0 over HTTP to a node that is believed in nothing of form.

One `Rpc` is one node. Its answers are bounded in size and depth, and read by `privity.ledger.wire`
before anything else sees them. No redirect is followed, no proxy of the environment is used, no
cookie is kept, and no address in an answer is ever fetched.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Self

import anyio
import httpx

from privity.errors import InputError, PeerError
from privity.wording import failure_words

__all__ = [
    "Refused",
    "Rpc",
    "TooLarge",
    "printable",
]

MAX_ANSWER = 32 * 1024 * 1024
_TRIES = 3
_PAUSE_S = 0.2
_MAX_REASON = 200
# What may be asked twice: it changes nothing. A transaction is not among them; see journal.py.
_READS = frozenset(
    {
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_estimateGas",
        "eth_getBlockByHash",
        "eth_getBlockByNumber",
        "eth_getCode",
        "eth_getLogs",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
    }
)


class Refused(PeerError):
    """The node answered with an error of JSON-RPC.

    Attributes:
        code: the number the node gave.
        data: what a reverting contract returned, as hex text; empty where the node gave none.
    """

    def __init__(self, message: str, *, code: int, data: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class TooLarge(PeerError):
    """The node's answer is larger than what is read; a narrower question may do."""


class Rpc:
    """A ledger node.

    Args:
        url: its JSON-RPC, ``http://…`` or ``https://…``. It may hold a secret: no message shows it.
        proxy: ``socks5h://…`` or ``http://…``; the node then learns the proxy's address alone.
        transport: an httpx transport to use in place of the network.
        timeout_s: the longest wait for any one step of an answer.
        most: the largest answer that is read, in bytes.

    Raises:
        InputError: the URL or the proxy is none.
    """

    def __init__(
        self,
        url: str,
        *,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_s: float = 20.0,
        most: int = MAX_ANSWER,
    ) -> None:
        try:
            parsed = httpx.URL(url)
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise InputError(
                    "the ledger's node is named by an http:// or https:// address",
                    hint="such as http://127.0.0.1:8545",
                )
            self._http = httpx.AsyncClient(
                proxy=proxy, transport=transport, timeout=timeout_s, trust_env=False
            )
        except (httpx.InvalidURL, ValueError, TypeError, ImportError) as error:
            raise InputError(
                f"not an address of a ledger's node, or of a proxy to it: {type(error).__name__}"
            ) from None
        self._url = parsed
        self._most = most
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, method: str, *params: Any) -> Any:
        """Return the node's result, unread: whoever asked reads it with `privity.ledger.wire`.

        A question that changes nothing is asked up to three times where the node is not reached.

        Raises:
            PeerError: the node is not reached, or its answer is no JSON-RPC.
            TooLarge: the answer is too large.
            Refused: the node answers with an error.
        """
        tries = _TRIES if method in _READS else 1
        for left in reversed(range(tries)):
            try:
                return self._result(await self._post(method, params))
            except httpx.TransportError as error:
                if not left:
                    raise PeerError(
                        f"the ledger's node cannot be reached: {failure_words(error)}",
                        hint="is it running, and is its address right?",
                    ) from None
                await anyio.sleep(_PAUSE_S * (tries - left))
        raise AssertionError("unreachable")  # pragma: no cover

    async def _post(self, method: str, params: Sequence[Any]) -> Any:
        """Send one question and return the parsed answer, checked to be the answer to it."""
        number = next(self._ids)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
        async with self._http.stream(
            "POST", self._url, json=body, follow_redirects=False
        ) as response:
            data = bytearray()
            async for piece in response.aiter_bytes():
                data += piece
                if len(data) > self._most:
                    raise TooLarge(f"the ledger's node answered more than {self._most} bytes")
        # Some nodes give errors of JSON-RPC a status of their own; their body says more than it.
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            raise PeerError(
                f"the ledger's node answered HTTP {response.status_code}, not JSON-RPC"
            ) from None
        if not isinstance(answer, dict) or answer.get("id") not in (number, None):
            raise PeerError("the ledger's node did not answer the question asked")
        return answer

    @staticmethod
    def _result(answer: dict[str, Any]) -> Any:
        error = answer.get("error")
        if error is None:
            if "result" not in answer:
                raise PeerError("the ledger's node answered neither a result nor an error")
            return answer["result"]
        code, message, data = -32603, "no reason", ""
        if isinstance(error, dict):
            code = error["code"] if type(error.get("code")) is int else code
            message = error["message"] if isinstance(error.get("message"), str) else message
            data = _revert_data(error.get("data"))
        raise Refused(f"the ledger's node refused: {printable(message)}", code=code, data=data)


def _revert_data(data: Any) -> str:
    """Return a revert's bytes as hex text, wherever this kind of node puts them."""
    if isinstance(data, dict):
        data = data.get("data")
    return data if isinstance(data, str) and data.startswith("0x") and len(data) < 4096 else ""


def printable(text: str) -> str:
    """Return a stranger's text fit for a message: bounded, on one line, without control codes."""
    kept = "".join(c if c.isprintable() else "?" for c in text[: _MAX_REASON + 1])
    return kept if len(kept) <= _MAX_REASON else kept[:_MAX_REASON] + "…"
