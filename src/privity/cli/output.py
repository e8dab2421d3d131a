"""How commands speak: results on stdout, everything else on stderr, one JSON document on request.

With ``--json`` stdout holds exactly one JSON document, also on failure: ``{"error": {…}}``.
Without it an error is two lines on stderr, ``error:`` and ``hint:``. Colour needs a terminal and
no ``NO_COLOR``; it never carries a meaning that the words do not.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
import threading
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from privity.errors import InputError, PolicyRefusal, PrivityError

__all__ = [
    "BROKE_OFF",
    "FAILURE",
    "INTERRUPTED",
    "REFUSED",
    "USAGE",
    "check_mark",
    "confirm",
    "emit_json",
    "error_json",
    "exit_code",
    "harmless",
    "json_line",
    "label_rows",
    "note",
    "out",
    "print_error",
    "progress",
    "starting",
    "steps",
    "style",
    "takes_unicode",
    "tell_bug",
    "uses_color",
    "waiting",
    "width",
]

FAILURE, USAGE, REFUSED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes; 0 is success."""

BROKE_OFF = "what was sent may still be mined; the same command again takes it up"
"""What is said of a command on the ledger that Ctrl-C ends."""

_COUNTED = re.compile(r"(.*: )(\d+) of (\d+) blocks follow")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PATIENCE_S = 0.8
_CLEAR = "\r\x1b[2K"
_screen = threading.RLock()
_spinning: list[Callable[[], None]] = []  # what ends each
_drawn = threading.Event()  # a spinner stands on the line that is written next
# Control, format, surrogate, line and paragraph separator: bidi overrides and tags among them.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# What text is written with: joiners of scripts and emoji, and the Arabic signs, which are visible.
_KEPT = frozenset("\n\t\u200c\u200d\u06dd\u08e2") | frozenset(map(chr, range(0x600, 0x606)))


def width(default: int = 100) -> int:
    """Return the terminal's width in columns, or ``default`` where there is no terminal."""
    return shutil.get_terminal_size((default, 24)).columns


def uses_color(stream: IO[str] | None = None) -> bool:
    """Tell whether to colour a stream: a terminal, or FORCE_COLOR; never under NO_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def takes_unicode(stream: IO[str] | None = None) -> bool:
    """Tell whether a stream can carry ✓, – and box lines."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32")


def style(text: str, *names: str, stream: IO[str] | None = None) -> str:
    """Return ``text`` with terminal styles, or as it is where ``stream`` takes no colour."""
    if not names or not uses_color(stream):
        return text
    codes = ";".join(_STYLES[name] for name in names)
    return f"\x1b[{codes}m{text}\x1b[0m"


def check_mark(ok: bool, stream: IO[str] | None = None) -> str:
    """Return a mark that reads without colour and without Unicode."""
    plain = ("✓" if ok else "✗") if takes_unicode(stream) else ("ok" if ok else "FAILED")
    return style(plain, "green" if ok else "red", stream=stream)


def out(text: str = "", *, end: str = "\n") -> None:
    """Write a result to stdout at once, so that streams and pipes see it as it comes."""
    stream = sys.stdout
    if not takes_unicode(stream):
        encoding = stream.encoding or "ascii"
        text = text.encode(encoding, "replace").decode(encoding)
    stream.write(text + end)
    stream.flush()


def note(text: str = "") -> None:
    """Write something beside the result to stderr."""
    stream = sys.stderr
    if not takes_unicode(stream):
        encoding = stream.encoding or "ascii"
        text = text.encode(encoding, "replace").decode(encoding)
    with _screen:
        stream.write((_CLEAR if _drawn.is_set() else "") + text + "\n")
        stream.flush()


def emit_json(data: Any) -> None:
    """Write the one JSON document of a ``--json`` run to stdout."""
    out(_json(data, indent=2))


def json_line(data: Any) -> None:
    """Write one JSON document on one line, for commands that go on running."""
    out(_json(data))


def _json(data: Any, *, indent: int | None = None) -> str:
    """Return JSON in which what a terminal obeys or hides stands escaped; it reads back the same.

    Line feeds are the layout's own: inside strings JSON has escaped them already.
    """
    text = json.dumps(data, ensure_ascii=not takes_unicode(), indent=indent)
    return "".join(
        json.dumps(char)[1:-1] if char != "\n" and unicodedata.category(char) in _HIDDEN else char
        for char in text
    )


def error_json(error: BaseException) -> dict[str, Any]:
    """Return an error as data: its class, message, hint, and what its class adds."""
    body: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, PrivityError) and error.hint:
        body["hint"] = error.hint
    check = getattr(error, "check", None)
    if isinstance(check, str):
        body["check"] = check
    if isinstance(error, PolicyRefusal):
        body["report"] = error.report
    return {"error": body}


def exit_code(error: PrivityError) -> int:
    """Return the exit code that stands for an error."""
    if isinstance(error, PolicyRefusal):
        return REFUSED
    return USAGE if isinstance(error, InputError) else FAILURE


def print_error(message: str, hint: str = "") -> None:
    """Write ``error:`` and, where something helps, ``hint:`` to stderr."""
    note(f"{style('error:', 'red', 'bold', stream=sys.stderr)} {harmless(message)}")
    if hint:
        note(f"{style('hint:', 'cyan', 'bold', stream=sys.stderr)} {harmless(hint)}")


def harmless(text: str) -> str:
    """Replace what a terminal obeys or does not show by a visible mark; line breaks and tabs stay.

    What a model, an engine or a peer says may hold sequences that a terminal obeys, characters
    that turn the order of what is read around, or some that nobody sees.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(char) in _HIDDEN and char not in _KEPT
        else char
        for char in text
    )


def tell_bug(error: Exception) -> None:
    """Report an exception nobody translated, without its message, which could quote a prompt."""
    if os.environ.get("PRIVITY_TRACEBACK"):
        traceback.print_exception(error)
        return
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    print_error(
        f"unexpected {type(error).__name__}{where}; this is a bug in privity",
        "PRIVITY_TRACEBACK=1 shows the whole of it, which may quote your prompt",
    )


def confirm(question: str) -> bool:
    """Ask a yes-or-no question on stderr; anything but yes is no. It ends what shows progress.

    Raises:
        InputError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask on", hint="add --yes to answer beforehand")
    for end in list(_spinning):
        end()
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextlib.contextmanager
def progress(text: str, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Say on stderr what is going on, once it takes longer than most people notice.

    On a terminal a spinner that leaves nothing behind; elsewhere one line. Yields a function that
    ends it early, before something else is written.
    """
    done = threading.Event()
    thread = threading.Thread(target=_spin, args=(text, done), daemon=True)
    if not quiet:
        thread.start()

    def end() -> None:
        done.set()
        if thread.is_alive():
            thread.join()

    _spinning.append(end)
    before, logging.lastResort = logging.lastResort, _Notes(logging.WARNING)
    try:
        yield end
    finally:
        logging.lastResort = before
        _spinning.remove(end)
        end()


@contextlib.contextmanager
def waiting(
    text: str, *, quiet: bool = False, interrupted: str = ""
) -> Iterator[Callable[[], None]]:
    """Show on a terminal that something goes on which tells its steps itself, by `note`.

    Yields what `progress` does.

    Args:
        text: what goes on.
        quiet: show and say nothing.
        interrupted: what is said on Ctrl-C: what became of what was begun.
    """
    with progress(text, quiet=quiet or not sys.stderr.isatty()) as end:
        try:
            yield end
        except KeyboardInterrupt:
            end()
            if interrupted and not quiet:
                note(f"interrupted: {interrupted}")
            raise


def steps() -> Callable[[str], None]:
    """Return what tells, by `note`, the steps of what is waited for.

    Where there is no terminal, of the blocks that follow a transaction only the first and the last
    that are told of.
    """
    counting = ""

    def tell(step: str) -> None:
        nonlocal counting
        found = _COUNTED.fullmatch(step)
        if found and not sys.stderr.isatty():
            name, seen, every = found.groups()
            if name == counting and seen != every:
                return
            counting = "" if seen == every else name
        note(step)

    return tell


@contextlib.contextmanager
def starting(what: str) -> Iterator[Callable[[Any], None]]:
    """Show on a terminal that a role starts; yield what writes its JSON line once it is ready."""
    with waiting(f"starting {what}") as came:

        def ready(told: Any) -> None:
            came()
            json_line(told)

        yield ready


class _Notes(logging.Handler):
    """Writes what is logged, and has no other handler, beside what shows progress."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


def _spin(text: str, done: threading.Event) -> None:
    if done.wait(_PATIENCE_S):
        return
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        note(f"{text} …" if takes_unicode(sys.stderr) else f"{text} ...")
        return
    frames = _SPINNER if takes_unicode(sys.stderr) else "|/-\\"
    turn = 0
    while True:
        with _screen:
            sys.stderr.write(f"{_CLEAR}{frames[turn % len(frames)]} {text}")
            sys.stderr.flush()
            _drawn.set()
        turn += 1
        if done.wait(0.1):
            break
    with _screen:
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()
        _drawn.clear()


def tell_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Write what a command found or did, as JSON or as ``name  value`` lines.

    Names have underscores, in lines spaces; what is None has no line.
    """
    if as_json:
        emit_json(dict(facts))
        return
    rows = {
        name.replace("_", " "): {True: "yes", False: "no"}[value]
        if isinstance(value, bool)
        else str(value)
        for name, value in facts.items()
        if value is not None
    }
    out(label_rows(rows))


def label_rows(rows: Mapping[str, str]) -> str:
    """Return ``name  value`` lines with the values in one column."""
    longest = max((len(name) for name in rows), default=0)
    return "\n".join(f"{name.ljust(longest)}  {value}".rstrip() for name, value in rows.items())
