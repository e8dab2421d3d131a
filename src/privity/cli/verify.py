"""`privity verify`: what a piece of evidence, or a running enclave, proves and what it does not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from privity.attest.evidence import Companions
    from privity.attest.examine import Examined
    from privity.attest.trust import Trust
    from privity.attested import Check
    from privity.cli.verdict import Verdict
    from privity.infer.peers import EnclavePeer
    from privity.policy import Policy

__all__ = ["verify"]

_SECONDS = re.compile(r"[0-9]{9,11}")  # eight digits are a date: 20250620


def verify(
    what: Annotated[
        str,
        typer.Argument(
            help="An enclave's URL or configured name, or a file: a statement, or evidence as the "
            "vendor's tools write it.",
            metavar="URL|FILE",
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="tdx, sgx, snp, nvidia, nitro or dev; by default what the file looks like.",
            metavar="KIND",
        ),
    ] = None,
    collateral: Annotated[
        Path | None,
        typer.Option(help="Intel's collateral for a quote, as JSON.", metavar="FILE"),
    ] = None,
    certs: Annotated[
        list[Path] | None,
        typer.Option(help="Certificates, PEM or DER; may be given again.", metavar="FILE"),
    ] = None,
    rim: Annotated[
        list[Path] | None,
        typer.Option(help="An NVIDIA reference manifest; may be given again.", metavar="FILE"),
    ] = None,
    roots: Annotated[
        Path | None,
        typer.Option(
            help="Root certificates to trust in place of the vendor's own, PEM or DER.",
            metavar="FILE",
        ),
    ] = None,
    nonce: Annotated[
        str | None,
        typer.Option(
            help="What it must have been made for, in hex: a statement's or GPU's nonce, or the "
            "report data.",
            metavar="HEX",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="Judge it for this time, such as 2025-06-20T12:00:00Z.", metavar="TIME"),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="The policy whose demands of evidence hold; by default the configured one.",
            metavar="NAME|FILE",
        ),
    ] = None,
    registers: Annotated[
        bool, typer.Option("--registers", help="Show every register that was measured.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check evidence, and say what each check proves.

    Nothing is asked of anyone but the enclave you name: roots are built in, everything else comes
    from your files. The exit code is 0 if every check holds, 1 if one does not.
    """
    from privity.errors import InputError

    chosen = _policy(policy)
    trust = _trust(chosen, roots, kind)
    bound = _hex(nonce)
    now = _time(at)
    files = _companions(collateral, certs or [], rim or [])
    path = Path(what)
    if "://" in what or not path.exists():
        if at is not None or nonce is not None or files != _companions(None, [], []):
            raise InputError(
                "an enclave is asked now, for a nonce of ours, and sends what is needed along",
                hint="--at, --nonce, --collateral, --certs and --rim are for files",
            )
        verdict = _ask(what, kind, trust, chosen)
    else:
        data = _read(path, "the evidence")
        verdict = _as_statement(data, kind, bound, trust, now) or _of_file(
            data, kind, files, bound, trust, now
        )
    if as_json:
        output.emit_json(verdict.to_json())
    else:
        verdict.show(every_register=registers)
    if not verdict.accepted:
        raise typer.Exit(1)


def _policy(name: str | None) -> Policy:
    from privity.infer.config import load_config
    from privity.policy import Policy

    return Policy.load(name or load_config().policy_source)


def _trust(policy: Policy, roots: Path | None, kind: str | None) -> Trust:
    from privity.infer.config import load_config

    trust = load_config().trust(policy.evidence)
    return trust if roots is None else _with_roots(trust, roots, kind)


def _with_roots(trust: Trust, path: Path, kind: str | None) -> Trust:
    from dataclasses import replace

    from cryptography.hazmat.primitives.serialization import Encoding

    from privity.attest.anchor import Anchor
    from privity.attest.chain import load_certificates
    from privity.errors import InputError, MalformedError

    try:
        certificates = load_certificates(_read(path, "the roots"))
    except MalformedError as error:
        raise InputError(f"{path}: {error.message}") from error
    anchors = tuple(Anchor.of_certificate(one) for one in certificates)
    intel = certificates[-1].public_bytes(Encoding.DER)
    fields: dict[str, dict[str, Any]] = {
        "tdx": {"intel": intel},
        "sgx": {"intel": intel},
        "snp": {"amd": anchors},
        "nitro": {"nitro": anchors},
        "nvidia": {"nvidia": anchors},
    }
    if kind not in fields:
        raise InputError("roots of one's own need --kind", hint=f"one of {', '.join(fields)}")
    return replace(trust, roots=replace(trust.roots, **fields[kind]))


def _companions(collateral: Path | None, certs: list[Path], rims: list[Path]) -> Companions:
    from privity.attest.evidence import Companions

    return Companions(
        certificates=tuple(_read(one, "the certificates") for one in certs),
        collateral=None if collateral is None else _read(collateral, "the collateral"),
        rims=tuple(_read(one, "the manifest") for one in rims),
    )


def _as_statement(
    data: bytes, kind: str | None, nonce: bytes | None, trust: Trust, now: datetime
) -> Verdict | None:
    """Return the verdict on a file that is a statement; None for one that is something else."""
    from privity.attest.examine import examine_statement
    from privity.errors import SealError
    from privity.statement import Nonce, Statement

    try:
        statement = Statement.parse(data)
    except SealError:
        return None
    unasked = nonce is None and isinstance(statement.freshness, Nonce)
    challenge = statement.freshness.bound if unasked else nonce
    examined = examine_statement(data, nonce=challenge, trust=trust, now=now)
    return _of_statement(examined, kind, now, unasked=unasked)


def _ask(what: str, kind: str | None, trust: Trust, policy: Policy) -> Verdict:
    import anyio

    from privity.errors import InputError
    from privity.infer.config import load_config
    from privity.infer.routes.confidential import examine_peer
    from privity.seal.transport import default_pool

    config = load_config()
    peer = config.peer(what) if "://" in what or config.enclaves or config.devnet else None
    if peer is None:
        raise InputError(
            f"there is no file called {what!r}, and no enclave",
            hint="give the path of a file, or the URL of an enclave",
        )

    async def ask() -> tuple[Examined, datetime]:
        async with default_pool() as http:
            return await examine_peer(peer, trust, http, logs=config.logs)

    with output.progress("asking the enclave for its statement"):
        examined, now = anyio.run(ask)
    verdict = _of_statement(examined, kind, now)
    return verdict.judged_by(policy, *_refusals(examined, now, peer, policy))


def _refusals(
    examined: Examined, now: datetime, peer: EnclavePeer, policy: Policy
) -> tuple[str, ...]:
    """Return why the policy would refuse a route to this enclave; nothing where it would not."""
    from privity.attest.verify import accept
    from privity.errors import PolicyRefusal
    from privity.infer.routes.confidential import ConfidentialRoute, confidential_disclosure
    from privity.seal.transport import Shape

    if examined.failed is not None or not examined.findings:
        return ()
    enclave = accept(examined, now)
    disclosure = confidential_disclosure(enclave, peer)
    try:
        policy.admit(ConfidentialRoute(enclave, peer, disclosure, Shape()))
    except PolicyRefusal as error:
        return (error.message,)
    return ()


def _of_statement(
    examined: Examined, kind: str | None, now: datetime, *, unasked: bool = False
) -> Verdict:
    """Return the verdict on a statement; ``unasked`` where nobody says what it was made for."""
    from privity.attested import Check
    from privity.cli.verdict import Verdict

    checks = [one for one in examined.checks if not (unasked and one.name == "nonce")]
    kinds = [one.kind for one in examined.findings]
    if kind is not None and kind not in kinds:
        told = f"asked for {kind}, and this is {' + '.join(kinds) or 'nothing that could be read'}"
        checks.append(Check("evidence kind", False, told))
    missing = {
        "freshness": "made for a challenge; --nonce says whether it was yours" if unasked else "",
        "reference value": _missing(
            checks, "reference", examined.unapproved or "nobody you trust approved this code"
        ),
        "log inclusion": _missing(checks, "log", "whether everyone is shown the same keys is open"),
    }
    keyset = examined.statement.keyset.digest if examined.statement else None
    return Verdict(tuple(checks), examined.findings, now, missing, keyset=keyset)


def _missing(checks: Sequence[Check], begins: str, why: str) -> str:
    return "" if any(check.name.startswith(begins) for check in checks) else why


def _of_file(
    data: bytes,
    kind: str | None,
    files: Companions,
    bound: bytes | None,
    trust: Trust,
    now: datetime,
) -> Verdict:
    from privity.attest.files import examine_file
    from privity.cli.verdict import Verdict

    findings = examine_file(data, kind=kind, companions=files, bound=bound, trust=trust, now=now)
    checks = tuple(check for one in findings for check in one.checks)
    missing = {
        "key binding": "" if bound else "without --nonce, whose keys it vouches for is open",
        "reference value": "evidence alone does not say who approved what was measured",
    }
    return Verdict(checks, findings, now, missing)


def _read(path: Path, what: str) -> bytes:
    from privity.attest.files import MAX_FILE_BYTES
    from privity.home import read_file

    return read_file(path, most=MAX_FILE_BYTES, what=what)


def _hex(text: str | None) -> bytes | None:
    from privity.errors import InputError

    if text is None:
        return None
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise InputError("--nonce is not hexadecimal") from None
    if not 0 < len(data) <= 64:
        raise InputError("--nonce has 1 to 64 bytes")
    return data


def _time(text: str | None) -> datetime:
    from privity.errors import InputError

    if text is None:
        return datetime.now(UTC)
    try:
        at = (
            datetime.fromtimestamp(int(text), UTC)
            if _SECONDS.fullmatch(text)
            else datetime.fromisoformat(text)
        )
    except (ValueError, OverflowError):
        raise InputError(
            f"--at {text!r} is not a time",
            hint="write 2025-06-20, 2025-06-20T12:00:00Z, or seconds since 1970",
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
