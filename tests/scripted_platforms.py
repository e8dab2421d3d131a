"""Scripted stand-ins for the interfaces of confidential platforms. None of this is hardware.

Each speaks one interface as its source documents it, and signs nothing: a "quote" here is bytes
that name what was asked. They test how the quoters ask and what they do with answers, never
whether evidence is genuine.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import shutil
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PosixPath
from typing import Any, ClassVar

import cbor2


def _quote(data: bytes) -> bytes:
    return b"scripted quote of " + data


def _gpu_report(index: int, nonce: bytes) -> bytes:
    return b"scripted report of GPU %d over " % index + nonce


@dataclass
class TsmScript:
    """What the scripted kernel does.

    Attributes:
        provider: what ``provider`` says; None: no provider is registered, so mkdir fails.
        aux: what ``auxblob`` holds; None: the provider has none.
        fail: errno numbers that reads of ``outblob`` fail with, one by one, before they succeed.
        races: how many reads of ``outblob`` another writer gets in before.
        denied: errno that mkdir fails with.
        floor: the lowest privilege level that may be asked for; None: the provider has no levels.
        levels: the levels that were asked for.
    """

    provider: str | None = "tdx_guest"
    aux: bytes | None = None
    fail: list[int] = field(default_factory=list)
    races: int = 0
    denied: int | None = None
    floor: int | None = None
    levels: list[str] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    outblob: Callable[[bytes], bytes] = _quote


class ScriptedTsm(PosixPath):
    """``/sys/kernel/config/tsm/report``, scripted, with the semantics that matter.

    mkdir makes a report with its attributes; rmdir takes it away with them; a binary attribute is
    taken when its file is closed, not when it is written; each write raises ``generation``;
    ``outblob`` cannot be read before ``inblob`` was written; ``auxblob`` may not exist.
    """

    scripts: ClassVar[dict[str, TsmScript]] = {}

    @property
    def _script(self) -> TsmScript:
        folders = (str(one) for one in (self, *self.parents))
        return next(self.scripts[one] for one in folders if one in self.scripts)

    def mkdir(self, *args: Any, **kwargs: Any) -> None:
        script = self._script
        if script.denied is not None:
            raise OSError(script.denied, "scripted")
        if script.provider is None:
            raise OSError(errno.ENXIO, "scripted")
        PosixPath(self).mkdir()
        (PosixPath(self) / "generation").write_text("0\n")
        (PosixPath(self) / "provider").write_text(script.provider + "\n")
        if script.floor is not None:
            (PosixPath(self) / "privlevel_floor").write_text(f"{script.floor}\n")

    def rmdir(self) -> None:
        shutil.rmtree(PosixPath(self))

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if self.name == "inblob" and "w" in mode:
            return _InBlob(PosixPath(self), self._script)
        return PosixPath(self).open(mode, *args, **kwargs)

    def write_text(self, data: str, *args: Any, **kwargs: Any) -> int:
        assert self.name == "privlevel"
        self._script.levels.append(data)
        return _commit(PosixPath(self), data.encode())

    def read_text(self, *args: Any, **kwargs: Any) -> str:
        return PosixPath(self).read_text(*args, **kwargs)

    def read_bytes(self) -> bytes:
        script, entry = self._script, PosixPath(self).parent
        if self.name == "auxblob":
            if script.aux is None:
                raise FileNotFoundError(errno.ENOENT, "scripted")
            return script.aux
        if not (entry / "inblob").exists():
            raise OSError(errno.EINVAL, "scripted: no inblob yet")
        if script.fail:
            raise OSError(script.fail.pop(0), "scripted")
        if script.races:
            script.races -= 1
            _commit(entry / "inblob", b"another writer's".ljust(64))
        return script.outblob((entry / "inblob").read_bytes())


class _InBlob(io.BytesIO):
    def __init__(self, path: Path, script: TsmScript) -> None:
        super().__init__()
        self._path, self._script = path, script

    def close(self) -> None:
        if not self.closed:
            _commit(self._path, self.getvalue())
            self._script.asked.append(self.getvalue())
        super().close()


def _commit(path: Path, data: bytes) -> int:
    generation = path.parent / "generation"
    generation.write_text(f"{int(generation.read_text()) + 1}\n")
    return path.write_bytes(data)


@contextlib.contextmanager
def scripted_tsm(folder: Path, script: TsmScript) -> Iterator[Path]:
    """Yield a scripted report folder in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    ScriptedTsm.scripts[str(folder)] = script
    try:
        yield ScriptedTsm(folder)
    finally:
        del ScriptedTsm.scripts[str(folder)]


def certificate_table(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return a GHCB certificate table of (GUID, blob)."""
    offset = 24 * (len(entries) + 1)
    head, blobs = b"", b""
    for guid, blob in entries:
        head += guid + struct.pack("<II", offset + len(blobs), len(blob))
        blobs += blob
    return head + bytes(24) + blobs


class ScriptedNsm:
    """The ioctl of ``/dev/nsm``, scripted: takes the buffers by address, as Linux does."""

    REQUEST_CODE = 0xC0200A00  # _IOWR(0x0A, 0, 32 bytes)

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.answer = answer
        self.requests: list[Any] = []

    def ioctl(self, descriptor: int, code: int, message: bytearray, mutate: bool) -> int:
        assert code == self.REQUEST_CODE and mutate
        address, length, into, room = struct.unpack("=QQQQ", message)
        assert length <= 0x1000 and room == 0x3000
        request = cbor2.loads(ctypes.string_at(address, length))
        self.requests.append(request)
        given = self.answer(request)
        data = given if isinstance(given, bytes) else cbor2.dumps(given)
        assert len(data) <= room
        ctypes.memmove(into, data, len(data))
        message[:] = struct.pack("=QQQQ", address, length, into, len(data))
        return 0


class NVMLError(Exception):
    """The scripted library's error."""


@dataclass
class ScriptedNvml:
    """``pynvml``, scripted: the functions and structures the quoter uses, with fixed buffers."""

    count: int = 2
    cc: int = 1
    dev_tools: int = 0
    chain: bytes = b""
    fail: bool = False
    report: Callable[[int, bytes], bytes] = _gpu_report
    size: int | None = None
    NVMLError = NVMLError

    def nvmlSystemGetConfComputeState(self) -> Any:
        return _Fields(ccFeature=self.cc, devToolsMode=self.dev_tools)

    def nvmlDeviceGetCount(self) -> int:
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index >= self.count:
            raise NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetConfComputeGpuAttestationReport(self, device: int, nonce: bytes) -> Any:
        assert len(nonce) == 32
        if self.fail:
            raise NVMLError("Not Supported")
        data = self.report(device, bytes(nonce))
        buffer = (ctypes.c_uint8 * 0x2000)(*data)
        size = len(data) if self.size is None else self.size
        return _Fields(attestationReport=buffer, attestationReportSize=size)

    def nvmlDeviceGetConfComputeGpuCertificate(self, device: int) -> Any:
        buffer = (ctypes.c_uint8 * 0x1400)(*self.chain)
        return _Fields(attestationCertChain=buffer, attestationCertChainSize=len(self.chain))


@dataclass(init=False)
class _Fields:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


@contextlib.contextmanager
def scripted_dstack(socket: Path, answers: dict[str, Any]) -> Iterator[list[tuple[str, Any]]]:
    """Serve dstack's guest agent API, scripted, on a unix socket; yield what it was asked.

    The API is that of agent_rpc.proto over HTTP: POST /GetQuote and /Info with JSON.
    """
    asked: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length) or b"{}")
            asked.append((self.path, body))
            answer = answers.get(self.path)
            data = json.dumps(answer(body) if callable(answer) else answer).encode()
            self.send_response(200 if answer is not None else 500)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *args: Any) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    server = Server(str(socket), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
