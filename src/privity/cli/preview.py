"""What would leave for a provider, drawn for a person: all its text, and what stands in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from privity.cli import output

if TYPE_CHECKING:
    from privity.infer.pseudonyms.preview import Passage, Piece
    from privity.infer.pseudonyms.pseudonymiser import Departure
    from privity.infer.routes.zero_retention import Preview

__all__ = ["draw_departure", "draw_preview", "preview_document", "spans_document"]

_LIMIT = (
    "what was not recognised leaves as you wrote it; this is not anonymous. Unless stand-ins are\n"
    "kept sealed, the next run draws others; `--json` has every field that would be sent"
)


def draw_preview(preview: Preview) -> None:
    """Draw on stdout what would leave; nothing of it has."""
    output.out(output.style(f"what would leave for {preview.title}", "bold"))
    output.out(f"to {output.harmless(preview.url)}, {len(preview.body):,} bytes\n")
    draw_departure(preview.departure)


def draw_departure(departure: Departure) -> None:
    """Draw each text with what was recognised in it marked, and what stands for what."""
    for passage in departure.passages:
        output.out(output.style(passage.place or "the text", "dim"))
        output.out(_indented(_marked(passage)) + "\n")
    spans = departure.spans
    _list("replaced", [(s.kind.value, s.after, s.before) for s in spans if not s.kept])
    _list("left as it is", [(s.kind.value, s.after, "") for s in spans if s.kept])
    output.out(output.style(_LIMIT, "yellow"))


def preview_document(preview: Preview) -> dict[str, Any]:
    """Return the same as JSON-ready data, with the very body that would be sent."""
    departure = preview.departure
    return {
        "body": json.loads(preview.body),
        "kept": {kind.value: count for kind, count in departure.kept.items() if count},
        "provider": preview.title,
        "replaced": {kind.value: count for kind, count in departure.replaced.items() if count},
        "sent": False,
        "spans": spans_document(departure),
        "url": preview.url,
    }


def spans_document(departure: Departure) -> list[dict[str, Any]]:
    """Return what was recognised as JSON-ready data, each with what stands for it."""
    return [
        {
            "after": span.after,
            "before": span.before,
            "kept": span.kept,
            "kind": span.kind.value,
            "place": span.place,
        }
        for span in departure.spans
    ]


def _marked(passage: Passage) -> str:
    return "".join(_piece(piece) for piece in passage.pieces)


def _piece(piece: Piece) -> str:
    """Return a piece with its mark; brackets carry the meaning, colour only helps the eye."""
    text = output.harmless(piece.text)
    if piece.span is None:
        return text
    left, right = ("«", "»") if output.takes_unicode() else ("<", ">")
    colour = "yellow" if piece.span.kept else "green"
    return output.style(f"{left}{text}{right}", colour, "bold")


def _list(heading: str, rows: list[tuple[str, str, str]]) -> None:
    unique = list(dict.fromkeys(rows))
    if not unique:
        return
    output.out(output.style(f"{heading} ({len(unique)})", "bold"))
    kinds = max(len(kind) for kind, _, _ in unique)
    afters = max(len(after) for _, after, _ in unique)
    for kind, after, before in unique:
        stands = f"  stands for  {output.harmless(before)}" if before else ""
        output.out(
            f"  {kind.ljust(kinds)}  {output.harmless(after).ljust(afters)}{stands}".rstrip()
        )
    output.out()


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines() or [""])
