"""`privity model`: seal models, datasets and adapters, look at them, move them, open them again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import JsonOption
from privity.cli.meter import bytes_text, meter

if TYPE_CHECKING:
    from privity.vault import Identity, Reader, Recipient

__all__ = ["app"]

app = typer.Typer(
    help="Seal, push, pull and open models and datasets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

IdentityFile = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        "-i",
        help="A file with an age secret key, in place of your own key.",
        metavar="FILE",
    ),
]
Sealed = Annotated[
    str, typer.Argument(help="A sealed artefact: a file, or the URL of one.", metavar="FILE|URL")
]
Place = Annotated[
    str,
    typer.Argument(help="A folder, or file:///, s3://, gs://, az:// or https://.", metavar="URL"),
]
_SUFFIX = ".sealed"
_MAX_RECIPIENTS_FILE = 1 << 20


@app.command("seal")
def seal(
    file: Annotated[Path, typer.Argument(help="What to seal.", metavar="FILE")],
    to_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"Where to; by default FILE{_SUFFIX}.", metavar="OUT"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What it is called; by default as the file.")
    ] = None,
    kind: Annotated[str, typer.Option(help="model, dataset or adapter.")] = "model",
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="Also seal it to this key: age1pq1…, or a file of such lines.",
            metavar="RECIPIENT",
        ),
    ] = None,
    unsafe_classical: Annotated[
        bool,
        typer.Option(
            "--unsafe-classical", help="Allow age1… keys, which a quantum computer would break."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Seal a file to your own key, and those you name.

    The file itself stays where it is, unsealed.
    """
    from privity.errors import InputError
    from privity.vault import owner_identity, seal_stream
    from privity.vault.files import new_file

    if file.is_dir():
        hint = "one file is sealed; `tar` makes one of a folder"
        raise InputError(f"{file} is a folder", hint=hint)
    recipients = [owner_identity().recipient, *_recipients(to or [])]
    target = to_file or file.with_name(file.name + _SUFFIX)
    meta = _meta(name or file.name, kind)
    with (
        _readable(file) as source,
        new_file(target) as sink,
        meter(f"sealing {file.name}", file.stat().st_size, quiet=as_json) as progress,
    ):
        sealed = seal_stream(
            source,
            sink,
            meta=meta,
            recipients=recipients,
            progress=progress,
            unsafe_classical=unsafe_classical,
        )
    sealed.key.erase()
    facts = {"id": sealed.id, "name": meta.name, "kind": meta.kind, "root": sealed.root}
    if as_json:
        output.emit_json(
            facts | {"size": sealed.size, "recipients": len(recipients), "file": str(target)}
        )
        return
    rows = facts | {"size": bytes_text(sealed.size), "sealed to": _count(len(recipients), "key")}
    output.out(output.harmless(f"sealed into {target}\n{output.label_rows(rows)}"))


@app.command("open")
def open_sealed(
    sealed: Sealed,
    to_file: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where the plaintext goes; a new file.", metavar="OUT"),
    ],
    identity: IdentityFile = None,
    as_json: JsonOption = False,
) -> None:
    """Open an artefact into a file that only you can read.

    The plaintext is written where you say and nowhere else, never over anything, and gets its name
    only after its root was checked.
    """
    from privity.vault.files import new_file
    from privity.vault.store import open_store_reader

    with closing(open_store_reader(sealed)) as source:
        reader = _reader(source, identity)
        with (
            new_file(to_file) as sink,
            meter(f"opening {reader.meta.name}", reader.size, quiet=as_json) as progress,
        ):
            root = reader.copy_to(sink, progress=progress)
    facts = {"id": reader.id, "name": reader.meta.name, "kind": reader.meta.kind, "root": root}
    if as_json:
        output.emit_json(facts | {"size": reader.size, "file": str(to_file)})
        return
    rows = facts | {"size": bytes_text(reader.size)}
    output.out(output.harmless(f"opened into {to_file}\n{output.label_rows(rows)}"))


@app.command("show")
def show(sealed: Sealed, identity: IdentityFile = None, as_json: JsonOption = False) -> None:
    """Show what an artefact is; its contents are not read.

    What lies under its seal is shown where your key opens that.
    """
    from privity.errors import OpenError
    from privity.vault import read_header
    from privity.vault.store import open_store_reader

    with closing(open_store_reader(sealed)) as source:
        header = read_header(source)
        try:
            reader = _reader(source, identity)
        except OpenError as error:
            reader, reason = None, error.message
        size = source.size
    facts: dict[str, Any] = {"id": header.id, "sealed_size": size}
    facts["recipients"] = [_kem_name(one.kem_id) for one in header.stanzas]
    if reader is not None:
        facts |= {"name": reader.meta.name, "kind": reader.meta.kind, "size": reader.size}
        facts |= {"media_type": reader.meta.media_type, "root": reader.root}
    if as_json:
        output.emit_json({"yours": reader is not None} | facts)
        return
    rows = {name.replace("_", " "): str(value) for name, value in facts.items()}
    rows["recipients"] = ", ".join(facts["recipients"]) or "none; its key is kept elsewhere"
    output.out(output.harmless(output.label_rows(rows)))
    if reader is None:
        output.note(f"the rest is sealed: {output.harmless(reason)}")


@app.command("push")
def push(
    file: Annotated[Path, typer.Argument(help="A sealed artefact.", metavar="FILE")],
    url: Place,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another artefact that lies there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Upload a sealed artefact. After an interruption, the same command sends what is missing.

    Only sealed artefacts are uploaded. Credentials come from the store's usual environment
    variables, such as AWS_ACCESS_KEY_ID.
    """
    from privity.vault.transfer import push as send

    total = file.stat().st_size if file.is_file() else 0
    with meter(f"pushing {file.name}", total, quiet=as_json) as progress:
        moved = send(file, url, replace=replace, progress=progress)
    _tell_moved("pushed", moved.artefact, moved.size, moved.moved, url, as_json=as_json)


@app.command("pull")
def pull(
    url: Place,
    file: Annotated[Path, typer.Argument(help="Where to; a new file.", metavar="FILE")],
    as_json: JsonOption = False,
) -> None:
    """Download a sealed artefact. After an interruption, the same command fetches what is missing.

    It stays sealed: `privity model open` opens it.
    """
    from privity.vault.store import open_store_reader
    from privity.vault.transfer import pull as fetch

    with closing(open_store_reader(url)) as source:
        total = source.size
    with meter(f"pulling {file.name}", total, quiet=as_json) as progress:
        moved = fetch(url, file, progress=progress)
    _tell_moved("pulled", moved.artefact, moved.size, moved.moved, str(file), as_json=as_json)


@app.command("key")
def key(as_json: JsonOption = False) -> None:
    """Print your own key, age1pq1…, that others seal to.

    It is made on first use.
    """
    from privity.vault import owner_identity

    recipient = str(owner_identity().recipient)
    if as_json:
        output.emit_json({"recipient": recipient})
        return
    output.out(recipient)


def _tell_moved(
    did: str, artefact: str, size: int, moved: int, where: str, *, as_json: bool
) -> None:
    if as_json:
        output.emit_json({"id": artefact, "size": size, "moved": moved, "to": where})
        return
    rest = "" if moved == size else f"; {bytes_text(size - moved)} were there already"
    to = output.harmless(where)
    output.out(f"{did} {artefact} to {to}: {bytes_text(moved)}{rest}")


def _meta(name: str, kind: str) -> Any:
    from privity.errors import InputError, MalformedError
    from privity.vault import Meta

    try:
        return Meta(name, kind)  # type: ignore[arg-type]  # it checks the kind itself
    except MalformedError as error:
        raise InputError(error.message, hint="--name and --kind say what it is") from None


def _readable(path: Path, hint: str = "") -> Any:
    from privity.errors import InputError

    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint=hint) from error


def _recipients(given: list[str]) -> list[Recipient]:
    from privity.errors import InputError, MalformedError
    from privity.vault import Recipient

    lines: list[str] = []
    for text in given:
        if text.lower().startswith("age1"):
            lines.append(text)
            continue
        with _readable(Path(text), "a recipient is age1pq1…, or a file of such lines") as file:
            content = file.read(_MAX_RECIPIENTS_FILE).decode("utf-8", "replace")
        found = [line.strip() for line in content.splitlines()]
        lines += [line for line in found if line and not line.startswith("#")]
    try:
        return [Recipient.parse(line) for line in lines]
    except MalformedError as error:
        raise InputError(error.message, hint="`privity model key` prints one") from None


def _reader(source: Any, identity: Path | None) -> Reader:
    from privity.vault import Reader, read_header, unwrap

    key = unwrap(read_header(source), _identity(identity))
    try:
        return Reader(source, key)
    finally:
        key.erase()


def _identity(path: Path | None) -> Identity:
    from privity.home import read_private
    from privity.vault import owner_identity
    from privity.vault.recipients import parse_identity_file

    if path is None:
        return owner_identity()
    return parse_identity_file(read_private(path), str(path))


def _kem_name(kem_id: int) -> str:
    from privity.hazmat.hpke import KEMS

    return KEMS[kem_id].name


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
