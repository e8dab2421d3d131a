"""What is known of a provider, as data: its terms, its models, and how it is asked.

A profile is a TOML file: one that privity ships, or one of the person's own for any provider with
an OpenAI-compatible or Anthropic-compatible API. Its terms are what the provider says. Nothing can
check them; each has its source and the day somebody read it there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from privity.errors import InputError
from privity.home import home, read_file
from privity.infer.catalogue import Offer, Price
from privity.infer.loopback import may_be_loopback
from privity.infer.peers import ProviderPeer
from privity.policy import Terms

__all__ = [
    "SHIPPED",
    "Agreement",
    "Dialect",
    "Profile",
    "ProviderModel",
    "Region",
    "load_profile",
    "offered",
    "offers",
    "stand_in",
]

SHIPPED = ("anthropic", "azure-openai", "openai")
"""The profiles that come with privity."""

_MAX_FILE = 262_144


@dataclass(frozen=True, slots=True)
class ProviderModel:
    """A model of a provider.

    Attributes:
        id: its name there.
        context: the most tokens of prompt and answer together; None where nobody says.
        output: the most tokens of one answer; None where nobody says.
        price: per million tokens; None where it depends, as on a contract.
        rank: how capable it is beside the others, higher is more; None where nothing is known.
        can: what it takes and does: ``tools``, ``vision``, ``embeddings``, ``reasoning``.
        uncached: it can be asked to cache nothing of a prompt.
    """

    id: str
    context: int | None = None
    output: int | None = None
    price: Price | None = None
    rank: float | None = None
    can: frozenset[str] = frozenset()
    uncached: bool = False


@dataclass(frozen=True)
class Agreement:
    """The terms that hold with an agreement, or, with the empty name, for everyone.

    Attributes:
        terms: what the provider says.
        excludes: models for which they do not hold, with ``*`` for any rest of a name.
    """

    terms: Terms
    excludes: tuple[str, ...] = ()

    def covers(self, model: str) -> bool:
        """Whether the terms hold for this model."""
        return not any(fnmatch.fnmatchcase(model.lower(), one) for one in self.excludes)


@dataclass(frozen=True)
class Region:
    """A place that can be asked to process a request, and how.

    Attributes:
        url: another base URL for it; empty where there is none.
        fields: what to add to a request's body.
    """

    url: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """How a provider is asked, beyond the shape it speaks.

    Attributes:
        paths: by our path, the provider's under its base URL; ``{deployment}`` stands for that of
            the model.
        dated_paths: the same where an API version is named in the query, as Azure's older surface.
        key_header: the header of an API key: ``authorization`` takes it as a bearer token.
        version_header: the header that names the API version; empty where the query does.
        sampling: the API versions that take ``temperature`` and ``top_p`` of a translated chat;
            empty for all.
        no_store: our paths at which ``store: false`` is understood, and sent.
        dated_no_store: the same at ``dated_paths``.
        no_cache: what is added at chat completions and responses, for models that can be asked to
            cache nothing.
        fields: fields beyond those of the API it speaks; plain values only.
    """

    paths: Mapping[str, str]
    dated_paths: Mapping[str, str] = field(default_factory=dict)
    key_header: str = "authorization"
    version_header: str = ""
    sampling: frozenset[str] = frozenset()
    no_store: frozenset[str] = frozenset()
    dated_no_store: frozenset[str] = frozenset()
    no_cache: Mapping[str, Any] = field(default_factory=dict)
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Profile:
    """A provider.

    Attributes:
        name: what routes call it, such as ``openai``.
        title: what people call it, such as ``OpenAI``.
        speaks: ``chat`` or ``messages``: which of the two it answers in.
        url: its base URL; empty where each person has one of their own.
        hosts: the hosts that are its own, with ``*.`` for any name below.
        key_env: the environment variable of its API key.
        api_version: the API version to name; empty for none.
        agreements: the terms by agreement; under the empty name those that hold for everyone.
        models: what it offers.
        regions: the places that can be asked for, by name.
        any_region: the person's own resource is in a region, whichever it is.
        named_only: only the models a person names are theirs, as with deployments of their own.
        dialect: how it is asked.
    """

    name: str
    title: str
    speaks: str
    url: str
    hosts: tuple[str, ...]
    key_env: str
    agreements: Mapping[str, Agreement]
    models: tuple[ProviderModel, ...]
    dialect: Dialect
    api_version: str = ""
    regions: Mapping[str, Region] = field(default_factory=dict)
    any_region: bool = False
    named_only: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "agreements", MappingProxyType(dict(self.agreements)))
        object.__setattr__(self, "regions", MappingProxyType(dict(self.regions)))

    def __hash__(self) -> int:
        return hash((self.name, self.url))

    def agreement(self, name: str = "") -> Agreement:
        """Return the terms that hold with this agreement; the empty name is none.

        Raises:
            InputError: the profile does not know it.
        """
        found = self.agreements.get(name)
        if found is None:
            known = ", ".join(f'"{one}"' for one in self.agreements if one) or "none"
            raise InputError(
                f"{self.title} has no agreement {name!r:.40} that this profile knows",
                hint=f"known: {known}; leave `agreement` out for the terms that hold for everyone",
            )
        return found

    def is_own(self, url: str) -> bool:
        """Whether a URL is at one of the provider's own hosts; a profile without any has none."""
        host = (urlsplit(url).hostname or "").lower().rstrip(".")
        return any(
            host.endswith(one[1:]) if one.startswith("*.") else host == one for one in self.hosts
        )

    def model(self, model_id: str) -> ProviderModel:
        """Return what is known of a model; nothing but its id for one that is not listed."""
        return next((one for one in self.models if one.id == model_id), ProviderModel(model_id))


def load_profile(name_or_path: str | Path) -> Profile:
    """Return the profile that privity ships under this name, or read the file at this path.

    A name without ``/`` and without ``.toml`` is a shipped one's, whatever files lie about. A path
    that is not absolute begins at `privity.home.home`, as that of a policy does.

    Raises:
        InputError: no such profile, or the file cannot be read or is not one; an unknown key is
            named.

    Guarantees:
        The current folder decides nothing
        (tests/adversary/test_provider_answers.py::test_the_current_folder_does_not_choose_a_profile).
    """
    from privity.infer.providers.profile_file import parse_profile

    text = str(name_or_path)
    if not isinstance(name_or_path, Path) and "/" not in text and not text.endswith(".toml"):
        return _shipped(text)
    path = home() / Path(name_or_path).expanduser()  # an absolute path stays as it is
    return parse_profile(read_file(path, most=_MAX_FILE, what="the profile"), f"the profile {path}")


@cache
def _shipped(name: str) -> Profile:
    from privity.infer.providers.profile_file import parse_profile

    if name not in SHIPPED:
        raise InputError(
            f"there is no provider profile {name!r:.40}",
            hint=f"shipped are {', '.join(SHIPPED)}; a path with `/` or `.toml` reads a file",
        )
    folder = resources.files("privity.infer.providers") / "profiles"
    return parse_profile((folder / f"{name}.toml").read_bytes(), f"the profile {name}")


def offered(peer: ProviderPeer, profile: Profile) -> tuple[ProviderModel, ...]:
    """Return the models a person offers of a provider, for which the agreement's terms hold.

    Raises:
        InputError: the person names a model for which their agreement's terms do not hold.
    """
    agreement = profile.agreement(peer.agreement)
    named: Sequence[str] = peer.models or tuple(peer.deployments)
    for model_id in named:
        if not agreement.covers(model_id):
            raise InputError(
                f"the agreement {peer.agreement!r} with {profile.title} does not hold for the "
                f"model {model_id!r:.80}: {profile.title} keeps what is sent to it",
                hint="leave the model out, or make a second peer without the agreement for it",
            )
    if named:
        return tuple(profile.model(model_id) for model_id in named)
    if profile.named_only:
        raise InputError(
            f"the provider {peer.name!r:.40} has no model: those at {profile.title} are one's own",
            hint='name its deployments: `deployments = { "gpt-6.2-sol" = "my-deployment" }`',
        )
    return tuple(one for one in profile.models if agreement.covers(one.id))


def offers(peer: ProviderPeer, profile: Profile) -> tuple[Offer, ...]:
    """Return what a person can ask for at a provider, for the router and `privity models`."""
    return tuple(
        Offer(one.id, "zdr", peer.name, one.context, one.price, one.rank, one.can)
        for one in offered(peer, profile)
    )


def stand_in(url: str) -> bool:
    """Whether a URL is on this machine, where no provider is, in any spelling."""
    return may_be_loopback(urlsplit(url).hostname or "")
