"""An adapter that came back: open it, check what was signed of its run, say so, write it out."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from privity.cli import output

if TYPE_CHECKING:
    from privity.train.bundle import Bundle
    from privity.train.receipt import VerifiedTraining

__all__ = ["opened", "tell", "verified", "write"]


def opened(sealed: str) -> Bundle:
    """Return the adapter at a path or URL, opened with the person's own key."""
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


def verified(bundle: Bundle, dev_roots: list[str]) -> VerifiedTraining:
    """Return what an enclave signed of the run, under the roots the person trusts."""
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


def _facts(checked: VerifiedTraining) -> dict[str, object]:
    from privity.train.program import measure_program

    receipt = checked.receipt
    known = receipt.program == measure_program()
    return {
        "dataset": receipt.dataset,
        "program": receipt.program,
        "same as here": "yes" if known else "no: another version of the program trained it",
        "base": receipt.base,
        "records": receipt.records,
        "steps": receipt.steps,
        "evidence": ", ".join(checked.enclave.kinds),
    }


def tell(checked: VerifiedTraining, head: str, more: dict[str, object], *, as_json: bool) -> None:
    """Say what was verified of a run: facts, checks, and who could learn what."""
    from privity.cli.table import render_disclosure

    facts = _facts(checked)
    if as_json:
        every = checked.checks
        checks = [{"check": one.name, "ok": one.ok, "detail": one.detail} for one in every]
        table = checked.disclosure.to_json()
        output.emit_json(facts | more | {"checks": checks, "disclosure": table})
        return
    rows = {name: str(value) for name, value in facts.items()}
    output.out(output.harmless(f"{head}\n{output.label_rows(rows)}"))
    output.out()
    text = render_disclosure(
        checked.disclosure,
        width=output.width(),
        color=output.uses_color(),
        ascii_only=not output.takes_unicode(),
    )
    output.out(text)
    if checked.enclave.dev:
        output.out()
        output.out("dev evidence: plain software, which does not stop its host")


def write(bundle: Bundle, folder: Path) -> None:
    """Write the files of an adapter into a new folder that only the person reads."""
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
