"""`privity train`: seal records for a private run, and open the adapter that came of it.

`trainer` here is `privity serve trainer`, the side of whoever lends the machine.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privity.cli import output

if TYPE_CHECKING:
    from privity.train.bundle import Bundle
    from privity.train.receipt import VerifiedTraining

__all__ = ["app", "trainer"]

app = typer.Typer(
    help="Train on sealed records; the adapter comes back sealed to you.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
DevRoots = Annotated[
    list[str] | None,
    typer.Option("--dev-root", help="A development root to trust, beside those of config.toml."),
]
_TERMINAL_S, _PLAIN_S = 0.2, 10.0


@app.command("program")
def program(as_json: Json = False) -> None:
    """Show the digest of the training program installed here, which a grant lists."""
    from privity.train.program import measure_program

    if as_json:
        output.emit_json({"program": measure_program()})
        return
    output.out(measure_program())


@app.command("seal")
def seal(
    file: Annotated[Path, typer.Argument(help="Records, JSON lines.", metavar="FILE")],
    to_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to; by default FILE.sealed.", metavar="OUT"),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 60,
    batch: Annotated[int, typer.Option(help="Records per step.", min=1)] = 4,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.", min=1)] = 8,
    alpha: Annotated[int, typer.Option(help="Its scale is alpha / rank.", min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 1e-3,
    max_tokens: Annotated[int, typer.Option(help="A record is cut after so many.", min=2)] = 256,
    seed: Annotated[int, typer.Option(help="Of order and initial values.", min=0)] = 0,
    base: Annotated[
        str | None,
        typer.Option(help="Root of the base weights to insist on.", metavar="tree-sha256:…"),
    ] = None,
    tell_loss: Annotated[
        bool,
        typer.Option("--tell-loss", help="Let whoever runs it see the loss of each step: a leak."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check records, and seal them to your own key with how to train on them.

    How a run goes is fixed here, inside the seal: whoever runs it can neither read nor change it.
    """
    import io

    from privity.train.dataset import parse_dataset, with_settings
    from privity.train.settings import Disclosed, LoraSettings
    from privity.vault import Meta, owner_identity, seal_stream
    from privity.vault.files import new_file

    settings = LoraSettings(
        rank=rank,
        alpha=alpha,
        steps=steps,
        learning_rate=learning_rate,
        batch=batch,
        max_tokens=max_tokens,
        seed=seed,
        base=base,
        disclose=Disclosed.LOSS if tell_loss else Disclosed.COUNTS,
    )
    data = _read(file)
    records = len(parse_dataset(data).records)
    data = with_settings(data, settings)
    target = to_file or file.with_name(file.name + ".sealed")
    meta = Meta(file.name, "dataset", "application/jsonl")
    with new_file(target) as sink:
        own = owner_identity().recipient
        sealed = seal_stream(io.BytesIO(data), sink, meta=meta, recipients=(own,))
    sealed.key.erase()
    facts = {"id": sealed.id, "root": sealed.root}
    if as_json:
        output.emit_json(facts | {"records": records, "file": str(target)})
        return
    rows = facts | {"records": str(records), "steps": str(steps)}
    output.out(output.harmless(f"sealed into {target}\n{output.label_rows(rows)}"))


@app.command("open")
def open_adapter(
    sealed: Annotated[
        str, typer.Argument(help="The sealed adapter: a file, or its URL.", metavar="FILE|URL")
    ],
    folder: Annotated[Path, typer.Option("--output", "-o", help="A new folder.", metavar="FOLDER")],
    dev_root: DevRoots = None,
    dataset: Annotated[
        str | None, typer.Option(help="Id of the dataset it must be of.", metavar="ID")
    ] = None,
    as_json: Json = False,
) -> None:
    """Open an adapter, check what the enclave signed of the run, and write its files.

    For PEFT (adapter_config.json, adapter_model.safetensors) and llama.cpp (adapter.gguf); the
    losses are in run.json.
    """
    from privity.errors import ReceiptError

    bundle = _opened(sealed)
    verified = _verified(bundle, dev_root or [])
    if dataset is not None and verified.receipt.dataset != dataset:
        raise ReceiptError("the adapter is of another dataset", check="dataset")
    _write(bundle, folder)
    _tell(verified, f"opened into {folder}", {"folder": str(folder)}, as_json=as_json)


@app.command("verify")
def verify(
    folder: Annotated[
        Path, typer.Argument(help="An opened adapter, its receipt in it.", metavar="FOLDER")
    ],
    dev_root: DevRoots = None,
    as_json: Json = False,
) -> None:
    """Check what the enclave signed of a run: for whoever an owner hands the adapter to."""
    from privity.errors import InputError
    from privity.train.bundle import NAMES, RECEIPT, Bundle

    try:
        files = {name: (folder / name).read_bytes() for name in (*NAMES, RECEIPT)}
    except OSError as error:
        raise InputError(f"{folder} is not an opened adapter: {error.strerror}") from error
    verified = _verified(Bundle(files), dev_root or [])
    _tell(verified, f"verified: {folder}", {"verified": True}, as_json=as_json)


def trainer(
    broker: Annotated[str, typer.Option(help="The owner's broker.", metavar="URL")],
    dataset: Annotated[str, typer.Option(help="The sealed dataset.", metavar="URL")],
    out: Annotated[str, typer.Option(help="Where the sealed adapter goes.", metavar="URL")],
    base: Annotated[
        Path | None,
        typer.Option(help="A GGUF file to start from; by default the embedded model's."),
    ] = None,
    dev_root: Annotated[
        Path | None,
        typer.Option(
            help="Key file of the development root that vouches for it, made if there is none; "
            "by default that of your devnet.",
            metavar="FILE",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Processor threads; by default all.", min=1)
    ] = None,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", help="End when standard input ends.", hidden=True)
    ] = False,
    unsafe_inspectable: Annotated[
        bool, typer.Option("--unsafe-inspectable", help="Let others look into it.", hidden=True)
    ] = False,
) -> None:
    """Run one private training job, and end.

    It attests to the owner's broker, opens the dataset in memory alone, trains, and uploads the
    adapter sealed to the owner. You learn how many records and steps there were, and how long it
    took. Its evidence is of type dev: plain software, which does not stop its host.
    """
    from privity.home import home
    from privity.node.trainer import TrainerSettings, run_trainer

    settings = TrainerSettings(
        dev_root=dev_root or home() / "devnet" / "root.key",
        broker=broker,
        dataset=dataset,
        out=out,
        base=base,
        threads=threads,
        lifeline=lifeline,
        unsafe_inspectable=unsafe_inspectable,
    )
    with _steps() as on_step:
        finished = run_trainer(settings, on_step=on_step)
    output.json_line(finished.to_json())


def _read(file: Path) -> bytes:
    from privity.errors import InputError, OversizeError
    from privity.train.dataset import MAX_BYTES

    try:
        if file.stat().st_size > MAX_BYTES:
            raise OversizeError(f"{file} is larger than a dataset can be ({MAX_BYTES} bytes)")
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def _opened(sealed: str) -> Bundle:
    import io

    from privity.errors import MalformedError
    from privity.train.bundle import MAX_BYTES, Bundle
    from privity.vault import Reader, owner_identity, read_header, unwrap
    from privity.vault.store import open_store_reader

    with closing(open_store_reader(sealed)) as source:
        reader = Reader(source, unwrap(read_header(source), owner_identity()))
        if reader.meta.kind != "adapter" or reader.size > MAX_BYTES:
            raise MalformedError("the artefact is not an adapter", hint="privity model open")
        archive = io.BytesIO()
        reader.copy_to(archive)
    return Bundle.parse(archive.getvalue())


def _verified(bundle: Bundle, dev_roots: list[str]) -> VerifiedTraining:
    from privity.attest import reverifier
    from privity.errors import ReceiptError
    from privity.infer.config import load_config
    from privity.policy.evidence import EvidencePolicy
    from privity.train.receipt import verify_receipt

    if bundle.receipt is None:
        raise ReceiptError("the adapter comes without a receipt of its run", check="file format")
    config = load_config()
    # The dataset's key was released under the grant's own floor; here only what signed is judged.
    trust = config.trust(EvidencePolicy(reference=False, log=False), dev_roots=dev_roots)
    return verify_receipt(
        bundle.receipt, adapter=bundle.digest, reverify=reverifier(trust), now=datetime.now(UTC)
    )


def _facts(verified: VerifiedTraining) -> dict[str, object]:
    from privity.train.program import measure_program

    receipt = verified.receipt
    known = receipt.program == measure_program()
    return {
        "dataset": receipt.dataset,
        "program": receipt.program,
        "same as here": "yes" if known else "no: another version of the program trained it",
        "base": receipt.base,
        "records": receipt.records,
        "steps": receipt.steps,
        "evidence": ", ".join(verified.enclave.kinds),
    }


def _tell(verified: VerifiedTraining, head: str, more: dict[str, object], *, as_json: bool) -> None:
    """Say what was verified of a run: facts, checks, and who could learn what."""
    from privity.cli.table import render_disclosure

    facts = _facts(verified)
    if as_json:
        every = verified.checks
        checks = [{"check": one.name, "ok": one.ok, "detail": one.detail} for one in every]
        table = verified.disclosure.to_json()
        output.emit_json(facts | more | {"checks": checks, "disclosure": table})
        return
    rows = {name: str(value) for name, value in facts.items()}
    output.out(output.harmless(f"{head}\n{output.label_rows(rows)}"))
    output.out()
    text = render_disclosure(
        verified.disclosure,
        width=output.width(),
        color=output.uses_color(),
        ascii_only=not output.takes_unicode(),
    )
    output.out(text)
    if verified.enclave.dev:
        output.out()
        output.out("dev evidence: plain software, which does not stop its host")


def _write(bundle: Bundle, folder: Path) -> None:
    from privity.errors import InputError
    from privity.vault.files import new_file

    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise InputError(
            f"cannot make {folder}: {error.strerror}", hint="name a new one"
        ) from error
    for name, content in bundle.files.items():
        with new_file(folder / name) as sink:
            sink.write(content)


@contextlib.contextmanager
def _steps() -> Iterator[Callable[[int, int], None]]:
    """Yield a function that says on stderr, now and then, how many steps are done."""
    terminal = sys.stderr.isatty()
    due = 0.0

    def told(step: int, steps: int) -> None:
        nonlocal due
        now = time.monotonic()
        if now < due and step < steps:
            return
        due = now + (_TERMINAL_S if terminal else _PLAIN_S)
        if terminal:
            sys.stderr.write(f"\r\x1b[2Kstep {step} of {steps}")
            sys.stderr.flush()
        else:
            output.note(f"step {step} of {steps}")

    try:
        yield told
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
