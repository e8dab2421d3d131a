"""`privity train`: seal records for a private run, and open the adapter that came of it.

`trainer` here is `privity serve trainer`, the side of whoever lends the machine.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privity.cli import attesting, output
from privity.cli.adapter import opened, tell, verified, write
from privity.cli.choice import JsonOption
from privity.cli.role_options import Lifeline

if TYPE_CHECKING:
    from privity.train.settings import LoraSettings
    from privity.vault import Sealed

__all__ = ["app", "trainer"]

app = typer.Typer(
    help="Train on sealed records; the adapter is sealed to you.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DevRoots = Annotated[
    list[str] | None,
    typer.Option("--dev-root", help="A development root to trust, beside those of config.toml."),
]
Records = Annotated[Path, typer.Argument(help="Records, JSON lines.", metavar="FILE")]
Steps = Annotated[int, typer.Option(help="Optimizer steps.", min=1)]
Batch = Annotated[int, typer.Option(help="Records per step.", min=1)]
Rank = Annotated[int, typer.Option(help="Rank of the adapter.", min=1)]
Alpha = Annotated[int, typer.Option(help="Its scale is alpha / rank.", min=1)]
Rate = Annotated[float, typer.Option(help="The highest.")]
Tokens = Annotated[int, typer.Option(help="A record is cut after so many.", min=2)]
Seed = Annotated[int, typer.Option(help="Of order and initial values.", min=0)]
_TERMINAL_S, _PLAIN_S = 0.2, 10.0


@app.command("program")
def program(as_json: JsonOption = False) -> None:
    """Show the digest of the training program.

    It is of the program installed here; a grant lists it.
    """
    from privity.train.program import measure_program

    if as_json:
        output.emit_json({"program": measure_program()})
        return
    output.out(measure_program())


@app.command("seal")
def seal(
    file: Records,
    to_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to; by default FILE.sealed.", metavar="OUT"),
    ] = None,
    steps: Steps = 60,
    batch: Batch = 4,
    rank: Rank = 8,
    alpha: Alpha = 16,
    learning_rate: Rate = 1e-3,
    max_tokens: Tokens = 256,
    seed: Seed = 0,
    base: Annotated[
        str | None,
        typer.Option(
            help="Root of the base weights to insist on; by default the embedded model's.",
            metavar="tree-sha256:…",
        ),
    ] = None,
    tell_loss: Annotated[
        bool,
        typer.Option("--tell-loss", help="Let whoever runs it see the loss of each step: a leak."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check records, and seal them to your own key.

    How to train on them is sealed with them. How a run goes is fixed here, inside the seal: whoever
    runs it can neither read nor change it.
    """
    from privity.train.settings import Disclosed, LoraSettings

    settings = LoraSettings(
        rank=rank,
        alpha=alpha,
        steps=steps,
        learning_rate=learning_rate,
        batch=batch,
        max_tokens=max_tokens,
        seed=seed,
        base=base or _default_base(),
        disclose=Disclosed.LOSS if tell_loss else Disclosed.COUNTS,
    )
    target = to_file or file.with_name(file.name + ".sealed")
    sealed, records = _seal(file, target, settings)
    sealed.key.erase()
    facts = {"id": sealed.id, "root": sealed.root}
    if as_json:
        output.emit_json(facts | {"records": records, "file": str(target)})
        return
    rows = facts | {"records": str(records), "steps": str(steps)}
    output.out(output.harmless(f"sealed into {target}\n{output.label_rows(rows)}"))


@app.command("run")
def run(
    file: Records,
    folder: Annotated[Path, typer.Option("--output", "-o", help="A new folder.", metavar="FOLDER")],
    steps: Steps = 60,
    batch: Batch = 4,
    rank: Rank = 8,
    alpha: Alpha = 16,
    learning_rate: Rate = 1e-3,
    max_tokens: Tokens = 256,
    seed: Seed = 0,
    base: Annotated[
        Path | None,
        typer.Option(help="A GGUF file to start from; by default the embedded model's."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Do all of it here: seal, grant, train and open.

    The same path as with a machine of somebody else's, under dev evidence: nothing of the records
    is written but sealed.
    """
    import os
    import tempfile

    from privity.errors import InputError
    from privity.home import home
    from privity.identity.keystore import device_key
    from privity.infer.engines.weights import weights_at
    from privity.node.train_here import grant_here, train_here
    from privity.train.settings import LoraSettings
    from privity.vault import owner_identity

    if os.path.lexists(folder):
        raise InputError(f"{folder} is there already", hint="name a new folder")
    settings = LoraSettings(
        rank=rank,
        alpha=alpha,
        steps=steps,
        learning_rate=learning_rate,
        batch=batch,
        max_tokens=max_tokens,
        seed=seed,
        base=_default_base() if base is None else weights_at(base).digest(),
    )
    with tempfile.TemporaryDirectory(prefix="train-", dir=home()) as name:
        dataset, adapter = Path(name) / "dataset.sealed", Path(name) / "adapter"
        sealed, _ = _seal(file, dataset, settings)
        recipient = owner_identity().recipient
        grant_here(sealed, device_key(), recipient, home() / "broker", name=file.name)
        sealed.key.erase()
        train_here(dataset, adapter, Path(name), base=base)
        bundle = opened(str(adapter))
    checked = verified(bundle, [])
    write(bundle, folder)
    tell(checked, f"trained into {folder}", {"folder": str(folder)}, as_json=as_json)


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
    as_json: JsonOption = False,
) -> None:
    """Open an adapter, check its receipt, write its files.

    The receipt is what the enclave signed of the run. For PEFT (adapter_config.json,
    adapter_model.safetensors) and llama.cpp (adapter.gguf); the losses are in run.json.
    """
    from privity.errors import ReceiptError

    bundle = opened(sealed)
    checked = verified(bundle, dev_root or [])
    if dataset is not None and checked.receipt.dataset != dataset:
        raise ReceiptError("the adapter is of another dataset", check="dataset")
    write(bundle, folder)
    tell(checked, f"opened into {folder}", {"folder": str(folder)}, as_json=as_json)


@app.command("verify")
def verify(
    folder: Annotated[
        Path, typer.Argument(help="An opened adapter, its receipt in it.", metavar="FOLDER")
    ],
    dev_root: DevRoots = None,
    as_json: JsonOption = False,
) -> None:
    """Check what the enclave signed of a run.

    It is for whoever an owner hands the adapter to.
    """
    from privity.errors import InputError
    from privity.train.bundle import NAMES, RECEIPT, Bundle

    try:
        files = {name: (folder / name).read_bytes() for name in (*NAMES, RECEIPT)}
    except OSError as error:
        raise InputError(f"{folder} is not an opened adapter: {error.strerror}") from error
    checked = verified(Bundle(files), dev_root or [])
    tell(checked, f"verified: {folder}", {"verified": True}, as_json=as_json)


def trainer(
    broker: Annotated[str, typer.Option(help="The owner's broker.", metavar="URL")],
    dataset: Annotated[str, typer.Option(help="The sealed dataset.", metavar="URL")],
    out: Annotated[str, typer.Option(help="Where the sealed adapter goes.", metavar="URL")],
    base: Annotated[
        Path | None,
        typer.Option(help="A GGUF file to start from; by default the embedded model's."),
    ] = None,
    dev_root: attesting.DevRoot = None,
    attester: attesting.AttesterName = None,
    collateral: attesting.Collateral = None,
    pccs: attesting.Pccs = None,
    certs: attesting.Certs = None,
    manifest: attesting.Manifest = None,
    threads: Annotated[
        int | None, typer.Option(help="Processor threads; by default all.", min=1)
    ] = None,
    lifeline: Lifeline = False,
    unsafe_inspectable: Annotated[
        bool, typer.Option("--unsafe-inspectable", help="Let others look into it.", hidden=True)
    ] = False,
) -> None:
    """Run one private training job, and end.

    It attests to the owner's broker, opens the dataset in memory alone, trains, and uploads the
    adapter sealed to the owner. You learn how many records and steps there were, and how long it
    took. Where the machine has no hardware that attests, its evidence is of type dev: plain
    software, which does not stop its host.
    """
    from privity.node.trainer import TrainerSettings, run_trainer

    settings = TrainerSettings(
        attesting.attestation(
            dev_root, attester, collateral=collateral, pccs=pccs, certs=certs, manifest=manifest
        ),
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


def _default_base() -> str:
    """Return the root of the embedded model's weights, which whoever trains has too."""
    from privity.errors import InputError, MissingDependency
    from privity.infer.engines.weights import find_default

    try:
        return find_default().digest()
    except MissingDependency as error:
        raise InputError(
            f"records are trained on weights that their owner names, and {error.message}",
            hint="name them: --base tree-sha256:…",
        ) from error


def _seal(file: Path, target: Path, settings: LoraSettings) -> tuple[Sealed, int]:
    """Seal records with their settings to the person's own key; return how many there are."""
    import io

    from privity.home import read_file
    from privity.train.dataset import MAX_BYTES, parse_dataset, with_settings
    from privity.vault import Meta, owner_identity, seal_stream
    from privity.vault.files import new_file

    data = read_file(file, most=MAX_BYTES, what="the dataset")
    records = len(parse_dataset(data).records)
    source = io.BytesIO(with_settings(data, settings))
    meta = Meta(file.name, "dataset", "application/jsonl")
    with new_file(target) as sink:
        own = owner_identity().recipient
        sealed = seal_stream(source, sink, meta=meta, recipients=(own,))
    return sealed, records


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
