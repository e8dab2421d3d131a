"""The library's face: ask a model, or hand a private `httpx` client to whatever speaks HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx

from privity.infer.asker import TIMEOUT, Answer, AnswerStream, Asker
from privity.infer.opening import RouteName, SessionSettings, open_session
from privity.seal.sync_transport import SyncTransport

__all__ = ["Answer", "AnswerStream", "Asker", "ask", "async_http_client", "http_client", "stream"]


def ask(
    prompt: str,
    *,
    system: str | None = None,
    model: str | None = None,
    policy: str | Path | None = None,
    enclave: str | None = None,
    relay: str | None = None,
    route: RouteName = "auto",
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> Answer:
    """Ask a model privately, and return its answer with the receipt.

    Args:
        prompt: what to ask.
        system: instructions that precede it.
        model: by default the route's first.
        policy: a preset's name or a policy file's path; by default the configured one.
        enclave: a configured name or a URL; by default the configured one, or the devnet's.
        relay: URL of a relay's resource for that enclave.
        route: ``auto``, ``local``, ``anonymous``, ``confidential`` or ``zdr``.
        max_tokens: the most the answer may have.
        temperature: 0 is greedy.

    Raises:
        PolicyRefusal: the route would disclose more than the policy allows; nothing was sent.
        PrivityError: what else can go wrong; `.hint` says what to do.
    """
    asker = Asker(SessionSettings(policy, enclave, relay, route))
    with _asked(asker, prompt, system, model, max_tokens, temperature) as answer:
        return answer.answer()


def stream(
    prompt: str,
    *,
    system: str | None = None,
    model: str | None = None,
    policy: str | Path | None = None,
    enclave: str | None = None,
    relay: str | None = None,
    route: RouteName = "auto",
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> AnswerStream:
    """Ask a model privately, and return its answer as it comes; the arguments are `ask`'s.

    Raises:
        PrivityError: as `ask`; while the stream is read too.
    """
    asker = Asker(SessionSettings(policy, enclave, relay, route))
    return _asked(asker, prompt, system, model, max_tokens, temperature)


def http_client(
    *,
    policy: str | Path | None = None,
    enclave: str | None = None,
    relay: str | None = None,
    route: RouteName = "auto",
) -> httpx.Client:
    """Return an `httpx.Client` whose requests are sealed, admitted and receipted.

    Give it to the stock client: ``openai.OpenAI(base_url="http://enclave.privity/v1",
    api_key="unused", http_client=privity.http_client())``. The URL's host does not matter, and the
    key does not leave the device. privity's errors come through as they are.

    Raises:
        InputError: a setting is wrong. Everything else is raised by the requests.
    """
    transport = open_session(SessionSettings(policy, enclave, relay, route))
    return httpx.Client(transport=SyncTransport(transport), timeout=TIMEOUT, trust_env=False)


def async_http_client(
    *,
    policy: str | Path | None = None,
    enclave: str | None = None,
    relay: str | None = None,
    route: RouteName = "auto",
) -> httpx.AsyncClient:
    """Return the asynchronous form of `http_client`, for ``openai.AsyncOpenAI``.

    Raises:
        InputError: as `http_client`.
    """
    transport = open_session(SessionSettings(policy, enclave, relay, route))
    return httpx.AsyncClient(transport=transport, timeout=TIMEOUT, trust_env=False)


def _asked(
    asker: Asker,
    prompt: str,
    system: str | None,
    model: str | None,
    max_tokens: int | None,
    temperature: float | None,
) -> AnswerStream:
    """Put one question; the asker closes with its answer."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    try:
        return asker.stream(
            messages,
            model=model,
            max_tokens=max_tokens,
            temperature=temperature,
            close_asker=True,
        )
    except BaseException:
        asker.close()
        raise
