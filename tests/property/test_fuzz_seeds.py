"""Every fuzzer's function over its seeds, and over small changes to them, without atheris."""

from __future__ import annotations

import importlib
import random
from types import ModuleType

import pytest

from fuzz.harness import FOLDER, SEEDS, seeds_of
from privity.errors import PrivityError

TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py"))
MAX_BYTES = 300_000


def _give(target: ModuleType, data: bytes) -> None:
    try:
        target.one(data)
    except PrivityError:
        return


@pytest.mark.parametrize("what", TARGETS)
def test_a_target_raises_nothing_else_on_its_seeds_and_near_them(what: str) -> None:
    target = importlib.import_module(f"fuzz.fuzz_{what}")
    chosen = random.Random(what)
    seeds = seeds_of(what)
    assert seeds, f"{what} has no seeds: scripts/fuzz --seeds {what}"
    for seed in seeds:
        _give(target, seed)
        for _ in range(20):
            changed = bytearray(seed)
            for _ in range(chosen.randint(1, 3)):
                changed[chosen.randrange(len(changed))] = chosen.randrange(256)
            _give(target, bytes(changed[: chosen.randint(0, 2 * len(changed))]))


@pytest.mark.parametrize("what", ["tdx", "sgx", "snp", "nitro", "nvidia"])
def test_the_first_seed_is_genuine_under_the_roots_beside_it(what: str) -> None:
    module = importlib.import_module(f"fuzz.fuzz_{what}")
    assert module.accepts(seeds_of(what)[0])


def test_every_folder_of_seeds_has_its_target_and_all_are_small() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in SEEDS.rglob("*") if path.is_file()) < MAX_BYTES
