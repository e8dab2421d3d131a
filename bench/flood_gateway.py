"""A gateway for bench/flood.py in a process of its own, with or without admission; prints its URL.

Without ``--upstream`` it is what stands behind: it reads a request, and answers. With
``--relay`` it is a relay before the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from privity.anon.admission import Admission
from privity.anon.stores import open_store
from privity.node.admission_gateway import AdmissionGateway, EnclaveUpstream
from privity.node.listen import bind, url_of
from privity.node.relay import relay_app
from privity.seal.asgi import ASGIApp, answer, answer_lifespan

SCOPE = "did:key:z6MkFlood"
EPOCH_S = 86400.0 * 365  # the proofs are made in advance
ANSWER = bytes(512)
RELAYED = "gateway"  # as the relay names it


class OneRoot:
    """Members whose root does not change."""

    def __init__(self, root: str) -> None:
        self._root = bytes.fromhex(root)

    def knows(self, root: bytes) -> bool:
        """Tell whether it is this one."""
        return root == self._root


async def trivial(scope: Any, receive: Any, send: Any) -> None:
    """Read a request and answer it."""
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    await answer(send, 200, [(b"content-type", b"message/ohttp-res")], ANSWER)


@asynccontextmanager
async def application(options: argparse.Namespace) -> AsyncIterator[ASGIApp]:
    """Open what the options ask for."""
    if options.upstream is None:
        yield trivial
    elif options.relay:
        yield relay_app({RELAYED: options.upstream})
    elif options.root is None:
        yield EnclaveUpstream(options.upstream)
    else:
        async with open_store(f"sqlite:{options.store}") as store:
            admission = Admission(SCOPE, OneRoot(options.root), store, epoch_s=EPOCH_S)
            yield AdmissionGateway(admission, EnclaveUpstream(options.upstream))


async def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", help="URL behind the gateway; none is the upstream itself")
    parser.add_argument("--root", help="of the members; without it nothing is admitted, all pass")
    parser.add_argument("--relay", action="store_true", help="serve a relay before the upstream")
    parser.add_argument("--store", help="file of the store of signals")
    options = parser.parse_args()
    listener = bind("127.0.0.1", 0)
    async with application(options) as app:
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="on")
        print(url_of(listener), flush=True)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
