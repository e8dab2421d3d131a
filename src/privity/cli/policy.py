"""`privity policy`: what a policy allows, and whether it would admit a job now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import (
    EnclaveOption,
    RelayOption,
    RouteKind,
    RouteOption,
    complete_policy,
)

if TYPE_CHECKING:
    from privity.policy import Policy

__all__ = ["app", "policy_json"]

app = typer.Typer(
    help="Show policies, and check whether one would admit a job.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@app.command("show")
def show(
    policy: Annotated[
        str | None,
        typer.Argument(
            help="A preset or the path of a policy file; absent: list the presets.",
            autocompletion=complete_policy,
        ),
    ] = None,
    as_json: Json = False,
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
    as_json: Json = False,
) -> None:
    """Say whether a policy would admit a job, or why not.

    The enclave is verified as it would be for a job; nothing of a job is sent.
    """
    from privity.cli.job import draw_route, is_dev, settings, verified_route
    from privity.infer.client import Asker

    with Asker(settings(policy, route, enclave, relay)) as asker:
        admitted = verified_route(asker, quiet=as_json)
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
