"""What a person is told of others' errors is in words of ours."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from privity.cli.app import run
from privity.wording import failure_words


def kinds(of: type[Exception]) -> Iterator[type[Exception]]:
    """Yield the kinds of an error of httpx's that have no narrower one."""
    narrower = [one for one in of.__subclasses__() if one.__module__.startswith("httpx")]
    if not narrower:
        yield of
    for one in narrower:
        yield from kinds(one)


@pytest.mark.parametrize("kind", sorted(set(kinds(httpx.TransportError)), key=str))
def test_no_failure_of_a_connection_is_told_by_its_class(kind: type[Exception]) -> None:
    assert failure_words(kind("x")) != kind.__name__


def test_another_kind_is_told_by_its_name_and_not_by_what_it_says() -> None:
    assert failure_words(ValueError("a prompt")) == "ValueError"


def test_a_choice_that_is_none_is_refused_without_a_librarys_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["ask", "--route", "nowhere", "x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: Invalid value for '--route': 'nowhere' is not one of 'auto'")
