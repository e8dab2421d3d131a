"""A node of the network: host, gossip, gate, store, in one event loop of trio.

py-libp2p runs on trio; `bus` runs this in a thread of its own and speaks asyncio to its callers.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from privity.anon.messages.dialling import Dialler
from privity.anon.messages.framing import prefixed
from privity.anon.messages.gossip import Counts, WakuPubsub, WakuRouter
from privity.anon.messages.rate_limit import Candidate, Outcome, RateGate, Verdict
from privity.anon.messages.settings import Settings
from privity.anon.messages.stack import (
    NOISE,
    KeyPair,
    Multiaddr,
    Noise,
    background,
    ended,
    info_from_p2p_addr,
    new_ed25519,
    new_host,
    new_x25519,
    read_frame,
    trio,
)
from privity.anon.messages.store import MessageStore, Page, Question
from privity.anon.messages.store_wire import (
    MAX_REQUEST,
    MAX_RESPONSE,
    STORE_PROTOCOL,
    decode_page,
    decode_question,
    encode_page,
    encode_question,
    encode_refusal,
)
from privity.anon.messages.waku import WakuMessage
from privity.errors import InputError, PeerError, PrivityError

__all__ = [
    "Deliver",
    "Node",
]

logger = logging.getLogger("privity.messages")

_WAITING = 512  # messages whose proofs wait to be verified
_BATCH = 128  # proofs verified together
_PATIENCE_S = 20.0  # for a peer to answer
_ANSWERS = 4  # to one peer at a time: each is made whole, and waits until it is read

Deliver = Callable[[str, WakuMessage], None]


@dataclass(frozen=True)
class _Taken:
    """A message whose proof is to be verified."""

    peer: Any
    raw: Any
    mid: bytes
    message: WakuMessage


class Node:
    """One node. All methods are called in its own event loop.

    Args:
        settings: where it listens, what it gossips on.
        deliver: is called with each message that is relayed, the own ones among them.
        gate: decides what is relayed; without one, whatever has the right form.
        store: keeps what is relayed, and answers questions about it.
    """

    def __init__(
        self,
        settings: Settings,
        deliver: Deliver,
        gate: RateGate | None,
        store: MessageStore | None,
    ) -> None:
        self._settings, self._deliver, self._gate, self._store = settings, deliver, gate, store
        self.counts = Counts()
        self._questions = 0
        self._answering: Counter[Any] = Counter()
        # Without a seed, a fresh name each time: nothing links two sessions.
        pair: KeyPair = new_ed25519(settings.seed)
        # Noise alone: by default py-libp2p also takes TLS, SECIO and plaintext, and the choice is
        # made in the open, so that whoever is on the line could choose.
        noise = Noise(pair, noise_privkey=new_x25519().private_key)
        self._dialler = Dialler()
        self.host = new_host(key_pair=pair, sec_opt={NOISE: noise}, transports=[self._dialler])
        router = WakuRouter(
            self.counts,
            degree=settings.degree,
            low=settings.degree_low,
            high=settings.degree_high,
            beat_s=settings.heartbeat_s,
        )
        self.pubsub = WakuPubsub(self.host, router, self._take, self.counts)
        self._into, self._waiting = trio.open_memory_channel[_Taken](_WAITING)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where peers can reach it, with its name."""
        return tuple(str(address) for address in self.host.get_addrs())

    async def run(self, ready: Callable[[], None], stop: trio.Event) -> None:
        """Run until ``stop``; call ``ready`` when it listens and gossips."""
        listen = [Multiaddr(address) for address in self._settings.listen]
        async with self.host.run(listen), background(self.pubsub.router), background(self.pubsub):
            if self._store is not None:
                self.host.set_stream_handler(STORE_PROTOCOL, self._answer)
            await self.pubsub.wait_until_ready()
            for topic in self._settings.pubsub_topics:
                await self.pubsub.subscribe(topic)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._verify)
                ready()
                await stop.wait()
                nursery.cancel_scope.cancel()
            await self._leave()

    async def _leave(self) -> None:
        """Close every connection, before the tasks that own their sockets are cancelled."""
        with trio.move_on_after(_PATIENCE_S):
            for peer in tuple(self.host.get_connected_peers()):
                with contextlib.suppress(*ended):
                    await self.host.disconnect(peer)
            await self._dialler.close()
        self.pubsub.seen_messages.stop()

    def _named(self, address: str) -> Any:
        """Return who is at an address that a person named, and let it be connected to."""
        info = info_from_p2p_addr(Multiaddr(address))
        self._dialler.name(info.addrs)
        return info

    async def connect(self, address: str) -> str:
        """Connect to a peer, and return its name when it gossips with us.

        Raises:
            PeerError: it cannot be reached, or does not speak Waku's relay protocol in time.
        """
        try:
            info = self._named(address)
            with trio.fail_after(_PATIENCE_S):
                await self.host.connect(info)
                await self.pubsub.wait_for_peer(info.peer_id, _PATIENCE_S)
        except (*ended, trio.TooSlowError, ValueError) as error:
            raise PeerError("the peer cannot be reached, or is no Waku relay") from error
        return str(info.peer_id)

    async def settled(self, peers: int) -> None:
        """Wait until so many peers subscribe to each topic that this node gossips on."""
        with trio.move_on_after(_PATIENCE_S):
            while any(
                len(self.pubsub.peer_topics.get(topic, ())) < peers
                or len(self.pubsub.router.mesh.get(topic, ())) < min(peers, 1)
                for topic in self._settings.pubsub_topics
            ):
                await trio.sleep(0.02)
            return
        raise PeerError(f"fewer than {peers} peers came")

    async def publish(self, pubsub_topic: str, message: WakuMessage) -> None:
        """Gossip an own message, after the gate that others have to pass."""
        if self._gate is not None:
            verdict = self._gate.screen(message)
            if isinstance(verdict, Candidate):
                verdict = self._gate.settle(verdict, True)  # we made the proof
            if verdict.outcome is not Outcome.ACCEPT:
                raise PeerError(f"no peer would relay this message: {verdict.check}")
        self._keep(pubsub_topic, message)
        await self.pubsub.send(pubsub_topic, message.to_bytes())

    async def ask(self, address: str, question: Question) -> Page:
        """Ask a store, and return its page.

        Raises:
            PeerError: it cannot be reached, refused, or does not answer in time.
            MalformedError: it answered something else.
        """
        self._questions += 1
        request_id = str(self._questions)
        request = encode_question(question, request_id)
        try:
            with trio.fail_after(_PATIENCE_S):
                info = self._named(address)
                await self.host.connect(info)
                stream = await self.host.new_stream(info.peer_id, [STORE_PROTOCOL])
                await stream.write(prefixed(request))
                answer = await read_frame(stream, MAX_RESPONSE)
                await stream.close()
        except (*ended, trio.TooSlowError, ValueError) as error:
            raise PeerError("the store cannot be reached, or did not answer") from error
        return decode_page(answer, request_id)

    async def _answer(self, stream: Any) -> None:
        """Answer one question of a peer, and none that comes while others wait to be read."""
        peer = stream.muxed_conn.peer_id
        self._answering[peer] += 1
        try:
            if self._answering[peer] > _ANSWERS:
                await stream.reset()
                return
            with trio.fail_after(_PATIENCE_S):
                request = await read_frame(stream, MAX_REQUEST)
                await stream.write(prefixed(await trio.to_thread.run_sync(self._page, request)))
                await stream.close()
        except (*ended, trio.TooSlowError, ValueError):
            with contextlib.suppress(*ended):
                await stream.reset()
        finally:
            self._answering[peer] -= 1
            if not self._answering[peer]:
                del self._answering[peer]

    def _page(self, request: bytes) -> bytes:
        request_id = ""
        try:
            question, request_id = decode_question(request)
            if self._store is None:
                return encode_refusal(request_id, "no store")
            return encode_page(self._store.answer(question), request_id)
        except PrivityError as error:
            return encode_refusal(request_id, error.message)

    async def _take(self, peer: Any, raw: Any, mid: bytes) -> None:
        """Decide about a message from a peer, or leave it to `_verify`."""
        try:
            message = WakuMessage.from_bytes(raw.data)
            carried = self._settings.carries(raw.topicIDs[0], message.content_topic)
        except PrivityError:
            self.pubsub.refuse(peer, mid, strike=True)
            return
        if not carried:
            self.pubsub.refuse_wrapper(peer, mid)
            return
        taken = _Taken(peer, raw, mid, message)
        if self._gate is None:
            await self._done(taken, Verdict(Outcome.ACCEPT, "good"))
        else:
            await self._into.send(taken)  # waits: the peer is not read from meanwhile

    async def _verify(self) -> None:
        """Check the proofs of what waits, as many together as there are."""
        gate = self._gate
        if gate is None:
            return
        while True:
            waiting = [await self._waiting.receive()]
            while len(waiting) < _BATCH:
                try:
                    waiting.append(self._waiting.receive_nowait())
                except trio.WouldBlock:
                    break
            screened = [gate.screen(taken.message) for taken in waiting]
            claims = [one.statement for one in screened if isinstance(one, Candidate)]
            proved = iter(await trio.to_thread.run_sync(gate.engine.verify_batch, claims))
            for taken, one in zip(waiting, screened, strict=True):
                verdict = gate.settle(one, next(proved)) if isinstance(one, Candidate) else one
                await self._done(taken, verdict)

    async def _done(self, taken: _Taken, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.ACCEPT:
            self._keep(taken.raw.topicIDs[0], taken.message)
            await self.pubsub.accept(taken.peer, taken.raw, taken.mid)
        else:
            strike = verdict.outcome is Outcome.REJECT
            self.pubsub.refuse(taken.peer, taken.mid, strike=strike)

    def _keep(self, pubsub_topic: str, message: WakuMessage) -> None:
        if self._store is not None:
            try:
                self._store.add(pubsub_topic, message)
            except InputError as error:  # a full disk, such as: it still relays
                if not self.counts.unkept:
                    logger.warning("%s; messages are relayed, and not kept", error.message)
                self.counts.unkept += 1
        self._deliver(pubsub_topic, message)
