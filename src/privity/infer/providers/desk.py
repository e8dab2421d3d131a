"""Makes of a client's request the one a provider gets: where it goes, and what it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privity.errors import InputError
from privity.infer.peers import ProviderPeer
from privity.infer.providers.guard import check, shape_of
from privity.infer.providers.profile import Profile, Region, offered
from privity.infer.shapes.requests import chat_to_messages, messages_to_chat
from privity.policy import Feature

__all__ = ["Desk", "Outgoing"]

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
_OTHER = {CHAT: MESSAGES, MESSAGES: CHAT}
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LONGEST_NAME = 256
_DEFAULT_OUTPUT = 8192
_LONGEST_OUTPUT = 32_768  # where a chat does not say; more costs more than a person may expect


@dataclass(frozen=True)
class Outgoing:
    """What goes to a provider for one request.

    Attributes:
        url: where to.
        path: ours for what the provider is asked in, such as ``/v1/messages``.
        content: the body. Not shown.
        streamed: an event stream is asked for.
    """

    url: str
    path: str
    content: bytes
    streamed: bool

    def __repr__(self) -> str:
        return f"Outgoing({self.path!r}, {len(self.content)} bytes)"


class Desk:
    """Knows a person's account at a provider: its models, its addresses and its flags.

    Args:
        peer: the account.
        profile: the provider's profile.
        allowed: the features that the person's policy names.

    Raises:
        InputError: the peer does not fit the profile: no URL, an unknown region or agreement, a
            deployment or API version that is none.
    """

    def __init__(
        self, peer: ProviderPeer, profile: Profile, allowed: frozenset[Feature] = frozenset()
    ) -> None:
        self.profile = profile
        self.models = offered(peer, profile)
        self._deployments = peer.deployments
        self._whole = peer.whole
        self._allowed = allowed
        self._version = peer.api_version or profile.api_version
        self._region = _region(peer, profile)
        self.base = _base(peer, profile, self._region)
        if not all(0 < len(one.id) <= _LONGEST_NAME for one in self.models):
            raise InputError(
                f"a model of the provider {peer.name!r:.40} has no name, or one too long"
            )
        for name in (*peer.deployments.values(), *filter(None, [self._version])):
            if not _DEPLOYMENT.fullmatch(name):
                raise InputError(f"{name!r:.80} names no deployment or API version")
        dialect = profile.dialect
        self._paths = dialect.dated_paths if self._dated else dialect.paths
        self._no_store = dialect.dated_no_store if self._dated else dialect.no_store

    @property
    def _dated(self) -> bool:
        return bool(self._version and self.profile.dialect.dated_paths)

    @property
    def _samples(self) -> bool:
        versions = self.profile.dialect.sampling
        return not versions or self._version in versions

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of every request beside its key and its media types: a version, or none."""
        name = self.profile.dialect.version_header
        return [(name, self._version)] if name and self._version else []

    def examine(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body with its model named, if all of it may be sent.

        Raises:
            InputError: it may not, for this provider or for any.
        """
        shape = shape_of(path)
        self.asked_in(path)
        kept = check(shape, body, allowed=self._allowed, extra=self.profile.dialect.fields)
        known = [one.id for one in self.models]
        kept["model"] = kept.get("model") or known[0]
        if kept["model"] not in known:
            raise InputError(
                f"the provider {self.profile.name} is not set up for this model",
                hint=f"set up are {', '.join(known)}; `models` of the provider can name others",
            )
        return kept

    def asked_in(self, path: str) -> str:
        """Return the path in whose shape the provider is asked for a request at ``path``.

        Raises:
            InputError: it serves neither that nor one that it can be translated to.
        """
        if path in self._paths:
            return path
        other = _OTHER.get(path)
        if other in self._paths:
            return str(other)
        raise InputError(
            f"{self.profile.title} does not serve {path}",
            hint=f"it serves {', '.join(self._paths)}, and of chat completions and messages either",
        )

    def outgoing(self, path: str, body: Mapping[str, Any]) -> Outgoing:
        """Return what goes to the provider.

        Args:
            path: of the client's request.
            body: what may leave, in the client's shape.

        Raises:
            InputError: it cannot be said in the shape the provider is asked in.
        """
        target = self.asked_in(path)
        model = self.profile.model(str(body["model"]))
        sent = dict(body)
        if target != path:
            if target == MESSAGES:
                longest = min(model.output or _DEFAULT_OUTPUT, _LONGEST_OUTPUT)
                sent = chat_to_messages(sent, max_tokens=longest, sampling=self._samples)
            else:
                sent = messages_to_chat(sent)
        streamed = sent.get("stream") is True and not self._whole
        if self._whole:
            sent.pop("stream", None)
            sent.pop("stream_options", None)
        sent |= self._flags(target, sent, uncached=model.uncached)
        if self._region.fields:
            sent |= self._region.fields
        # What was translated and added passes the same list again, as the provider's shape has it.
        flags = self._allowed | ({Feature.PROMPT_CACHING} if model.uncached else set())
        check(shape_of(target), sent, allowed=flags, extra=self.profile.dialect.fields)
        deployment = self._deployments.get(model.id, model.id)
        sent["model"] = deployment
        try:
            content = json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()
        except (UnicodeEncodeError, ValueError):
            raise InputError("the request holds text that is no Unicode") from None
        return Outgoing(self._url(target, deployment), target, content, streamed)

    def _flags(self, target: str, sent: Mapping[str, Any], *, uncached: bool) -> dict[str, Any]:
        """Return the fields that ask for no storage, where nothing that is allowed asks for it."""
        flags: dict[str, Any] = {}
        if target in self._no_store and sent.get("store") is not True:
            flags["store"] = False
        caching = uncached and target in (CHAT, "/v1/responses")
        if caching and Feature.PROMPT_CACHING not in self._allowed:
            flags |= self.profile.dialect.no_cache
        return flags

    def _url(self, target: str, deployment: str) -> str:
        path = self._paths[target]
        if "{deployment}" in path and not _DEPLOYMENT.fullmatch(deployment):
            raise InputError(f"{deployment!r:.80} cannot name a deployment")
        url = self.base + path.replace("{deployment}", deployment)
        in_query = self._version and not self.profile.dialect.version_header
        return f"{url}?api-version={self._version}" if in_query else url


def _region(peer: ProviderPeer, profile: Profile) -> Region:
    if not peer.region or (profile.any_region and peer.region not in profile.regions):
        return Region()
    found = profile.regions.get(peer.region)
    if found is None:
        raise InputError(
            f"{profile.title} cannot be asked for the region {peer.region!r:.40}",
            hint=f"known: {', '.join(profile.regions) or 'none'}",
        )
    return found


def _base(peer: ProviderPeer, profile: Profile, region: Region) -> str:
    url = peer.url or region.url or profile.url
    if not url:
        raise InputError(
            f"the provider {peer.name!r:.40} has no URL",
            hint=f"each person has one of their own at {profile.title}: set `url`",
        )
    if peer.url and region.url and peer.url.rstrip("/") != region.url:
        raise InputError(
            f"the provider {peer.name!r:.40} has a region and a URL of its own",
            hint="leave one of the two out: the region is asked for by its URL",
        )
    base = url.rstrip("/")
    # What a stock client takes as its base URL ends where the paths of the profile begin.
    own = all(path.startswith("/openai/") for path in profile.dialect.paths.values())
    for ending in ("/v1", "/openai") if own else ("/v1",):
        base = base.removesuffix(ending)
    return base
