"""`privity deploy`: manifests to run an enclave elsewhere, and the measurement to expect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.node.deploy import Rendered

__all__ = ["app"]

app = typer.Typer(
    help="Render manifests that run an enclave on other machines.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """Keep `render` a command of its own, as others may join it."""


def _complete_target(incomplete: str) -> list[str]:
    from privity.node.deploy import TARGETS

    return [target for target in TARGETS if target.startswith(incomplete)]


@app.command("render")
def render(
    target: Annotated[
        str,
        typer.Option(help="phala, rofl, secretvm, akash or host.", autocompletion=_complete_target),
    ],
    image: Annotated[
        str,
        typer.Option(help="The enclave's image, by digest.", metavar="REGISTRY/PATH@sha256:…"),
    ],
    output_folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the files there.", metavar="FOLDER"),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the deployment.", metavar="NAME")
    ] = "privity-enclave",
    model: Annotated[
        str | None,
        typer.Option(help="A sealed model to serve; absent: the one in the image.", metavar="URL"),
    ] = None,
    broker: Annotated[
        str | None, typer.Option(help="Who releases that model's key.", metavar="URL")
    ] = None,
    model_id: Annotated[
        str | None, typer.Option(help="The model's name, to approve it.", metavar="NAME")
    ] = None,
    model_root: Annotated[
        str | None, typer.Option(help="Its root, to approve it.", metavar="tree-sha256:…")
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Ask for a confidential GPU.")] = False,
    cpus: Annotated[int, typer.Option(help="Processors.", min=1)] = 2,
    memory: Annotated[int, typer.Option(help="Memory in MiB.", min=1024)] = 4096,
    platform: Annotated[
        Path | None,
        typer.Option(
            help="JSON of what the platform publishes: mrtd, rtmr0, rtmr1, rtmr2, rootfs_data.",
            metavar="FILE",
        ),
    ] = None,
    tee: Annotated[str, typer.Option(help="Of a plain host: snp or tdx.")] = "snp",
    firmware: Annotated[
        Path | None, typer.Option(help="Of a plain host: OVMF or TDVF.", metavar="FILE")
    ] = None,
    kernel: Annotated[
        Path | None, typer.Option(help="Of a plain host: the guest's kernel.", metavar="FILE")
    ] = None,
    initrd: Annotated[
        Path | None, typer.Option(help="Of a plain host: its initrd.", metavar="FILE")
    ] = None,
    append: Annotated[
        str, typer.Option(help="Of a plain host: the kernel's command line.", metavar="TEXT")
    ] = "console=ttyS0",
    cpu_model: Annotated[
        str, typer.Option(help="Of a plain SNP host: the guest's CPU model.", metavar="MODEL")
    ] = "EPYC-v4",
    pccs: Annotated[
        str | None,
        typer.Option(
            help="For TDX: where the enclave fetches Intel's collateral, at each start.",
            metavar="URL",
        ),
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="The log that its keys go into.", metavar="URL")
    ] = None,
    log_name: Annotated[
        str | None,
        typer.Option(
            help="Its name in the log: host and port of the URL devices reach it by.",
            metavar="HOST[:PORT]",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Of a plain host: file with the signed manifest the enclave publishes; it may be "
            "signed later.",
            metavar="FILE",
        ),
    ] = None,
    builder: Annotated[
        str | None, typer.Option(help="Who built the image.", metavar="NAME")
    ] = None,
    repository: Annotated[
        str | None, typer.Option(help="URL of its source.", metavar="URL")
    ] = None,
    commit: Annotated[
        str | None, typer.Option(help="The version in that source.", metavar="COMMIT")
    ] = None,
    days: Annotated[int, typer.Option(help="How long the approval holds.", min=1)] = 90,
    as_json: JsonOption = False,
) -> None:
    """Render one enclave for a platform, offline.

    It says what measurement to expect. The image is pinned by digest. Beside the platform's files,
    reference.json holds the body of a reference manifest, ready for `privity reference sign` once
    nothing in it is missing.
    """
    from datetime import timedelta

    from privity.errors import InputError
    from privity.identity.timestamps import utc_now
    from privity.node import deploy
    from privity.node.deploy.request import Boot, Provenance

    if (model is None) != (broker is None):
        raise InputError("a sealed model needs the broker of its key", hint="give both, or neither")
    sealed = None
    if model is not None and broker is not None:
        sealed = deploy.SealedModel(model, broker, model_id, model_root)
    elif model_id is not None or model_root is not None:
        raise InputError("a model to approve is a sealed one", hint="give --model and --broker too")
    request = deploy.DeployRequest(
        image=deploy.ImageRef.parse(image),
        now=utc_now(),
        name=name,
        model=sealed,
        gpu=gpu,
        cpus=cpus,
        memory_mb=memory,
        platform=deploy.PlatformValues()
        if platform is None
        else deploy.PlatformValues.load(platform),
        boot=Boot(tee, firmware, kernel, initrd, append, cpu_model),
        provenance=Provenance(builder, repository, commit, timedelta(days=days)),
        publishing=deploy.Publishing(pccs, log, log_name, manifest),
    )
    rendered = deploy.render(target, request)
    written = [] if output_folder is None else deploy.write(rendered, output_folder)
    if as_json:
        output.emit_json({**rendered.to_json(), "written": [str(path) for path in written]})
        return
    _show(rendered, written)


def _show(rendered: Rendered, written: list[Path]) -> None:
    if not written:
        for name, text in rendered.files.items():
            output.out(output.style(f"--- {name}", "bold"))
            output.out(output.harmless(text), end="" if text.endswith("\n") else "\n")
    for path in written:
        output.out(f"wrote {path}")
    expect = rendered.expect
    output.out(f"\nmeasurement to expect, in {expect.kind} evidence:")
    rows = dict(expect.known)
    for where in dict.fromkeys(expect.elsewhere.values()):
        names = ", ".join(name for name, place in expect.elsewhere.items() if place == where)
        rows[names] = f"not known here: {where}"
    output.out(output.label_rows(rows))
    for line in expect.unmeasured:
        output.note(f"mind: {line}")
    for line in rendered.lacks:
        output.note(f"mind: {line}")
    if rendered.missing:
        output.note(
            f"reference.json misses, before it can be signed: {', '.join(rendered.missing)}"
        )
    else:
        output.note("reference.json is ready: privity reference sign")
