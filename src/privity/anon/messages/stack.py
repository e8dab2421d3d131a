"""py-libp2p, brought in once: what it needs before it can be imported, and the parts we use.

py-libp2p 0.8.1 imports at once whatever any part of it needs. Four of those packages are not in our
locks, and where they are missing this module answers for them: `varint` and `python-baseconv` exist
as source archives only, and messages reach nothing of them but variable-length integers; `zeroconf`
(LGPL) and `miniupnpc` find peers in a local network and open a router's ports, which a node of ours
must not do.
"""

from __future__ import annotations

import logging
import sys
import types
import warnings
from typing import Any, BinaryIO

from privity.errors import MissingDependency

__all__ = [
    "ID",
    "NOISE",
    "TCP",
    "GossipSub",
    "KeyPair",
    "MessageCache",
    "Multiaddr",
    "Noise",
    "NotDialled",
    "PriorityQueue",
    "Pubsub",
    "RpcQueue",
    "background",
    "ended",
    "info_from_p2p_addr",
    "new_ed25519",
    "new_host",
    "new_x25519",
    "read_frame",
    "read_id",
    "rpc_pb2",
    "trio",
]


def _encode(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _decode_stream(stream: BinaryIO) -> int:
    number = 0
    for place in range(10):
        byte = stream.read(1)
        if not byte:
            raise EOFError("a variable-length integer ends early")
        number |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return number
    raise ValueError("a variable-length integer has at most 10 bytes")


def _decode_bytes(data: bytes) -> int:
    from io import BytesIO

    return _decode_stream(BytesIO(data))


class _BaseConverter:
    def __init__(self, digits: str, sign: str = "-") -> None:
        self.digits, self.sign = digits, sign

    def encode(self, number: object) -> str:
        raise NotImplementedError("install python-baseconv for multibase's arithmetic bases")

    decode = encode


def _stand_in(name: str, **members: Any) -> None:
    """Register a module of ours under the name of one that is not installed."""
    from importlib.util import find_spec

    if name not in sys.modules and find_spec(name) is None:
        module = types.ModuleType(name, "A stand-in of privity for a package without a wheel.")
        vars(module).update(members)
        sys.modules[name] = module


_stand_in("varint", encode=_encode, decode_stream=_decode_stream, decode_bytes=_decode_bytes)
_stand_in("baseconv", BaseConverter=_BaseConverter)
_ANNOUNCING = ("EventLoopBlocked", "ServiceBrowser", "ServiceInfo", "ServiceListener", "Zeroconf")
_stand_in("zeroconf", **{name: type(name, (Exception,), {}) for name in _ANNOUNCING})
_stand_in("miniupnpc")

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports use what their makers deprecated
        import trio
        from libp2p import new_host
        from libp2p.crypto.ed25519 import create_new_key_pair as new_ed25519
        from libp2p.crypto.keys import KeyPair
        from libp2p.crypto.x25519 import create_new_key_pair as new_x25519
        from libp2p.exceptions import BaseLibp2pError
        from libp2p.peer.id import ID
        from libp2p.peer.peerinfo import info_from_p2p_addr
        from libp2p.pubsub.gossipsub import GossipSub
        from libp2p.pubsub.mcache import MessageCache
        from libp2p.pubsub.pb import rpc_pb2
        from libp2p.pubsub.pubsub import Pubsub
        from libp2p.pubsub.rpc_queue import PriorityQueue, RpcQueue
        from libp2p.pubsub.utils import safe_bytes_from_hex as read_id
        from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
        from libp2p.security.noise.transport import Transport as Noise
        from libp2p.tools.anyio_service import background_trio_service as background
        from libp2p.transport.exceptions import OpenConnectionError as NotDialled
        from libp2p.transport.tcp.tcp import TCP
        from libp2p.utils.varint import read_varint_prefixed_bytes_limited as read_frame
        from multiaddr import Multiaddr
except ImportError as error:
    raise MissingDependency(
        f"messages need py-libp2p, and {error.name or 'a part of it'} is missing",
        hint="`make setup` in a checkout of privity; elsewhere pip install 'privity[messages]', "
        "then pip install --no-deps -r requirements/messages.txt, a file of privity's source",
    ) from error

# It logs peers' addresses; without a handler, Python would write them to the standard error.
logging.getLogger("libp2p").addHandler(logging.NullHandler())

ended = (BaseLibp2pError, trio.BrokenResourceError, trio.ClosedResourceError, EOFError, OSError)
"""What a peer that is gone, or that breaks the protocol, raises in py-libp2p."""
