"""`privity receipts`: the receipts you hold: list them, show one, verify one, hand one on."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import output
from privity.cli.choice import JsonOption, complete_receipt

if TYPE_CHECKING:
    from privity.attested import Check
    from privity.receipt import DeviceRecord, JobReceipt, ReceiptFile, Routing
    from privity.receipt.verify import Reverify

__all__ = ["app", "print_receipt"]

app = typer.Typer(
    help="List, show, verify and export receipts of your jobs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Which = Annotated[
    str,
    typer.Argument(
        help="A receipt's id, the beginning of it or of its last part, `last`, or a file.",
        metavar="ID|FILE",
        autocompletion=complete_receipt,
    ),
]
_MAX_FILE = 1 << 20
_TOLD = 3  # how much of what was passed over is shown; `--json` has all of it


@app.command("list")
def list_receipts(
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="How many, newest first.", min=1)
    ] = 20,
    as_json: JsonOption = False,
) -> None:
    """List your receipts: when, how it ended, and who read."""
    from itertools import islice

    from privity.infer.receipts import ReceiptStore

    rows = [_row(receipt_id) for receipt_id in islice(ReceiptStore().ids(), limit)]
    if as_json:
        output.emit_json(rows)
        return
    if not rows:
        output.note("no receipts yet; `privity ask` leaves one")
        return
    for row in rows:
        if "error" in row:
            output.out(f"{row['id']}  {output.style(row['error'], 'red')}")
            continue
        outcome = row["outcome"].ljust(11)
        colour = "green" if row["outcome"] == "complete" else "yellow"
        way = output.harmless(f"{row['route']}, {row['policy']}")
        fits = len(row["id"] + outcome + way + row["summary"]) + 6 <= output.width()
        gap = "  " if fits else "\n  "
        head = f"{row['id']}  {output.style(outcome, colour)}  {way}"
        output.out(f"{head}{gap}{output.style(row['summary'], 'dim')}")


@app.command("show")
def show(receipt: Which = "last", as_json: JsonOption = False) -> None:
    """Show who was privy to what in one job.

    What the device and the enclave signed, their signatures checked; `privity receipts verify`
    checks everything.
    """
    name, file = _read(receipt)
    if as_json:
        import json

        output.emit_json({"id": name, "file": json.loads(file.export().to_bytes())})
        return
    print_receipt(name, file)


@app.command("verify")
def verify(
    receipt: Which = "last",
    request: Annotated[
        Path | None, typer.Option(help="The request's body, to compare.", metavar="FILE")
    ] = None,
    answer: Annotated[
        Path | None, typer.Option(help="The answer's body, to compare.", metavar="FILE")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="The did:key the record must be signed by.", metavar="DID")
    ] = None,
    dev_root: Annotated[
        list[str] | None,
        typer.Option(help="A development root to trust, beside those of config.toml."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="A line for each check, with what it found.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check everything a receipt claims.

    The signatures, the digests that tie its parts together, and the enclave's evidence as of then.
    """
    from privity.errors import ReceiptError
    from privity.receipt import check_receipt_file

    if device is not None:
        _check_did(device)
    name, file = _read(receipt)
    checks = check_receipt_file(
        file,
        now=datetime.now(UTC),
        reverify=_reverify(dev_root or []),
        device=device,
        request=_body(request),
        answer=_body(answer),
    )
    failed = next((check for check in checks if not check.ok), None)
    if as_json and not failed:
        listed = [{"check": one.name, "ok": one.ok, "detail": one.detail} for one in checks]
        output.emit_json({"id": name, "verified": True, "dev": _is_dev(file), "checks": listed})
        return
    if not as_json:
        _write_checks(checks, every=every or failed is not None)
    if failed:
        raise ReceiptError(f"{name}: {failed.name}: {failed.detail}", check=failed.name)
    output.out()
    output.out(f"{output.style('verified', 'green', 'bold')}: {len(checks)} checks hold for {name}")
    if _is_dev(file):
        plays = "plain software, vouched for by a development root; no hardware stands behind it"
        if file.statement is None:
            plays = "a stand-in on this machine answered, not the provider"
        what = "dev evidence" if file.statement else "dev"
        output.out(output.style(what, "yellow", "bold") + f": {plays}")
    if file.receipt is None:
        output.out("signed by this device alone: nobody else vouches for what was answered")


def _check_did(device: str) -> None:
    """Refuse what is no did:key, which no record could be signed by."""
    from privity.errors import InputError, MalformedError
    from privity.identity.did_key import parse_did

    try:
        parse_did(device)
    except MalformedError as error:
        hint = "`privity receipts show` names who signed a record, such as did:key:z6Mk…"
        raise InputError(
            f"--device {output.harmless(device)!r:.80} is no did:key: {error.message}", hint=hint
        ) from None


def _write_checks(checks: Sequence[Check], *, every: bool) -> None:
    """Write a line for each check, or for each part of the file the checks that hold for it."""
    lines: list[tuple[bool, str, str]] = []
    if every:
        lines = [(one.ok, one.name.ljust(26), _short(one.detail)) for one in checks]
    else:
        parts: dict[str, list[str]] = {}
        for one in checks:
            part, _, what = one.name.partition(" ")
            parts.setdefault(part, []).append(what or one.detail)
        room = max(output.width() - 14, 24)
        for part, names in parts.items():
            first, *rest = textwrap.wrap(", ".join(names), room)
            lines.append((True, part.ljust(10), "\n".join([first, *(" " * 13 + x for x in rest)])))
    for ok, name, detail in lines:
        output.out(f"{output.check_mark(ok)} {name} {output.style(detail, 'dim')}")


@app.command("export")
def export(
    receipt: Which = "last",
    to: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file.")] = None,
) -> None:
    """Write a receipt without its secret, to hand it on.

    The secret would let its holder test guesses of the prompt and the answer.
    """
    from privity.errors import InputError

    _, file = _read(receipt)
    data = file.export().to_bytes()
    if to is None:
        output.out(data.decode())
        return
    try:
        to.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write {to}: {error.strerror}") from error
    output.note(f"written into {to}, without the secret that lets contents be guessed")


def print_receipt(name: str, file: ReceiptFile) -> None:
    """Draw a receipt: what it is about, the table of who was privy to what, and who signed."""
    from privity.cli.table import render_disclosure
    from privity.receipt import verify_record

    verified = verify_record(file.record, device=None, now=datetime.now(UTC))
    record = verified.record
    job = _job(file)
    output.out(output.style(f"receipt {name}", "bold"))
    # A receipt may be somebody else's: its words are shown, never obeyed by the terminal.
    output.out(output.harmless(output.label_rows(_facts(record, job))))
    output.out()
    output.out(
        render_disclosure(
            record.disclosure,
            width=output.width(),
            color=output.uses_color(),
            ascii_only=not output.takes_unicode(),
            heading="who was privy to what",
        )
    )
    output.out()
    signed = {"signed by": f"the device   {verified.device}"}
    if file.receipt is not None:
        kinds = " + ".join(one.kind for one in job.evidence) if job else ""
        label = f"the enclave · {kinds}" if kinds else "the enclave"
        signed["and by"] = f"{label}   {file.receipt['issuer']}"
    output.out(output.harmless(output.label_rows(signed)))


def _facts(record: DeviceRecord, job: JobReceipt | None) -> dict[str, str]:
    from privity.wording import printable

    model = job.model if job else None
    facts = {
        "asked": f"{record.started.astimezone():%Y-%m-%d %H:%M:%S %Z}",
        "outcome": record.outcome.value,
        "route": f"{record.route}, admitted by the policy {record.policy}",
        "model": model.id if model else record.model or "not named",
    }
    if model:
        facts["engine"] = model.engine
        facts["weights"] = model.weights or "not known to the enclave"
    if record.routing:
        facts |= _why(record.routing)
    if job:
        counts = (job.prompt_tokens, job.completion_tokens)
        asked, answered = ("not reported" if one is None else str(one) for one in counts)
        facts["tokens"] = f"prompt {asked}, answer {answered}"
        if job.price:
            facts["price"] = f"{job.price.charged} credits, of {job.price.held} that were held"
    # One line each: a line break in a name must not pass for a row of ours.
    return {name: printable(fact) for name, fact in facts.items()}


def _why(routing: Routing) -> dict[str, str]:
    """Return why a job took its route, and what became of the prompt on its way."""
    facts = {}
    if routing.asked and routing.asked != routing.chosen:
        facts["asked for"] = f"{routing.asked}, chosen: {routing.chosen}"
    if routing.reasons:
        facts["because"] = "; ".join(routing.reasons)
    passed = [f"{one.name}: {one.why}" for one in routing.passed_over[:_TOLD]]
    left = len(routing.passed_over) - len(passed) + routing.more
    if passed:
        facts["not"] = "; ".join(passed) + (f"; and {left} more" if left else "")
    if routing.mode:
        kept = f", {routing.kept} left as they were" if routing.kept else ""
        facts["personal"] = f"{routing.replaced} pieces replaced before it left{kept}"
    if routing.terms:
        days = routing.terms["retention_days"]
        said = "does not say how long it keeps it" if days is None else f"keeps it {days} days"
        terms = f"{routing.terms['provider']} {said}, as of {routing.terms['as_of']}"
        facts["terms"] = f"{terms}: {routing.terms['source']}"
    return facts


def _row(receipt_id: str) -> dict[str, Any]:
    from privity.errors import PrivityError
    from privity.receipt import verify_record
    from privity.wording import summarise

    try:
        _, file = _read(receipt_id)
        record = verify_record(file.record, device=None, now=datetime.now(UTC)).record
        _job(file)
    except PrivityError as error:
        return {"id": receipt_id, "error": f"does not verify: {error.message}"}
    return {
        "id": receipt_id,
        "started": record.started.isoformat(),
        "outcome": record.outcome.value,
        "route": record.route,
        "policy": record.policy,
        "model": record.model,
        "dev": _is_dev(file),
        "summary": summarise(record.disclosure),
    }


def _read(which: str) -> tuple[str, ReceiptFile]:
    """Return a name for the receipt and its file, from the store or from a path."""
    from privity.errors import InputError
    from privity.infer.receipts import ReceiptStore
    from privity.receipt import ReceiptFile

    path = Path(which)
    if "/" not in which and path.suffix != ".json":
        return ReceiptStore().get(which)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return path.name, ReceiptFile.parse(data.strip())


def _job(file: ReceiptFile) -> JobReceipt | None:
    """Return what the enclave signed, its signature checked against the statement in the file."""
    from privity.receipt import verify_receipt

    if file.receipt is None or file.statement is None:
        return None
    issuer = file.statement.keyset.receipts
    return verify_receipt(file.receipt, issuer=issuer, now=datetime.now(UTC)).job


def _is_dev(file: ReceiptFile) -> bool:
    """Tell whether something in the job only played what it stands for; of a verified record."""
    from privity.disclosure import Disclosure
    from privity.wording import shows_dev

    kinds = [] if file.statement is None else file.statement.evidence
    return any(evidence.get("kind") == "dev" for evidence in kinds) or shows_dev(
        Disclosure.from_json(file.record["credentialSubject"]["disclosure"])
    )


def _body(path: Path | None) -> bytes | None:
    from privity.errors import InputError

    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _reverify(dev_roots: list[str]) -> Reverify:
    from privity.attest import reverifier
    from privity.infer.config import load_config
    from privity.policy import Policy

    config = load_config()
    evidence = Policy.load(config.policy_source).evidence
    return reverifier(config.trust(evidence, dev_roots=dev_roots))


def _short(detail: str) -> str:
    room = max(output.width() - 30, 24)
    detail = output.harmless(detail)
    return detail if len(detail) <= room else detail[: room - 1] + "…"
