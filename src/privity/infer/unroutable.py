"""The error for a request that nothing may answer: what was in the way, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from privity.errors import EngineError, InputError, PeerError, PolicyRefusal, PrivityError
from privity.infer.decision import Cause, PassedOver, Wanted
from privity.infer.preference import OfferIndex
from privity.wording import shown

__all__ = ["nothing_left"]

_TOLD = 8
_MOST_REPORTED = 64
_MOST_COMPARED = 128
_RULES = frozenset({Cause.SENSITIVE, Cause.POLICY, Cause.BUDGET, Cause.FALLBACK})


def nothing_left(
    wanted: Wanted, index: OfferIndex, passed: Sequence[PassedOver], *, known: bool
) -> PrivityError:
    """Return the error that says why no offer is left.

    Args:
        wanted: what was asked for.
        index: every offer.
        passed: what would have served by its name, and why it may not.
        known: whether anybody is known to have such a model.

    Returns:
        PeerError or EngineError where something that is admitted only cannot be had now;
        PolicyRefusal where a rule refused all that would have served; InputError else.
    """
    broken = [one for one in passed if one.cause is Cause.BROKEN]
    refused = [one for one in passed if one.cause in _RULES]
    asked = f"{shown(wanted.model)!r}" if wanted.model else "the request"
    meant = "" if known else _close(wanted, index)
    if broken:
        local = all(one.name.startswith("local/") for one in broken)
        return (EngineError if local else PeerError)(
            f"nothing that may answer {asked} can be had now: {_list(broken)}",
            hint=meant + _besides(refused),
        )
    if refused:
        return PolicyRefusal(
            f"nothing may answer {asked}: {_list(refused)}",
            report={"routing": _report(wanted, passed)},
            hint=meant + _change(wanted, refused),
        )
    if passed:
        return InputError(
            f"no model that can answer {asked}: {_list(passed)}", hint="name another model"
        )
    return _unknown(wanted, index)


def _list(passed: Sequence[PassedOver]) -> str:
    told = "; ".join(f"{shown(one.name)}: {shown(one.why, 240)}" for one in passed[:_TOLD])
    left = len(passed) - _TOLD
    return f"{told}; and {left} more" if left > 0 else told


def _besides(refused: Sequence[PassedOver]) -> str:
    if not refused:
        return "is it running, and can it be reached?"
    hint = f"refused besides, and not tried: {_list(refused)}"
    if any(one.cause is Cause.FALLBACK for one in refused):
        hint += '; `fallback = "ceiling"` in [routing] would let what the policy admits stand in'
    return hint


def _change(wanted: Wanted, refused: Sequence[PassedOver]) -> str:
    causes = {one.cause for one in refused}
    if Cause.SENSITIVE in causes:
        kinds = ", ".join(sorted(wanted.because)) or "personal data"
        return f"the prompt holds {kinds}; [sensitive] of the policy says where that may go"
    if Cause.BUDGET in causes:
        return (
            "[routing] budget in config.toml says what may be spent; "
            "a smaller max_tokens costs less"
        )
    return "`privity models` shows what the policy admits"


def _report(wanted: Wanted, passed: Sequence[PassedOver]) -> dict[str, object]:
    return {
        "asked": shown(wanted.model or ""),
        "because": sorted(wanted.because),
        "loosest": wanted.loosest,
        "passed_over": [
            {"cause": one.cause.value, "name": shown(one.name), "why": shown(one.why, 240)}
            for one in passed[:_MOST_REPORTED]
        ],
    }


def _unknown(wanted: Wanted, index: OfferIndex) -> InputError:
    """Return the error for a model nobody has, with names that are close."""
    if not wanted.model:
        return InputError(
            "there is no model to ask",
            hint="start an engine, or add an [[enclave]] or a [[provider]] to config.toml",
        )
    return InputError(
        f"nobody here has a model called {shown(wanted.model)!r}",
        hint=f"{_close(wanted, index)}`privity models` shows every model there is",
    )


def _close(wanted: Wanted, index: OfferIndex) -> str:
    """Return names that are close to one that nobody is known to have."""
    asked = (wanted.model or "")[:_MOST_COMPARED]
    names = [name for name in (*index.by_model, *index.by_name) if len(name) <= _MOST_COMPARED]
    close = difflib.get_close_matches(asked, names, n=3, cutoff=0.6)
    return f"did you mean {', '.join(shown(name) for name in close)}? " if close else ""
