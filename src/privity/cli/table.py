"""The table of who is privy to what: parties × assets, and what each row rests on.

It is drawn from a disclosure alone, says *could read* where nothing stops a party, folds instead
of cutting, and means the same without colour and in ASCII. Drawn by `privity ask --explain`, by a
receipt, and by a refusal, which marks the cells that exceed the policy.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from privity.cli.table_layout import Mark, Row, Sheet, Slot, fold, lay_out
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.policy import Ceiling, Offence
from privity.wording import (
    ASSET_HEADINGS,
    SEEN,
    basis_words,
    ceiling_words,
    cell_word,
    party_name,
    printable,
    weakest_first,
)

__all__ = ["disclosure_text", "render_disclosure", "render_refusal"]

MIN_WIDTH = 20
"""Cells; a narrower terminal is drawn for as if it had so many."""

_YOURS = (Party.PERSON, Party.DEVICE)

_GROUND_STYLES = {
    Ground.MATHEMATICS: "green",
    Ground.HARDWARE: "green",
    Ground.QUORUM: "cyan",
    Ground.NOISE: "cyan",
    Ground.PROMISE: "yellow",
    Ground.NOTHING: "bold red",
}

_OWN = Mark("●", "default")
_READS = Mark("●", "yellow")
_COULD = Mark("▲", "bold red")
_PART = Mark("◐", "cyan")
_SIZE = Mark("○", "green")
_INSTEAD = Mark("", "green")
_NONE = Mark("", "dim")
_OFFENDS = Mark("✗", "bold red reverse")

_ASCII = str.maketrans("●▲◐○✗─╰–—·×’‘“”", "*!%oX-`---x''\"\"")  # noqa: RUF001
"""Our signs and usual punctuation; any other character is spelled as an escape, never dropped."""

_PADDED = ", after padding"
_LEGEND = {
    View.SIZE: ("size", f"its length and timing{_PADDED}"),
    View.PREDICATE: ("predicate", "one proved statement about it"),
    View.AGGREGATE: ("aggregate", "a noised combination with others'"),
}


def render_disclosure(
    disclosure: Disclosure,
    *,
    width: int,
    color: bool = True,
    heading: str = "",
    ascii_only: bool = False,
    offences: Sequence[Offence] = (),
    legend: bool = True,
) -> str:
    """Return the table as text for a terminal, ending without a newline.

    Args:
        disclosure: what to draw.
        width: columns of the terminal; at 40 and below it is a stack, one block a party.
        color: whether to use the terminal's sixteen colours; nothing is said by colour alone.
        heading: a line above the table, in bold.
        ascii_only: for terminals that take no Unicode.
        offences: cells to mark as exceeding a policy, as `Policy.offences` returns them.
        legend: whether a last line explains the words that occur.

    Guarantees:
        No line is wider than `width`, and every word of every label, cell and ground is in the
        text at any width (tests/unit/test_table.py, tests/property/test_table.py).
        Control characters in labels and reasons never reach the terminal
        (tests/unit/test_table.py::test_a_label_cannot_drive_the_terminal).
    """
    text = disclosure_text(
        disclosure,
        width=width,
        heading=heading,
        ascii_only=ascii_only,
        offences=offences,
        legend=legend,
    )
    return _ansi(text) if color else text.plain


def render_refusal(
    report: Mapping[str, Any], *, width: int, color: bool = True, ascii_only: bool = False
) -> str:
    """Return the table of a refused route, its offending cells marked.

    Args:
        report: `PolicyRefusal.report`, as raised or as read back from JSON.
        width: columns of the terminal.
        color: as in `render_disclosure`.
        ascii_only: as in `render_disclosure`.

    Raises:
        MalformedError: the report's disclosure is not one.
    """
    disclosure = Disclosure.from_json(report["disclosure"])
    offences = [_offence(entry, disclosure) for entry in report["offending"]]
    return render_disclosure(
        disclosure,
        width=width,
        color=color,
        heading=f"{report['route']}, refused by policy `{report['policy']}`",
        ascii_only=ascii_only,
        offences=offences,
    )


def disclosure_text(
    disclosure: Disclosure,
    *,
    width: int,
    heading: str = "",
    ascii_only: bool = False,
    offences: Sequence[Offence] = (),
    legend: bool = True,
) -> Text:
    """Return the table as rich text; see `render_disclosure`."""
    width = max(width, MIN_WIDTH)
    pen = _Pen(ascii_only)
    blocks = [lay_out(_sheet(disclosure, offences, pen), width)]
    if heading:
        blocks.insert(0, fold(pen.text(printable(heading), "bold"), width))
    if legend and (said := _legend(disclosure, offences)):
        blocks.append([line for one in said for line in fold(pen.text(one, "dim"), width, hang=2)])
    return Text("\n\n").join(Text("\n").join(block) for block in blocks)


class _Pen:
    """Writes words as the terminal can take them: Unicode, or ASCII with nothing dropped."""

    def __init__(self, ascii_only: bool) -> None:
        self.ascii_only = ascii_only

    def word(self, text: str) -> str:
        """Return `text` in the characters there are."""
        if not self.ascii_only or text.isascii():
            return text
        spelled = text.translate(_ASCII).replace("…", "...")
        return spelled.encode("ascii", "backslashreplace").decode()

    def text(self, text: str, style: str = "") -> Text:
        """Return `text` styled."""
        return Text(self.word(text), style)

    def slot(self, word: str, mark: Mark) -> Slot:
        """Return a cell of the table."""
        drawn = Mark(self.word(mark.sign), mark.style)
        return Slot(self.word(word), drawn, must_mark=mark is _OFFENDS)


def _sheet(disclosure: Disclosure, offences: Sequence[Offence], pen: _Pen) -> Sheet:
    """Return what the table says, before it has a width."""
    assets = [asset for asset in Asset if any(asset is one for _, one in disclosure.cells)]
    refused = {(offence.party, offence.asset): offence for offence in offences}
    rows = []
    for parties, name in _named_rows(disclosure):
        here = {a: refused[parties[0], a] for a in assets if (parties[0], a) in refused}
        cells = {asset: disclosure[parties[0], asset] for asset in assets}
        slots = tuple(
            pen.slot(cell_word(asset, cell), _OFFENDS if asset in here else _mark(parties[0], cell))
            for asset, cell in cells.items()
        )
        rows.append(Row(pen.text(name), slots, _grounds(cells, here, pen), _limits(here, pen)))
    columns = tuple(ASSET_HEADINGS[asset] for asset in assets)
    return Sheet(columns, tuple(rows), rule=pen.word("─"), elbow=pen.word("╰"))


def _named_rows(disclosure: Disclosure) -> list[tuple[tuple[Party, ...], str]]:
    """Return the parties of each row and its name.

    The person always has one, and so has whoever watches the network once anything leaves the
    device. The device shares the person's where there is nothing to tell them apart.
    """
    present = {*disclosure.parties(), Party.PERSON}
    if present - set(_YOURS):
        present.add(Party.OBSERVER)
    alike = all(disclosure[Party.PERSON, a] == disclosure[Party.DEVICE, a] for a in Asset)
    if Party.DEVICE in present and alike and Party.DEVICE not in disclosure.labels:
        both = f"{party_name(Party.PERSON, disclosure)}, {party_name(Party.DEVICE)}"
        yours: list[tuple[tuple[Party, ...], str]] = [(_YOURS, both)]
    else:
        yours = [((party,), party_name(party, disclosure)) for party in _YOURS if party in present]
    others = [party for party in Party if party in present and party not in _YOURS]
    return yours + [((party,), party_name(party, disclosure)) for party in others]


def _mark(party: Party, cell: Cell) -> Mark:
    if cell.view == View.EVERYTHING:
        if Ground.NOTHING in cell.grounds:
            return _COULD
        return _OWN if party in _YOURS else _READS
    if cell.view == View.NOTHING:
        return _INSTEAD if cell.instead else _NONE
    return _SIZE if cell.view == View.SIZE else _PART


def _grounds(
    cells: Mapping[Asset, Cell], refused: Mapping[Asset, Offence], pen: _Pen
) -> tuple[Text, ...]:
    """Return what a row rests on: the contents first, and of those the weakest ground first.

    A ground that does not hold up the contents, or not all of them, says in brackets what it does.
    """
    where: dict[Basis, list[Asset]] = {}
    for asset, cell in cells.items():
        for basis in cell.basis:
            where.setdefault(basis, []).append(asset)
    resting = [asset for asset, cell in cells.items() if cell.basis]
    contents = {asset for asset in resting if asset not in SEEN} or set(resting)
    unaccepted = {
        basis
        for offence in refused.values()
        for basis in offence.cell.basis
        if basis.ground in offence.unaccepted
    }
    notes = []
    for basis in sorted(weakest_first(where), key=lambda one: not contents <= set(where[one])):
        ground, why = basis_words(basis).split(": ", 1)
        note = Text(f"{pen.word(_OFFENDS.sign)} " if basis in unaccepted else "")
        note.append_text(pen.text(ground, _GROUND_STYLES[basis.ground]))
        note.append_text(pen.text(f": {why}"))
        if not contents <= set(where[basis]):
            named = ", ".join(ASSET_HEADINGS[asset] for asset in where[basis])
            note.append_text(pen.text(f" ({named})", "dim"))
        notes.append(note)
    return tuple(notes)


def _limits(refused: Mapping[Asset, Offence], pen: _Pen) -> tuple[Text, ...]:
    """Return what the policy would allow in a row's offending cells."""
    where: dict[Ceiling, list[str]] = {}
    for asset, offence in refused.items():
        where.setdefault(offence.ceiling, []).append(ASSET_HEADINGS[asset])
    several = len(where) > 1
    return tuple(
        pen.text(
            f"allowed{' of ' + ', '.join(assets) if several else ''} at most: "
            f"{ceiling_words(ceiling.view, ceiling.grounds)}",
            "bold",
        )
        for ceiling, assets in where.items()
    )


def _legend(disclosure: Disclosure, offences: Sequence[Offence]) -> list[str]:
    """Return an explanation of each word that occurs and is not plain English by itself."""
    drawn = [cell for cell in disclosure.cells.values() if cell.view != View.EVERYTHING]
    lines = [
        f"{word}: {meaning}"
        for facet, (word, meaning) in _LEGEND.items()
        if any(facet <= cell.view for cell in drawn)
    ]
    if any(_unpadded(cell) for cell in drawn):
        lines = [line.removesuffix(_PADDED) for line in lines]
    instead = sorted({printable(text) for cell in drawn for text in cell.instead})
    if instead:
        lines.append(f"{', '.join(instead)}: what is seen in its place")
    if offences:
        lines.append(f"{_OFFENDS.sign}: more than the policy allows, or on a ground it refuses")
    return lines


def _unpadded(cell: Cell) -> bool:
    """Tell whether a cell shows sizes that nothing padded: encrypted, and not sealed by us."""
    grounds = {basis.why for basis in cell.basis if basis.ground is Ground.MATHEMATICS}
    return View.SIZE <= cell.view and grounds == {"TLS"}


def _offence(entry: Mapping[str, Any], disclosure: Disclosure) -> Offence:
    """Read one offending cell of a refusal's report back."""
    party, asset, ceiling = Party(entry["party"]), Asset(entry["asset"]), entry["ceiling"]
    grounds = frozenset(Ground(name) for name in ceiling["grounds"])
    limit = Ceiling(View.parse(ceiling["view"]), grounds)
    return Offence(party, asset, disclosure[party, asset], limit)


def _ansi(text: Text) -> str:
    """Return `text` with the escape codes of the sixteen colours that every theme defines."""
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        color_system="standard",
        no_color=False,
        width=10_000,  # already laid out: the console must not fold again
        legacy_windows=False,
    )
    console.print(text, end="", soft_wrap=True)
    return file.getvalue()
