"""What model servers say of themselves: JSON answers, and the JSON lines of a pull."""

from __future__ import annotations

import json

from fuzz.harness import Made, attempt
from privity.infer.engines.asking import JsonLines
from privity.infer.engines.describe import Facts, read_listed, read_lm_studio, read_props
from privity.infer.engines.ollama import read_installed, read_progress, read_shown
from privity.infer.shapes.members import read_json


def one(data: bytes) -> None:
    answer = attempt(read_json, data, exact=False)
    for facts in (*read_listed(answer).values(), *read_lm_studio(answer).values()):
        assert facts.context is None or facts.context > 0
    read_props(Facts("m"), answer)
    attempt(read_installed, answer)
    if isinstance(answer, dict):
        assert read_shown(answer, in_use=None, version="0.17.4").context > 0
    reader = JsonLines()
    for start in range(0, len(data), 7):
        for line in attempt(lambda piece: list(reader.feed(piece)), data[start : start + 7]) or ():
            progress = read_progress(line)
            assert progress.completed <= progress.total
    attempt(lambda: list(reader.end()))


def seeds() -> Made:
    meta = {"n_ctx": 4096, "n_ctx_train": 8192}
    listed = {"object": "list", "data": [{"id": "m", "meta": meta, "max_model_len": 4096}]}
    loaded = [{"id": "m", "config": {"context_length": 4096}}]
    studio = {"models": [{"key": "m", "type": "llm", "loaded_instances": loaded}]}
    props = {"default_generation_settings": {"n_ctx": 4096}, "modalities": {"vision": True}}
    tags = {"models": [{"name": "m:latest", "remote_host": "https://away.example"}]}
    shown = {
        "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
        "parameters": "num_ctx    2048",
        "capabilities": ["completion", "tools"],
    }
    pulled = [
        {"status": "pulling", "digest": "sha256:ab", "total": 9, "completed": 4},
        {"error": "no"},
    ]
    answers = [json.dumps(each).encode() for each in (listed, studio, props, tags, shown)]
    return Made([*answers, b"\n".join(json.dumps(line).encode() for line in pulled)])
