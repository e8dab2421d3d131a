"""The Redis store: one view for several gateways; each operation is one script on the server.

Redis answers before it writes unless it is told otherwise, and may drop keys when memory is short.
A server that does either is refused: ``appendonly yes``, ``appendfsync always`` and, where memory
is bounded, ``maxmemory-policy noeviction`` are demanded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from privity.anon.field import Field
from privity.anon.stores import (
    Began,
    Charged,
    Conflict,
    Fresh,
    Lapsed,
    OpenableStore,
    Recorded,
    Running,
    Seen,
    Settled,
    Taken,
    store_failed,
)
from privity.errors import InputError, PeerError

__all__ = ["RedisStore"]

_CONNECTIONS = 64
_ANSWER_S = 10.0
_PRUNED_TOGETHER = 500
# The part in braces puts all keys on one node of a cluster, where a script may touch them together.
_KEYS = "{privity}"
_EPOCHS = f"{_KEYS}:epochs"  # sorted set: key of a hash of signals -> its epoch
_SETTLED = f"{_KEYS}:settled"  # sorted set: nullifier -> the number of its settlement
_NUMBER = f"{_KEYS}:number"

_RECORD = """
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if kept then return kept end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
return false
"""
_PRUNE = """
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
local total = 0
for _, name in ipairs(names) do
  total = total + redis.call('HLEN', name)
  redis.call('UNLINK', name)
  redis.call('ZREM', KEYS[1], name)
end
return {#names, total}
"""
_BEGIN = """
local kept = redis.call('HMGET', KEYS[1], 'fingerprint', 'until', 'refund', 'charged')
if not kept[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'held', ARGV[2], 'until', ARGV[3])
  return {'fresh'}
end
if kept[1] ~= ARGV[1] then return {'taken'} end
if kept[3] then return {'settled', kept[3], kept[4]} end
if tonumber(kept[2]) > tonumber(ARGV[4]) then return {'running', kept[2]} end
redis.call('HSET', KEYS[1], 'until', ARGV[3])
return {'lapsed'}
"""
_SETTLE = """
local kept = redis.call('HMGET', KEYS[1], 'fingerprint', 'held', 'refund')
if kept[1] ~= ARGV[1] then return false end
if kept[3] then return kept[3] end
if tonumber(ARGV[3]) > tonumber(kept[2]) or tonumber(ARGV[3]) < 0 then return false end
redis.call('HSET', KEYS[1], 'refund', ARGV[2], 'charged', ARGV[3])
if tonumber(ARGV[3]) > 0 then
  redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[4])
end
return ARGV[2]
"""
_CHARGED = """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf',
  'WITHSCORES', 'LIMIT', 0, ARGV[2])
local out = {}
for at = 1, #found, 2 do
  out[#out + 1] = {found[at], redis.call('HGET', ARGV[3] .. found[at], 'charged'), found[at + 1]}
end
return out
"""


class RedisStore(OpenableStore):
    """Signals and spends in a Redis server.

    Args:
        url: of the server.
        unsafe_durability: accept a server that may forget what it answered.

    Guarantees:
        A server that answers before it has written, or drops keys, is refused
        (`test_redis_that_may_forget_is_refused`, tests/adversary/test_stores_crash.py).
    """

    def __init__(self, url: str, *, unsafe_durability: bool = False) -> None:
        self._unsafe = unsafe_durability
        try:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=_ANSWER_S,
                socket_timeout=_ANSWER_S,
                socket_connect_timeout=_ANSWER_S,
                # A command that is sent twice would find itself to be a duplicate.
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, RedisError) as error:
            raise InputError("the URL of the Redis store is not one") from error
        self._server = redis.asyncio.Redis.from_pool(pool)
        scripts = (_RECORD, _PRUNE, _BEGIN, _SETTLE, _CHARGED)
        self._scripts = {text: self._server.register_script(text) for text in scripts}

    async def _open(self) -> None:
        """Connect, and check that the server is durable."""
        try:
            await self._server.ping()
            if not self._unsafe:
                await self._refuse_forgetful()
        except RedisError as error:
            raise PeerError("the Redis server cannot be reached") from error

    async def _close(self) -> None:
        """Close the connections."""
        await self._server.aclose()

    async def _refuse_forgetful(self) -> None:
        """Raise `InputError` unless answers follow their write to disk, and nothing is dropped."""
        hint = "or ?unsafe_durability=1 to accept double spending"
        try:
            found: dict[str | None, str | None] = {}
            for name in ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy"):
                found |= await self._server.config_get(name)
        except ResponseError as error:
            raise InputError(
                "this Redis server does not say whether it is durable",
                hint=f"let its user run CONFIG GET, {hint}",
            ) from error
        if found.get("appendonly") != "yes" or found.get("appendfsync") != "always":
            raise InputError(
                "this Redis server may forget what it answered",
                hint=f"set appendonly yes and appendfsync always, {hint}",
            )
        if found.get("maxmemory") != "0" and found.get("maxmemory-policy") != "noeviction":
            raise InputError(
                "this Redis server drops keys when its memory is full",
                hint=f"set maxmemory-policy noeviction, {hint}",
            )

    async def record(
        self, scope: str, epoch: int, nullifier: Field, x: Field, y: Field
    ) -> Recorded:
        """Keep a signal, or say what is kept in its place."""
        signals = f"{_KEYS}:signals:{epoch}:{scope}"
        kept = await self._run(_RECORD, [signals, _EPOCHS], [nullifier, x + y, epoch])
        if kept is None:
            return Seen.NEW
        return Seen.DUPLICATE if kept[:32] == x else Conflict(kept[:32], kept[32:])

    async def prune(self, before_epoch: int) -> int:
        """Forget the signals of earlier epochs, some epochs at a time."""
        total, more = 0, True
        while more:
            epochs, signals = await self._run(_PRUNE, [_EPOCHS], [before_epoch, _PRUNED_TOGETHER])
            total, more = total + signals, epochs > 0
        return total

    async def begin(
        self, nullifier: bytes, fingerprint: bytes, held: int, *, lease_s: float, now: float
    ) -> Began:
        """Begin a spend, or say how it stands."""
        # repr: seventeen digits, so that the server reads the very number.
        values = [fingerprint, held, repr(now + lease_s), repr(now)]
        match await self._run(_BEGIN, [_spend(nullifier)], values):
            case [b"fresh"]:
                return Fresh()
            case [b"running", until]:
                return Running(float(until))
            case [b"lapsed"]:
                return Lapsed()
            case [b"settled", refund, charged]:
                return Settled(refund, int(charged))
            case [b"taken"]:
                return Taken()
        raise store_failed("Redis")

    async def settle(
        self, nullifier: bytes, fingerprint: bytes, refund: bytes, charged: int
    ) -> bytes:
        """Settle a spend; return the refund that is kept."""
        keys = [_spend(nullifier), _SETTLED, _NUMBER]
        kept = await self._run(_SETTLE, keys, [fingerprint, refund, charged, nullifier.hex()])
        if kept is None:
            raise InputError("this spend was not begun here, or holds less")
        return cast(bytes, kept)

    async def charged_since(self, cursor: int, most: int) -> tuple[Sequence[Charged], int]:
        """Return settled spends in the order of their settlement."""
        rows = await self._run(_CHARGED, [_SETTLED], [cursor, most, f"{_KEYS}:spend:"])
        charged = [(bytes.fromhex(name.decode()), int(cost)) for name, cost, _ in rows]
        return charged, int(float(rows[-1][2])) if rows else cursor

    async def _run(self, script: str, keys: Sequence[str], values: Sequence[Any]) -> Any:
        try:
            return await self._scripts[script](keys=list(keys), args=list(values))
        except RedisError as error:
            raise store_failed("Redis") from error


def _spend(nullifier: bytes) -> str:
    return f"{_KEYS}:spend:{nullifier.hex()}"
