"""Floor 5: what an operator lists in the registry: the digest of keys that answer at a URL.

Nothing that is fetched here is verified: the digest is the operator's to compare with what their
role said when it became ready. Clients verify on their own, against what the registry then says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import httpx

from privity import statement
from privity.errors import MalformedError, PeerError
from privity.identity.multibase import encode_base64url
from privity.ledger.providers import ProviderKind
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.key_config import KEYS_TYPE, parse_configs
from privity.statement import Statement
from privity.wording import failure_words

__all__ = ["fetch_digest"]

_KEYS_BYTES = 64 << 10
_TIMEOUT = httpx.Timeout(30, connect=10)


async def fetch_digest(
    kind: ProviderKind,
    url: str,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    randomness: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return the digest that the registry has to name for what answers at a URL, 32 bytes.

    Args:
        kind: a relay, whose key configurations are digested as they are; or a gateway, whose
            enclave's keyset is.
        url: its base URL, or for a gateway that of the enclave behind it.
        transport: an httpx transport to use in place of the network.
        randomness: where the statement's nonce comes from.

    Raises:
        PeerError: it cannot be reached, or answers something else.
    """
    path, accept, most = GATEWAY_PATH, KEYS_TYPE, _KEYS_BYTES
    if kind is ProviderKind.GATEWAY:
        nonce = encode_base64url(randomness(statement.NONCE_BYTES))
        path, accept = f"{statement.PATH}?nonce={nonce}", statement.MEDIA_TYPE
        most = statement.MAX_BYTES
    client = httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, trust_env=False)
    try:
        async with client as http:
            data = await _fetched(http, url.rstrip("/") + path, accept, most)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PeerError(
            f"what answers at this URL cannot be asked for its keys ({failure_words(error)})",
            hint="start it first, and give its base URL",
        ) from error
    try:
        if kind is ProviderKind.GATEWAY:
            digest = Statement.parse(data).keyset.digest
            return bytes.fromhex(digest.removeprefix("sha256:"))
        parse_configs(data)
    except MalformedError as error:
        raise PeerError(f"what answers at this URL has no such keys: {error.message}") from None
    return hashlib.sha256(data).digest()


async def _fetched(http: httpx.AsyncClient, url: str, accept: str, most: int) -> bytes:
    async with http.stream("GET", url, headers={"accept": accept}) as response:
        if response.status_code != 200:
            raise PeerError(f"what answers at this URL said {response.status_code} to its keys")
        found = bytearray()
        async for piece in response.aiter_bytes():
            found += piece
            if len(found) > most:
                raise PeerError(f"what answers at this URL sent keys of more than {most} bytes")
    return bytes(found)
