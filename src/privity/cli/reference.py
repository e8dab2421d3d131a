"""`privity reference`: say which code you approve, and take that back."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.attest.signed_manifest import SignedManifest, SignedRevocation
    from privity.identity.keys import SigningKey
    from privity.infer.config import Config

__all__ = ["app", "read_manifest", "read_revocation", "signers_of"]

app = typer.Typer(
    help="Sign, show, verify and revoke manifests.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Key = Annotated[
    Path | None,
    typer.Option(
        help="Key file to sign with, made if there is none; by default signer.key in the privity "
        "home.",
        metavar="FILE",
    ),
]
To = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write it to a file.", metavar="FILE")
]
Signed = Annotated[Path, typer.Argument(help="A signed manifest.", metavar="MANIFEST")]

_MAX_FILE = 1 << 20


@app.command("sign")
def sign(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The manifest as TOML or JSON, whole or in part; options go before it.",
            metavar="FILE",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What people call this software.")] = None,
    builder: Annotated[str | None, typer.Option(help="Who built it.")] = None,
    repository: Annotated[str | None, typer.Option(help="URL of its source.")] = None,
    commit: Annotated[str | None, typer.Option(help="The exact version of its source.")] = None,
    recipe: Annotated[str | None, typer.Option(help="How to build it again.")] = None,
    from_verify: Annotated[
        list[Path] | None,
        typer.Option(
            help="What `privity verify --json` wrote: approve what it measured; may be given "
            "again.",
            metavar="FILE",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Approve these models and weights alone; may be given again.",
            metavar="ID=DIGEST",
        ),
    ] = None,
    program: Annotated[
        list[str] | None,
        typer.Option(help="A training program that may run; may be given again.", metavar="DIGEST"),
    ] = None,
    days: Annotated[int, typer.Option(help="How long it holds.", min=1, max=3650)] = 180,
    key: Key = None,
    to: To = None,
) -> None:
    """Sign that you approve what code measures as.

    Sign only what you built or examined yourself: whoever lists your did:key as a signer seals
    prompts to whatever you sign.
    """
    from privity.attest.manifest import Manifest
    from privity.attest.signed_manifest import SignedManifest
    from privity.errors import InputError, MalformedError
    from privity.identity.fields import Fields

    body = _manifest_body(file, days)
    given = {"name": name, "builder": builder}
    body.update({field: value for field, value in given.items() if value is not None})
    source = {"repository": repository, "commit": commit, "recipe": recipe}
    body["source"] = {
        **{"recipe": None},
        **body.get("source", {}),
        **{field: value for field, value in source.items() if value is not None},
    }
    body["measurements"] += [value for path in from_verify or [] for value in _measured(path)]
    if model:
        body["models"] = [*(body["models"] or []), *(_model(text) for text in model)]
    body["programs"] += program or []
    try:
        signed = SignedManifest.sign(Manifest.from_fields(Fields(body, "manifest")), _key(key))
    except MalformedError as error:
        raise InputError(
            error.message, hint="`privity reference sign --help` lists what a manifest needs"
        ) from None
    _write(signed, to)
    output.note(
        f"{signed.manifest.name}: {signed.manifest.digest}, signed by {signed.signers()[0]}"
    )


@app.command("show")
def show(manifest: Signed, as_json: JsonOption = False) -> None:
    """Show what a manifest approves, and who signed it.

    Its signatures are checked; whether you trust the signers is yours to say.
    """
    signed = read_manifest(manifest)
    signers = signers_of(signed)
    if as_json:
        output.emit_json({"digest": signed.manifest.digest, "signers": signers, **signed.to_json()})
        return
    one = signed.manifest
    models = "any" if one.models is None else ", ".join(m.id for m in one.models) or "none"
    facts = {
        "name": one.name,
        "digest": one.digest,
        "builder": one.builder,
        "source": f"{one.source.repository} at {one.source.commit}",
        "recipe": one.source.recipe or "",
        "holds": f"{one.issued:%Y-%m-%d} to {one.expires:%Y-%m-%d}",
        "models": models,
        "programs": ", ".join(one.programs),
        "signed by": ", ".join(signers),
    }
    _facts({name: fact for name, fact in facts.items() if fact})
    for value in one.measurements:
        output.out()
        _facts({"evidence": value.kind, **dict(sorted(value.registers.items()))})


@app.command("revoke")
def revoke(
    manifest: Signed,
    reason: Annotated[str, typer.Option(help="Why, for people to read.")],
    key: Key = None,
    to: To = None,
) -> None:
    """Sign that a manifest no longer counts, from now on.

    It takes effect where people have the revocation: hand it on, and record it in a log.
    """
    from privity.attest.signed_manifest import Revocation, SignedRevocation
    from privity.errors import InputError, MalformedError

    signed, signer = read_manifest(manifest), _key(key)
    if signer.did not in signers_of(signed):
        raise InputError(
            "only who signed a manifest can revoke it; this key did not",
            hint="give the signer's key with --key",
        )
    try:
        revocation = Revocation(signed.manifest.digest, reason, datetime.now(UTC))
        document = SignedRevocation.sign(revocation, signer)
    except MalformedError as error:
        raise InputError(error.message) from None
    _write(document, to)


@app.command("verify")
def verify(
    manifest: Signed,
    signer: Annotated[
        list[str] | None,
        typer.Option(
            help="A did:key whose word counts, beside those of config.toml; may be given again.",
            metavar="DID",
        ),
    ] = None,
    revocation: Annotated[
        list[Path] | None,
        typer.Option(help="A signed revocation; may be given again.", metavar="FILE"),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="Judge it for this time, such as 2026-06-01T12:00:00Z.", metavar="TIME"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a manifest is good now.

    Someone you trust must have signed it, its time must have come and not ended, and nobody must
    have revoked it.

    The revocations that config.toml lists count as those given here do.
    """
    from privity.attest.reference import verify_manifest
    from privity.infer.config import load_config

    signed, config = read_manifest(manifest), load_config()
    revocations = (*_kept_revocations(config), *map(read_revocation, revocation or []))
    trusted = (*config.signers, *(signer or []))
    approval = verify_manifest(signed, trusted, revocations, _time(at))
    if as_json:
        checks = [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in approval.checks]
        output.emit_json({"digest": approval.digest, "signer": approval.signer, "checks": checks})
        return
    for one in approval.checks:
        output.out(
            output.harmless(f"{output.check_mark(one.ok)} {one.name.ljust(22)} {one.detail}")
        )


def _kept_revocations(config: Config) -> tuple[SignedRevocation, ...]:
    from privity.attest.signed_manifest import parse_documents
    from privity.policy.evidence import EvidencePolicy

    _, revocations = parse_documents(config.trust(EvidencePolicy()).manifests)
    return revocations


def _manifest_body(path: Path | None, days: int) -> dict[str, Any]:
    """Return the parts of a manifest that a file gives, and what is the same for all."""
    from privity.identity.timestamps import format_time

    now = datetime.now(UTC)
    body: dict[str, Any] = {
        "version": 1,
        "measurements": [],
        "models": None,
        "programs": [],
        "issued": format_time(now),
        "expires": format_time(now + timedelta(days=days)),
    }
    if path is not None:
        body.update(_read_table(path))
    body["measurements"] = list(body["measurements"])
    body["programs"] = list(body["programs"])
    return body


def _read_table(path: Path) -> dict[str, Any]:
    from privity.errors import InputError, MalformedError, OversizeError
    from privity.home import read_file
    from privity.identity.jcs import loads_strict

    data = read_file(path, most=_MAX_FILE, what="the file")
    try:
        table = tomllib.loads(data.decode()) if path.suffix == ".toml" else loads_strict(data)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, MalformedError, OversizeError) as error:
        raise InputError(f"{path} cannot be read as a manifest: {type(error).__name__}") from None
    if not isinstance(table, dict) or not all(
        isinstance(table.get(name, []), list) for name in ("measurements", "programs")
    ):
        raise InputError(f"{path} is not a manifest")
    if not isinstance(table.get("source", {}), dict):
        raise InputError(f"{path} is not a manifest: its source is no table")
    return table


def _measured(path: Path) -> list[dict[str, Any]]:
    """Return the entries for what a verdict of `privity verify --json` measured."""
    from privity.attest.manifest import ReferenceValue
    from privity.errors import InputError, MalformedError

    verdict = _read_table(path)
    if verdict.get("accepted") is not True:
        raise InputError(
            f"{path}: that evidence was not accepted; nothing of it is approved",
            hint="its `checks` say why; sign only what verifies",
        )
    kinds, measured = verdict.get("kinds"), verdict.get("measured")
    if kinds is None and isinstance(verdict.get("kind"), str):
        kinds = verdict["kind"].split(" + ")
    if (
        not isinstance(kinds, list)
        or not isinstance(measured, list)
        or len(kinds) != len(measured)
        or not all(isinstance(one, dict) for one in measured)
    ):
        raise InputError(
            f"{path} is not what `privity verify --json` writes",
            hint="privity verify URL --json > verdict.json",
        )
    try:
        found = [
            ReferenceValue.of(str(kind), registers)
            for kind, registers in zip(kinds, measured, strict=True)
        ]
    except (MalformedError, AttributeError) as error:
        raise InputError(f"{path}: {error}") from None
    return [value.to_json() for value in dict.fromkeys(found)]


def _model(text: str) -> dict[str, Any]:
    from privity.errors import InputError

    name, equals, digest = text.rpartition("=")
    if not equals or not name:
        raise InputError(
            f"{text!r} is not ID=DIGEST",
            hint="such as small=tree-sha256:…; `privity model show` prints it as the root",
        )
    return {"id": name, "weights": digest}


def _key(path: Path | None) -> SigningKey:
    from privity.home import home
    from privity.identity.keystore import load_or_create_key

    return load_or_create_key(path or home() / "signer.key")


def signers_of(signed: SignedManifest | SignedRevocation) -> tuple[str, ...]:
    """Return who signed; raises `EvidenceError` unless every signature verifies."""
    from privity.errors import EvidenceError, OpenError

    try:
        return signed.signers()
    except OpenError as error:
        raise EvidenceError(error.message, check="reference signature") from None


def read_manifest(path: Path) -> SignedManifest:
    """Return the signed manifest in a file, its signatures unchecked."""
    from privity.attest.signed_manifest import parse_documents
    from privity.errors import InputError
    from privity.home import read_file

    manifests, _ = parse_documents([read_file(path, most=_MAX_FILE, what="the manifest")])
    if not manifests:
        raise InputError(
            f"{path} is a revocation, not a manifest",
            hint="name the manifest it revokes, and give it with --revocation",
        )
    return manifests[0]


def read_revocation(path: Path) -> SignedRevocation:
    """Return the signed revocation in a file, its signatures unchecked."""
    from privity.attest.signed_manifest import SignedRevocation
    from privity.home import read_file

    return SignedRevocation.parse(read_file(path, most=_MAX_FILE, what="the revocation").strip())


def _write(document: SignedManifest | SignedRevocation, to: Path | None) -> None:
    from privity.errors import InputError
    from privity.identity.jcs import canonical

    data = canonical(document.to_json())
    if to is None:
        output.out(data.decode())
        return
    try:
        to.write_bytes(data + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {to}: {error.strerror}") from error


def _time(text: str | None) -> datetime:
    from privity.errors import InputError, MalformedError
    from privity.identity.timestamps import parse_time

    if text is None:
        return datetime.now(UTC)
    try:
        return parse_time(text)
    except MalformedError as error:
        raise InputError(f"--at: {error.message}") from None


def _facts(rows: dict[str, str]) -> None:
    from privity.wording import printable

    output.out(
        output.harmless(output.label_rows({name: printable(row) for name, row in rows.items()}))
    )
