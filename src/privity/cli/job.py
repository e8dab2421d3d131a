"""What the commands that run a job share: opening a session, drawing its route, writing text."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from privity.cli import output
from privity.cli.choice import RouteKind
from privity.cli.table import render_disclosure, render_refusal
from privity.errors import PolicyRefusal
from privity.infer.decision import Cause, PassedOver
from privity.infer.opening import SessionSettings
from privity.wording import printable, shows_dev, summarise

if TYPE_CHECKING:
    from privity.disclosure import Disclosure
    from privity.infer.asker import Meant
    from privity.infer.client import AnswerStream, Asker
    from privity.infer.routes.route import Route
    from privity.policy import AdmittedRoute
    from privity.receipt import DeviceRecord

__all__ = [
    "Ran",
    "draw_refusal",
    "draw_route",
    "failed_json",
    "given_up",
    "is_dev",
    "ran",
    "settings",
    "tell_failed",
    "tell_otherwise",
    "verified_route",
    "write_text",
]


@dataclass(frozen=True)
class Ran:
    """How a job ran: from what this device signed of it, not from what was meant.

    Attributes:
        name: what answered, such as ``zdr/openai/gpt-5``.
        record: what was signed.
    """

    name: str
    record: DeviceRecord

    @property
    def dev(self) -> bool:
        """Whether something on the route only played what it stands for."""
        return shows_dev(self.record.disclosure)


def settings(
    policy: str | None, route: RouteKind, enclave: str | None, relay: str | None
) -> SessionSettings:
    """Return the options of a command as session settings."""
    return SessionSettings(policy=policy, enclave=enclave, relay=relay, route=route.value)


def verified_route(asker: Asker, body: Mapping[str, Any] | None = None, *, quiet: bool) -> Meant:
    """Return what a request would take, verified and admitted, saying so if it takes long.

    Args:
        asker: whose.
        body: the request it is for, where what a request holds decides; None for no particular.
        quiet: draw nothing.

    Raises:
        PolicyRefusal: after drawing the table with the cells that exceed the policy, unless quiet.
    """
    try:
        with output.progress("verifying who will be privy to it", quiet=quiet):
            return asker.meant(body)
    except PolicyRefusal as refusal:
        if refusal.report.get("route") == "confidential":
            refusal.hint = f"to stay on this device: --route local. Otherwise: {refusal.hint}"
        if not quiet:
            draw_refusal(refusal)
        raise


def draw_route(admitted: AdmittedRoute[Route]) -> None:
    """Draw who will be privy to what, on stderr: stdout is for the answer."""
    _draw_table(admitted.disclosure, "who will be privy to what")
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


def ran(stream: AnswerStream) -> Ran:
    """Return how the job of an answer ran, once the answer has ended.

    Raises:
        ReceiptError: its record does not verify.
    """
    return Ran(stream.route, stream.record)


def tell_failed(failed: Sequence[PassedOver], by: str) -> None:
    """Say on stderr what does not answer, though it was wanted before what does, and why.

    Args:
        failed: what.
        by: the name of what answers.
    """
    for one in failed:
        output.note(printable(f"not by {one.name}: {one.why}; answered by {by}"))


def given_up(meant: Meant, ran: Ran) -> tuple[PassedOver, ...]:
    """Return what was meant, and why it did not answer; nothing where it did.

    It is known as soon as an answer begins.
    """
    if not meant.name or ran.name == meant.name:
        return ()
    routing = ran.record.routing
    passed = () if routing is None else routing.passed_over
    rung = "/".join(meant.name.split("/")[:2])
    why = next((one.why for one in passed if one.name in (rung, meant.name)), "it did not answer")
    return (PassedOver(meant.name, Cause.BROKEN, why),)


def failed_json(meant: Meant, ran: Ran) -> list[dict[str, str]]:
    """Return as data what did not answer, though it was wanted before what did."""
    return [
        {"name": one.name, "cause": one.cause.value, "why": one.why}
        for one in (*meant.failed, *given_up(meant, ran))
    ]


def tell_otherwise(meant: Meant, ran: Ran) -> bool:
    """Say on stderr who was privy to a job that ran otherwise than was meant.

    Returns:
        Whether it did.
    """
    disclosure = ran.record.disclosure
    fell = bool(meant.name) and ran.name != meant.name
    more = not disclosure <= meant.admitted.disclosure
    if more and not fell:
        output.note("while it ran, the route came to disclose more than was verified before")
    if more:
        _draw_table(disclosure, "who was privy to what")
        output.note()
    elif fell:
        output.note(summarise(disclosure))
    return fell or more


def _draw_table(disclosure: Disclosure, heading: str) -> None:
    table = render_disclosure(
        disclosure,
        width=output.width(),
        color=output.uses_color(sys.stderr),
        ascii_only=not output.takes_unicode(sys.stderr),
        heading=heading,
    )
    output.note(table)


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
