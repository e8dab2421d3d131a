"""Whose terms hold at an address, and who learns what there."""

from __future__ import annotations

from urllib.parse import urlsplit

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.infer.providers.profile import Profile, stand_in
from privity.policy import Mode, Terms

__all__ = ["provider_disclosure", "terms_at"]

_CONTENT = (Asset.PROMPT, Asset.ANSWER)
_WHO = (Asset.IDENTITY, Asset.ADDRESS, Asset.PAYMENT)


def terms_at(profile: Profile, terms: Terms, url: str) -> Terms:
    """Return the terms that hold at ``url``: the provider's, or none where it is not the provider.

    Guarantees:
        What is under no promise states nothing, and is not named as the provider
        (tests/adversary/test_provider_answers.py::test_what_is_not_the_provider_does_not_carry_its_terms).
    """
    astray = _astray(profile, url)
    if astray is None:
        return terms
    who, why, _ = astray
    return Terms(who, None, None, (), f"nobody says anything: {why}", terms.as_of)


def provider_disclosure(profile: Profile, terms: Terms, url: str, mode: Mode) -> Disclosure:
    """Return who learns what when the provider at ``url`` answers.

    It never flatters: what is not one of the provider's own addresses is not under its terms, and
    what goes over the wire in the clear is read on the way.

    Args:
        profile: of the provider, with the addresses that are its own.
        terms: what it promises there, by the person's agreement.
        url: where it is asked.
        mode: what is done with personal data before it leaves; the label says it.
    """
    encrypted = urlsplit(url).scheme == "https"
    astray = _astray(profile, url)
    if astray is None:
        basis, ending = frozenset({Basis(Ground.PROMISE, _promise(terms))}), ""
    else:
        _, why, ending = astray
        basis = _nothing(why)
    trusted = not ending
    cells: dict[tuple[Party, Asset], Cell] = {}
    for asset in _CONTENT:
        cells[Party.PERSON, asset] = Cell(View.EVERYTHING)
        cells[Party.PROVIDER, asset] = Cell(View.EVERYTHING, basis)
        if not stand_in(url):  # nothing of it is on a wire that anyone could watch
            cells[Party.OBSERVER, asset] = _wire(encrypted)
    for asset in _WHO:
        cells[Party.PROVIDER, asset] = Cell(View.EVERYTHING, frozenset() if trusted else basis)
    cells[Party.OBSERVER, Asset.ADDRESS] = Cell(View.EVERYTHING)
    replaced = ", pseudonymised" if mode is Mode.REPLACE else ""
    label = f"provider · {profile.name}{replaced}{ending}"
    return Disclosure(cells, {Party.PROVIDER: frozenset({label})})


def _astray(profile: Profile, url: str) -> tuple[str, str, str] | None:
    """Return who answers at ``url``, why that is not the provider by its terms, and how it shows.

    None where it is the provider, as far as an address can tell.
    """
    parts, title = urlsplit(url), profile.title
    if stand_in(url):
        return f"stand-in for {title}", "a stand-in on this machine, not the provider", " · dev"
    if parts.scheme != "https":
        return f"{title} in the clear", "sent in the clear", " · dev"
    if not profile.is_own(url):
        host = parts.hostname or ""
        return f"{host}, not {title}", f"not an address of {title}", f" at {host}"
    return None


def _nothing(why: str) -> frozenset[Basis]:
    return frozenset({Basis(Ground.NOTHING, why)})


def _wire(encrypted: bool) -> Cell:
    if encrypted:
        return Cell(View.SIZE, frozenset({Basis(Ground.MATHEMATICS, "TLS")}))
    return Cell(View.EVERYTHING, _nothing("sent in the clear"))


def _promise(terms: Terms) -> str:
    """Return in words what a provider promises, and what it does not say."""
    days = terms.retention_days
    kept = "keeps nothing" if days == 0 else f"keeps it for up to {days} days"
    said, unsaid = [kept] if days is not None else [], []
    if days is None:
        unsaid.append("how long it keeps it")
    if terms.training is None:
        unsaid.append("whether it trains on it")
    else:
        said.append("trains on it" if terms.training else "trains on nothing")
    text = f"{terms.provider} says it {' and '.join(said)}" if said else terms.provider
    if unsaid:
        text += f"{', and' if said else ''} does not say {' nor '.join(unsaid)}"
    return f"{text} (as of {terms.as_of.isoformat()})"
