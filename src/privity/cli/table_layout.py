"""Lays out a table of parties × assets in whatever width there is, and loses no word of it.

Four forms: the grounds in a column of their own, or below each row, whichever is shorter; the
latter without marks and with folded headings; and, where no grid fits, a stack of one block a
party. Text is folded, never cut. Widths are terminal cells.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

__all__ = ["Mark", "Row", "Sheet", "Slot", "fold", "lay_out"]

_GAP = 2
_WIDE_GAP = 3
_NOTE_MIN = 22  # a narrower column of grounds would fold into a ribbon
_NOTE_MAX = 72
_NAME_MAX = 28
_RESTS_ON = "rests on"
_AND_ON = "  and on"
_FOLDER = Console(file=io.StringIO(), width=400)  # rich folds text with a console at hand


@dataclass(frozen=True)
class Mark:
    """A sign before a word, and the style of both; the word alone says all the sign does."""

    sign: str
    style: str


@dataclass(frozen=True)
class Slot:
    """One cell: its word, how it is marked, and whether its mark may be left out."""

    word: str
    mark: Mark
    must_mark: bool = False

    def text(self, marked: bool) -> Text:
        """Return the slot as drawn, the sign kept where it says something of its own."""
        if marked or self.must_mark:
            return Text(f"{self.mark.sign or ' '} {self.word}", self.mark.style)
        return Text(self.word, self.mark.style)


@dataclass(frozen=True)
class Row:
    """One party: what to call it, its slots in column order, and what is said of them.

    Attributes:
        name: the party.
        slots: its cells.
        grounds: what they rest on, all of which must hold.
        limits: what a policy would allow instead, where it refuses one.
    """

    name: Text
    slots: tuple[Slot, ...]
    grounds: tuple[Text, ...]
    limits: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """A whole table before it has a width."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    rule: str = "─"
    elbow: str = "╰"
    fold_headings: bool = False
    marked: bool = True

    @property
    def compact(self) -> Sheet:
        """The same without signs that repeat a word, and with headings folded at spaces."""
        return replace(self, fold_headings=True, marked=False)


def lay_out(sheet: Sheet, width: int) -> list[Text]:
    """Return the lines of the table; none is wider than `width`, which is at least 20."""
    forms = [lines for form in (_beside, _below) if (lines := form(sheet, width))]
    if forms:
        return min(forms, key=len)  # a narrow column of grounds folds into a tall ribbon
    return _below(sheet.compact, width) or _stacked(sheet, width)


def _beside(sheet: Sheet, width: int) -> list[Text]:
    """Lay out with the grounds in the last column; empty where that does not fit."""
    grid = _grid_widths(sheet)
    notes = [note for row in sheet.rows for note in (*row.grounds, *row.limits)]
    wanted = max([cell_len(_RESTS_ON), *(note.cell_len for note in notes)])
    for gap in (_WIDE_GAP, _GAP):
        room = width - sum(grid) - gap * len(grid)
        # A wide gap is for those who have the room anyhow; a narrow one may fold the grounds.
        if room >= (min(wanted, _NOTE_MAX) if gap == _WIDE_GAP else min(wanted, _NOTE_MIN)):
            break
    else:
        return []
    last = min(room, wanted, _NOTE_MAX)
    widths = [*grid, last]
    lines = _heading([*sheet.columns, _RESTS_ON], widths, gap)
    lines.append(Text(sheet.rule * (sum(widths) + gap * len(grid)), "dim"))
    for row in sheet.rows:
        said = [line for one in (*row.grounds, *row.limits) for line in fold(one, last, hang=2)]
        cells = _folded(_row_cells(sheet, row), grid)
        lines += _line([*cells, said or [Text(_none(sheet), "dim")]], widths, gap)
    return lines


def _below(sheet: Sheet, width: int) -> list[Text]:
    """Lay out with the grounds of each row below it; empty where the grid does not fit."""
    grid = _grid_widths(sheet)
    fitting = [gap for gap in (_WIDE_GAP, _GAP) if sum(grid) + gap * len(sheet.columns) <= width]
    if not fitting or not sheet.columns:
        return []
    gap = fitting[0]
    lines = _heading(sheet.columns, grid, gap)
    lines.append(Text(sheet.rule * (sum(grid) + gap * len(sheet.columns)), "dim"))
    for row in sheet.rows:
        name, *cells = _row_cells(sheet, row)
        lines += _line(_folded([_bold(name), *cells], grid), grid, gap)
        lines += _below_row(row, f"  {sheet.elbow} ", width)
    return lines


def _stacked(sheet: Sheet, width: int) -> list[Text]:
    """Lay out as one block a party, cells that say the same told together."""
    lines: list[Text] = []
    for row in sheet.rows:
        lines += [Text()] if lines else []
        lines += fold(_bold(row.name), width, hang=2)
        said: dict[Slot, list[str]] = {}
        for slot, column in zip(row.slots, sheet.columns, strict=True):
            said.setdefault(slot, []).append(column)
        words = max((slot.text(True).cell_len for slot in said), default=0)
        for slot, columns in said.items():
            drawn = slot.text(True)
            lead = Text("  ").append_text(drawn).append(" " * (words - drawn.cell_len + 2))
            lines += _led(lead, Text(", ".join(columns)), width)
        lines += _below_row(row, "  ", width)
    return lines


def _below_row(row: Row, elbow: str, width: int) -> list[Text]:
    """Return what a row rests on as one sentence, a line each, and what would be allowed."""
    lines: list[Text] = []
    for index, ground in enumerate(row.grounds):
        lead = f"{' ' * len(elbow)}{_AND_ON} " if index else f"{elbow}{_RESTS_ON} "
        lines += _led(Text(lead, "dim"), ground, width)
    for limit in row.limits:
        lines += fold(Text().append(elbow, "dim").append_text(limit), width, hang=len(elbow) + 2)
    return lines


def _led(lead: Text, text: Text, width: int) -> list[Text]:
    """Return `text` after `lead` and aligned with it; hanging in, where that would squeeze it."""
    whole = Text().append_text(lead).append_text(text)
    if whole.cell_len <= width or lead.cell_len > width // 3:
        return fold(whole, width, hang=4)
    first, *rest = fold(text, width - lead.cell_len)
    indent = Text(" " * lead.cell_len)
    return [Text().append_text(lead).append_text(first), *(indent + line for line in rest)]


def _heading(columns: Sequence[str], widths: Sequence[int], gap: int) -> list[Text]:
    """Return the line of headings, those that fold standing on the same foot as the others."""
    cells = _folded([Text(name, "bold") for name in ("", *columns)], widths)
    tall = max(map(len, cells))
    return _line([[Text()] * (tall - len(cell)) + cell for cell in cells], widths, gap)


def _bold(name: Text) -> Text:
    """Return a name that the eye finds again between the grounds of the rows."""
    return Text.assemble(name, style="bold")


def _row_cells(sheet: Sheet, row: Row) -> list[Text]:
    return [row.name, *(slot.text(sheet.marked) for slot in row.slots)]


def _none(sheet: Sheet) -> str:
    return "-" if sheet.rule == "-" else "\N{EN DASH}"


def _grid_widths(sheet: Sheet) -> list[int]:
    """Return the widths of the name column and of each asset's, as narrow as words allow."""
    names = [row.name.cell_len for row in sheet.rows]
    widths = [min(max(names, default=0), _NAME_MAX)]
    for index, column in enumerate(sheet.columns):
        head = max(map(cell_len, column.split())) if sheet.fold_headings else cell_len(column)
        cells = (row.slots[index].text(sheet.marked) for row in sheet.rows)
        widths.append(max([head, *(text.cell_len for text in cells)]))
    return widths


def _folded(cells: Sequence[Text], widths: Sequence[int]) -> list[list[Text]]:
    return [fold(cell, width) for cell, width in zip(cells, widths, strict=True)]


def _line(cells: Sequence[list[Text]], widths: Sequence[int], gap: int) -> list[Text]:
    """Return the physical lines of one row, its cells already folded to their widths."""
    lines = []
    for index in range(max(map(len, cells))):
        line = Text()
        for cell, width in zip(cells, widths, strict=True):
            part = cell[index] if index < len(cell) else Text()
            line.append_text(part).append(" " * (width - part.cell_len + gap))
        line.rstrip()
        lines.append(line)
    return lines


def fold(text: Text, width: int, *, hang: int = 0) -> list[Text]:
    """Fold at spaces, inside a word only where it alone is too wide; later lines hang in."""
    if text.cell_len <= width:
        return [text]
    first, *rest = _wrap(text, width)
    if not rest or not hang:
        return [first, *rest]
    tail = text[len(first.plain) :]
    tail = tail[len(tail.plain) - len(tail.plain.lstrip()) :]
    return [first, *(Text(" " * hang).append_text(line) for line in _wrap(tail, width - hang))]


def _wrap(text: Text, width: int) -> list[Text]:
    lines = list(text.wrap(_FOLDER, max(width, 1), overflow="fold"))
    for line in lines:
        line.rstrip()
    return lines
