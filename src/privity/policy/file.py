"""Policies as TOML text: a total reader for text nobody vouches for, and its writer.

Laid out in spec/disclosure.md. Every error names the file and the key.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Protocol

from privity.disclosure import Asset, Ground, Party, View
from privity.errors import InputError, MalformedError
from privity.policy.ceiling import Ceiling
from privity.policy.evidence import EvidencePolicy
from privity.policy.sensitive import SensitivePolicy
from privity.policy.terms import TermsPolicy
from privity.wording import WEAKEST_FIRST

__all__ = ["PolicyFile", "ceiling_lines", "read", "terms_lines", "write"]

Ceilings = Mapping[tuple[Party, Asset], Ceiling]

_HEAD = ("name", "extends", "summary")
_EVIDENCE, _TERMS, _SENSITIVE = "evidence", "terms", "sensitive"
_TABLES = (_EVIDENCE, _TERMS, _SENSITIVE)
_ALL = "all"  # every asset of one party; lines of single assets override it
_ANY = "any"  # every ground there is


@dataclass(frozen=True)
class PolicyFile:
    """What a policy file says, before `extends` is followed."""

    name: str | None
    extends: str | None
    summary: str
    ceilings: Ceilings
    evidence: dict[str, object] = field(default_factory=dict)
    terms: dict[str, object] = field(default_factory=dict)
    sensitive: dict[str, object] = field(default_factory=dict)


class _Demands(Protocol):
    """What a table of its own sets: demands on evidence, terms or content."""

    def with_table(self, table: object) -> object:
        """Return this with what the table says in place; raises `InputError`."""


def read(text: str, origin: str) -> PolicyFile:
    """Read TOML text; `origin` is the file that errors name.

    Raises:
        InputError: for whatever is not a policy, naming the file and the key.
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib: bad syntax, huge numbers, deep nesting
        raise InputError(
            f"{origin}: not TOML: {error}",
            hint="spec/disclosure.md shows a policy file; `privity policy show dev` prints one",
        ) from error
    ceilings: dict[tuple[Party, Asset], Ceiling] = {}
    for key, value in data.items():
        if key in (*_HEAD, *_TABLES):
            continue
        if key not in list(Party):
            raise _unknown(origin, key, [*_HEAD, *_TABLES, *Party])
        ceilings |= _row(Party(key), value, origin)
    head = {key: _text(data.get(key), key, origin) for key in _HEAD}
    return PolicyFile(
        head["name"],
        head["extends"],
        head["summary"] or "",
        ceilings,
        _table(EvidencePolicy(), data.get(_EVIDENCE, {}), origin),
        _table(TermsPolicy(), data.get(_TERMS, {}), origin),
        _table(SensitivePolicy(), data.get(_SENSITIVE, {}), origin),
    )


def write(
    name: str,
    summary: str,
    ceilings: Ceilings,
    evidence: EvidencePolicy,
    terms: TermsPolicy,
    sensitive: SensitivePolicy,
) -> str:
    """Return TOML text that `read` reads back to the same ceilings and demands."""
    lines = [f"name = {_quoted(name)}"]
    if summary:
        lines.append(f"summary = {_quoted(summary)}")
    lines += evidence_lines(evidence)
    lines += ["", *terms_lines(terms.to_table()), "", f"[{_SENSITIVE}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in sensitive.to_table().items()]
    lines += ceiling_lines(ceilings)
    return "\n".join(lines) + "\n"


def evidence_lines(evidence: EvidencePolicy) -> list[str]:
    """Return the ``[evidence]`` table and its floors, a blank line before each."""
    table = evidence.to_table()
    floors = table.pop("snp")
    lines = ["", f"[{_EVIDENCE}]", *(f"{key} = {json.dumps(table[key])}" for key in table)]
    for product, least in floors.items():
        lines += ["", f"[{_EVIDENCE}.snp.{product}]"]
        lines += [f"{part} = {number}" for part, number in least.items()]
    return lines


def terms_lines(table: Mapping[str, object]) -> list[str]:
    """Return a ``[terms]`` table."""
    return [f"[{_TERMS}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]


def ceiling_lines(ceilings: Ceilings) -> list[str]:
    """Return a table for each party, its assets in order, a blank line before each."""
    lines: list[str] = []
    for party in Party:
        row = {asset: ceilings[party, asset] for asset in Asset if (party, asset) in ceilings}
        if not row:
            continue
        lines += ["", f"[{party.value}]"]
        if len(row) == len(Asset) and len(set(row.values())) == 1:
            lines.append(_line(_ALL, row[Asset.PROMPT]))
        else:
            lines += [_line(asset.value, ceiling) for asset, ceiling in row.items()]
    return lines


def _line(key: str, ceiling: Ceiling) -> str:
    named = [ground.value for ground in WEAKEST_FIRST if ground in ceiling.grounds]
    grounds = _quoted(_ANY) if len(named) == len(Ground) else json.dumps(named)
    return f'{key} = {{ view = "{ceiling.view.text}", grounds = {grounds} }}'


def _table(demands: _Demands, value: object, origin: str) -> dict[str, object]:
    try:
        demands.with_table(value)
    except InputError as error:
        raise InputError(f"{origin}: {error.message}", hint=error.hint) from error
    return dict(value) if isinstance(value, dict) else {}


def _row(party: Party, value: object, origin: str) -> dict[tuple[Party, Asset], Ceiling]:
    if not isinstance(value, dict):
        raise _wrong(origin, party.value, "a table such as `[relay]`", value)
    row: dict[tuple[Party, Asset], Ceiling] = {}
    for key in sorted(value, key=lambda key: key != _ALL):  # single assets override `all`
        where = f"{party.value}.{key}"
        if key != _ALL and key not in list(Asset):
            raise _unknown(origin, key, [_ALL, *Asset], within=party.value)
        ceiling = _ceiling(value[key], where, origin)
        row |= {(party, asset): ceiling for asset in (Asset if key == _ALL else [Asset(key)])}
    return row


def _ceiling(value: object, where: str, origin: str) -> Ceiling:
    form = '{ view = "size", grounds = ["mathematics"] }'
    if not isinstance(value, dict):
        raise _wrong(origin, where, f"`{form}`", value)
    for key in value:
        if key not in ("view", "grounds"):
            raise _unknown(origin, key, ["view", "grounds"], within=where)
    for key in ("view", "grounds"):
        if key not in value:
            raise InputError(f"{origin}: `{where}` says no `{key}`", hint=f"write `{form}`")
    try:
        view = View.parse(_text(value["view"], f"{where}.view", origin) or "")
    except MalformedError as error:
        raise InputError(f"{origin}: `{where}.view`: {error.message}") from error
    return Ceiling(view, _grounds(value["grounds"], f"{where}.grounds", origin))


def _grounds(value: object, where: str, origin: str) -> frozenset[Ground]:
    if value == _ANY:
        return frozenset(Ground)
    if not isinstance(value, list):
        raise _wrong(origin, where, f'a list of grounds, or "{_ANY}"', value)
    for item in value:
        if not isinstance(item, str) or item not in list(Ground):
            raise InputError(
                f"{origin}: `{where}`: {item!r:.80} is not a ground",
                hint=f"grounds are {', '.join(Ground)}",
            )
    return frozenset(Ground(item) for item in value)


def _text(value: object, where: str, origin: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong(origin, where, "a string", value)
    return value


def _wrong(origin: str, where: str, wanted: str, value: object) -> InputError:
    kind = {dict: "a table", list: "a list", str: "a string", bool: "a boolean"}
    number = "a number" if isinstance(value, int | float) else "a date or time"
    found = kind.get(type(value), number)
    return InputError(f"{origin}: `{where}` is {found}; expected {wanted}")


def _unknown(origin: str, key: str, known: Iterable[str], *, within: str = "") -> InputError:
    names = [str(name) for name in known]
    place = f" in `{within}`" if within else ""
    near = get_close_matches(key[:80], names, 1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    return InputError(
        f"{origin}: unknown key {key!r:.80}{place}", hint=f"{hint}keys are {', '.join(names)}"
    )


def _quoted(text: str) -> str:
    """Return a TOML basic string; JSON's escapes are TOML's, but for the one TOML adds."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
