"""Hints that name another command: it gets the policy that this one was given.

Who asks under another policy than the configured one would else be sent to a command that refuses
what they had allowed. The daemon's hints get the policy that it runs under.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from privity.errors import PrivityError

__all__ = ["hinted_errors", "hinting", "naming_policy", "with_policy"]

_COMMAND = re.compile(r"`privity ([a-z][^`]*)`")
_SHORT, _LONG = "-p", "--policy"


def with_policy(hint: str, arguments: Sequence[str], root: Any) -> str:
    """Return a hint whose commands repeat the policy that was given, where they take one.

    Args:
        hint: as the error has it, commands in backticks.
        arguments: of the command that failed, without the program's name.
        root: the click command of the program.
    """
    policy = _given(arguments)
    if policy is None or not _takes_policy(root, arguments):
        return hint
    return naming_policy(hint, policy, root)


def naming_policy(hint: str, policy: str, root: Any) -> str:
    """Return a hint whose commands name a policy, where they take one and name none.

    Args:
        hint: as the error has it, commands in backticks.
        policy: a preset's name or a file's path.
        root: the click command of the program.
    """

    def repeated(found: re.Match[str]) -> str:
        words = found[1].split()
        if _given(words) is not None or not _takes_policy(root, words):
            return found[0]
        return f"`privity {found[1]} {_LONG} {shlex.quote(policy)}`"

    return _COMMAND.sub(repeated, hint)


def hinting(policy: str | None, root: Any) -> Callable[[str], str]:
    """Return what has the commands in a hint name the policy that a command was given.

    Args:
        policy: as it was typed; None where none was.
        root: the click command of the program.
    """
    if policy is None:
        return lambda hint: hint
    return lambda hint: naming_policy(hint, policy, root)


@contextmanager
def hinted_errors(hinted: Callable[[str], str]) -> Iterator[None]:
    """Have errors of privity's pass with what is told in place of their hints."""
    try:
        yield
    except PrivityError as error:
        error.hint = hinted(error.hint)
        raise


def _given(arguments: Sequence[str]) -> str | None:
    """Return the policy among a command's arguments; the last one counts."""
    found = None
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word == "--":
            break
        if word in (_SHORT, _LONG):
            found = following
        elif word.startswith(_LONG + "="):
            found = word.removeprefix(_LONG + "=")
        elif word.startswith(_SHORT) and not word.startswith("--"):
            found = word.removeprefix(_SHORT)
    return found


def _takes_policy(command: Any, words: Sequence[str]) -> bool:
    """Tell whether the command that words begin with has the option, in both its forms."""
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command = inner
    return any({_SHORT, _LONG} <= set(one.opts) for one in command.params)
