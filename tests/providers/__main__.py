"""Serves one stand-in on loopback: ``PYTHONPATH=tests python -m providers openai --port 8601``.

A stand-in that speaks the provider's documented API; it is not the provider. It prints its URL and
the key it takes, and with ``--record`` writes what it is sent to a file, each
request as it comes.
"""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path

import uvicorn

from providers.anthropic_api import anthropic_app
from providers.openai_api import azure_app, openai_app
from providers.standin import KEY, StandIn

APPS = {"openai": openai_app, "azure-openai": azure_app, "anthropic": anthropic_app}


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="a stand-in for a provider, on loopback")
    parser.add_argument("provider", choices=APPS)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    if given.record is not None:
        given.record.write_bytes(b"")
    standin = StandIn(record=given.record)
    sock = socket.socket()
    sock.bind(("127.0.0.1", given.port))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    print(json.dumps({"stand_in_for": given.provider, "url": url, "key": KEY}), flush=True)
    server = uvicorn.Server(uvicorn.Config(APPS[given.provider](standin), log_level="warning"))
    server.run(sockets=[sock])


if __name__ == "__main__":
    main()
