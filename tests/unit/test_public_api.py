"""`privity.__all__` is the promise to programs: adding or removing a name is a decision."""

from __future__ import annotations

import subprocess
import sys

import pytest

import privity
import privity.errors

FUNCTIONS = ["ask", "async_http_client", "http_client", "stream"]
CLASSES = ["Answer", "AnswerStream"]


def test_the_public_names_are_these() -> None:
    assert privity.__all__ == sorted([*CLASSES, *FUNCTIONS, *privity.errors.__all__])


@pytest.mark.parametrize("name", privity.__all__)
def test_each_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(privity, name)
    assert value.__doc__
    assert name in dir(privity)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing_here'"):
        _ = privity.nothing_here


def test_importing_privity_loads_no_network_or_cryptography() -> None:
    script = (
        "import sys, privity; "
        "print([m for m in ('httpx', 'cryptography', 'anyio', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert out.stdout.strip() == b"[]"
