"""The zero-retention route: a provider answers, after what is personal was replaced on the device.

Layer 2. The provider reads what is sent to it, and promises what becomes of it. What it is sent
names nobody it need not know, as far as personal data was recognised; the account is the person's
own, so who asks is known.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from privity.attested import AttestedEnclave
from privity.disclosure import Disclosure
from privity.errors import InputError, MalformedError, PeerError
from privity.identity.timestamps import Clock, utc_now
from privity.infer.peers import ProviderPeer
from privity.infer.providers.answer import Exchange, client_answer, client_failure
from privity.infer.providers.credentials import Credentials
from privity.infer.providers.desk import Desk, Outgoing
from privity.infer.providers.failure import Key
from privity.infer.providers.guard import MAX_REQUEST, read_request, shape_of
from privity.infer.providers.limits import limits
from privity.infer.providers.profile import Profile
from privity.infer.providers.standing import provider_disclosure, terms_at
from privity.policy import Kind, Mode, Policy, Terms
from privity.seal.transport import KeySource
from privity.statement import Model
from privity.wording import failure_words

if TYPE_CHECKING:
    from privity.infer.pseudonyms.pseudonymiser import Departure, Pseudonymiser

__all__ = ["Left", "Preview", "ZeroRetentionRoute", "zero_retention_route"]

_MODELS = "/v1/models"


@dataclass(frozen=True)
class Left:
    """What left the device for one request: ``response.extensions["left"]``.

    A callable ``request.extensions["note_left"]`` is given it before anything is sent, whatever
    becomes of the answer.

    Attributes:
        body: the bytes the provider was sent. Not shown.
        replaced: how many of each kind of personal data were replaced.
        kept: how many were recognised and sent as they are.
    """

    body: bytes = field(repr=False)
    replaced: Mapping[Kind, int] = field(default_factory=dict)
    kept: Mapping[Kind, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """What would leave for a provider.

    Attributes:
        title: what people call the provider.
        url: where it would go.
        body: the very bytes.
        departure: what was recognised and replaced in it.
    """

    title: str
    url: str
    body: bytes = field(repr=False)
    departure: Departure


@dataclass(frozen=True)
class ZeroRetentionRoute:
    """A provider, the terms that hold there, and what asking it discloses.

    Attributes:
        peer: the person's account.
        profile: the provider's.
        terms: what the provider says of what it is sent, by the person's agreement.
        disclosure: computed from the terms and from where the provider is reached.
        mode: what happens to personal data on its way there.
    """

    peer: ProviderPeer
    profile: Profile
    terms: Terms
    disclosure: Disclosure
    mode: Mode
    _desk: Desk = field(repr=False)
    _credentials: Credentials = field(repr=False)
    _pseudonyms: Callable[[], Pseudonymiser] = field(repr=False)
    _clock: Clock = field(repr=False)

    @property
    def name(self) -> str:
        """``zdr``."""
        return "zdr"

    @property
    def models(self) -> tuple[Model, ...]:
        """The models the person offers of the provider, for which its terms hold."""
        return tuple(Model(one.id, None, self.profile.name) for one in self._desk.models)

    @property
    def enclave(self) -> AttestedEnclave | None:
        """None: nobody attests what a provider does, and nobody signs for it."""
        return None

    def transport(
        self, keys: KeySource, inner: httpx.AsyncBaseTransport
    ) -> httpx.AsyncBaseTransport:
        """Return a transport to the provider; ``keys`` has no part in it.

        Guarantees:
            Nothing is sent of a request that asks the provider to keep anything, unless the policy
            names the feature; every request asks for no storage where the provider's API has a way
            to; of the client's header nothing but its media types is sent; no redirect is followed;
            an answer that was cut off is an error (tests/adversary/test_zero_retention_guard.py,
            tests/adversary/test_zero_retention_transport.py,
            tests/adversary/test_zero_retention_answers.py).
        """
        return _ProviderTransport(self, inner)

    async def preview(self, path: str, content: bytes) -> Preview:
        """Return what would leave for a request; nothing does.

        Args:
            path: of the request.
            content: its body.

        Raises:
            InputError: it may not be sent to this provider.
            PolicyRefusal: it holds personal data, and the policy refuses to send any.
        """
        departure, outgoing = await anyio.to_thread.run_sync(self._prepare, path, content)
        return Preview(self.profile.title, outgoing.url, outgoing.content, departure)

    def _prepare(self, path: str, content: bytes) -> tuple[Departure, Outgoing]:
        """Return what may leave, and as what it leaves; run beside the event loop."""
        body = self._desk.examine(path, read_request(content))
        try:
            departure = self._pseudonyms().replace(path, body, self.mode)
        except MalformedError as error:  # of the caller's own body: no peer did anything wrong
            hint = error.hint or "take a local or a confidential route for it"
            raise InputError(error.message, hint=hint) from None
        return departure, self._desk.outgoing(path, departure.body)


def zero_retention_route(
    peer: ProviderPeer,
    profile: Profile,
    *,
    policy: Policy,
    pseudonyms: Callable[[], Pseudonymiser],
    clock: Clock = utc_now,
) -> ZeroRetentionRoute:
    """Return the route to a provider, as a person's settings and policy have it.

    Nothing is sent for it. The policy decides what is replaced and which features pass; whether the
    route may be taken at all, `Policy.admit` says.

    Args:
        peer: the account there.
        profile: the provider.
        policy: the person's.
        pseudonyms: gives what replaces personal data; called beside the event loop, for it may have
            to load models first.
        clock: the time, for lists of models.

    Raises:
        InputError: the peer does not fit the profile.
    """
    desk = Desk(peer, profile, policy.terms.stateful)
    terms = profile.agreement(peer.agreement).terms
    if peer.region:
        terms = replace(terms, regions=(peer.region,))
    terms = terms_at(profile, terms, desk.base)
    mode = policy.sensitive.mode
    return ZeroRetentionRoute(
        peer,
        profile,
        terms,
        provider_disclosure(profile, terms, desk.base, mode),
        mode,
        desk,
        Credentials(profile, peer),
        pseudonyms,
        clock,
    )


class _ProviderTransport(httpx.AsyncBaseTransport):
    """Carries requests to the provider: examined, replaced, translated, and their answers back."""

    def __init__(self, route: ZeroRetentionRoute, inner: httpx.AsyncBaseTransport) -> None:
        self._route = route
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Run one request.

        Raises:
            InputError: it may not be sent to this provider; nothing was.
            PolicyRefusal: it holds personal data, and the policy refuses to send any; nothing was.
            PeerError: the provider does not answer, or not as it should.
        """
        path = request.url.raw_path.decode("ascii").partition("?")[0]  # as it is spelt
        if request.method == "GET" and path == _MODELS:
            return self._models()
        shape = shape_of(path)
        if request.method != "POST" or request.url.query:
            raise InputError(f"{path} takes a POST without a query")
        route, content = self._route, await _content(request)
        route._credentials.need()  # before models are loaded, which takes seconds
        departure, outgoing = await anyio.to_thread.run_sync(route._prepare, path, content)
        header = await route._credentials.header()
        exchange = Exchange(
            shape,
            shape_of(outgoing.path),
            route.profile.title,
            departure.body,
            outgoing.streamed,
            Key(route._credentials.source, header[1]),
        )
        left = Left(outgoing.content, departure.replaced, departure.kept)
        note_left = request.extensions.get("note_left")
        if callable(note_left):
            note_left(left)  # what cannot be noted does not leave
        response = await self._send(outgoing, header, request.extensions)
        if response.status_code != 200:
            return await self._refused(response, exchange, left)
        kind, stream = await client_answer(response, exchange, departure.answer)
        return httpx.Response(
            200,
            headers=[("content-type", kind), *limits(response)],
            stream=stream,
            extensions={"left": left},
        )

    async def _send(
        self, outgoing: Outgoing, header: tuple[str, str], extensions: Mapping[str, Any]
    ) -> httpx.Response:
        title = self._route.profile.title
        request = httpx.Request(
            "POST",
            outgoing.url,
            headers=[
                ("accept", "text/event-stream" if outgoing.streamed else "application/json"),
                ("content-type", "application/json"),
                header,
                *self._route._desk.headers,
            ],
            content=outgoing.content,
            # Its time limits, and nothing else: others can name another host.
            extensions={k: v for k, v in extensions.items() if k == "timeout"},
        )
        try:
            return await self._inner.handle_async_request(request)
        except httpx.HTTPError as error:
            raise PeerError(
                f"{title} could not be reached: {failure_words(error)}",
                hint="is the network there, and the provider's URL right?",
            ) from None

    async def _refused(
        self, response: httpx.Response, exchange: Exchange, left: Left
    ) -> httpx.Response:
        status = response.status_code
        if not 400 <= status < 600:
            await response.aclose()
            what = "a redirect, which is not followed" if 300 <= status < 400 else "no answer"
            raise PeerError(f"{exchange.title} answered with status {status}, {what}")
        if status == 401:
            self._route._credentials.forget()
        content, headers = await client_failure(response, exchange)
        return httpx.Response(
            status,
            headers=[("content-type", "application/json"), *headers],
            stream=httpx.ByteStream(content),
            extensions={"left": left},
        )

    def _models(self) -> httpx.Response:
        """Answer what models there are, from the profile: nobody is asked."""
        made = self._route._clock()
        names = [model.id for model in self._route.models]
        entries = [
            {
                "id": name,
                "object": "model",
                "created": int(made.timestamp()),
                "owned_by": self._route.profile.name,
                "type": "model",
                "display_name": name,
                "created_at": made.isoformat(),
            }
            for name in names
        ]
        listed = {
            "object": "list",
            "data": entries,
            "has_more": False,
            "first_id": names[0],
            "last_id": names[-1],
        }
        return httpx.Response(
            200,
            headers=[("content-type", "application/json")],
            stream=httpx.ByteStream(json.dumps(listed).encode()),
        )


async def _content(request: httpx.Request) -> bytes:
    """Return a request's body, whole: what may leave of it is known only then."""
    if isinstance(request.stream, httpx.ByteStream):
        return await request.aread()
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise PeerError("an asynchronous transport needs an asynchronous request body")
    stream: AsyncIterator[bytes] = aiter(request.stream)
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > MAX_REQUEST:
            raise InputError(f"a request of more than {MAX_REQUEST >> 20} MiB")
    return bytes(body)
