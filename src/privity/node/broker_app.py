"""Floor 5: the broker role: `privity.node.broker` behind HTTP, with a statement of its own.

::

    POST /challenge   { artefact, purpose }            -> { challenge }
    POST /release     { challenge, statement }         -> { sealed, grant, lease_s, root, log }
    POST /grant       { grant, sealed, signature }     -> { grant, log }
    POST /revoke      { revocation }                   -> { grant, log }
    GET  /.well-known/privity/statement?nonce=…        -> the broker's own statement

A challenge is good once, for a minute, whatever comes of it. A refusal is a problem document whose
``check`` names what did not hold. Wire format: spec/key-release.md.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import anyio
from anyio import to_thread

from privity.attest.evidence import Quoter
from privity.attest.grant import Purpose
from privity.attest.grant_revocation import SignedGrantRevocation
from privity.attest.publish import build_statement
from privity.attest.release import BootKeys, Role, open_deposit
from privity.errors import (
    EvidenceError,
    InputError,
    MalformedError,
    OpenError,
    OversizeError,
    PrivityError,
    SealError,
)
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.identity.timestamps import Clock, utc_now
from privity.node.broker import Broker
from privity.node.broker_log import Line
from privity.node.challenges import Challenges
from privity.node.deposit import Deposit
from privity.node.key_client import (
    CHALLENGE_PATH,
    GRANT_PATH,
    RELEASE_PATH,
    RELEASE_PROBLEM,
    REVOKE_PATH,
)
from privity.seal.asgi import (
    Receive,
    Scope,
    Send,
    answer,
    answer_problem,
    read_body,
    refuse_websocket,
)
from privity.seal.problem import BUSY, NO_METHOD, NOT_FOUND
from privity.seal.problem import MEDIA_TYPE as PROBLEM_TYPE
from privity.statement import MAX_BYTES, MEDIA_TYPE, NONCE_BYTES, PATH

__all__ = ["BrokerApp"]

logger = logging.getLogger("privity.broker")

_MAX_BODY = MAX_BYTES + 16_384
_BODY_S = 30.0
_SWEEP_S = 30.0


class BrokerApp:
    """The broker as an ASGI app.

    Args:
        broker: decides.
        quoters: what makes the evidence of the broker itself; at least one.
        clock: the broker's time.
        clock_s: seconds, for challenges.
        randomness: where challenges come from.

    Guarantees:
        A challenge is good once and for `CHALLENGE_S` (tests/adversary/test_broker.py).
    """

    def __init__(
        self,
        broker: Broker,
        quoters: Sequence[Quoter],
        *,
        clock: Clock = utc_now,
        clock_s: Callable[[], float] = time.monotonic,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if not quoters:
            raise InputError("a broker without evidence is none")
        self._broker, self._quoters, self._clock = broker, tuple(quoters), clock
        self._challenges = Challenges(clock_s, randomness)
        self._keys = BootKeys(SigningKey.generate().did, role=Role.BROKER)
        self._deciding = anyio.CapacityLimiter(1)  # the log has one writer at a time anyway
        self._posts: dict[str, Callable[[Any], Awaitable[dict[str, Any]]]] = {
            CHALLENGE_PATH: self._challenge,
            RELEASE_PATH: self._release,
            GRANT_PATH: self._add,
            REVOKE_PATH: self._revoke,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(send)
        else:
            await self._serve(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        async with anyio.create_task_group() as group:
            group.start_soon(self._sweep)
            await receive()
            group.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _sweep(self) -> None:
        """Note in the log when a grant ends, though nobody asks."""
        while True:
            await anyio.sleep(_SWEEP_S)
            try:
                await to_thread.run_sync(self._broker.note_expired, limiter=self._deciding)
            except PrivityError as error:
                logger.error("%s", error.message)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == PATH:
            await self._publish(scope, send)
        elif path not in self._posts:
            await answer_problem(send, NOT_FOUND)
        elif scope["method"] != "POST":
            await answer_problem(send, NO_METHOD)
        else:
            await self._post(path, receive, send)

    async def _post(self, path: str, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, _MAX_BODY, _BODY_S)
            reply = await self._posts[path](loads_strict(body, max_bytes=_MAX_BODY))
        except _Full:
            await answer_problem(send, BUSY)
        except EvidenceError as error:
            await _refuse(send, 403, error.check, error.message)
        except OversizeError:
            await _refuse(send, 413, "size", "the request is larger than any that is taken")
        except SealError:
            await _refuse(send, 400, "format", "the request is not of its form")
        except PrivityError as error:
            logger.error("%s", error.message)
            await _refuse(send, 503, "broker", "the broker cannot decide now")
        else:
            await answer(send, 200, _headers("application/json"), canonical(reply))

    async def _challenge(self, value: Any) -> dict[str, Any]:
        fields = Fields(value, "request")
        artefact, purpose = fields.text("artefact", max_chars=64), _purpose(fields)
        fields.done()
        asked = self._challenges.draw(artefact, purpose)
        if asked is None:
            raise _Full
        return {"challenge": encode_base64url(asked.nonce)}

    async def _release(self, value: Any) -> dict[str, Any]:
        fields = Fields(value, "request")
        nonce = fields.blob("challenge", least=NONCE_BYTES, most=NONCE_BYTES)
        # Spent before anything else is read: what fails below cannot be tried again.
        asked = self._challenges.spend(nonce)
        statement = canonical(fields.object("statement"))
        fields.done()
        if asked is None:
            raise await self._no_challenge(nonce, statement)
        return await to_thread.run_sync(
            self._broker.release, asked, statement, limiter=self._deciding
        )

    async def _no_challenge(self, nonce: bytes, statement: bytes) -> EvidenceError:
        error = EvidenceError(
            "the challenge was not drawn here, was answered before, or ran out", check="challenge"
        )
        # One that was answered before is a sign of somebody in between, and noted, once each;
        # others say nothing about anything that is kept here.
        asked = self._challenges.replayed(nonce)
        if asked is not None:
            await to_thread.run_sync(
                self._broker.note_refusal, asked, statement, error, limiter=self._deciding
            )
        return error

    async def _add(self, value: Any) -> dict[str, Any]:
        deposit = Deposit.from_json(value)
        deposit.check()
        try:
            key = open_deposit(self._keys, deposit.sealed, deposit.signed)
        except OpenError:
            raise EvidenceError(
                "the key was not sealed to this broker as it runs now", check="deposit key"
            ) from None
        line = await to_thread.run_sync(
            self._broker.add, deposit.signed, key, limiter=self._deciding
        )
        return {"grant": deposit.signed.digest, "log": _line(line)}

    async def _revoke(self, value: Any) -> dict[str, Any]:
        fields = Fields(value, "request")
        signed = SignedGrantRevocation.from_json(fields.object("revocation"))
        fields.done()
        line = await to_thread.run_sync(self._broker.revoke, signed, limiter=self._deciding)
        return {"grant": signed.revocation.grant, "log": _line(line)}

    async def _publish(self, scope: Scope, send: Send) -> None:
        """Answer with the broker's own statement, so that an owner can check who keeps keys."""
        if scope["method"] != "GET":
            await answer_problem(send, NO_METHOD)
            return
        nonces = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        try:
            values = nonces.get("nonce", [])
            nonce = decode_base64url(values[0]) if values else None
            if len(values) > 1 or (nonce is not None and len(nonce) != NONCE_BYTES):
                raise MalformedError("a nonce is 32 bytes, once")
        except MalformedError as error:
            await _refuse(send, 400, "nonce", error.message)
            return
        now, keyset = self._clock(), self._keys.keyset
        statement = await to_thread.run_sync(
            lambda: build_statement(keyset, self._quoters, now=now, nonce=nonce)
        )
        await answer(send, 200, _headers(MEDIA_TYPE), statement.to_bytes())


class _Full(Exception):
    """Too many challenges wait for an answer."""


async def _refuse(send: Send, status: int, check: str, detail: str) -> None:
    problem = {
        "check": check,
        "detail": detail,
        "status": status,
        "title": "the key is not released",
        "type": RELEASE_PROBLEM,
    }
    await answer(send, status, _headers(PROBLEM_TYPE), canonical(problem))


def _headers(media_type: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]


def _purpose(fields: Fields) -> Purpose:
    text = fields.text("purpose")
    if text not in list(Purpose):
        raise MalformedError("a purpose is serve or train")
    return Purpose(text)


def _line(line: Line | None) -> dict[str, Any] | None:
    return None if line is None else {"digest": line.digest, "number": line.number}
