"""`privity verify`: what a piece of evidence, or a running enclave, proves and what it does not."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output

if TYPE_CHECKING:
    from privity.attest.evidence import Companions, Findings
    from privity.attest.examine import Examined
    from privity.attest.trust import Trust
    from privity.statement import Check

__all__ = ["verify"]

_BINDING = "key binding"
_NUMBERED = re.compile(r"measurement_\d+")  # of GPUs: dozens, most of them zero


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
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Check evidence, and say what each check proves and what it does not.

    Nothing is asked of anyone but the enclave you name: roots are built in, everything else comes
    from your files. The exit code is 0 if every check holds, 1 if one does not.
    """
    from privity.errors import InputError

    trust = _trust(policy, roots, kind)
    bound = _hex(nonce)
    now = _time(at)
    files = _companions(collateral, certs or [], rim or [])
    path = Path(what)
    if "://" in what or not path.exists():
        if at is not None or nonce is not None:
            raise InputError("an enclave is asked now, for a nonce of ours")
        verdict = _of_statement(_ask(what, trust))
    else:
        data = _read(path, "the evidence")
        examined = _as_statement(data, bound, trust, now) if kind is None else None
        verdict = (
            _of_statement(examined)
            if examined is not None
            else _of_file(data, kind, files, bound, trust, now)
        )
    if as_json:
        output.emit_json(verdict)
    else:
        _show(verdict, every_register=registers)
    if not verdict["accepted"]:
        raise typer.Exit(1)


def _trust(policy: str | None, roots: Path | None, kind: str | None) -> Trust:
    from privity.infer.config import load_config
    from privity.policy import Policy

    config = load_config()
    trust = config.trust(Policy.load(policy or config.policy_source).evidence)
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


def _as_statement(data: bytes, nonce: bytes | None, trust: Trust, now: datetime) -> Examined | None:
    """Examine a file that is a statement; None for one that is something else."""
    from privity.attest.examine import examine_statement
    from privity.errors import SealError
    from privity.statement import Nonce, Statement

    try:
        statement = Statement.parse(data)
    except SealError:
        return None
    if nonce is None and isinstance(statement.freshness, Nonce):
        output.note("made for a challenge: give it with --nonce to see whether it was yours")
        nonce = statement.freshness.value
    return examine_statement(data, nonce=nonce, trust=trust, now=now)


def _ask(what: str, trust: Trust) -> Examined:
    import anyio

    from privity.errors import InputError
    from privity.infer.config import load_config
    from privity.infer.routes.confidential import examine_peer
    from privity.seal.transport import default_pool

    config = load_config()
    peer = config.peer(what)
    if peer is None:
        raise InputError(f"there is no file and no enclave called {what!r}")

    async def ask() -> Examined:
        async with default_pool() as http:
            examined, _ = await examine_peer(peer, trust, http, logs=config.logs)
            return examined

    with output.progress("asking the enclave for its statement"):
        return anyio.run(ask)


def _of_statement(examined: Examined) -> dict[str, Any]:
    kinds = [one.kind for one in examined.findings]
    return _verdict(kinds, examined.checks, examined.findings) | {
        "keyset": examined.statement.keyset.digest if examined.statement else None,
        "not_checked": [
            name
            for name, seen in (("reference value", "reference"), ("log inclusion", "log"))
            if not any(check.name.startswith(seen) for check in examined.checks)
        ],
    }


def _of_file(
    data: bytes,
    kind: str | None,
    files: Companions,
    bound: bytes | None,
    trust: Trust,
    now: datetime,
) -> dict[str, Any]:
    from privity.attest.files import examine_file

    findings = examine_file(data, kind=kind, companions=files, bound=bound, trust=trust, now=now)
    checks = tuple(check for one in findings for check in one.checks)
    missing = [] if bound is not None else [_BINDING]
    kinds = [one.kind for one in findings if one.kind]
    return _verdict(kinds, checks, findings) | {"not_checked": [*missing, "reference value"]}


def _verdict(
    kinds: list[str], checks: tuple[Check, ...], findings: tuple[Findings, ...]
) -> dict[str, Any]:
    return {
        "accepted": bool(checks) and bool(findings) and all(check.ok for check in checks),
        "kind": " + ".join(dict.fromkeys(kinds)) or None,
        "kinds": [one.kind for one in findings],
        "dev": any(one.dev for one in findings),
        "checks": [
            {"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks
        ],
        "measured": [dict(one.registers) for one in findings],
    }


def _show(verdict: dict[str, Any], *, every_register: bool) -> None:
    for check in verdict["checks"]:
        _show_check(check)
    for registers in verdict["measured"]:
        output.out()
        _show_registers(registers, every_register)
    output.out()
    _show_limits(verdict)
    failed = [check["name"] for check in verdict["checks"] if not check["ok"]]
    if verdict["accepted"]:
        output.out(output.style("accepted", "green", "bold") + _dev(verdict))
    else:
        why = ", ".join(dict.fromkeys(failed)) or "nothing to check"
        output.out(f"{output.style('not accepted', 'red', 'bold')}: {why}")


def _show_check(check: dict[str, Any]) -> None:
    from privity.attest.meaning import meaning_of

    mark = output.check_mark(check["ok"])
    output.out(f"{mark} {check['name']}: {output.harmless(check['detail'])}")
    meaning = meaning_of(check["name"])
    if meaning is not None:
        told = f"{'proves' if check['ok'] else 'would prove'} that {meaning.proves}"
        told += f"; not {meaning.leaves}" if meaning.leaves else ""
        output.out(output.style(textwrap.indent(_wrap(told), "    "), "dim"))


def _show_registers(registers: dict[str, str], every: bool) -> None:
    shown = {
        name: output.harmless(value)
        for name, value in registers.items()
        if every or not _NUMBERED.fullmatch(name)
    }
    output.out(output.label_rows(shown))
    if len(shown) < len(registers):
        output.out(output.style(f"and {len(registers) - len(shown)} more: --registers", "dim"))


def _show_limits(verdict: dict[str, Any]) -> None:
    from privity.attest.meaning import NOT_BOUND

    for kind in (verdict["kind"] or "").split(" + "):
        if kind in NOT_BOUND:
            output.out(_wrap(f"{kind}: {NOT_BOUND[kind]}"))
    for name in verdict["not_checked"]:
        output.out(f"not checked: {name}{_why(name)}")


def _dev(verdict: dict[str, Any]) -> str:
    return ", as dev evidence: plain software, not hardware" if verdict["dev"] else ""


def _why(name: str) -> str:
    if name == _BINDING:
        return ": no --nonce, so whose keys it vouches for is open"
    if name == "reference value":
        return ": whether someone you trust approved what was measured"
    return ": whether everyone is shown the same keys"


def _wrap(text: str) -> str:
    return textwrap.fill(text, max(output.width() - 6, 40), break_on_hyphens=False)


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
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"--at {text!r} is not a time", hint="write 2025-06-20 or 2025-06-20T12:00:00Z"
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
