"""The secret that a provider knows a person by: an API key, or an access token from a command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import anyio

from privity.errors import InputError
from privity.infer.peers import ProviderPeer
from privity.infer.providers.profile import Profile

__all__ = ["Credentials"]

_COMMAND_S = 30.0
_MAX_OUTPUT = 65_536
_BEFORE_EXPIRY_S = 300.0
_UNSTATED_S = 240.0  # a token whose expiry nobody states is asked for again after this
_LONGEST_S = 3600.0
_SECRET = re.compile(r"[\x21-\x7e]{1,16384}")


class Credentials:
    """Gives the header that authorises a request, fresh for each.

    Args:
        profile: which header a key goes in.
        peer: where the secret comes from.
        environ: where keys are looked up.
        clock: seconds since the epoch.

    Guarantees:
        Neither key nor token is in its repr, in any error or in any log
        (tests/adversary/test_zero_retention_transport.py::test_no_secret_is_ever_shown).
    """

    def __init__(
        self,
        profile: Profile,
        peer: ProviderPeer,
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._header = profile.dialect.key_header
        self._variable = peer.key_env or profile.key_env
        self._command = peer.token_command
        self._name = peer.name
        self._environ = environ
        self._clock = clock
        self._token = ""
        self._until = 0.0
        self._lock = anyio.Lock()

    def __repr__(self) -> str:
        return f"Credentials({self._name!r})"

    @property
    def source(self) -> str:
        """Where the secret comes from, in words."""
        if self._command:
            return "the token of `token_command`"
        return f"the key in {self._variable}"

    def need(self) -> None:
        """Refuse where there is no key; no command is run.

        Raises:
            InputError: there is none, or what is in its place is none.
        """
        if not self._command:
            self._key()

    async def header(self) -> tuple[str, str]:
        """Return the name and value of the header that authorises a request.

        Raises:
            InputError: there is no key, or the command gives no token.
        """
        if self._command:
            return "authorization", f"Bearer {await self._fresh_token()}"
        key = self._key()
        return self._header, f"Bearer {key}" if self._header == "authorization" else key

    def _key(self) -> str:
        key = self._environ.get(self._variable, "").strip()
        if not key:
            raise InputError(
                f"there is no API key for the provider {self._name!r:.40}",
                hint=f"put it in the environment variable {self._variable}",
            )
        if not _SECRET.fullmatch(key):
            raise InputError(
                f"the environment variable {self._variable} does not hold an API key",
                hint="it has characters that no key has",
            )
        return key

    def forget(self) -> None:
        """Drop a token that was refused, so that the next request asks for another."""
        self._token, self._until = "", 0.0

    async def _fresh_token(self) -> str:
        async with self._lock:
            if not self._token or self._clock() >= self._until:
                token, expiry = _read_token(await self._run(), self._name)
                now = self._clock()
                lasts = _UNSTATED_S if expiry is None else expiry - now - _BEFORE_EXPIRY_S
                self._token, self._until = token, now + max(0.0, min(lasts, _LONGEST_S))
            return self._token

    async def _run(self) -> bytes:
        """Run the command without a shell, and return what it prints, bounded in size and time."""
        failed = InputError(
            f"the token command of the provider {self._name!r:.40} gave no token",
            hint="run it in a terminal: it must print a token, or JSON with one, within "
            f"{_COMMAND_S:g} seconds",
        )
        output = bytearray()
        try:
            async with await anyio.open_process(
                list(self._command), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                try:
                    with anyio.fail_after(_COMMAND_S):
                        if process.stdout is not None:
                            async for chunk in process.stdout:
                                output += chunk
                                if len(output) > _MAX_OUTPUT:
                                    raise failed
                        status = await process.wait()
                finally:
                    if process.returncode is None:
                        process.kill()
        except (OSError, ValueError, TimeoutError):
            raise failed from None
        if status != 0:
            raise failed
        return bytes(output)


def _read_token(output: bytes, name: str) -> tuple[str, float | None]:
    """Return the token a command printed, alone or in JSON, and when it expires."""
    text = output.decode("utf-8", "replace").strip()
    expiry = None
    if text.startswith("{"):
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            fields = {}
        text = _first(fields, "accessToken", "access_token", "token")
        expiry = _expiry(fields)
    if not _SECRET.fullmatch(text):
        raise InputError(
            f"the token command of the provider {name!r:.40} printed no token",
            hint="it must print a token alone, or JSON with `accessToken` or `access_token`",
        )
    return text, expiry


def _first(fields: Mapping[str, object], *names: str) -> str:
    return next((value for name in names if isinstance(value := fields.get(name), str)), "")


def _expiry(fields: Mapping[str, object]) -> float | None:
    """Return when a token expires, in seconds since the epoch, as `az` and others say it."""
    stated = fields.get("expires_on", fields.get("expiresOn"))
    if isinstance(stated, int | float) and not isinstance(stated, bool):
        return float(stated)
    if not isinstance(stated, str):
        return None
    if stated.isascii() and stated.isdigit() and len(stated) < 16:
        return float(stated)
    try:
        return datetime.fromisoformat(stated).timestamp()  # without a zone: local, as `az` has it
    except (ValueError, OverflowError):
        return None
