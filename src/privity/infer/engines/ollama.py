"""Ollama's own API: which models it has, what they can do, what it really reads, and pulling more.

Two traps are dealt with here. Ollama reads far less of a prompt than its model could, and drops
the beginning of a longer one in silence: the context stated is the one it uses. And some of the
models it lists are not on this machine at all: Ollama forwards what they are asked to a server
elsewhere, so they are no part of a local route.

List, show and pull are what is here; a model is removed with ``ollama rm``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from privity.errors import EngineError, InputError
from privity.infer.engines.asking import Questions, count_of, words_of

__all__ = ["Installed", "Progress", "check_name", "installed", "is_elsewhere", "pull", "show"]

_MAX_LISTED = 256
_PATIENCE_S = 900.0  # while it checks tens of gigabytes it says nothing
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9._-]+)*(:[A-Za-z0-9._-]+)?")
_MAX_NAME = 256
_NUM_CTX = re.compile(r"^num_ctx +([0-9]{1,9})\s*$", re.MULTILINE)
_ABILITIES = {
    "completion": "chat",
    "tools": "tools",
    "vision": "vision",
    "embedding": "embeddings",
    "thinking": "reasoning",
}
# What it takes where nothing else was said: less before 0.6.7, and on a large GPU more since
# 0.15.5. The least is stated.
_DEFAULT, _OLD_DEFAULT, _RAISED = 4096, 2048, (0, 6, 7)


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that Ollama lists.

    Attributes:
        id: its name there, ``llama3.2:3b``.
        elsewhere: the server that Ollama forwards its prompts to; empty for one of its own.
    """

    id: str
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What Ollama says of one model.

    Attributes:
        context: tokens it reads, prompt and answer together.
        trained: tokens the model was made for; None where it is not said.
        loaded: whether `context` is that of the model as it is loaded now.
        can: its abilities, in privity's words.
        note: what a person should know of its context; empty where nothing.
    """

    context: int
    trained: int | None
    loaded: bool
    can: frozenset[str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is.

    Attributes:
        status: what Ollama does, in its words.
        digest: the part that is being downloaded; empty for other work.
        total: its bytes.
        completed: those that are there, also from before.
    """

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0


def is_elsewhere(name: str) -> bool:
    """Tell whether a name says by itself that Ollama would forward its prompts to its own servers.

    ``gpt-oss:120b-cloud``, ``qwen3:cloud``: some releases take such a name that they do not list.
    """
    tag = name.rpartition(":")[2].casefold()
    return tag == "cloud" or tag.endswith("-cloud")


async def version_of(ask: Questions) -> str:
    """Return the release of the Ollama that answers.

    Raises:
        EngineError: nothing answers, or no Ollama.
    """
    status, answer = await ask.exchange("GET", "/api/version")
    version = words_of(answer.get("version")) if isinstance(answer, dict) else ""
    if status != 200 or not version:
        raise EngineError("what answers there is no Ollama", hint="--engine says where it listens")
    return version


async def installed(ask: Questions) -> tuple[Installed, ...]:
    """Return the models that Ollama lists, those that it forwards to other servers too.

    Raises:
        EngineError: it does not answer, or not as Ollama would.
    """
    return read_installed(await ask.get("/api/tags"))


def read_installed(answer: object) -> tuple[Installed, ...]:
    """Read the answer of ``/api/tags``; raises `EngineError` where it is none."""
    entries = answer.get("models") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise EngineError(
            "the engine does not say, as Ollama would, which of its models it runs itself",
            hint="what stands in front of it has to let /api/tags through",
        )
    found = []
    for entry in entries[:_MAX_LISTED]:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
            continue
        host = words_of(entry.get("remote_host"))
        if not host and (entry.get("remote_model") or is_elsewhere(name)):
            host = "a server of Ollama's"
        found.append(Installed(name, host))
    return tuple(found)


async def show(
    ask: Questions, name: str, *, version: str = "", loaded: Mapping[str, int] | None = None
) -> Shown:
    """Return what Ollama says of a model.

    Args:
        ask: connections to it.
        name: as it is listed.
        version: the release that runs; what it reads by default depends on it.
        loaded: the contexts of the models that are loaded, as `contexts_in_use` has them.

    Raises:
        EngineError: it does not answer, or has no such model.
    """
    status, answer = await ask.exchange("POST", "/api/show", {"model": name})
    if status != 200 or not isinstance(answer, dict):
        raise _refusal(name, answer)
    return read_shown(answer, in_use=(loaded or {}).get(name), version=version)


async def contexts_in_use(ask: Questions) -> Mapping[str, int]:
    """Return the context of each model that is loaded; empty where it does not say."""
    try:
        answer = await ask.get("/api/ps")
    except EngineError:
        return {}
    entries = answer.get("models") if isinstance(answer, dict) else None
    found: dict[str, int] = {}
    for entry in entries[:_MAX_LISTED] if isinstance(entries, list) else ():
        context = count_of(entry.get("context_length")) if isinstance(entry, dict) else None
        if context is not None and isinstance(entry.get("name"), str):
            found[entry["name"]] = context
    return found


def read_shown(answer: Mapping[str, Any], *, in_use: int | None, version: str) -> Shown:
    """Read the answer of ``/api/show``.

    Args:
        answer: it.
        in_use: the context of the model as it is loaded; None where it is not.
        version: the release that answers.
    """
    trained = _trained(answer.get("model_info"))
    listed = answer.get("capabilities")
    can = frozenset(
        _ABILITIES[one]
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, str) and one in _ABILITIES
    )
    if in_use is not None:
        return Shown(in_use, trained, True, can, _truncation(in_use, trained))
    parameters = answer.get("parameters")
    said = _NUM_CTX.search(parameters) if isinstance(parameters, str) else None
    chosen = count_of(int(said.group(1))) if said else None
    wanted = chosen or _default(version)
    context = min(wanted, trained or wanted)
    note = _truncation(context, trained)
    if note and chosen is None:
        note = f"assumed until it is loaded, as Ollama's default: {note}"
    return Shown(context, trained, False, can, note)


def _truncation(context: int, trained: int | None) -> str:
    if trained is None or context >= trained:
        return ""
    return (
        f"it reads {context:,} of {trained:,} tokens, and drops the beginning of a longer prompt "
        "without a word; OLLAMA_CONTEXT_LENGTH, or num_ctx in a Modelfile, raises that"
    )


def _trained(info: object) -> int | None:
    if not isinstance(info, dict):
        return None
    architecture = info.get("general.architecture")
    exact = count_of(info.get(f"{architecture}.context_length"))
    if exact is not None:
        return exact
    named = (info[key] for key in info if isinstance(key, str) and key.endswith(".context_length"))
    return next((count for count in map(count_of, named) if count is not None), None)


def _default(version: str) -> int:
    numbers = re.match(r"([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", version)
    if numbers and tuple(map(int, numbers.groups())) < _RAISED:
        return _OLD_DEFAULT
    return _DEFAULT


def check_name(name: str) -> str:
    """Return the host that Ollama would fetch a model from; empty for its own registry.

    Raises:
        InputError: not a model's name, or one whose prompts would leave this machine.
    """
    if not _MODEL.fullmatch(name) or len(name) > _MAX_NAME:
        raise InputError(
            f"{words_of(name)!r} is not the name of a model", hint="such as llama3.2:3b"
        )
    if is_elsewhere(name):
        raise InputError(
            f"{name} is not a model to pull: it runs on Ollama's servers, which read the prompts"
        )
    first, _, rest = name.partition("/")
    return first if rest and ("." in first or ":" in first or first == "localhost") else ""


async def pull(ask: Questions, name: str) -> AsyncGenerator[Progress, None]:
    """Have Ollama download a model, and yield how far it is.

    Leaving the iterator (`aclosing`) stops the download. What is there stays there: asked again,
    Ollama goes on from it.

    Args:
        ask: connections to it.
        name: as its registry knows it.

    Raises:
        InputError: not a model's name.
        EngineError: there is no such model, no space, no way to its registry, or no Ollama.

    Guarantees:
        It ends without an error only where Ollama said that it succeeded
        (tests/unit/test_ollama.py::test_a_pull_that_breaks_off_is_no_success).
    """
    check_name(name)
    done = False
    fields = {"model": name, "stream": True}
    async with aclosing(ask.lines("/api/pull", fields, patience_s=_PATIENCE_S)) as lines:
        async for line in lines:
            if "error" in line:
                raise _refusal(name, line)
            progress = read_progress(line)
            done = done or progress.status == "success"
            yield progress
    if not done:
        raise EngineError(
            f"Ollama broke off before it had {name}",
            hint="the same command goes on from what is there",
        )


def read_progress(line: Mapping[str, Any]) -> Progress:
    """Read one line of a pull; what makes no sense in it counts as not said."""
    total = count_of(line.get("total")) or 0
    completed = min(count_of(line.get("completed")) or 0, total)
    return Progress(words_of(line.get("status")), words_of(line.get("digest")), total, completed)


_REASONS: Sequence[tuple[str, str, str]] = (
    ("no space left", "there is no space left for it", "free some, then give the same command"),
    ("newer version", "it needs a newer Ollama", "update Ollama"),
    ("digest mismatch", "a part arrived damaged", "give the same command again"),
    ("permission denied", "Ollama may not write to its folder of models", "see its own log"),
    ("file does not exist", "there is no such model", "is the name right, with its tag?"),
    ("not found", "there is no such model", "is the name right, with its tag?"),
    ("unauthorized", "its registry does not give it to everyone", "`ollama signin`, or another"),
    ("dial tcp", "Ollama does not reach its registry", "is that machine connected?"),
    ("no such host", "Ollama does not reach its registry", "is that machine connected?"),
    ("timeout", "Ollama does not reach its registry", "is that machine connected?"),
    ("max retries", "Ollama does not reach its registry", "is that machine connected?"),
)


def _refusal(name: str, answer: object) -> EngineError:
    said = words_of(answer.get("error")) if isinstance(answer, dict) else ""
    lowered = said.lower()
    for sign, reason, hint in _REASONS:
        if sign in lowered:
            return EngineError(f"{words_of(name)}: {reason}", hint=hint)
    return EngineError(f"{words_of(name)}: Ollama answers: {said or 'nothing that says why'}")
