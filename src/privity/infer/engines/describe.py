"""What an engine says of itself: whether it answers, which release it is, what its models can do.

Each kind of engine says it elsewhere: llama-server in ``/props``, vLLM in its list of models, LM
Studio and Ollama in APIs of their own. What an engine does not say stays unknown; nothing is
guessed from a model's name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio

from privity.errors import EngineError, PrivityError
from privity.infer.catalogue import Offer
from privity.infer.engines import ollama
from privity.infer.engines.asking import Questions, count_of, words_of
from privity.infer.engines.embedded import CONTEXT
from privity.infer.engines.engine import Engine
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.engines.weights import find_default

__all__ = [
    "Facts",
    "Health",
    "State",
    "describe",
    "embedded_offer",
    "health",
    "offers",
]

_TIMEOUT_S = 10.0
_MAX_ASKED = 64  # models of an Ollama, each of which is asked about by itself
_AT_ONCE = 4
_MAX_LISTED = 256


class State(enum.StrEnum):
    """How an engine stands."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"
    """It does not answer, or not as an engine would."""


@dataclass(frozen=True, slots=True)
class Health:
    """How an engine is.

    Attributes:
        kind: what it is, such as ``ollama``.
        state: whether it would answer now.
        version: its release, in its own words; empty where it does not say.
        problem: why it would not answer.
    """

    kind: str
    state: State
    version: str = ""
    problem: PrivityError | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one model of an engine.

    Attributes:
        id: its name there.
        context: the most tokens of prompt and answer together, as the engine runs it; None where
            it does not say.
        trained: the tokens the model was made for; None where nobody says.
        can: ``chat``, ``tools``, ``vision``, ``embeddings``, ``reasoning``; empty where nobody
            says.
        note: what a person should know about it; empty where nothing.
    """

    id: str
    context: int | None = None
    trained: int | None = None
    can: frozenset[str] = frozenset()
    note: str = ""


async def health(engine: Engine) -> Health:
    """Return how an engine is; asks it, and raises nothing for what it answers.

    Args:
        engine: started or not.
    """
    try:
        async with _questions(engine) as ask:
            return await _health(engine, ask)
    except EngineError as error:
        return Health(engine.kind, State.SILENT, problem=error)


async def _health(engine: Engine, ask: Questions) -> Health:
    tells = engine.kind in ("embedded", "llama-server", "vllm")
    status, answer = await ask.exchange("GET", "/health" if tells else "/v1/models")
    if status == 503:
        problem = EngineError("the engine still loads its model", hint="try again in a while")
        return Health(engine.kind, State.LOADING, problem=problem)
    if status != 200 or not (tells or isinstance(answer, dict)):
        problem = EngineError(f"the engine says that it is not well: status {status}")
        return Health(engine.kind, State.SILENT, problem=problem)
    return Health(engine.kind, State.READY, await _version(engine.kind, ask))


async def _version(kind: str, ask: Questions) -> str:
    if kind in ("embedded", "llama-server"):
        path, member = "/props", "build_info"
    elif kind in ("vllm", "ollama"):
        path, member = ("/version" if kind == "vllm" else "/api/version"), "version"
    else:
        return ""
    try:
        answer = await ask.get(path)
    except EngineError:
        return ""
    return words_of(answer.get(member)) if isinstance(answer, dict) else ""


async def offers(engine: Engine, rung: str) -> tuple[Offer, ...]:
    """Return an engine's models as offers of the local route.

    Args:
        engine: started.
        rung: what the person calls it.

    Raises:
        EngineError: it does not answer.
    """
    return tuple(
        Offer(one.id, "local", rung, context=one.context, can=one.can, note=one.note)
        for one in await describe(engine)
    )


def embedded_offer(rung: str) -> Offer:
    """Return what the embedded engine would offer, without starting it.

    Raises:
        MissingDependency: no weights are installed.

    Guarantees:
        It is what the engine itself says once it runs (tests/interop/test_llama_server.py).
    """
    can = frozenset({"chat", "embeddings", "tools"})
    return Offer(find_default().model, "local", rung, context=CONTEXT, can=can)


async def describe(engine: Engine) -> tuple[Facts, ...]:
    """Return what an engine's models are, in the order it lists them.

    Models that it forwards to servers elsewhere are left out: they are not on this device. Where
    an engine does not say more of a model than its name, that is what there is.

    Args:
        engine: started.

    Raises:
        EngineError: it does not answer.

    Guarantees:
        Total on whatever an engine answers (tests/property/test_engine_answers.py). A context is
        never larger than the one the engine runs the model with, where it says that
        (tests/unit/test_engine_contexts.py).
    """
    async with _questions(engine) as ask:
        found = await _READERS.get(engine.kind, _listed)(ask)
    names = [model.id for model in engine.models]
    return tuple(found.get(name, Facts(name)) for name in names)


def _questions(engine: Engine) -> Questions:
    if isinstance(engine, OpenAIServer):
        return engine.questions()
    return Questions(engine.base_url, engine.headers, timeout_s=_TIMEOUT_S)


async def _listed(ask: Questions) -> dict[str, Facts]:
    """Read the list that every OpenAI-compatible server has; some say more in it than names."""
    return read_listed(await ask.get("/v1/models"))


def read_listed(answer: object) -> dict[str, Facts]:
    """Read the answer of ``/v1/models``, of vLLM, llama-server and others."""
    entries = answer.get("data") if isinstance(answer, dict) else None
    found: dict[str, Facts] = {}
    for entry in entries[:_MAX_LISTED] if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            continue
        meta = _table(entry, "meta")
        said = (entry.get("max_model_len"), meta.get("n_ctx"), entry.get("context_length"))
        context = next((count for count in map(count_of, said) if count is not None), None)
        trained = count_of(meta.get("n_ctx_train"))
        found[entry["id"]] = Facts(entry["id"], context, trained)
    return found


async def _llama_server(ask: Questions) -> dict[str, Facts]:
    found = await _listed(ask)
    try:
        props = await ask.get("/props")
    except EngineError:  # it may be told not to say
        return found
    # Whether it embeds it says nowhere; asked to embed nothing, it refuses in one way or the other.
    status, _ = await ask.exchange("POST", "/v1/embeddings", {})
    embeds = status == 400
    return {name: read_props(facts, props, embeds=embeds) for name, facts in found.items()}


def read_props(facts: Facts, props: object, *, embeds: bool = False) -> Facts:
    """Add what llama-server says in ``/props`` of the model that it has loaded."""
    if not isinstance(props, dict):
        return facts
    context = count_of(_table(props, "default_generation_settings").get("n_ctx"))
    can = {"chat", "embeddings"} if embeds else {"chat"}
    if _table(props, "chat_template_caps").get("supports_tools") is True:
        can.add("tools")
    if _table(props, "modalities").get("vision") is True:
        can.add("vision")
    return replace(facts, context=context or facts.context, can=facts.can | can)


async def _lm_studio(ask: Questions) -> dict[str, Facts]:
    for path in ("/api/v0/models", "/api/v1/models"):
        status, answer = await ask.exchange("GET", path)
        if status == 200 and (found := read_lm_studio(answer)):
            return found
    return await _listed(ask)


def read_lm_studio(answer: object) -> dict[str, Facts]:
    """Read the list of LM Studio's own API, of ``/api/v0`` or of ``/api/v1``."""
    table = answer if isinstance(answer, dict) else {}
    entries = table.get("data", table.get("models"))
    found: dict[str, Facts] = {}
    for entry in entries[:_MAX_LISTED] if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        name = entry.get("id", entry.get("key"))
        if not isinstance(name, str):
            continue
        trained, loaded = count_of(entry.get("max_context_length")), _loaded_context(entry)
        note = ""
        if loaded is None and trained is not None:
            note = f"made for {trained:,} tokens; how many it reads is said once it is loaded"
        elif loaded is not None and trained is not None and loaded < trained:
            note = f"it reads {loaded:,} of {trained:,} tokens; LM Studio's settings raise that"
        found[name] = Facts(name, loaded, trained, _lm_studio_abilities(entry), note)
    return found


def _loaded_context(entry: Mapping[str, Any]) -> int | None:
    """Return the context a model is loaded with, the least of them if it is loaded twice."""
    instances = entry.get("loaded_instances")
    said = [entry.get("loaded_context_length")]
    for one in instances if isinstance(instances, list) else ():
        if isinstance(one, dict):
            said.append(_table(one, "config").get("context_length"))
    return min((count for count in map(count_of, said) if count is not None), default=None)


def _lm_studio_abilities(entry: Mapping[str, Any]) -> frozenset[str]:
    kind, listed = entry.get("type"), entry.get("capabilities")
    can = set()
    if kind in ("llm", "vlm"):
        can.add("chat")
    if kind in ("embeddings", "embedding"):
        can.add("embeddings")
    named = _table(entry, "capabilities")
    if kind == "vlm" or named.get("vision") is True:
        can.add("vision")
    tool_use = isinstance(listed, list) and "tool_use" in listed
    if tool_use or named.get("trained_for_tool_use") is True:
        can.add("tools")
    return frozenset(can)


async def _ollama(ask: Questions) -> dict[str, Facts]:
    version = await _version("ollama", ask)
    listed = [one for one in await ollama.installed(ask) if not one.elsewhere][:_MAX_ASKED]
    loaded = await ollama.contexts_in_use(ask)
    found: dict[str, Facts] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def one(name: str) -> None:
        async with limiter:
            try:
                shown = await ollama.show(ask, name, version=version, loaded=loaded)
            except EngineError:
                return  # removed meanwhile, or too much is said of it: its name is what there is
        found[name] = Facts(name, shown.context, shown.trained, shown.can, shown.note)

    async with anyio.create_task_group() as group:
        for model in listed:
            group.start_soon(one, model.id)
    return found


def _table(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, dict) else {}


_READERS = {
    "embedded": _llama_server,
    "llama-server": _llama_server,
    "lm-studio": _lm_studio,
    "ollama": _ollama,
}
