"""Evidence in files, as the vendors' tools write it: which kind it is, and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from typing import Any

from privity.attest.evidence import Companions, Findings
from privity.attest.trust import Trust
from privity.attest.verifiers import KINDS, verifier_for
from privity.attested import Check
from privity.errors import InputError, MalformedError

__all__ = ["MAX_FILE_BYTES", "detect_kind", "examine_file"]

MAX_FILE_BYTES = 1 << 20
"""Largest file of evidence, certificates or collateral, in bytes."""

_Parts = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True)
class _Form:
    recognises: Callable[[bytes], bool]
    from_file: Callable[[bytes, Companions], _Parts]


def detect_kind(data: bytes) -> str | None:
    """Return the kind of evidence in a file; None if it looks like none known here."""
    return next((kind for kind in KINDS if _form(kind).recognises(data)), None)


def examine_file(
    data: bytes,
    *,
    kind: str | None,
    companions: Companions,
    bound: bytes | None,
    trust: Trust,
    now: datetime,
) -> tuple[Findings, ...]:
    """Check evidence from a file: one set of findings for each piece in it. Total.

    Args:
        data: the file.
        kind: of `KINDS`; None for what the file looks like.
        companions: what came with it.
        bound: the report data or nonce it must carry; None does not ask.
        trust: what the person accepts.
        now: the time to judge it for.

    Raises:
        InputError: an unknown kind.
    """
    kind = kind or detect_kind(data)
    if kind is None:
        told = "this is no evidence of a kind known here, or it is damaged"
        return (Findings("", (Check("format", False, told),)),)
    verifier = verifier_for(kind, trust)
    if verifier is None:
        raise InputError(f"no kind is called {kind!r:.40}", hint=f"one of {', '.join(KINDS)}")
    try:
        evidence, endorsements = _form(kind).from_file(data, companions)
    except MalformedError as error:
        return _without_companions(data, kind, companions, bound, trust, now, error)
    try:
        return tuple(verifier.examine(one, bound, endorsements, now) for one in evidence)
    except MalformedError as error:
        return (Findings(kind, (Check("format", False, error.message, error.hint),)),)


def _without_companions(
    data: bytes,
    kind: str,
    companions: Companions,
    bound: bytes | None,
    trust: Trust,
    now: datetime,
    error: MalformedError,
) -> tuple[Findings, ...]:
    """Judge the evidence alone, if it was a file beside it that could not be read."""
    if companions == Companions():
        return (Findings(kind, (Check("format", False, error.message, error.hint),)),)
    found = examine_file(
        data, kind=kind, companions=Companions(), bound=bound, trust=trust, now=now
    )
    if any(check.name == "format" and not check.ok for one in found for check in one.checks):
        return found
    what = "collateral" if companions.collateral is not None else "certificate chain"
    bad = Check(what, False, f"a file given beside the evidence cannot be read: {error.message}")
    return tuple(replace(one, checks=_with(one.checks, bad)) for one in found)


def _with(checks: tuple[Check, ...], bad: Check) -> tuple[Check, ...]:
    """Return the checks with this one in the place of that of its name, or at the end."""
    names = [check.name for check in checks]
    if bad.name not in names:
        return (*checks, bad)
    place = names.index(bad.name)
    return (*checks[:place], bad, *checks[place + 1 :])


def _form(kind: str) -> _Form:
    module = import_module(f"privity.attest.evidence_{kind}")
    return _Form(module.recognises, module.from_file)
