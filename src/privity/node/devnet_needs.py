"""Floor 5: what a devnet needs on this machine, looked at before any of it is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

from privity.errors import MissingDependency
from privity.hazmat.native import native
from privity.infer.engines.weights import find_default
from privity.ledger.local_chain import need_chain
from privity.node.devnet import DevnetSettings

__all__ = ["need_parts"]

_LIBRARIES = ("eth_abi", "eth_account", "eth_utils")


def need_parts(settings: DevnetSettings) -> None:
    """Refuse where a part is missing, and name every one that is.

    Raises:
        InputError: ``PRIVITY_ANVIL`` names no program.
        MissingDependency: a part is not installed; the hint has a line for each way to get one.
    """
    missing: list[MissingDependency] = []
    for need in _needs(settings):
        try:
            need()
        except MissingDependency as error:
            missing.append(error)
    if missing:
        told = "; ".join(error.message for error in missing)
        hints = dict.fromkeys(error.hint for error in missing)
        raise MissingDependency(told, hint="\n".join(hints)) from None


def _needs(settings: DevnetSettings) -> Iterator[Callable[[], object]]:
    if settings.engine is None:
        yield _engine
    if settings.anonymous:
        yield need_chain
        yield lambda: native("Rln", "Act", "MerkleTree")
        yield _libraries
    if settings.prove_queries:
        yield lambda: native("QueryKey")


def _engine() -> None:
    if find_spec("xllamacpp") is None:
        raise MissingDependency(
            "the embedded engine, xllamacpp, is not installed",
            hint="pip install xllamacpp, or name a running engine with --engine",
        )
    find_default()


def _libraries() -> None:
    if lacking := [name.replace("_", "-") for name in _LIBRARIES if find_spec(name) is None]:
        raise MissingDependency(
            f"the ledger's libraries are not installed: {', '.join(lacking)}",
            hint="`make setup` in a checkout; elsewhere pip install 'privity[anonymous]'",
        )
