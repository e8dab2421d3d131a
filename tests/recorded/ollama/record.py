"""Writes the exchanges of this folder anew, from a real Ollama that runs with nothing in it.

``PRIVITY_OLLAMA=… PYTHONPATH=tests python -m recorded.ollama.record``. What is cut from an answer,
being long or naming folders of a machine, is listed in the file.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from interop.test_ollama import Registry, give_model, running
from privity.infer.engines.weights import find_default

FOLDER = Path(__file__).parent
CUT = ("modelfile", "tensors", "license")


def main() -> None:
    """Run Ollama and a registry, ask, and write what came."""
    path = find_default().path
    registry, port = Registry(path), _free_port()
    config = uvicorn.Config(registry.app, port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with running() as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
            release = client.get("/api/version").json()["version"]
            empty = [_get(client, one) for one in ("/v1/models", "/api/tags", "/api/ps")]
            _write("empty", release, empty)
            tiny = f"127.0.0.1:{port}/library/tiny:latest"
            registry.pause_s = 0.02
            asked = {"pull": tiny, "pull_absent": tiny.replace("tiny", "absent")}
            for name, model in (asked | {"pull_unreachable": "127.0.0.1:9/library/tiny"}).items():
                _write(name, release, [_post(client, "/api/pull", _pulling(model))])
            _write("pull_again", release, [_post(client, "/api/pull", _pulling(tiny))])
            client.request("DELETE", "/api/delete", json={"model": tiny})
            give_model(client, path)
            asked_about = [_get(client, one) for one in ("/api/version", "/api/tags", "/v1/models")]
            asked_about.append(_post(client, "/api/show", {"model": "smollm2:latest"}))
            asked_about.append(_post(client, "/api/show", {"model": "absent"}))
            asked_about.append(_get(client, "/api/ps"))
            _write("one_model", release, asked_about)
            message = {"role": "user", "content": "Say hello."}
            fields = {"model": "smollm2", "messages": [message], "max_tokens": 4}
            client.post("/v1/chat/completions", json=fields).raise_for_status()
            _write("loaded", release, [_get(client, "/api/ps")])
            away = {"model": "big", "from": "big", "remote_host": "http://127.0.0.1:9"}
            client.post("/api/create", json=away | {"stream": False}).raise_for_status()
            _write("forwarded", release, [_get(client, "/api/tags"), _get(client, "/v1/models")])
    finally:
        server.should_exit = True
        thread.join()


def _pulling(model: str) -> dict[str, Any]:
    return {"model": model, "stream": True, "insecure": True}


def _get(client: httpx.Client, path: str) -> dict[str, Any]:
    return _exchange("GET", path, None, client.get(path))


def _post(client: httpx.Client, path: str, fields: dict[str, Any]) -> dict[str, Any]:
    return _exchange("POST", path, fields, client.post(path, json=fields))


def _exchange(method: str, path: str, fields: Any, answer: httpx.Response) -> dict[str, Any]:
    kind = answer.headers.get("content-type", "")
    exchange = {"method": method, "path": path, "request": fields}
    exchange |= {"status": answer.status_code, "content_type": kind}
    if "ndjson" in kind:
        lines = [json.loads(line) for line in answer.text.splitlines()]
        by_part: dict[str, list[Any]] = {}
        for line in lines:
            by_part.setdefault(line.get("digest") or line.get("status", ""), []).append(line)
        return exchange | {"lines": [line for part in by_part.values() for line in _few(part)]}
    body = answer.json()
    cut = [name for name in CUT if isinstance(body, dict) and body.pop(name, None)]
    for one in [body, *(body.get("models") or [])]:
        details = one.get("details")
        if isinstance(details, dict) and details.get("parent_model"):
            details["parent_model"] = ""
            cut.append("details.parent_model")
    return exchange | {"cut": cut, "body": body}


def _few(lines: list[Any]) -> list[Any]:
    """Return the first lines of a part and its last ones; a large part has hundreds."""
    return lines if len(lines) <= 6 else [*lines[:3], *lines[-3:]]


def _write(name: str, release: str, exchanges: list[dict[str, Any]]) -> None:
    source = f"recorded from a real Ollama {release} on loopback, {time.strftime('%Y-%m-%d')}"
    text = json.dumps({"source": source, "exchanges": exchanges}, indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
