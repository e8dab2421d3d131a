"""Policies and presets, and the only door through which a route gets to run.

A `Policy` states for each party and asset the largest view it may have and the grounds that are
accepted for it. `Policy.admit` compares that with what a route's disclosure states, and returns
an `AdmittedRoute` or raises `PolicyRefusal`, before a byte leaves. Policies are written in TOML
(spec/disclosure.md); the presets are such files, read by the same reader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from privity.disclosure import Asset, Disclosure, Party
from privity.errors import InputError, PolicyRefusal
from privity.home import read_file
from privity.policy import file, refusal
from privity.policy.ceiling import NO_CEILING, Ceiling, Offence
from privity.policy.evidence import EvidencePolicy
from privity.policy.sensitive import SensitivePolicy
from privity.policy.terms import Terms, TermsPolicy

__all__ = ["PRESETS", "AdmittedRoute", "Policy", "Routed"]

PRESETS = ("local-only", "anonymous", "confidential", "zero-retention", "dev")
"""The named presets, strictest first; the last two each loosen ``confidential`` their own way."""

_MAX_FILE = 64 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MINT = object()  # only `Policy.admit` holds it, so only it can make an AdmittedRoute


class Routed(Protocol):
    """What a policy needs to know of a route."""

    @property
    def name(self) -> str:
        """What to call the route in messages and receipts."""

    @property
    def disclosure(self) -> Disclosure:
        """Who could learn what, computed from verified facts."""

    @property
    def terms(self) -> Terms | None:
        """What the provider on it promises; None where nobody has to."""


RouteT = TypeVar("RouteT", bound=Routed)


@dataclass(frozen=True)
class AdmittedRoute(Generic[RouteT]):
    """A route that a policy admits; only `Policy.admit` makes one, and only these may run.

    Attributes:
        route: the route, untouched.
        policy: the policy that admitted it.
        disclosure: the very table that was compared, even if the route's own changes later.

    Guarantees:
        Holding one means that the policy was asked
        (tests/unit/test_policy.py::test_only_admit_makes_an_admitted_route).
    """

    route: RouteT
    policy: Policy
    disclosure: Disclosure
    _mint: InitVar[object] = None

    def __post_init__(self, _mint: object) -> None:
        if _mint is not _MINT:
            raise TypeError("an AdmittedRoute comes from Policy.admit alone")


@dataclass(frozen=True)
class Policy:
    """The most a person lets each party learn, and on which grounds.

    Attributes:
        name: what receipts call it; lower-case letters, digits, ``.``, ``_`` and ``-``.
        ceilings: by party and asset; a pair that is absent may have `NO_CEILING` only, which
            is nothing at all, resting on mathematics if on anything.
        summary: one line for people.
        evidence: the floor under evidence, which the verifiers uphold before a route is made.
        terms: the floor under a provider's terms, which `admit` upholds.
        sensitive: what recognised personal data demands of the route, which the router upholds.

    Guarantees:
        A stricter policy never admits more, and a further step never turns a refusal into an
        admission (tests/property/test_policy.py).
    """

    name: str
    ceilings: Mapping[tuple[Party, Asset], Ceiling]
    summary: str = ""
    evidence: EvidencePolicy = field(default_factory=EvidencePolicy)
    terms: TermsPolicy = field(default_factory=TermsPolicy)
    sensitive: SensitivePolicy = field(default_factory=SensitivePolicy)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"{self.name!r:.80} cannot name a policy",
                hint="take up to 64 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first",
            )
        if not self.summary.isprintable():
            raise InputError("a policy's summary is one line of printable characters")
        object.__setattr__(self, "ceilings", MappingProxyType(dict(self.ceilings)))

    def __getitem__(self, pair: tuple[Party, Asset]) -> Ceiling:
        return self.ceilings.get(pair, NO_CEILING)

    def __le__(self, other: Policy) -> bool:
        """Whether this one admits no disclosure that `other` refuses.

        What they demand of evidence, terms and contents compares by itself: `EvidencePolicy`,
        `TermsPolicy`, `SensitivePolicy`.
        """
        pairs = self.ceilings.keys() | other.ceilings.keys()
        return all(self[pair] <= other[pair] for pair in pairs)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Policy:
        """Return the preset of that name, or read the policy file at that path.

        A name without ``/`` and without ``.toml`` is a preset's, whatever files lie about.

        Raises:
            InputError: no such preset, or the file cannot be read or is not a policy.
        """
        text = str(name_or_path)
        if text in PRESETS and not isinstance(name_or_path, Path):
            return _preset(text)
        path = Path(name_or_path)
        if isinstance(name_or_path, str) and path.suffix != ".toml" and path.name == text:
            raise InputError(
                f"there is no policy named {text!r:.80}",
                hint=f"presets are {', '.join(PRESETS)}; name a file of your own by its path, "
                "ending in .toml",
            )
        return cls.parse(_read(path), origin=str(path), default_name=path.stem)

    @classmethod
    def parse(cls, text: str, *, origin: str = "policy", default_name: str = "mine") -> Policy:
        """Read a policy from TOML text that nobody vouches for.

        Args:
            text: the TOML text, as spec/disclosure.md lays it out.
            origin: the file it came from, named in errors.
            default_name: the policy's name where the text gives none.

        Raises:
            InputError: not TOML, an unknown key, a value of a wrong type, or a preset's name;
                the message names the file and the key.
        """
        parsed = file.read(text, origin)
        name = default_name if parsed.name is None else parsed.name
        if name in PRESETS:
            raise InputError(
                f"{origin}: `name`: {name!r} is a preset, and yours would pass for it in receipts",
                hint='give it a name of its own, such as `name = "mine"`',
            )
        return cls._from_file(parsed, name, origin)

    @classmethod
    def _from_file(cls, parsed: file.PolicyFile, name: str, origin: str) -> Policy:
        ceilings: dict[tuple[Party, Asset], Ceiling] = {}
        evidence, terms, sensitive = EvidencePolicy(), TermsPolicy(), SensitivePolicy()
        if parsed.extends is not None:
            if parsed.extends not in PRESETS:
                raise InputError(
                    f"{origin}: `extends`: {parsed.extends!r:.80} is not a preset",
                    hint=f"presets are {', '.join(PRESETS)}",
                )
            base = _preset(parsed.extends)
            ceilings, evidence = dict(base.ceilings), base.evidence
            terms, sensitive = base.terms, base.sensitive
        try:
            return cls(
                name,
                {**ceilings, **parsed.ceilings},
                parsed.summary,
                evidence.with_table(parsed.evidence),
                terms.with_table(parsed.terms),
                sensitive.with_table(parsed.sensitive),
            )
        except InputError as error:
            raise InputError(f"{origin}: {error.message}", hint=error.hint) from error

    def to_toml(self) -> str:
        """Return the whole policy as TOML text, without ``extends``; `parse` reads it back."""
        return file.write(
            self.name, self.summary, self.ceilings, self.evidence, self.terms, self.sensitive
        )

    def offences(self, disclosure: Disclosure) -> tuple[Offence, ...]:
        """Return the cells that exceed their ceiling, the worst first; none means admitted."""
        found = (
            Offence(party, asset, cell, self[party, asset])
            for (party, asset), cell in disclosure.cells.items()
            if not self[party, asset].admits(cell)
        )
        return tuple(sorted(found, key=Offence.severity))

    def loosened(self, disclosure: Disclosure, name: str) -> Policy:
        """Return the strictest policy above this one that admits `disclosure`."""
        raised = {
            (offence.party, offence.asset): offence.least for offence in self.offences(disclosure)
        }
        return replace(self, name=name, ceilings={**self.ceilings, **raised}, summary="")

    def admit(self, route: RouteT) -> AdmittedRoute[RouteT]:
        """Return the route as one that may run. Run by the device before anything is sent.

        Raises:
            PolicyRefusal: a cell exceeds its ceiling; `.report` lists every one, with the
                disclosure, the least change in TOML and the presets that would admit the route.
                Or a provider promises too little; `.report` lists that.
        """
        disclosure = route.disclosure
        offences = self.offences(disclosure)
        if not offences:
            self._check_terms(route)
            return AdmittedRoute(route, self, disclosure, _MINT)
        presets = [name for name in PRESETS if _preset(name)._allows(route, disclosure)]
        mine = self.name not in PRESETS
        change = refusal.least_change(offences, extends=None if mine else self.name)
        if route.terms is not None and self.terms.offences(route.terms):
            change += ["", *file.terms_lines(self.terms.least(route.terms))]
        raise PolicyRefusal(
            refusal.message(self.name, route.name, offences),
            report=refusal.report(self.name, route.name, disclosure, offences, change, presets),
            hint=refusal.hint(change, presets, own_file=mine),
        )

    def _allows(self, route: Routed, disclosure: Disclosure) -> bool:
        enough = route.terms is None or not self.terms.offences(route.terms)
        return enough and not self.offences(disclosure)

    def _check_terms(self, route: Routed) -> None:
        """Raise `PolicyRefusal` where the provider on the route promises too little."""
        found = () if route.terms is None else self.terms.offences(route.terms)
        if found:
            raise PolicyRefusal(
                refusal.terms_message(self.name, route.name, found),
                report=refusal.terms_report(self.name, route.name, route.disclosure, found),
                hint="agree on other terms with it and name the agreement in config.toml, or allow "
                "these under [terms] in a policy file of your own: spec/zero-retention.md",
            )


@cache
def _preset(name: str) -> Policy:
    text = resources.files("privity").joinpath("policies", f"{name}.toml").read_text("utf-8")
    origin = f"preset {name}"
    return Policy._from_file(file.read(text, origin), name, origin)


def _read(path: Path) -> str:
    try:
        return read_file(path, most=_MAX_FILE, what="the policy file").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from error
