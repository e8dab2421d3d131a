"""Floor 5: a role as a child process, which says when it is ready and ends with its parent.

A role's command prints one JSON line, ``{"ready": true, "url": "…", …}``, and ends when its
standard input does: the parent holds the only writing end of that pipe, so that a role never
outlives it, however the parent ends.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from privity.errors import PeerError

__all__ = ["RoleProcess"]

_STOP_LIMIT_S = 5.0
_MAX_READY_LINE = 1 << 16


class RoleProcess:
    """A child process that has said it is ready.

    Args:
        name: what to call it in messages, and the name of its log.
        command: what to run.
        folder: where its standard error goes, as ``NAME.log``, mode 0600.
        start_limit_s: seconds it may take to be ready.

    Attributes:
        ready: the JSON object of its ready line.
    """

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, *, start_limit_s: float
    ) -> None:
        """Start it and wait until it is ready.

        Raises:
            PeerError: it ended, or did not get ready in time; its last words are in the message.
        """
        self.name = name
        self._log_path = folder / f"{name}.log"
        with self._open_log() as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is the parent's, which ends its roles in order
            )
        try:
            self.ready = self._await_ready(start_limit_s)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            PeerError: it has.
        """
        if self._process.poll() is not None:
            raise self._ended()

    def stop(self) -> None:
        """End it: ask, wait, then kill. Does nothing to one that has ended."""
        if self._process.stdin:
            self._process.stdin.close()  # the lifeline
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _open_log(self) -> IO[bytes]:
        fd = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        return os.fdopen(fd, "wb")

    def _await_ready(self, limit_s: float) -> dict[str, Any]:
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read_line, args=(lines,), daemon=True).start()
        try:
            line = lines.get(timeout=limit_s)
        except queue.Empty:
            raise PeerError(
                f"the {self.name} was not ready after {limit_s:g} s",
                hint=f"its messages are in {self._log_path}",
            ) from None
        if not line:
            self._process.wait(_STOP_LIMIT_S)
            raise self._ended()
        try:
            ready = json.loads(line)
            if ready["ready"] is not True or not isinstance(ready["url"], str):
                raise ValueError("not a ready line")
        except (ValueError, KeyError, TypeError) as error:
            raise PeerError(f"the {self.name} said {line[:80]!r}, not that it is ready") from error
        return dict(ready)

    def _read_line(self, lines: queue.SimpleQueue[bytes]) -> None:
        stream = self._process.stdout
        lines.put(stream.readline(_MAX_READY_LINE) if stream else b"")

    def _ended(self) -> PeerError:
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return PeerError(f"the {self.name} {how}{self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return f": {(errors or lines)[-1][:300]}" if lines else ""
