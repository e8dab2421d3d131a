"""How `privity verify` puts what was found: each check, what it is worth, and what stays open."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from privity.cli import output

if TYPE_CHECKING:
    from privity.attest.evidence import Findings
    from privity.attested import Check
    from privity.policy import Policy

__all__ = ["Verdict"]

_NUMBERED = re.compile(r"measurement_\d+")  # of GPUs: dozens, most of them zero
# What everything else rests on: a report that nobody is shown to have signed proves nothing.
_GROUND = (
    "format",
    "certificate chain",
    "certificate period",
    "signature",
    "collateral",
    "revocation",
    "endorsement root",
    "quoting key",
    "quote signature",
)
_SIGNED = ("signature", "quote signature")
_REVOCATION = "whether the vendor took a key back since, nobody is asked"


@dataclass(frozen=True)
class Verdict:
    """What was found of a statement or a file.

    Attributes:
        checks: every check, in order.
        findings: one for each piece of evidence.
        at: the time it was judged for.
        missing: what was not checked, and what that leaves open; an empty text for what was.
        keyset: the statement's, if it is one.
        policy: the policy that was asked about a route to this enclave, if one was.
        refusals: why that policy would refuse the route; none admits it.
    """

    checks: tuple[Check, ...]
    findings: tuple[Findings, ...]
    at: datetime
    missing: Mapping[str, str]
    keyset: str | None = None
    policy: str | None = None
    refusals: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether there is evidence, and every check holds."""
        return bool(self.checks) and bool(self.findings) and all(one.ok for one in self.checks)

    @property
    def kinds(self) -> list[str]:
        """The kinds of evidence, one for each piece."""
        return [one.kind for one in self.findings if one.kind]

    @property
    def open(self) -> dict[str, str]:
        """What was not checked, and what that leaves open."""
        names = {check.name for check in self.checks}
        left = {name: why for name, why in self.missing.items() if why}
        if self.kinds and "revocation" not in names and not self._dev:
            left["revocation"] = _REVOCATION
        return left

    @property
    def _dev(self) -> bool:
        return any(one.dev for one in self.findings)

    @property
    def _sound(self) -> bool:
        """Whether what all else rests on was checked, and holds."""
        held = {check.name for check in self.checks if check.ok}
        broken = {check.name for check in self.checks if not check.ok}
        return not broken & set(_GROUND) and bool(held & set(_SIGNED))

    def judged_by(self, policy: Policy, *refusals: str) -> Verdict:
        """Return this with what a policy says of a route to the enclave."""
        return replace(self, policy=policy.name, refusals=refusals)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data."""
        document: dict[str, Any] = {
            "accepted": self.accepted,
            "at": self.at.isoformat(),
            "checks": [
                {"name": check.name, "ok": check.ok, "detail": check.detail}
                for check in self.checks
            ],
            "dev": self._dev,
            "keyset": self.keyset,
            "kind": " + ".join(dict.fromkeys(self.kinds)) or None,
            "kinds": self.kinds,
            "measured": [dict(one.registers) for one in self.findings],
            "not_checked": list(self.open),
        }
        if self.policy is not None:
            document["policy"] = {"name": self.policy, "refuses": list(self.refusals)}
        return document

    def show(self, *, every_register: bool) -> None:
        """Write the verdict for a person."""
        kind = self.kinds[0] if self.kinds else ""
        for check in self.checks:
            if check.name == "evidence kind" and check.ok:
                kind = check.detail
            self._show_check(check, kind)
        for one in self.findings:
            if one.registers:
                output.out()
                _show_registers(one.registers, every_register)
        output.out()
        self._show_limits()
        output.out(f"judged for {self.at:%Y-%m-%d %H:%M:%S} UTC")
        failed = list(dict.fromkeys(check.name for check in self.checks if not check.ok))
        if self.accepted:
            dev = ", as dev evidence: plain software, not hardware" if self._dev else ""
            output.out(output.style("accepted", "green", "bold") + dev)
        else:
            why = ", ".join(failed) or "nothing to check"
            output.out(f"{output.style('not accepted', 'red', 'bold')}: {why}")
        self._show_policy()

    def _show_check(self, check: Check, kind: str) -> None:
        from privity.attest.meaning import meaning_of

        mark = output.check_mark(check.ok)
        output.out(f"{mark} {check.name}: {output.harmless(check.detail)}")
        if check.hint:
            output.out(f"    hint: {output.harmless(check.hint)}")
        meaning = meaning_of(check.name, kind)
        if meaning is not None:
            told = "proves that" if check.ok and self._sound else "would prove that"
            told = f"{told} {meaning.proves}"
            told += f"; not {meaning.leaves}" if meaning.leaves else ""
            output.out(output.style(textwrap.indent(_wrap(told), "    "), "dim"))

    def _show_limits(self) -> None:
        from privity.attest.meaning import NOT_BOUND

        if self.checks and not self._sound:
            told = "what it says is unproven: nobody is shown to have signed it"
            output.out(output.style(told, "yellow"))
        for kind in dict.fromkeys(self.kinds):
            output.out(_wrap(f"{kind}: {NOT_BOUND[kind]}"))
        for name, why in self.open.items():
            output.out(_wrap(f"not checked: {name}: {why}"))

    def _show_policy(self) -> None:
        if self.policy is None or not self.accepted:
            return
        if not self.refusals:
            output.out(f"the policy {self.policy} would admit it")
            return
        output.out(f"the policy {self.policy} would refuse it all the same:")
        for refusal in self.refusals:
            output.out(textwrap.indent(_wrap(refusal), "  "))


def _show_registers(registers: Mapping[str, str], every: bool) -> None:
    shown = {
        name: output.harmless(value)
        for name, value in registers.items()
        if every or not _NUMBERED.fullmatch(name)
    }
    output.out(output.label_rows(shown))
    if len(shown) < len(registers):
        output.out(output.style(f"and {len(registers) - len(shown)} more: --registers", "dim"))


def _wrap(text: str) -> str:
    return textwrap.fill(text, max(output.width() - 6, 40), break_on_hyphens=False)
