"""`privity ask --explain`: what was drawn is what runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from privity.cli.ask import _still
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import PeerError
from privity.policy import Policy

LESS = Disclosure(
    {(Party.HOST, Asset.PROMPT): Cell(View.SIZE, frozenset({Basis(Ground.MATHEMATICS, "sealed")}))}
)
MORE = LESS | Disclosure(
    {
        (Party.HOST, Asset.PROMPT): Cell(
            View.EVERYTHING, frozenset({Basis(Ground.NOTHING, "a dev enclave")})
        )
    }
)


@dataclass(frozen=True)
class Found:
    disclosure: Disclosure
    name: str = "confidential"
    terms: None = None


def test_a_route_that_came_to_disclose_more_than_was_drawn_is_not_run() -> None:
    policy = Policy.load("dev")
    less: Any = policy.admit(Found(LESS))
    more: Any = policy.admit(Found(MORE))
    _still(less, less)
    _still(more, less)
    with pytest.raises(PeerError, match="disclose more"):
        _still(less, more)
