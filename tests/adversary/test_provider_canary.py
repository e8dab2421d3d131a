"""Nothing of a prompt or an answer is in a file, a log line or an open file of the device's.

A process of its own sends jobs by the zero-retention route with every log turned up to DEBUG, in a
sandbox of folders; then all it wrote is searched. tests/e2e/test_enclave_canary.py shows that the
search finds a canary wherever a process could have left one.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from e2e.test_enclave_canary import Search, sandboxed
from providers.openai_api import openai_app
from providers.standin import KEY, Reply, StandIn, echo

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="looks into processes through /proc"
    ),
]

DEVICE = """
import asyncio, json, logging, sys
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("test").debug("this log is turned up")
import httpx
from privity.errors import PrivityError
from privity.infer.peers import ProviderPeer
from privity.infer.providers.profile import load_profile
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.routes.zero_retention import zero_retention_route
from privity.policy import Kind, Policy
from scripted_detector import ScriptedDetector

async def main():
    url, canary, name = sys.stdin.readline().split()
    pseudonyms = Pseudonymiser(ScriptedDetector({name: Kind.PERSON}))
    route = zero_retention_route(
        ProviderPeer("p", "openai", url), load_profile("openai"),
        policy=Policy.load("dev"), pseudonyms=lambda: pseudonyms,
    )
    def chat(text, **more):
        turns = [{"role": "user", "content": text}]
        return {"model": "gpt-6.2-sol", "messages": turns, **more}
    asked = f"{canary} is what {name} said"
    said = []
    async with httpx.AsyncHTTPTransport() as inner:
        transport = route.transport(None, inner)
        for path, body in (
            ("/v1/chat/completions", chat(asked)),
            ("/v1/chat/completions", chat(asked, stream=True)),
            ("/v1/responses", {"model": "gpt-6.2-sol", "input": asked}),
            ("/v1/chat/completions", chat("fail " + asked)),
            ("/v1/chat/completions", chat("fail " + asked, stream=True)),
            ("/v1/chat/completions", chat("cut " + asked, stream=True)),
            ("/v1/chat/completions", chat(asked, **{canary: canary})),
            ("/v1/chat/completions", chat(asked, store=True)),
            ("/v1/chat/completions", chat(asked, metadata={canary: canary})),
            ("/v1/" + canary, chat(asked)),
            ("/v1/chat/completions", canary),
        ):
            request = httpx.Request("POST", "http://x" + path, content=json.dumps(body))
            try:
                response = await transport.handle_async_request(request)
                said.append(await response.aread())
                await response.aclose()
            except PrivityError as error:
                logging.getLogger("test").exception("refused: %s %s", error.message, error.hint)
    whole = sum(canary.encode() in one and name.encode() in one for one in said)
    print(json.dumps({"answers": len(said), "whole": whole}), flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


def script(text: str, body: dict[str, Any]) -> Reply:
    if text.startswith("fail"):
        return Reply(status=400, error=f"I will not say: {text}")
    if text.startswith("cut"):
        return Reply(text, cut=3)
    return replace(echo(text, body), piece=1000)


async def test_no_canary_is_left_in_any_log_or_file(
    tmp_path: Path, serve: Callable[..., str]
) -> None:
    standin = StandIn(script)
    url = serve(openai_app(standin))
    canary = "canary" + secrets.token_hex(12)
    name = "Anna" + secrets.token_hex(8)
    more = {"OPENAI_API_KEY": KEY, "PYTHONPATH": str(Path(__file__).parents[1])}
    with sandboxed(tmp_path / "box", "-c", DEVICE, **more) as box:
        assert box.process.stdin is not None and box.process.stdout is not None
        box.process.stdin.write(f"{url} {canary} {name}\n".encode())
        box.process.stdin.flush()
        line = await anyio.to_thread.run_sync(box.process.stdout.readline)
        log = (box.folder / "stderr.log").read_text()
        assert line == b'{"answers": 5, "whole": 3}\n', log[-3000:]
        assert standin.problems == [] and len(standin.received) == 6
        assert canary.encode() in standin.bytes_received
        assert name.encode() not in standin.bytes_received
        assert "this log is turned up" in log and "httpcore" in log and "refused: " in log
        needles = (canary, name)
        assert box.search(*needles) == {}
        assert KEY not in log
        box.process.terminate()
        box.process.wait(10)
        assert Search(box.folder, box.started, needles).run([]) == {}
