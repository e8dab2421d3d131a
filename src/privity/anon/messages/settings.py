"""Settings of a node."""

from __future__ import annotations

from dataclasses import dataclass, field

from privity.anon.messages.topics import check_topic, shard_topic
from privity.errors import InputError

__all__ = ["DEFAULT_CLUSTER", "Settings", "check_address"]

DEFAULT_CLUSTER = 1789
"""The cluster of privity's own shards; clusters up to 1023 are Waku's to give out."""


@dataclass(frozen=True)
class Settings:
    """Where a node listens and what it gossips on.

    Attributes:
        listen: multiaddresses; ``/tcp/0`` takes a free port.
        cluster: number of the network.
        shards: how many pubsub topics its content topics are spread over.
        only: these pubsub topics instead of all shards.
        degree: peers of the mesh that it aims at, as the next two bound.
        degree_low: below it, it looks for more.
        degree_high: above it, it lets some go.
        heartbeat_s: between two looks at the mesh, and between two offers of what peers may miss.
        seed: 32 secret bytes that the node's name is made from, for one that others have to find
            again; without it the name is new at each start, so that nothing links two.
    """

    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    cluster: int = DEFAULT_CLUSTER
    shards: int = 1
    only: tuple[str, ...] = ()
    degree: int = 6
    degree_low: int = 4
    degree_high: int = 12
    heartbeat_s: float = 1.0
    seed: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.degree_low <= self.degree <= self.degree_high:
            raise InputError("the degrees of a mesh are low <= degree <= high")
        if self.heartbeat_s <= 0 or self.shards < 1:
            raise InputError("a heartbeat takes time, and there is at least one shard")
        if self.seed is not None and len(self.seed) != 32:
            raise InputError("a node's seed has 32 bytes")
        for topic in self.only:
            check_topic(topic)

    @property
    def pubsub_topics(self) -> tuple[str, ...]:
        """What the node subscribes to."""
        if self.only:
            return self.only
        return tuple(f"/waku/2/rs/{self.cluster}/{shard}" for shard in range(self.shards))

    def pubsub_topic(self, topic: str) -> str:
        """Return the pubsub topic that a content topic is gossiped on."""
        if self.only:
            return self.only[0]
        return shard_topic(topic, cluster=self.cluster, shards=self.shards)

    def carries(self, pubsub_topic: str, topic: str) -> bool:
        """Tell whether a content topic is gossiped on a pubsub topic of this node.

        Raises:
            InputError: it is no content topic.
        """
        return pubsub_topic in self.only or pubsub_topic == self.pubsub_topic(topic)


def check_address(address: str, *, peer: bool) -> str:
    """Return a multiaddress that a person gave: a peer's with its name, or one to listen on.

    Raises:
        InputError: it is none.
        MissingDependency: py-libp2p is not installed.
    """
    from privity.anon.messages.stack import Multiaddr, ended, info_from_p2p_addr

    try:
        found = Multiaddr(address)
        if peer:
            info_from_p2p_addr(found)
    except (*ended, ValueError) as error:
        form = "/ip4/HOST/tcp/PORT" + ("/p2p/NAME" if peer else "")
        raise InputError(f"{address!r} is not a multiaddress such as {form}") from error
    return address
