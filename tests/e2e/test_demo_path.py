"""The main job as a person does it: a devnet of real processes, a real model, the commands.

Also the stock `openai` client and `curl` against `privity up`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

PRIVITY = [sys.executable, "-m", "privity.cli"]
QUESTION = "Why is the sky blue?"
EXPECTED = "blue"  # the least a model of 135 million parameters says about it
LIMIT = ("--max-tokens", "48")  # a small model may go on until its context is full
LIMIT_S = 240


@dataclass
class Home:
    """A privity home of its own, and the environment that points to it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "OPENAI_API_KEY")}
        return {**kept, "PRIVITY_HOME": str(self.folder), "NO_COLOR": "1", "COLUMNS": "100"}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PRIVITY, *arguments],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def start(self, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Start a command that writes one JSON line when it is ready."""
        process = subprocess.Popen(
            [*PRIVITY, *arguments], env=self.env, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        document = json.loads(process.stdout.readline() or "null")
        if document is None or "error" in document:
            stop(process)
            pytest.fail(f"privity {' '.join(arguments)} did not start: {document}")
        return process, document

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def devnet(home: Home) -> Iterator[dict[str, Any]]:
    process, description = home.start("devnet", "--json")
    yield description
    stop(process)
    assert not (home.folder / "devnet" / "devnet.json").exists()
    for role in ("enclave", "relay"):
        with pytest.raises(ProcessLookupError):
            os.kill(description["pids"][role], 0)


@dataclass
class Daemon:
    base_url: str
    token: str

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.base_url, api_key=self.token, max_retries=0)


@pytest.fixture(scope="module")
def daemon(home: Home, devnet: dict[str, Any]) -> Iterator[Daemon]:
    process, ready = home.start("up", "--policy", "dev", "--port", "0", "--json")
    yield Daemon(ready["base_url"], Path(ready["token_file"]).read_text().strip())
    stop(process)


def test_the_strict_policy_refuses_the_dev_enclave_and_says_what_would_do(
    home: Home, devnet: dict[str, Any]
) -> None:
    before = home.json("receipts", "list")
    done = home.run("ask", QUESTION)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "could read" in done.stderr
    assert "a dev enclave does not stop its host" in done.stderr
    assert "error: " in done.stderr
    assert "dev" in done.stderr.split("hint: ")[1]
    refused = home.run("ask", QUESTION, "--json")
    report = json.loads(refused.stdout)["error"]["report"]
    assert {"host", "enclave"} >= {one["party"] for one in report["offending"]}
    assert report["presets_that_allow"] == ["dev"]
    assert home.json("receipts", "list") == before, "a refused question left a receipt"


def test_ask_explain_answers_and_leaves_a_receipt_that_verifies(
    home: Home, devnet: dict[str, Any]
) -> None:
    done = home.run(
        "ask", "--policy", "dev", "--temperature", "0", *LIMIT, "--explain", "--yes", QUESTION
    )
    assert done.returncode == 0, done.stderr
    assert EXPECTED in done.stdout
    assert "who will be privy to what" in done.stderr
    assert "enclave · dev" in done.stderr
    assert "confidential · dev · receipt " in done.stderr
    receipt_id = done.stderr.split("receipt ")[-1].split()[0]

    shown = home.run("receipts", "show", receipt_id)
    assert shown.returncode == 0, shown.stderr
    assert "complete" in shown.stdout
    assert "the enclave · dev" in shown.stdout
    assert QUESTION not in shown.stdout

    verified = home.run("receipts", "verify", receipt_id)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "verified: " in verified.stdout
    assert "dev evidence" in verified.stdout
    stored = (home.folder / "receipts" / f"{receipt_id}.json").read_text()
    assert QUESTION not in stored and done.stdout.strip() not in stored


def test_explain_sends_nothing_without_a_yes(home: Home, devnet: dict[str, Any]) -> None:
    before = home.json("receipts", "list")
    done = home.run("ask", "--policy", "dev", "--explain", QUESTION)
    assert done.returncode == 2
    assert "who will be privy to what" in done.stderr
    assert "--yes" in done.stderr
    assert home.json("receipts", "list") == before


def test_ask_reads_standard_input_and_writes_json(home: Home, devnet: dict[str, Any]) -> None:
    done = home.run("ask", "-p", "dev", "--max-tokens", "8", "--json", "-", stdin=QUESTION)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["answer"]
    assert document["dev"] is True
    assert document["route"] == "confidential"
    assert document["usage"]["completion_tokens"] <= 8
    assert document["disclosure"]["host"]["views"]["prompt"]["view"] == "everything"


def test_ask_on_the_local_route_needs_no_enclave(home: Home) -> None:
    done = home.run("ask", "--route", "local", "--policy", "local-only", "--max-tokens", "8", "hi")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    row = home.json("receipts", "list", "-n", "1")[0]
    assert (row["route"], row["outcome"], row["dev"]) == ("local", "complete", False)


def test_chat_keeps_the_conversation_in_memory(home: Home, devnet: dict[str, Any]) -> None:
    turns = "My name is Ada. Say hello.\n/new\nSay yes.\n/quit\nnever read\n"
    done = home.run("chat", "-p", "dev", "--max-tokens", "24", "--json", stdin=turns)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2
    assert len({line["receipt"] for line in lines}) == 2
    kept = b"".join(p.read_bytes() for p in home.folder.rglob("*") if p.is_file())
    assert b"My name is Ada" not in kept


def test_policy_check_and_doctor_see_the_devnet(home: Home, devnet: dict[str, Any]) -> None:
    assert home.run("policy", "check").returncode == 3
    assert home.json("policy", "check", "dev")["dev"] is True
    findings = home.json("doctor")
    assert findings["healthy"] is True
    found = {one["subject"]: one for one in findings["findings"]}
    assert devnet["enclave"] in found["devnet"]["detail"]
    assert "135" in found["weights"]["detail"]
    assert found["enclave"]["state"] == "note"


def test_a_second_devnet_in_the_same_home_is_refused(home: Home, devnet: dict[str, Any]) -> None:
    done = home.run("devnet", "--json")
    assert done.returncode == 2
    assert "runs already" in json.loads(done.stdout)["error"]["message"]


def test_the_library_without_the_daemon(
    home: Home, devnet: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import privity

    monkeypatch.setenv("PRIVITY_HOME", str(home.folder))
    answer = privity.ask(QUESTION, policy="dev", temperature=0, max_tokens=48)
    assert EXPECTED in answer
    http_client = privity.http_client(policy="dev")
    with openai.OpenAI(
        base_url="http://enclave.privity/v1", api_key="unused", http_client=http_client
    ) as client:
        stream = client.chat.completions.create(
            model=devnet["models"][0],
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=48,
            stream=True,
        )
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert EXPECTED in said


def test_openai_streamed_chat(home: Home, daemon: Daemon, devnet: dict[str, Any]) -> None:
    with daemon.client as client:
        stream = client.chat.completions.create(
            model=devnet["models"][0],
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=48,
            stream=True,
        )
        pieces = [c.choices[0].delta.content or "" for c in stream if c.choices]
    assert EXPECTED in "".join(pieces)
    assert len(pieces) > 3, "the answer did not stream"
    assert home.json("receipts", "list", "-n", "1")[0]["outcome"] == "complete"


def test_openai_chat_whole_json_mode_completions_and_models(
    daemon: Daemon, devnet: dict[str, Any]
) -> None:
    model = devnet["models"][0]
    with daemon.client as client:
        assert model in [one.id for one in client.models.list()]
        whole = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=48,
        )
        assert EXPECTED in (whole.choices[0].message.content or "")
        assert whole.usage is not None and whole.usage.completion_tokens > 0
        as_json = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Give me a JSON object with the key city."}],
            response_format={"type": "json_object"},
            temperature=0,
            max_tokens=64,
        )
        assert isinstance(json.loads(as_json.choices[0].message.content or ""), dict)
        completion = client.completions.create(model=model, prompt="1, 2, 3,", max_tokens=4)
        assert completion.choices[0].text


def test_openai_embeddings(daemon: Daemon, devnet: dict[str, Any]) -> None:
    with daemon.client as client:
        made = client.embeddings.create(model=devnet["models"][0], input=["a cat", "a dog"])
    assert len(made.data) == 2
    assert len(made.data[0].embedding) > 100
    assert made.data[0].embedding != made.data[1].embedding


def test_openai_errors_are_openai_shaped(daemon: Daemon, devnet: dict[str, Any]) -> None:
    with daemon.client as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model=devnet["models"][0],
            messages="not a list",  # type: ignore[arg-type]
        )
    assert 400 <= caught.value.status_code < 600
    assert isinstance(caught.value.body, dict) and caught.value.body["message"]
    wrong = openai.OpenAI(base_url=daemon.base_url, api_key="wrong", max_retries=0)
    with wrong, pytest.raises(openai.AuthenticationError, match="token"):
        wrong.models.list()


def test_openai_cancelled_stream_is_interrupted(
    home: Home, daemon: Daemon, devnet: dict[str, Any]
) -> None:
    with daemon.client as client:
        stream = client.chat.completions.create(
            model=devnet["models"][0],
            messages=[{"role": "user", "content": "Count from 1 to 1000."}],
            max_tokens=2000,
            stream=True,
        )
        next(iter(stream))
        stream.close()
    deadline = time.monotonic() + 60
    while (outcome := home.json("receipts", "list", "-n", "1")[0]["outcome"]) == "unfinished":
        assert time.monotonic() < deadline, "the job went on after its client left"
        time.sleep(0.1)
    assert outcome == "interrupted"
    state = httpx.get(
        daemon.base_url.removesuffix("/v1") + "/privity/state",
        headers={"authorization": f"Bearer {daemon.token}"},
    ).json()
    assert state["streams"] == []


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl on this machine")
def test_curl(daemon: Daemon, devnet: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "curlrc"  # the token in a file, as on a command line everyone sees it
    config.write_text(f'header = "Authorization: Bearer {daemon.token}"\n')

    def curl(path: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = ["curl", "--silent", "--no-buffer", "--config", str(config), *more]
        return subprocess.run(
            [*command, daemon.base_url + path], capture_output=True, text=True, timeout=LIMIT_S
        )

    def post(path: str, body: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
        headers = ("--header", "Content-Type: application/json")
        return curl(path, *headers, "--data", json.dumps(body), *more)

    model = devnet["models"][0]
    ask = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
    ask |= {"temperature": 0, "max_tokens": 48}
    whole = json.loads(post("/chat/completions", ask).stdout)
    assert EXPECTED in whole["choices"][0]["message"]["content"]
    streamed = post("/chat/completions", {**ask, "stream": True}).stdout
    assert streamed.strip().endswith("data: [DONE]")
    assert streamed.count("data: ") > 3
    embedded = json.loads(post("/embeddings", {"model": model, "input": "a cat"}).stdout)
    assert embedded["data"][0]["embedding"]
    error = json.loads(post("/chat/completions", {"model": model, "messages": 1}).stdout)
    assert error["error"]["message"]
    long = {**ask, "stream": True, "max_tokens": 2000, "ignore_eos": True}
    cut = post("/chat/completions", long, "--max-time", "1")
    assert cut.returncode == 28, "curl was not cut off"
    assert "[DONE]" not in cut.stdout
    after = json.loads(post("/chat/completions", ask).stdout)
    assert EXPECTED in after["choices"][0]["message"]["content"]
