"""How far long work is: one line on a terminal that is wiped afterwards, or a line now and then."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from privity.cli import output

__all__ = ["bytes_text", "meter"]

_PATIENCE_S = 0.8
_TERMINAL_S = 0.1
_PLAIN_S = 10.0


def bytes_text(count: float) -> str:
    """Return a number of bytes as people say it: ``4.29 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} TB"


@contextlib.contextmanager
def meter(text: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told the bytes done so far, and says so on stderr.

    Nothing is said of work that is over before most people notice. The function may be called
    from any thread, but not from two at once.

    Args:
        text: what is going on: ``sealing model.gguf``.
        total: bytes there are to do.
        quiet: say nothing at all.
    """
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    began = time.monotonic()
    due = began + _PATIENCE_S
    shown = False

    def told(done: int) -> None:
        nonlocal due, shown
        now = time.monotonic()
        if quiet or now < due:
            return
        due = now + (_TERMINAL_S if terminal else _PLAIN_S)
        share = 100 * done / total if total else 100
        rate = bytes_text(done / max(now - began, 1e-9))
        line = f"{output.harmless(text)}: {share:.0f} % of {bytes_text(total)}, {rate}/s"
        if terminal:
            sys.stderr.write(f"\r\x1b[2K{line}")
            sys.stderr.flush()
            shown = True
        else:
            output.note(line)

    try:
        yield told
    finally:
        if shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
