"""A bus for jobs that need no live connection: federated rounds, inboxes, notifications.

A message is sealed to its recipients; it names no sender and no node; relays pass it on only within
its sender's rate, which they check without knowing whose it is; and store nodes keep it for those
who are away. What relays and stores see is the topic, the size's bucket, the number of recipients
rounded up, and when it passed. Whom a node connects to is seen by those it connects to.

Public names: `Bus`, `CaughtUp`, `Channel`, `Delivered`, `Delivery`, `InboxAddress`, `MessageStore`,
`NativeEngine`, `Outcome`, `RateGate`, `RateStamp`, `Rules`, `Settings`, `Spam`, `Subscription`,
`Tentative`, `Verdict`, `WakuMessage`, `channel_named`, `check_address`, `content_topic`,
`message_hash`, `open_payload`, `seal_payload`. py-libp2p, an extra, is needed to run a `Bus` and to
check an address, and for nothing else; the protobuf library, for the bytes of messages.
"""

from __future__ import annotations

from privity.anon.messages.bus import Bus
from privity.anon.messages.delivered import Delivered, Tentative
from privity.anon.messages.engine import NativeEngine
from privity.anon.messages.inbox import InboxAddress, channel_named
from privity.anon.messages.rate_limit import (
    Outcome,
    RateGate,
    RateStamp,
    Rules,
    Spam,
    Verdict,
)
from privity.anon.messages.reading import CaughtUp
from privity.anon.messages.sealing import Channel, open_payload, seal_payload
from privity.anon.messages.settings import Settings, check_address
from privity.anon.messages.store import MessageStore
from privity.anon.messages.subscription import Delivery, Subscription
from privity.anon.messages.topics import content_topic
from privity.anon.messages.waku import WakuMessage, message_hash

__all__ = [
    "Bus",
    "CaughtUp",
    "Channel",
    "Delivered",
    "Delivery",
    "InboxAddress",
    "MessageStore",
    "NativeEngine",
    "Outcome",
    "RateGate",
    "RateStamp",
    "Rules",
    "Settings",
    "Spam",
    "Subscription",
    "Tentative",
    "Verdict",
    "WakuMessage",
    "channel_named",
    "check_address",
    "content_topic",
    "message_hash",
    "open_payload",
    "seal_payload",
]
