"""`privity policy`: what a policy allows, and whether it would admit a job now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import (
    EnclaveOption,
    JsonOption,
    RelayOption,
    RouteKind,
    RouteOption,
    complete_policy,
)
from privity.cli.hints import hinted_errors, hinting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from privity.infer.catalogue import Shelf
    from privity.policy import Policy

__all__ = ["app", "policy_json"]

app = typer.Typer(
    help="Show policies, and check whether one would admit a job.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_ADMITTED, _REFUSED, _UNKNOWN = "admitted", "refused", "cannot be had now"


@app.command("show")
def show(
    policy: Annotated[
        str | None,
        typer.Argument(
            help="A preset or the path of a policy file; absent: list the presets.",
            autocompletion=complete_policy,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a policy allows, as TOML to copy.

    `privity policy show confidential > mine.toml` is a good start for a policy of your own.
    """
    from privity.policy import PRESETS, Policy

    if policy is not None:
        found = Policy.load(policy)
        if as_json:
            output.emit_json(policy_json(found))
        else:
            output.out(_own_name(found).to_toml(), end="")
        return
    presets = [Policy.load(name) for name in PRESETS]
    if as_json:
        output.emit_json([policy_json(preset) for preset in presets])
        return
    output.out(output.label_rows({preset.name: preset.summary for preset in presets}))
    output.note(f"\nin force: {_in_force()}; see one whole: privity policy show NAME")


def policy_json(policy: Policy) -> dict[str, Any]:
    """Return a policy as data, its ceilings by party and asset."""
    ceilings: dict[str, dict[str, Any]] = {}
    for (party, asset), ceiling in policy.ceilings.items():
        ceilings.setdefault(party.value, {})[asset.value] = {
            "view": ceiling.view.text,
            "grounds": sorted(ground.value for ground in ceiling.grounds),
        }
    return {
        "name": policy.name,
        "summary": policy.summary,
        "evidence": policy.evidence.to_table(),
        "ceilings": ceilings,
    }


def _own_name(policy: Policy) -> Policy:
    """Return the policy under a name that a file may carry: presets keep theirs for themselves."""
    from privity.policy import PRESETS, Policy

    if policy.name not in PRESETS:
        return policy
    return Policy(f"my-{policy.name}", policy.ceilings, policy.summary, policy.evidence)


def _in_force() -> str:
    from privity.infer.config import load_config

    return str(load_config().policy_source)


@app.command("check")
def check(
    ctx: typer.Context,
    policy: Annotated[
        str | None,
        typer.Argument(
            help="A preset or a policy file; absent: the one in force.",
            autocompletion=complete_policy,
        ),
    ] = None,
    route: RouteOption = RouteKind.AUTO,
    enclave: EnclaveOption = None,
    relay: RelayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a policy would admit a job, or why not.

    Every enclave is verified as it would be for a job; nothing of a job is sent. Where there is
    more than one way, each has its verdict, and one that is admitted is enough for exit code 0.
    """
    from privity.cli.job import draw_route, is_dev, settings, verified_route
    from privity.infer.client import Asker

    hinted = hinting(policy, ctx.find_root().command)
    with hinted_errors(hinted), Asker(settings(policy, route, enclave, relay)) as asker:
        if len(asker.transport.ladder.rungs) > 1:
            with output.progress("verifying who would be privy to it", quiet=as_json):
                shelves = asker.shelves()
            for shelf in shelves:
                if shelf.problem is not None:
                    shelf.problem.hint = hinted(shelf.problem.hint)
            _judge(shelves, asker.transport.ladder.policy, as_json=as_json)
            return
        admitted = verified_route(asker, quiet=as_json).admitted
        if not as_json:
            draw_route(admitted)
            return
        output.emit_json(
            {
                "admitted": True,
                "policy": admitted.policy.name,
                "route": admitted.route.name,
                "dev": is_dev(admitted),
                "disclosure": admitted.disclosure.to_json(),
            }
        )


def _judge(shelves: Sequence[Shelf], policy: Policy, *, as_json: bool) -> None:
    """Write the verdict on each way there is; exit with 3 where the policy leaves none."""
    verdicts = [_verdict(shelf) for shelf in shelves]
    if as_json:
        rungs = [_judged(*both) for both in zip(shelves, verdicts, strict=True)]
        admitted = _ADMITTED in verdicts
        output.emit_json({"admitted": admitted, "policy": policy.name, "rungs": rungs})
    else:
        for shelf, verdict in zip(shelves, verdicts, strict=True):
            _write_verdict(shelf, verdict)
        found = verdicts.count(_ADMITTED)
        output.out(f"\nthe policy {policy.name} admits {found or 'none'} of {len(shelves)}")
    if _ADMITTED not in verdicts:
        # Of what cannot be reached nobody knows whether it would be admitted.
        raise typer.Exit(output.REFUSED if _REFUSED in verdicts else output.FAILURE)


def _verdict(shelf: Shelf) -> str:
    from privity.errors import PolicyRefusal

    if shelf.problem is None:
        return _ADMITTED
    return _REFUSED if isinstance(shelf.problem, PolicyRefusal) else _UNKNOWN


def _judged(shelf: Shelf, verdict: str) -> dict[str, Any]:
    from privity.wording import shows_dev

    data = shelf.to_json()
    del data["offers"]
    dev = shelf.disclosure is not None and shows_dev(shelf.disclosure)
    return data | {"admitted": verdict == _ADMITTED, "dev": dev, "verdict": verdict}


def _write_verdict(shelf: Shelf, verdict: str) -> None:
    from privity.wording import printable, summarise

    mark = output.check_mark(verdict == _ADMITTED)
    name = printable(f"{shelf.route}/{shelf.rung}")
    output.out(f"{mark} {output.style(name, 'bold')}: {verdict}")
    if shelf.disclosure is not None:
        output.out(f"  {output.style(summarise(shelf.disclosure), 'dim')}")
    if shelf.problem is not None:
        output.out(f"  {printable(shelf.problem.message)}")
        if shelf.problem.hint:
            hint = output.harmless(shelf.problem.hint).replace("\n", "\n  ")
            output.out(f"  {output.style('hint:', 'cyan')} {hint}")
