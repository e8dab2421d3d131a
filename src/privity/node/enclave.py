"""Floor 5: the enclave role: keys made in memory, their statement, an engine behind the seal.

Everything under ``/v1`` is reached through the gateway alone. In the open it serves its statement,
its key configurations and a health check, and nothing else. What it knows of a prompt or an answer
it knows while it passes: nothing is logged, written or kept.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from privity.attest.evidence import Quoter
from privity.attest.evidence_dev import DevQuoter, DevRoot
from privity.attest.publish import build_statement
from privity.errors import EngineError, MalformedError, PrivityError
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url
from privity.identity.timestamps import Clock, utc_now
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.engines.proxy import EngineProxy
from privity.node.receipting import Identity, Receipting
from privity.receipt import EvidenceRef
from privity.seal.asgi import Receive, Scope, Send
from privity.seal.gateway import Gateway, GatewayLimits
from privity.seal.key_config import GatewayKeys
from privity.statement import MEDIA_TYPE, NONCE_BYTES, PATH, Keyset, Software

__all__ = ["Enclave", "dev_enclave"]

logger = logging.getLogger("privity.enclave")

_PROBLEM = (b"content-type", b"application/problem+json")
_JSON = (b"content-type", b"application/json")
_STATEMENT = (b"content-type", MEDIA_TYPE.encode())


class Enclave:
    """One enclave as an ASGI app; its lifespan starts and stops the engine.

    Args:
        engine: what answers.
        quoters: one for each kind of evidence it can give.
        limits: of the gateway.
        unsafe_shared_cache: accept an engine that shares prefixes between callers.
        clock: the time in statements and receipts.

    Guarantees:
        Its keys are made here and never leave (tests/adversary/test_enclave.py). Nothing of a
        prompt or an answer is logged or written (tests/e2e/test_enclave_canary.py).
    """

    def __init__(
        self,
        engine: Engine,
        quoters: Sequence[Quoter],
        *,
        limits: GatewayLimits | None = None,
        unsafe_shared_cache: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        self._engine = engine
        self._quoters = tuple(quoters)
        self._shared_cache = unsafe_shared_cache
        self._clock = clock
        self._keys = GatewayKeys.generate()
        self._signing = SigningKey.generate()
        self._proxy = EngineProxy(engine)
        self._known: Identity | None = None
        sealed = Receipting(self._inside, self._signing, self._identity, clock=clock)
        self._gateway = Gateway(sealed, self._keys, outer=self._outside, limits=limits)

    @property
    def keyset(self) -> Keyset:
        """What it serves under now."""
        return Keyset(
            ohttp=self._keys.configs_bytes,
            receipts=self._signing.did,
            models=self._engine.models,
            software=(Software("privity", importlib.metadata.version("privity")),),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._gateway(scope, receive, send)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._proxy(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except PrivityError as error:
            await self._engine.aclose()
            logger.error("%s%s", error.message, f" ({error.hint})" if error.hint else "")
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._proxy.aclose()
        await self._engine.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        await self._engine.start()
        shared = self._engine.prefix_cache is PrefixCache.SHARED
        if shared and not self._shared_cache:
            raise EngineError(
                f"the {self._engine.kind} engine shares prefix caches between callers: how soon "
                "an answer begins tells one person what another asked",
                hint="take another, or --unsafe-shared-cache where all callers are one person",
            )

    def _identity(self) -> Identity:
        """Return keyset digest and evidence for receipts: quoted once, for the keys stay."""
        if self._known is None:
            keyset = self.keyset
            statement = build_statement(keyset, self._quoters, now=self._clock())
            references = tuple(EvidenceRef.of(dict(one)) for one in statement.evidence)
            self._known = Identity(keyset.digest, references)
        return self._known

    async def _outside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is not sealed."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["method"] != "GET":
            await _answer(send, 404, _PROBLEM, _problem("must be sealed", _HOW))
        elif scope["path"] == PATH:
            await self._publish(scope, send)
        elif scope["path"] == "/healthz":
            await _answer(send, 200, _JSON, b'{"status":"ok"}')
        else:
            await _answer(send, 404, _PROBLEM, _problem("there is nothing here in the open", _HOW))

    async def _publish(self, scope: Scope, send: Send) -> None:
        try:
            nonce = _nonce(scope["query_string"])
        except MalformedError as error:
            await _answer(send, 400, _PROBLEM, _problem("not a challenge", error.message))
            return
        now = self._clock()
        statement = build_statement(self.keyset, self._quoters, now=now, nonce=nonce)
        await _answer(send, 200, _STATEMENT, statement.to_bytes())


def dev_enclave(
    root_path: Path,
    *,
    engine_url: str | None = None,
    engine_key: str | None = None,
    unsafe_shared_cache: bool = False,
    clock: Clock = utc_now,
) -> tuple[Enclave, str]:
    """Return an enclave under ``dev`` evidence, and the did:key of the root that vouches for it.

    Args:
        root_path: the development root's key file, made if absent.
        engine_url: a running engine; None for the embedded one.
        engine_key: its API key.
        unsafe_shared_cache: accept an engine that shares prefixes between callers.
        clock: the enclave's time.

    Raises:
        InputError: the key file is not private, or the URL is none.
    """
    root = DevRoot.load_or_create(root_path)
    engine = OpenAIServer(engine_url, api_key=engine_key) if engine_url else EmbeddedEngine()
    quoter = DevQuoter(root, now=clock())
    enclave = Enclave(engine, [quoter], unsafe_shared_cache=unsafe_shared_cache, clock=clock)
    return enclave, root.did


_HOW = "requests go sealed (RFC 9458) to /.well-known/ohttp-gateway"


def _nonce(query: bytes) -> bytes | None:
    """Return the challenge in ``nonce=``; None where nobody challenges.

    Raises:
        MalformedError: it is there, and is not 32 bytes in base64url.
    """
    if not query:
        return None
    name, _, value = query.decode("latin-1").partition("=")
    if name != "nonce":
        raise MalformedError("a statement is asked for with nonce= and nothing else")
    nonce = decode_base64url(value)
    if len(nonce) != NONCE_BYTES:
        raise MalformedError(f"a nonce has {NONCE_BYTES} bytes, in base64url")
    return nonce


def _problem(title: str, detail: str) -> bytes:
    return json.dumps({"type": "about:blank", "title": title, "detail": detail}).encode()


async def _answer(send: Send, status: int, kind: tuple[bytes, bytes], body: bytes) -> None:
    headers = [kind, (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
