"""At any width and for any disclosure, the table fits and loses no word."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from privity.cli.table import render_disclosure
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.policy import Policy
from privity.wording import NOTHING_WORD, basis_words, cell_word, party_name

words = st.text("abcdefg北…é·", min_size=1, max_size=6)
phrases = st.lists(words, min_size=1, max_size=5).map(" ".join)
bases = st.frozensets(st.builds(Basis, st.sampled_from(Ground), phrases), max_size=3)
views = st.integers(0, View.EVERYTHING.value).map(View)
cells = st.builds(Cell, views, bases, st.frozensets(phrases, max_size=1))
pairs = st.tuples(st.sampled_from(Party), st.sampled_from(Asset))
labels = st.dictionaries(st.sampled_from(Party), st.frozensets(phrases, max_size=2), max_size=3)
disclosures = st.builds(Disclosure, st.dictionaries(pairs, cells, max_size=10), labels)
widths = st.integers(20, 160)


@given(disclosures, widths, st.booleans(), phrases)
def test_no_line_is_wider_than_the_terminal(
    disclosure: Disclosure, width: int, ascii_only: bool, heading: str
) -> None:
    offences = Policy.load("confidential").offences(disclosure)
    for marked in ((), offences):
        drawn = render_disclosure(
            disclosure,
            width=width,
            color=False,
            ascii_only=ascii_only,
            heading=heading,
            offences=marked,
        )
        assert max(map(cell_len, drawn.split("\n"))) <= width
        assert all(line == line.rstrip() for line in drawn.split("\n"))
        assert drawn.isascii() or not ascii_only


@given(disclosures, widths)
def test_no_word_is_lost_at_any_width(disclosure: Disclosure, width: int) -> None:
    drawn = set(re.split(r"[\s,()]+", render_disclosure(disclosure, width=width, color=False)))
    for party in disclosure.parties():
        said = [party_name(party, disclosure)]
        for asset in Asset:
            cell = disclosure[party, asset]
            said += [cell_word(asset, cell), *map(basis_words, cell.basis)]
        for word in re.split(r"[\s,()]+", " ".join(said)):
            assert word in drawn or word == NOTHING_WORD


@given(st.text("0123456789", min_size=1, max_size=200), widths)
def test_one_endless_word_is_folded_and_stays_whole(word: str, width: int) -> None:
    cell = Cell(View.NOTHING, frozenset({Basis(Ground.PROMISE, word)}))
    drawn = render_disclosure(
        Disclosure({(Party.HOST, Asset.PROMPT): cell}), width=width, color=False
    )
    assert re.sub(r"[^0-9]", "", drawn) == word
    assert max(map(cell_len, drawn.split("\n"))) <= width
