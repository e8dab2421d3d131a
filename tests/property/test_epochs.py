"""What passes is never forgotten: epochs over any clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.anon.epochs import Epochs
from privity.errors import InputError

times = st.floats(min_value=0, max_value=1e11)
lengths = st.floats(min_value=1, max_value=86400)


@given(times, lengths, st.integers(-5, 5))
def test_the_epoch_and_its_neighbours_pass_alone(now: float, length: float, off: int) -> None:
    epochs = Epochs(length, clock=lambda: now)
    assert epochs.passes(epochs.now + off) == (abs(off) <= 1)
    assert 0 < epochs.until_next() <= length


@given(times, st.floats(min_value=0, max_value=1.99), lengths, st.integers(-5, 5))
def test_nothing_is_forgotten_that_passes_at_a_gateway_two_epochs_behind(
    now: float, behind: float, length: float, off: int
) -> None:
    here = Epochs(length, clock=lambda: now)
    there = Epochs(length, clock=lambda: now - behind * length)
    if there.passes(there.now + off):
        assert there.now + off >= here.forgettable


@given(times, lengths)
def test_what_is_forgotten_passes_no_more(now: float, length: float) -> None:
    epochs = Epochs(length, clock=lambda: now)
    assert not epochs.passes(epochs.forgettable - 1)


@pytest.mark.parametrize("length", [0, -1, 0.5, float("nan"), float("inf")])
def test_an_epoch_is_a_second_or_longer(length: float) -> None:
    with pytest.raises(InputError):
        Epochs(length)
