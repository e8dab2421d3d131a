"""`privity up`: the device daemon: an endpoint on loopback for what speaks one of two APIs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import EnclaveOption, PolicyOption, RelayOption, RouteKind, RouteOption
from privity.cli.hints import hinting

if TYPE_CHECKING:
    from privity.infer.session import PrivateTransport

__all__ = ["up"]

_HOST = "127.0.0.1"
_POLL_S = 0.2


def up(
    ctx: typer.Context,
    policy: PolicyOption = None,
    route: RouteOption = RouteKind.AUTO,
    enclave: EnclaveOption = None,
    relay: RelayOption = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="TCP port on 127.0.0.1; by default that of config.toml, else 8484; 0: a free one.",
            min=0,
            max=65535,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="A web origin whose pages may call, such as http://localhost:3000."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Show what it is doing, on a terminal.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON line when ready, then nothing.")
    ] = False,
) -> None:
    """Make any app private: an OpenAI-compatible endpoint.

    An app needs nothing but this base URL, and the daemon's token as its API key; apps that speak
    Anthropic's API take the URL without `/v1`. The daemon listens on loopback only, applies your
    policy to each request, verifies and seals to an enclave, replaces what is personal before a
    provider gets it, streams, and keeps a receipt of every job. On the anonymous route it gets
    back, in its own time, what was spent on answers that never came.
    """
    from privity.cli.job import settings
    from privity.home import home
    from privity.infer.config import load_config
    from privity.infer.opening import open_session
    from privity.node.access import AccessControl
    from privity.node.device import DeviceApp, load_or_create_token, token_path
    from privity.node.listen import bind, serve_app

    config = load_config()
    path = token_path(home())
    origins = frozenset([*config.allowed_origins, *(allow_origin or [])])
    access = AccessControl(load_or_create_token(path), origins)
    transport = open_session(settings(policy, route, enclave, relay), config=config)
    sock = bind(_HOST, config.port if port is None else port)
    hinted = hinting(policy, ctx.find_root().command)
    screen = _Screen(transport, hinted, live=live and not as_json and sys.stdout.isatty())

    def ready(url: str) -> None:
        base = f"{url}/v1"
        if as_json:
            document = {"ready": True, "url": url, "base_url": base, "token_file": str(path)}
            output.json_line(document)
            return
        rows = {"OpenAI's clients": base, "Anthropic's": url, "API key": f"the content of {path}"}
        output.out(output.style("privity is up", "bold") + "; Ctrl-C stops it\n")
        output.out(output.label_rows(rows) + "\n")
        output.out(f"export OPENAI_BASE_URL={base} OPENAI_API_KEY=$(cat '{path}')")
        output.out(f"export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=$(cat '{path}')\n")
        screen.start()

    try:
        serve_app(DeviceApp(transport, access, hinted=hinted), sock, on_ready=ready)
    finally:
        screen.stop()


class _Screen:
    """The live view on a terminal; elsewhere a line whenever the route's state changes."""

    def __init__(
        self, transport: PrivateTransport, hinted: Callable[[str], str], *, live: bool
    ) -> None:
        self._transport = transport
        self._hinted = hinted
        self._wants_live = live
        self._live: Any = None
        self._stop = threading.Event()
        self._teller = threading.Thread(target=self._tell, daemon=True)

    def start(self) -> None:
        if not self._wants_live:
            self._teller.start()
            return
        from privity.node.live import live_view

        self._live = live_view(self._transport, hinted=self._hinted)
        self._live.start()

    def stop(self) -> None:
        self._stop.set()
        if self._live is not None:
            self._live.stop()

    def _tell(self) -> None:
        from privity.node.live import came_back, live_state

        spends = 0
        told: dict[str, str] = {}
        while not self._stop.wait(_POLL_S):
            state = live_state(self._transport)
            recovered = state["recovered"]
            if recovered is not None and recovered["spends"] > spends:
                spends = recovered["spends"]
                output.note(came_back(recovered))
            for route in state["rungs"] or [state["route"]]:
                name = str(route.get("name", ""))
                said = _said(route)
                if said != told.get(name) and route["status"] != "starting":
                    output.note(f"{name} {said}" if state["rungs"] else said)
                    told[name] = said


def _said(route: dict[str, Any]) -> str:
    """Return how a rung is, and who would read what it answers."""
    problem, summary = route["problem"], route.get("summary", "")
    detail = problem["message"] if problem else summary
    return f"{route['status']}: {detail}" if detail else str(route["status"])
