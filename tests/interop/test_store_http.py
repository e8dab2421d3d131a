"""Artefacts on a plain web server that takes PUT and ranges, as the standard library makes one."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from privity.vault import ArtefactKey, Meta, Reader, seal_stream
from privity.vault.store import open_store_reader
from privity.vault.transfer import pull, push

KEY = ArtefactKey(b"\6" * 32)
CONTENTS = bytes(range(251)) * 20_000


class _Objects(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def do_PUT(self) -> None:
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, b"")

    def do_GET(self) -> None:
        data = self.objects.get(self.path)
        if data is None:
            self._answer(404, b"")
        elif wanted := self.headers.get("Range"):
            first, last = (int(end) for end in wanted.removeprefix("bytes=").split("-"))
            span = f"bytes {first}-{last}/{len(data)}"
            self._answer(206, data[first : last + 1], {"Content-Range": span})
        else:
            self._answer(200, data)

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes]]]:
    handler = type("Objects", (_Objects,), {"objects": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler.objects
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_artefact_is_pushed_read_in_place_and_pulled(
    web: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, objects = web[0] + "/people/me/model", web[1]
    path = tmp_path / "a.sealed"
    with path.open("wb") as sink:
        seal_stream(io.BytesIO(CONTENTS), sink, meta=Meta("m", "model"), recipients=[], key=KEY)
    size = path.stat().st_size
    assert push(path, url, part_bytes=1 << 20).moved == size
    assert len(objects) == 6  # five parts and the index
    assert push(path, url, part_bytes=1 << 20).moved == 0
    with open_store_reader(url) as source:
        out = io.BytesIO()
        Reader(source, KEY).copy_to(out)
    assert out.getvalue() == CONTENTS
    pull(url, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    objects.clear()
    objects["/people/me/model"] = path.read_bytes()  # the artefact as one object
    with open_store_reader(url) as source:
        assert Reader(source, KEY).read_at(1 << 20, 5) == CONTENTS[1 << 20 :][:5]
