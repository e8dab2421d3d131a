"""What the real model says, and when: one trace a question, recorded once and kept.

The embedded engine (SmolLM2-135M) answers each question alone, behind the proxy that an enclave
has. A trace is every message that the proxy would give the gateway, with its time. They are kept
in ``bench/out/traffic``, so that a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.proxy import EngineProxy
from traffic_prompts import Question

__all__ = ["TOKENS", "Trace", "load_traces", "record"]

TOKENS = 80
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Trace:
    """One answer of the model.

    Attributes:
        question: what was asked.
        messages: seconds from the first, and the bytes, of each message of the application.
    """

    question: Question
    messages: tuple[tuple[float, bytes], ...]

    @property
    def first(self) -> float:
        """Seconds from the request to the first token of a replay: by chance from 0.1 to 0.2.

        What it really was told the length of the question, which here would be our own doing.
        """
        drawn = hashlib.sha256(self.question.key.encode()).digest()
        return 0.1 + 0.1 * drawn[0] / 256

    @property
    def seconds(self) -> float:
        """From its first token to its end."""
        return self.messages[-1][0]

    @property
    def size(self) -> int:
        """Bytes of the answer as the engine gave it."""
        return sum(len(data) for _, data in self.messages)

    def to_line(self) -> str:
        """Return it as one line of JSON."""
        q = self.question
        messages = [[round(at, 6), data.decode("latin-1")] for at, data in self.messages]
        return json.dumps([q.topic, q.template, q.text, q.time, messages])


def load_traces(path: Path) -> dict[str, Trace]:
    """Return the traces that were kept, by the key of their question."""
    found = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            *asked, messages = json.loads(line)
            question = Question(*asked)
            parts = tuple((at, data.encode("latin-1")) for at, data in messages)
            found[question.key] = Trace(question, parts)
    return found


async def record(questions: Iterable[Question], path: Path) -> list[Trace]:
    """Return a trace of each question; ask the model for those that are not kept."""
    wanted = list(questions)
    kept = load_traces(path)
    missing = [question for question in wanted if question.key not in kept]
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = EmbeddedEngine(slots=1, context=1024)
        proxy = EngineProxy(engine)
        try:
            await engine.start()
            await _ask(proxy, "Say hello.")  # warms it up
            with path.open("a") as file:
                for number, question in enumerate(missing):
                    trace = Trace(question, await _ask(proxy, question.text))
                    kept[question.key] = trace
                    file.write(trace.to_line() + "\n")
                    file.flush()
                    if number % 50 == 49:
                        print(f"    recorded {number + 1} of {len(missing)}", flush=True)
        finally:
            await proxy.aclose()
            await engine.aclose()
    return [kept[question.key] for question in wanted]


async def _ask(proxy: EngineProxy, text: str) -> tuple[tuple[float, bytes], ...]:
    body = {
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "max_tokens": TOKENS,
        "temperature": TEMPERATURE,
    }
    requests = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    messages: list[tuple[float, bytes]] = []
    never = anyio.Event()

    async def receive() -> Any:
        if requests:
            return requests.pop()
        await never.wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            messages.append((time.perf_counter(), message["body"]))

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
    await proxy({**scope, "query_string": b"", "headers": []}, receive, send)
    return tuple((at - messages[0][0], data) for at, data in messages)
