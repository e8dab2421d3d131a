"""The thread that a node lives in: trio's loop there, the caller's loop elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from privity.anon.messages.node import Deliver, Node
from privity.anon.messages.rate_limit import RateGate
from privity.anon.messages.settings import Settings
from privity.anon.messages.stack import ended, trio
from privity.anon.messages.store import MessageStore
from privity.errors import PeerError

__all__ = ["run_node"]


def run_node(
    settings: Settings,
    deliver: Deliver,
    gate: RateGate | None,
    store: MessageStore | None,
    ready: Future[Any],
) -> None:
    """Run a node until it is ended; give ``(node, call, end)`` to ``ready`` once it runs.

    ``call(work, done)`` runs ``work`` in the node's loop and resolves ``done``; ``end()`` ends it.
    Both may be called from any thread.
    """
    try:
        trio.run(_live, settings, deliver, gate, store, ready)
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(_told(error))


async def _live(
    settings: Settings,
    deliver: Deliver,
    gate: RateGate | None,
    store: MessageStore | None,
    ready: Future[Any],
) -> None:
    token, stop = trio.lowlevel.current_trio_token(), trio.Event()
    node = Node(settings, deliver, gate, store)
    async with trio.open_nursery() as nursery:

        def call(work: Callable[[], Awaitable[Any]], done: Future[Any]) -> None:
            _soon(token, lambda: nursery.start_soon(_resolve, work, done), done)

        def end() -> None:
            _soon(token, stop.set, Future())

        await node.run(lambda: ready.set_result((node, call, end)), stop)
        nursery.cancel_scope.cancel()


async def _resolve(work: Callable[[], Awaitable[Any]], done: Future[Any]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = await work()
    except trio.Cancelled:
        done.set_exception(PeerError("the bus was closed meanwhile"))
        raise
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(result)


def _soon(token: Any, work: Callable[[], object], done: Future[Any]) -> None:
    """Run ``work`` in the node's loop, or say that it ended."""
    try:
        token.run_sync_soon(work)
    except trio.RunFinishedError:
        done.set_exception(PeerError("the bus is closed"))


def _told(error: BaseException) -> BaseException:
    """Return the error as privity's, where it is a peer's or the network's."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, ended):
        told = PeerError("the node cannot listen; another program may have the port")
        told.__cause__ = error
        return told
    return error
