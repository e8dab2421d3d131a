"""What the commands that run a job share: opening a session, drawing its route, writing text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from privity.cli import output
from privity.cli.choice import RouteKind
from privity.cli.table import render_disclosure, render_refusal
from privity.errors import PolicyRefusal
from privity.infer.opening import SessionSettings
from privity.wording import shows_dev

if TYPE_CHECKING:
    from privity.infer.client import Asker
    from privity.infer.routes.route import Route
    from privity.policy import AdmittedRoute

__all__ = ["draw_refusal", "draw_route", "is_dev", "settings", "verified_route", "write_text"]


def settings(
    policy: str | None, route: RouteKind, enclave: str | None, relay: str | None
) -> SessionSettings:
    """Return the options of a command as session settings."""
    return SessionSettings(policy=policy, enclave=enclave, relay=relay, route=route.value)


def verified_route(
    asker: Asker, body: Mapping[str, Any] | None = None, *, quiet: bool
) -> AdmittedRoute[Route]:
    """Return the route once it is verified and admitted, saying so if it takes long.

    Args:
        asker: whose.
        body: the request it is for, where what a request holds decides; None for no particular.
        quiet: draw nothing.

    Raises:
        PolicyRefusal: after drawing the table with the cells that exceed the policy, unless quiet.
    """
    try:
        with output.progress("verifying who will be privy to it", quiet=quiet):
            return asker.route(body)
    except PolicyRefusal as refusal:
        if refusal.report.get("route") == "confidential":
            refusal.hint = f"to stay on this device: --route local. Otherwise: {refusal.hint}"
        if not quiet:
            draw_refusal(refusal)
        raise


def draw_route(admitted: AdmittedRoute[Route]) -> None:
    """Draw who will be privy to what, on stderr: stdout is for the answer."""
    table = render_disclosure(
        admitted.disclosure,
        width=output.width(),
        color=output.uses_color(sys.stderr),
        ascii_only=not output.takes_unicode(sys.stderr),
        heading="who will be privy to what",
    )
    output.note(table)
    output.note(f"\nadmitted by the policy {admitted.policy.name}")
    if is_dev(admitted):
        warning = output.style("dev", "yellow", "bold", stream=sys.stderr)
        plays = "the enclave is plain software; its host could read all of it"
        if admitted.route.terms is not None:
            plays = "this is not the provider; whoever runs it could read and keep all of it"
        output.note(f"{warning}: {plays}")
    output.note()


def draw_refusal(refusal: PolicyRefusal) -> None:
    """Draw the table of a refused route, its offending cells marked, on stderr.

    A refusal that is about no single route has none.
    """
    if "disclosure" not in refusal.report:
        return
    color, ascii_only = output.uses_color(sys.stderr), not output.takes_unicode(sys.stderr)
    table = render_refusal(refusal.report, width=output.width(), color=color, ascii_only=ascii_only)
    output.note(table + "\n")


def is_dev(admitted: AdmittedRoute[Route]) -> bool:
    """Tell whether something on the route only plays what it stands for."""
    enclave = admitted.route.enclave
    return (enclave is not None and enclave.dev) or shows_dev(admitted.disclosure)


def write_text(piece: str) -> None:
    """Write a piece of a model's text to stdout at once.

    A model's words may hold sequences that a terminal obeys; there they are shown, not obeyed.
    Files and pipes get the text as it is.
    """
    output.out(output.harmless(piece) if sys.stdout.isatty() else piece, end="")
