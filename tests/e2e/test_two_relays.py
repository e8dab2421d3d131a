"""Two relays in processes of their own, and one that is ended while it holds a message."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from keys import Published
from privity.seal.connections import Connections
from privity.seal.gateway import Gateway
from privity.seal.hops import RelayKeys, exit_url, through_relay
from privity.seal.key_config import GatewayKeys
from privity.seal.transport import SealedTransport, Shape
from two_hops import SECOND, TARGET

RELAY = """
import sys
from pathlib import Path
from privity.node.listen import bind, serve_app
from privity.node.mixing import MixSettings
from privity.node.relay_role import RelaySettings, make_relay
name, url, keys, mixing = sys.argv[1:]
mix = MixSettings(threshold=99, keep=4, period_s=0.5, longest_s=2.0) if mixing == "mix" else None
relay = make_relay(RelaySettings({name: url}, Path(keys), mixing=mix))
def ready(url):
    print(url, (relay.keys_digest or b"").hex(), flush=True)
serve_app(relay, bind("127.0.0.1", 0), on_ready=ready)
"""

pytestmark = pytest.mark.anyio


@contextmanager
def relay(name: str, url: str, keys: Path, mixing: str = "no") -> Iterator[tuple[Any, str, bytes]]:
    command = [sys.executable, "-c", RELAY, name, url, str(keys), mixing]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        where, _, digest = process.stdout.readline().partition(" ")
        yield process, where, bytes.fromhex(digest)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


async def answering(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})


async def test_a_relay_that_ends_delivers_what_it_mixes(
    serve: Callable[[Any], str], tmp_path: Path
) -> None:
    keys = GatewayKeys.generate()
    with ExitStack() as stack:
        gateway = serve(Gateway(answering, keys))
        entered = stack.enter_context(relay(TARGET, gateway, tmp_path / "two", "mix"))
        second, second_url, digest = entered
        _, first_url, _ = stack.enter_context(relay(SECOND, second_url, tmp_path / "one"))
        inner = Connections()
        relay_keys = RelayKeys(inner, first_url, SECOND, digest)
        await relay_keys.current()
        path = through_relay(inner, first_url, SECOND, relay_keys, TARGET)
        plain = Shape(records=None, cadence_ms=None)
        transport = SealedTransport(Published(keys), exit_url(TARGET), inner=path, shape=plain)
        async with httpx.AsyncClient(transport=transport, timeout=30) as client:
            asked = asyncio.create_task(client.post("https://enclave.test/", content=b"q"))
            await asyncio.sleep(0.7)  # it is kept, for at least a second more
            assert not asked.done()
            second.send_signal(signal.SIGTERM)
            assert (await asked).content == b"answer"
        assert await asyncio.to_thread(second.wait, 20) in (0, -signal.SIGTERM)
