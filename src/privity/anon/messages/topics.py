"""Names of topics (23/WAKU2-TOPICS): content topics, and the pubsub topics of the shards.

A content topic says what a message is about; a pubsub topic is what nodes subscribe to and gossip
on. Many content topics share one shard, so that a subscription says little.
"""

from __future__ import annotations

import hashlib
import re

from privity.errors import InputError, MalformedError

__all__ = ["check_topic", "content_topic", "has_four_parts", "shard_topic"]

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")
_MAX_TOPIC = 256


def content_topic(application: str, version: int, name: str, encoding: str = "sealed") -> str:
    """Return ``/{application}/{version}/{name}/{encoding}``.

    Raises:
        InputError: a part is empty, longer than 64 characters, or has others than
            letters, digits and ``. _ ~ -``; or the version is negative.
    """
    for part in (application, name, encoding):
        if not _PART.fullmatch(part):
            raise InputError(f"{part!r} cannot be part of a content topic")
    if version < 0:
        raise InputError("the version of a content topic is 0 or more")
    return f"/{application}/{version}/{name}/{encoding}"


def has_four_parts(topic: str) -> bool:
    """Tell whether it is ``/application/version/name/encoding``.

    What is hashed or proved is often a payload with the topic after it, nothing between. With its
    four slashes a topic cannot end, nor begin, at another place.
    """
    parts = topic.split("/")
    return len(parts) == 5 and not parts[0] and all(parts[1:])


def shard_topic(topic: str, *, cluster: int, shards: int) -> str:
    """Return the pubsub topic that a content topic is gossiped on.

    ``/waku/2/rs/{cluster}/{shard}``; the shard is the last eight bytes of SHA-256 of application
    and version, modulo their number (51/WAKU2-RELAY-SHARDING, automatic sharding, generation 0).

    Raises:
        InputError: the content topic has not four parts, or there is no shard.
    """
    if not has_four_parts(topic):
        raise InputError("a content topic is /application/version/name/encoding")
    parts = topic.split("/")
    if shards < 1 or cluster < 0:
        raise InputError("a network has at least one shard, and its cluster is 0 or more")
    digest = hashlib.sha256((parts[1] + parts[2]).encode()).digest()
    return f"/waku/2/rs/{cluster}/{int.from_bytes(digest[-8:], 'big') % shards}"


def check_topic(topic: str) -> str:
    """Return the topic that a peer sent, if it can be one.

    Raises:
        MalformedError: it is empty, too long, or has characters that are not printable.
    """
    if not 0 < len(topic.encode("utf-8", "replace")) <= _MAX_TOPIC or not topic.isprintable():
        raise MalformedError(f"a topic is 1 to {_MAX_TOPIC} bytes of printable text")
    return topic
