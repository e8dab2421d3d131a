"""The table as people see it: snapshots at every width, colour, ASCII, and hostile labels.

To redraw the snapshots in tests/unit/tables after a change on purpose, and review them as a diff:
``REDRAW_TABLES=1 pytest tests/unit/test_table.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from privity.cli.table import render_disclosure, render_refusal
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import MalformedError, PolicyRefusal
from privity.policy import Policy
from privity.wording import summarise

FOLDER = Path(__file__).parent / "tables"
WIDTHS = (40, 60, 80, 100, 140)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")

CONTENTS = (Asset.PROMPT, Asset.ANSWER)
READS = Cell(View.EVERYTHING)
THE_RELAY = frozenset({"the relay"})


def on(*grounds: tuple[Ground, str]) -> frozenset[Basis]:
    return frozenset(Basis(ground, why) for ground, why in grounds)


SEALED = (Ground.MATHEMATICS, "sealed")
APART = on((Ground.QUORUM, "relay and host do not compare notes"))


def sealed(enclave: Cell, host: Cell, label: str, address: Cell) -> Disclosure:
    cells: dict[tuple[Party, Asset], Cell] = {}
    for asset in CONTENTS:
        cells[Party.PERSON, asset] = READS
        cells[Party.RELAY, asset] = Cell(View.SIZE, on(SEALED))
        cells[Party.ENCLAVE, asset] = enclave
        cells[Party.HOST, asset] = host
        cells[Party.OBSERVER, asset] = Cell(View.SIZE, on(SEALED))
    for party in (Party.RELAY, Party.OBSERVER):
        cells[party, Asset.ADDRESS] = READS
    for party in (Party.ENCLAVE, Party.HOST):
        cells[party, Asset.ADDRESS] = address
    return Disclosure(cells, {Party.ENCLAVE: frozenset({label})})


def dev(address: Cell | None = None) -> Disclosure:
    host = Cell(View.EVERYTHING, on((Ground.NOTHING, "a dev enclave does not stop its host")))
    software = Cell(View.EVERYTHING, on((Ground.PROMISE, "plain software")))
    hidden = Cell(View.NOTHING, APART, THE_RELAY)
    return sealed(software, host, "enclave · dev", address or hidden)


def hardware() -> Disclosure:
    tdx = (Ground.HARDWARE, "Intel TDX keeps its host out")
    address = Cell(View.NOTHING, APART, THE_RELAY)
    host = Cell(View.SIZE, on(tdx, SEALED))
    return sealed(Cell(View.EVERYTHING, on(tdx)), host, "enclave · tdx", address)


def local() -> Disclosure:
    yours = (Party.PERSON, Party.DEVICE)
    cells = {(party, asset): READS for party in yours for asset in CONTENTS}
    return Disclosure(cells, {Party.DEVICE: frozenset({"your device · llama.cpp"})})


def training() -> Disclosure:
    masked = on((Ground.QUORUM, "two of three aggregators do not collude"), SEALED)
    noised = on((Ground.NOISE, "ε = 2, δ = 10⁻⁶ for each person"))
    proved = on((Ground.MATHEMATICS, "a zero-knowledge proof of the norm"))
    return Disclosure(
        {
            (Party.PERSON, Asset.RECORDS): READS,
            (Party.DEVICE, Asset.RECORDS): READS,
            (Party.PEERS, Asset.RECORDS): Cell(View.AGGREGATE, noised),
            (Party.PEERS, Asset.UPDATE): Cell(View.AGGREGATE, noised),
            (Party.PROVIDER, Asset.UPDATE): Cell(View.SIZE | View.PREDICATE, masked | proved),
            (Party.LEDGER, Asset.PAYMENT): READS,
            (Party.LEDGER, Asset.IDENTITY): Cell(
                View.NOTHING,
                on((Ground.MATHEMATICS, "unlinkable credits")),
                frozenset({"a member"}),
            ),
        },
        {Party.PROVIDER: frozenset({"aggregators · 3"})},
    )


HEADING = "Who could learn what: confidential via 127.0.0.1:8443"


def report() -> dict[str, object]:
    @dataclass
    class Way:
        disclosure: Disclosure
        name: str = "confidential via 127.0.0.1:8443"
        terms: None = None

    here = on((Ground.NOTHING, "the relay is on the host's own machine"))
    with pytest.raises(PolicyRefusal) as caught:
        Policy.load("confidential").admit(Way(dev(Cell(View.EVERYTHING, here))))
    return caught.value.report


DRAWINGS: dict[str, Callable[[int], str]] = {
    "sealed-dev": lambda w: render_disclosure(dev(), width=w, color=False, heading=HEADING),
    "sealed-tdx": lambda w: render_disclosure(hardware(), width=w, color=False),
    "local": lambda w: render_disclosure(local(), width=w, color=False),
    "training": lambda w: render_disclosure(training(), width=w, color=False),
    "refused": lambda w: render_refusal(report(), width=w, color=False),
    "refused-ascii": lambda w: render_refusal(report(), width=w, color=False, ascii_only=True),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_table_is_drawn_as_reviewed(name: str) -> None:
    drawn = "\n".join(f"{f' {w} columns ':=^{w}}\n{DRAWINGS[name](w)}\n" for w in WIDTHS)
    file = FOLDER / f"{name}.txt"
    if os.environ.get("REDRAW_TABLES"):
        file.write_text(drawn, "utf-8")
        pytest.skip(f"redrawn: review {file.name}")
    assert drawn == file.read_text("utf-8")


@pytest.mark.parametrize("width", WIDTHS)
def test_colour_adds_nothing_but_colour(width: int) -> None:
    plain = render_disclosure(dev(), width=width, color=False, heading=HEADING)
    colored = render_disclosure(dev(), width=width, color=True, heading=HEADING)
    assert "\x1b" not in plain
    assert ESCAPE.sub("", colored) == plain


def test_colours_mean_what_the_words_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")  # the caller decides, so that stderr and stdout may differ
    drawn = render_disclosure(dev(), width=100)
    assert "\x1b[1;31m▲ could read\x1b[0m" in drawn
    assert "\x1b[33m● reads\x1b[0m" in drawn
    assert "\x1b[32m○ size\x1b[0m" in drawn
    assert "\x1b[1;31mnothing\x1b[0m: a dev enclave" in drawn
    refused = render_refusal(report(), width=100)
    assert "\x1b[1;7;31m✗ could read\x1b[0m" in refused


def test_ascii_terminals_get_ascii_and_lose_nothing() -> None:
    table = Disclosure(
        dev().cells, {Party.HOST: frozenset({"hôst — “北京”"}), Party.ENCLAVE: frozenset({"a · b"})}
    )
    drawn = render_disclosure(table, width=140, ascii_only=True, color=False, heading="who …")
    assert drawn.isascii()
    assert 'h\\xf4st - "\\u5317\\u4eac"' in drawn
    assert drawn.startswith("who ...")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_label_cannot_drive_the_terminal(width: int) -> None:
    evil = "\x1b[2J\x9b31m\u202egpj\r\nowned [bold]x[/bold]"
    cell = Cell(View.NOTHING, on((Ground.PROMISE, evil)), frozenset({evil}))
    table = Disclosure({(Party.HOST, Asset.PROMPT): cell}, {Party.HOST: frozenset({evil})})
    drawn = render_disclosure(table, width=width, color=False, heading=evil)
    assert all(char.isprintable() or char == "\n" for char in drawn)
    assert "[bold]x[/bold]" in drawn
    colored = render_disclosure(table, width=width, heading=evil)
    assert ESCAPE.sub("", colored) == drawn


def test_the_person_always_has_a_row_and_a_watcher_once_anything_leaves() -> None:
    away = Disclosure({(Party.PROVIDER, Asset.PROMPT): READS})
    drawn = render_disclosure(away, width=80, color=False)
    assert re.search("^you +\N{EN DASH}", drawn, re.MULTILINE)
    assert re.search("^anyone watching +\N{EN DASH}", drawn, re.MULTILINE)
    assert "anyone watching" not in render_disclosure(local(), width=80, color=False)
    assert render_disclosure(Disclosure(), width=80, color=False).count("you") == 1


def test_person_and_device_share_a_row_where_nothing_tells_them_apart() -> None:
    alike = Disclosure(local().cells)
    assert "you, your device   ● reads" in render_disclosure(alike, width=60, color=False)
    apart = alike | Disclosure({(Party.DEVICE, Asset.UPDATE): READS})
    assert "you, your device" not in render_disclosure(apart, width=60, color=False)


def test_only_assets_that_occur_have_a_column() -> None:
    drawn = render_disclosure(local(), width=100, color=False)
    assert "prompt" in drawn
    assert "answer" in drawn
    assert "who you are" not in drawn
    assert "weights" not in drawn


def test_a_cell_refused_for_its_ground_alone_is_marked_with_that_ground() -> None:
    drawn = render_refusal(report(), width=140, color=False)
    enclave = next(line for line in drawn.splitlines() if line.startswith("enclave"))
    assert enclave.count("✗ reads") == 2
    assert "✗ a promise: plain software" in enclave
    assert "✗ nothing: the relay" not in drawn  # the address is allowed, on any ground
    assert "allowed at most: everything, resting on hardware or mathematics" in drawn
    assert "▲ could see" in drawn


def test_an_accepted_ground_of_a_refused_cell_is_not_marked() -> None:
    both = on((Ground.HARDWARE, "Intel TDX"), (Ground.PROMISE, "its firmware is unpatched"))
    table = Disclosure({(Party.ENCLAVE, Asset.PROMPT): Cell(View.EVERYTHING, both)})
    offences = Policy.load("confidential").offences(table)
    drawn = render_disclosure(table, width=100, color=False, offences=offences)
    assert "✗ a promise: its firmware is unpatched" in drawn
    assert "hardware: Intel TDX" in drawn
    assert "✗ hardware" not in drawn


def test_different_ceilings_in_one_row_name_their_assets() -> None:
    policy = Policy.parse(
        """
        [host]
        prompt = { view = "size", grounds = [] }
        answer = { view = "nothing", grounds = [] }
        """
    )
    table = Disclosure({(Party.HOST, asset): READS for asset in CONTENTS})
    offences = policy.offences(table)
    drawn = render_disclosure(table, width=120, color=False, offences=offences)
    assert "allowed of prompt at most: size, resting on no assumption at all" in drawn
    assert "allowed of answer at most: nothing, resting on no assumption at all" in drawn


def test_a_report_that_is_not_one_is_refused() -> None:
    with pytest.raises(MalformedError):
        render_refusal({**report(), "disclosure": {"host": 1}}, width=80)


@pytest.mark.parametrize(
    ("disclosure", "line"),
    [
        (dev(), "read by: you, enclave · dev (plain software); host could read"),
        (hardware(), "read by: you, enclave · tdx (Intel TDX keeps its host out)"),
        (local(), "read by: you"),
        (training(), "read by: you"),
        (Disclosure(), "read by: nobody"),
    ],
)
def test_a_disclosure_in_one_line(disclosure: Disclosure, line: str) -> None:
    assert summarise(disclosure) == line
