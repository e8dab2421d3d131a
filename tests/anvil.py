"""A real chain for tests: anvil on a free loopback port, ended with the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from privity.errors import MissingDependency
from privity.ledger.local_chain import LocalChain, find_anvil, run_chain


@contextmanager
def anvil(*args: str, port: int = 0) -> Iterator[LocalChain]:
    """Run anvil, or skip the test with the reason where there is none."""
    need_anvil()
    with run_chain(port, embedded=False, args=args) as chain:
        yield chain


def need_anvil() -> None:
    """Skip the test, visibly, where there is no anvil."""
    try:
        find_anvil()
    except MissingDependency as error:
        pytest.skip(f"{error.message}: `npm ci --prefix tests/interop/node` installs it")
