"""Asks a model server about itself: short JSON answers and streams of JSON lines, all bounded.

What answers on a port may be anything: each answer is read to a limit and no further, and what is
not JSON is an `EngineError`. Nothing of a person's job passes here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx

from privity.errors import EngineError, MalformedError, OversizeError
from privity.infer.shapes.members import read_json
from privity.wording import failure_words, shown

__all__ = ["JsonLines", "Questions", "count_of", "words_of"]

MAX_ANSWER = 4 << 20
MAX_LINE = 64 << 10
_MAX_COUNT = 1 << 40
_MAX_WORDS = 200


class Questions:
    """Connections to one server, for questions about itself.

    Args:
        base_url: where it listens, without ``/v1``.
        headers: its API key, if it wants one.
        timeout_s: seconds each answer may take.
        transport: how to reach it; by default directly, whatever proxies the environment names.

    Guarantees:
        An answer of more than `MAX_ANSWER` bytes is not read to its end
        (tests/unit/test_engine_contexts.py::test_an_endless_answer_is_left).
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=dict(headers),
            timeout=timeout_s,
            trust_env=False,
            transport=transport,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def get(self, path: str) -> Any:
        """Return the JSON that is served there.

        Raises:
            EngineError: no answer, one of another status than 200, or no JSON.
        """
        status, answer = await self.exchange("GET", path)
        if status != 200:
            raise self._strange()
        return answer

    async def exchange(
        self, method: str, path: str, fields: Mapping[str, object] | None = None
    ) -> tuple[int, Any]:
        """Return the status and the JSON of an answer; None for one that is not JSON.

        Raises:
            EngineError: no answer, a key is wanted, or more than `MAX_ANSWER` bytes.
        """
        try:
            async with self._client.stream(method, path, json=fields) as response:
                self._check_key(response)
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise self._strange()
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        try:
            answer = read_json(bytes(body), exact=False)
        except MalformedError as error:
            if response.status_code == 200:
                raise self._strange() from error
            answer = None
        return response.status_code, answer

    async def lines(
        self, path: str, fields: Mapping[str, object], *, patience_s: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the objects of an answer of JSON lines, as they come.

        An answer of another status is yielded as the one object it is.

        Args:
            path: where to post to.
            fields: what to post.
            patience_s: seconds the server may say nothing.

        Raises:
            EngineError: no answer, one that breaks off, or lines that are not JSON objects.
        """
        timeout = httpx.Timeout(self._timeout_s, read=patience_s)
        reader = JsonLines()
        try:
            async with self._client.stream("POST", path, json=fields, timeout=timeout) as response:
                self._check_key(response)
                async for piece in response.aiter_bytes():
                    for one in reader.feed(piece):
                        yield one
                for one in reader.end():
                    yield one
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        except (MalformedError, OversizeError) as error:
            raise self._strange() from error

    def _check_key(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            raise EngineError(
                f"the engine at {self._base_url} wants an API key", hint="give its key too"
            )

    def _silent(self, error: httpx.HTTPError) -> EngineError:
        return EngineError(
            f"the engine at {self._base_url} did not answer: {failure_words(error)}",
            hint="is it running there?",
        )

    def _strange(self) -> EngineError:
        return EngineError(f"{self._base_url} does not answer as an OpenAI API would")


class JsonLines:
    """Splits bytes as they come into the JSON objects of their lines.

    Guarantees:
        Total on any bytes in any pieces: objects, `MalformedError` or `OversizeError`, and never
        more than `MAX_LINE` bytes kept (tests/property/test_engine_answers.py).
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the objects that are complete.

        Raises:
            MalformedError: a line is not a JSON object.
            OversizeError: a line is longer than `MAX_LINE`.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                yield _object(line)
        if len(self._rest) > MAX_LINE:
            self._rest = b""
            raise OversizeError(f"a line is longer than {MAX_LINE} bytes")

    def end(self) -> Iterator[dict[str, Any]]:
        """Yield the object of a last line without its end; raises as `feed`."""
        rest, self._rest = self._rest, b""
        if rest.strip():
            yield _object(rest)


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise OversizeError(f"a line is longer than {MAX_LINE} bytes")
    value = read_json(line, exact=False)
    if not isinstance(value, dict):
        raise MalformedError("a line is not a JSON object")
    return value


def count_of(value: object) -> int | None:
    """Return a number of tokens or bytes that an engine states, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= _MAX_COUNT else None


def words_of(value: object) -> str:
    """Return a short line of an engine's own words, with nothing in it that a terminal obeys."""
    return shown(value, _MAX_WORDS) if isinstance(value, str) else ""
