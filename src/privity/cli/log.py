"""`privity log`: make, read and check a transparency log of keysets and approvals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.attest.log import Entry, LogContents
    from privity.attest.log.note import Note, NoteKey
    from privity.attest.log.source import LogSource
    from privity.identity.keys import SigningKey

__all__ = ["app", "log_key"]

T = TypeVar("T")

_UNTRUSTED = (
    "give the verifier key its operator tells you (`privity log init` prints it) with "
    "--log VKEY, or list it under [[log]] in config.toml"
)
_ONE_ENTRY = "give --keyset with --enclave, or --manifest, or --revocation"

app = typer.Typer(
    help="Make, read and check a log of keysets and manifests. Running one is "
    "`privity serve log`, and a witness of others' `privity serve witness`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(help="The log's folder.", metavar="FOLDER")]
Place = Annotated[str, typer.Argument(help="The log's folder or URL.", metavar="FOLDER|URL")]
Key = Annotated[
    Path | None,
    typer.Option(
        help="The log's key file; by default log.key in the privity home.", metavar="FILE"
    ),
]
Vkey = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        help="The log's verifier key, beside those of config.toml; may be given again.",
        metavar="VKEY",
    ),
]


@app.command("init")
def init(
    folder: Folder,
    origin: Annotated[
        str,
        typer.Option(help="Its name for good: its URL without the scheme.", metavar="NAME"),
    ],
    key: Key = None,
    as_json: JsonOption = False,
) -> None:
    """Make an empty log, and its key if there is none.

    The folder can be served by any web server; keep the key elsewhere.
    """
    from privity.attest.log import LogFolder

    signing = log_key(key)
    LogFolder.create(folder, origin, signing)
    with LogFolder.open(folder, signing) as log:
        facts = {"origin": origin, "verifier key": log.key.vkey}
    if as_json:
        output.emit_json({"origin": origin, "vkey": facts["verifier key"], "folder": str(folder)})
    else:
        output.out(output.label_rows(facts))


@app.command("add")
def add(
    place: Place,
    keyset: Annotated[
        str | None, typer.Option(help="Digest of an enclave's keyset.", metavar="DIGEST")
    ] = None,
    enclave: Annotated[
        str | None, typer.Option(help="The enclave's name, with --keyset.", metavar="NAME")
    ] = None,
    days: Annotated[
        int, typer.Option(help="How long the keyset is good for.", min=1, max=3650)
    ] = 30,
    manifest: Annotated[
        Path | None, typer.Option(help="A signed manifest to record.", metavar="FILE")
    ] = None,
    revocation: Annotated[
        Path | None, typer.Option(help="A signed revocation to record.", metavar="FILE")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="For a folder, the log's key file; for a URL, the key the entry is signed with.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Record a keyset, a manifest or a revocation.

    The log's endorsement of it is written out. A folder must not be served by `privity serve log`
    meanwhile: add through its URL then.
    """
    entry = _entry(keyset, enclave, days, manifest, revocation)
    if "://" in place:
        output.emit_json(_submit(place, entry, key))
        return
    from privity.attest.log import LogEndorsement, LogFolder
    from privity.attest.log.entry import entry_bytes

    data = entry_bytes(entry)
    with LogFolder.open(Path(place), log_key(key)) as log:
        index = log.find(data)
        index = log.append(data) if index is None else index
        size = log.checkpoint.size
        proof = tuple(log.inclusion(index, size))
        endorsement = LogEndorsement(log.checkpoint.origin, index, entry.to_json(), proof, log.note)
    output.emit_json(endorsement.to_json())


@app.command("show")
def show(place: Place, as_json: JsonOption = False) -> None:
    """Show a log's latest checkpoint, unchecked.

    `privity log verify` checks it.
    """
    from privity.attest.log.checkpoint import Checkpoint
    from privity.attest.log.folder import CHECKPOINT
    from privity.attest.log.note import MAX_BYTES, Note
    from privity.errors import PeerError

    async def read(source: LogSource) -> bytes:
        data = await source.read(CHECKPOINT, most=MAX_BYTES)
        if data is None:
            raise PeerError("there is no log here: it has no checkpoint")
        return data

    note = Note.parse(_with_source(place, read))
    checkpoint = Checkpoint.parse(note.text)
    names = [line.name for line in note.signatures]
    if as_json:
        output.emit_json(
            {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "signatures": names,
            }
        )
        return
    _rows(
        {
            "origin": checkpoint.origin,
            "entries": str(checkpoint.size),
            "root": checkpoint.root.hex(),
            "signatures": ", ".join(names) + " (not checked)",
        }
    )


@app.command("verify")
def verify(
    place: Place,
    log: Vkey = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="A witness's verifier key, beside those of config.toml; may be given again.",
            metavar="VKEY",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a whole log, and that it only grew.

    Each entry and each tile is read, and the signature over all of them. It is compared with the
    largest tree of it that was seen on this device, and remembered.
    """
    contents, grew = _with_source(place, _follow(_log_keys(log)))
    cosigned = _cosigned(contents.note, witness or [])
    size = contents.checkpoint.size
    facts = {
        "origin": contents.checkpoint.origin,
        "entries": f"{size}, each under the root {contents.checkpoint.root.hex()}",
        "growth": grew,
        "witnesses": ", ".join(f"{name} at {time}" for name, time in cosigned) or "none known here",
    }
    if as_json:
        output.emit_json(
            {
                "verified": True,
                "origin": contents.checkpoint.origin,
                "size": size,
                "root": contents.checkpoint.root.hex(),
                "growth": grew,
                "witnesses": [{"name": name, "time": time} for name, time in cosigned],
            }
        )
        return
    _rows(facts)


@app.command("keysets")
def keysets(
    name: Annotated[str, typer.Argument(help="An enclave's name.", metavar="NAME")],
    place: Place,
    log: Vkey = None,
    as_json: JsonOption = False,
) -> None:
    """List every keyset a log has for an enclave.

    The whole log is checked. An enclave has one keyset at a time. Two that overlap may be a new
    start, or somebody else's keys under its name: whoever runs it can say.
    """
    from privity.attest.log import KeysetEntry

    contents, _ = _with_source(place, _follow(_log_keys(log)))
    found = [
        (index, entry)
        for index, entry in enumerate(contents.entries)
        if isinstance(entry, KeysetEntry) and entry.enclave == name
    ]
    rows = []
    for index, entry in found:
        overlaps = [
            other
            for other, one in found
            if one.keyset != entry.keyset and one.since < entry.until and entry.since < one.until
        ]
        rows.append({"index": index, **entry.to_json(), "overlaps": overlaps})
    if as_json:
        output.emit_json(rows)
        return
    if not rows:
        output.note(f"the log has no keyset for {name!r}")
    for row in rows:
        with_others = ", ".join(map(str, row["overlaps"]))
        mark = output.style(f"  overlaps with {with_others}", "yellow") if with_others else ""
        output.out(f"{row['index']:>6}  {row['from']}  {row['until']}  {row['keyset']}{mark}")


def log_key(path: Path | None) -> SigningKey:
    """Return the key of a log or witness, made if there is none."""
    from privity.home import home
    from privity.identity.keystore import load_or_create_key

    return load_or_create_key(path or home() / "log.key")


def _follow(
    keys: tuple[NoteKey, ...],
) -> Callable[[LogSource], Awaitable[tuple[LogContents, str]]]:
    """Return what reads a log, holds it to what this device remembers, and remembers it."""

    async def follow(source: LogSource) -> tuple[LogContents, str]:
        from privity.attest.log import LogMemory, Remembered, read_log
        from privity.attest.log.proof import check_view
        from privity.attest.log.source import prove_consistency
        from privity.errors import EvidenceError

        try:
            contents = await read_log(source, keys)
        except EvidenceError as error:
            hint = _UNTRUSTED if error.check == "log signature" else error.hint
            raise EvidenceError(error.message, check=error.check, hint=hint) from None
        checkpoint, memory = contents.checkpoint, LogMemory()
        seen = memory.get(checkpoint.origin)
        size = checkpoint.size
        if seen is not None and seen.size > size:
            raise EvidenceError(
                f"the log shows {size} entries, and showed this device {seen.size} before",
                check="log consistency",
                hint="a copy that lags behind, or a log that was rolled back",
            )
        proof = [] if seen is None else await prove_consistency(source, seen.size, size)
        check = check_view(checkpoint, seen, proof)
        memory.keep(checkpoint.origin, Remembered(size, checkpoint.root), compared=seen)
        return contents, check.detail

    return follow


def _with_source(place: str, use: Callable[[LogSource], Awaitable[T]]) -> T:
    import anyio
    import httpx

    from privity.attest.log import FolderSource, UrlSource

    async def run() -> T:
        if "://" not in place:
            return await use(FolderSource(Path(place)))
        async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
            return await use(UrlSource(place, http))

    return anyio.run(run)


def _submit(url: str, entry: Entry, key: Path | None) -> dict[str, Any]:
    import anyio
    import httpx

    from privity.attest.log import submit
    from privity.identity.keystore import load_or_create_key

    async def run() -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
            signing = None if key is None else load_or_create_key(key)
            if signing is not None:
                output.note(f"submitted by {signing.did}")
            return await submit(url, entry, http=http, key=signing)

    return anyio.run(run)


def _entry(
    keyset: str | None,
    enclave: str | None,
    days: int,
    manifest: Path | None,
    revocation: Path | None,
) -> Entry:
    from privity.attest.log import KeysetEntry, ManifestEntry, RevocationEntry
    from privity.cli.reference import read_manifest, read_revocation, signers_of
    from privity.errors import InputError, MalformedError

    now = datetime.now(UTC)
    try:
        match keyset, enclave, manifest, revocation:
            case str(), str(), None, None:
                return KeysetEntry(enclave, keyset, now, now + timedelta(days=days))
            case None, None, Path(), None:
                signed = read_manifest(manifest)
                one = signed.manifest
                return ManifestEntry(one.name[:255], one.digest, signers_of(signed)[0])
            case None, None, None, Path():
                taken = read_revocation(revocation)
                signer = signers_of(taken)[0]
                return RevocationEntry(taken.revocation.manifest, taken.revocation.digest, signer)
            case None, None, None, None:
                raise InputError("nothing to add", hint=_ONE_ENTRY)
            case _:
                raise InputError("one entry is added at a time, whole", hint=_ONE_ENTRY)
    except MalformedError as error:
        raise InputError(error.message) from None


def _log_keys(texts: list[str] | None) -> tuple[NoteKey, ...]:
    from privity.attest.log.note import Algorithm
    from privity.infer.config import load_config

    known = [one.key for one in load_config().logs]
    return _keys([*known, *(texts or [])], Algorithm.ED25519, "--log")


def _cosigned(note: Note, texts: list[str]) -> list[tuple[str, str]]:
    from privity.attest.log.checkpoint import cosignatures
    from privity.attest.log.note import Algorithm
    from privity.errors import EvidenceError, MalformedError, OpenError
    from privity.identity.timestamps import format_time
    from privity.infer.config import load_config

    keys = _keys([*load_config().witnesses, *texts], Algorithm.COSIGNATURE, "--witness")
    try:
        found = cosignatures(note, keys)
    except (OpenError, MalformedError) as error:
        raise EvidenceError(error.message, check="log witnesses") from None
    return [(one.witness.name, format_time(one.time)) for one in found]


def _keys(texts: list[str], algorithm: Any, option: str) -> tuple[NoteKey, ...]:
    from privity.attest.log.note import parse_keys
    from privity.errors import InputError, MalformedError

    try:
        return parse_keys(texts, algorithm)
    except MalformedError as error:
        raise InputError(f"{option}: {error.message}") from None


def _rows(facts: dict[str, str]) -> None:
    from privity.wording import printable

    output.out(
        output.harmless(output.label_rows({name: printable(one) for name, one in facts.items()}))
    )
