"""A packet capture on the loopback interface, for the tests that look at what crosses it.

Linux only, and needs the right to open packet sockets (root, or a user namespace's own root).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4


@dataclass(frozen=True)
class Segment:
    """One TCP segment that carried data."""

    source: tuple[str, int]
    target: tuple[str, int]
    sequence: int
    payload: bytes


@dataclass
class Capture:
    """The TCP segments seen so far on the ports of interest."""

    ports: frozenset[int]
    segments: list[Segment] = field(default_factory=list)
    dropped: int = 0

    def flow(self, port: int) -> bytes:
        """Return all bytes sent to or from ``port``, each direction of each connection in order."""
        flows: dict[tuple[tuple[str, int], tuple[str, int]], list[Segment]] = {}
        for segment in self.segments:
            if port in (segment.source[1], segment.target[1]):
                flows.setdefault((segment.source, segment.target), []).append(segment)
        return b"\n".join(_reassemble(segments) for segments in flows.values())

    def addresses(self, port: int) -> set[str]:
        """Return the source addresses of segments sent *to* ``port``."""
        return {s.source[0] for s in self.segments if s.target[1] == port}


def _reassemble(segments: list[Segment]) -> bytes:
    seen: dict[int, bytes] = {}
    for segment in segments:
        if len(segment.payload) > len(seen.get(segment.sequence, b"")):
            seen[segment.sequence] = segment.payload  # retransmissions replace
    first = segments[0].sequence  # sequence numbers wrap at 2^32
    return b"".join(seen[s] for s in sorted(seen, key=lambda s: (s - first) & 0xFFFFFFFF))


def _parse(packet: bytes) -> Segment | None:
    if len(packet) < 54 or packet[12:14] != b"\x08\x00":
        return None
    ip = packet[14:]
    header = (ip[0] & 0x0F) * 4
    if ip[9] != socket.IPPROTO_TCP:
        return None
    total = struct.unpack("!H", ip[2:4])[0]
    tcp = ip[header : total or len(ip)]  # total is 0 where the card offloads segmentation
    sport, dport, sequence = struct.unpack("!HHI", tcp[:8])
    payload = tcp[(tcp[12] >> 4) * 4 :]
    if not payload:
        return None
    source, target = socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])
    return Segment((source, sport), (target, dport), sequence, payload)


@contextlib.contextmanager
def capture_loopback(ports: set[int]) -> Iterator[Capture]:
    """Record every TCP segment to or from ``ports`` on ``lo`` while the block runs.

    Raises:
        PermissionError: this user may not open packet sockets.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
    sock.bind(("lo", 0))
    sock.settimeout(0.1)
    capture = Capture(frozenset(ports))
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                packet, address = sock.recvfrom(1 << 17)
            except TimeoutError:
                continue
            if address[2] == PACKET_OUTGOING:
                continue  # loopback shows every packet twice: leaving and arriving
            segment = _parse(packet)
            if segment and {segment.source[1], segment.target[1]} & capture.ports:
                capture.segments.append(segment)

    thread = threading.Thread(target=read, name="capture", daemon=True)
    thread.start()
    try:
        yield capture
        time.sleep(0.3)  # what is still in the socket's queue
    finally:
        stop.set()
        thread.join()
        statistics = sock.getsockopt(263, 6, 8)  # SOL_PACKET, PACKET_STATISTICS
        capture.dropped = struct.unpack("II", statistics)[1]
        sock.close()
