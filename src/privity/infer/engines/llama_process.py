"""The process that runs the embedded engine: llama.cpp's own server, alone with the prompts.

A process of its own, for three reasons. llama.cpp parses hostile input in C++, and the enclave's
private keys must not lie in the memory it could be made to read. Loading holds Python's global lock
for as long as it takes, which would stop every stream. And a crash ends this process alone.

Its settings come as one JSON line on standard input, so that the API key is in no command line;
it answers with one line on standard output, and ends when standard input does, which is to say
with its parent, however that ends.

Guarantees:
    After its one line it cannot print: standard output and error lead nowhere, so that no message
    of llama.cpp can hold a prompt (tests/e2e/test_enclave_canary.py).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from privity.infer.engines.hardening import harden

__all__ = ["LlamaSettings"]


@dataclass(frozen=True)
class LlamaSettings:
    """What to run.

    Attributes:
        path: the GGUF file.
        model: the id it answers to.
        key: the API key it asks for.
        slots: requests answered at one time.
        context: tokens of prompt and answer together, for each of them.
        threads: processor threads for computing.
        template: a chat template in place of the model's own, or empty.
        unsafe_inspectable: see `hardening.harden`.
        refuse_swap: load nothing where memory may be written to swap.
    """

    path: str
    model: str
    key: str = field(repr=False)
    slots: int
    context: int
    threads: int
    template: str = ""
    unsafe_inspectable: bool = False
    refuse_swap: bool = False

    def to_line(self) -> bytes:
        """Return the line for the process's standard input."""
        return json.dumps(asdict(self)).encode() + b"\n"


# Longest input of an embedding, in tokens: it has to fit one physical batch.
_BATCH = 2048
# No file is read from or written to there: a path that cannot exist. That it is set at all makes
# the server offer to erase a slot.
_NOWHERE = "/dev/null/privity/"


def _parameters(settings: LlamaSettings) -> Any:
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = settings.path
    p.model_alias = {settings.model}
    p.api_keys = [settings.key]
    p.chat_template = settings.template
    p.n_parallel = settings.slots
    p.n_ctx = settings.context * settings.slots
    p.kv_unified = False  # each slot has its own: a long prompt takes no room from other callers
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = settings.threads
    p.n_batch = p.n_ubatch = _BATCH
    p.embedding = True  # chat as well: it only adds the endpoint
    p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    p.fit_params = False
    p.warmup = False
    # Nothing of one request may serve another.
    p.cache_prompt = False
    p.cache_ram_mib = 0
    p.cache_idle_slots = False
    p.n_cache_reuse = 0
    p.slot_prompt_similarity = 0.0
    p.n_ctx_checkpoints = 0
    p.slot_save_path = _NOWHERE
    # Nothing is offered but what is asked for, and nothing is said.
    p.endpoint_slots = p.endpoint_props = p.endpoint_metrics = p.ui = False
    p.cors_origins = "null"
    p.offline = True
    p.verbosity = -1
    return p


def _serve(settings: LlamaSettings) -> Any:
    """Start the server and return it; it runs for as long as it is referred to."""
    import xllamacpp

    return xllamacpp.Server(_parameters(settings))


def main() -> None:
    """Read the settings, serve, say where, and end with standard input."""
    out = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # Before it is told what to load: a sealed model is being opened meanwhile.
    with contextlib.suppress(Exception):  # met again, and told, where it is used
        importlib.import_module("xllamacpp")
    settings = LlamaSettings(**json.loads(sys.stdin.buffer.readline()))
    hardened = harden(unsafe_inspectable=settings.unsafe_inspectable)
    try:
        if settings.refuse_swap:
            hardened.refuse_swap()
        server = _serve(settings)
        reply = {"url": server.listening_address}
    except Exception as error:  # its words are the parent's to tell; this process says no more
        reply = {"error": f"{type(error).__name__}: {error}"}
    os.write(out, json.dumps(reply).encode() + b"\n")
    os.close(out)
    while "url" in reply and sys.stdin.buffer.read(4096):
        pass
    # Not a return: that would wait for requests in progress, whose callers are gone.
    os._exit(0)


if __name__ == "__main__":
    main()
