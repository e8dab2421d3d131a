"""Poseidon against circomlib's values, as iden3's Go implementation publishes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from native import needs_native
from privity.anon.field import field_from_int
from privity.anon.membership import poseidon
from privity.errors import InputError

VECTORS = json.loads((Path(__file__).parent / "poseidon_circomlib.json").read_text())["vectors"]

pytestmark = needs_native


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_poseidon(vector: dict[str, Any]) -> None:
    inputs = [field_from_int(int(number)) for number in vector["inputs"]]
    if vector["expect"] == "hash":
        assert poseidon(*inputs) == field_from_int(int(vector["output"]))
    else:
        with pytest.raises(InputError):
            poseidon(*inputs)
