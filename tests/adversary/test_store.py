"""Attacks by a store: it alters, mixes, withholds and makes up what it is asked for."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from privity.errors import (
    InputError,
    MalformedError,
    OpenError,
    OversizeError,
    PeerError,
    PrivityError,
    TruncatedError,
)
from privity.identity.jcs import canonical
from privity.vault import ArtefactKey, Meta, Reader, seal_stream
from privity.vault.place import open_place
from privity.vault.store import open_store_reader
from privity.vault.transfer import pull, push

PART = 1 << 20
KEY = ArtefactKey(b"\3" * 32)
CONTENTS = bytes(range(256)) * 4096 * 3 + b"end"
OTHER_CONTENTS = CONTENTS[::-1]


def seal_to(path: Path, contents: bytes) -> Path:
    with path.open("wb") as sink:
        seal_stream(io.BytesIO(contents), sink, meta=Meta("m", "model"), recipients=[], key=KEY)
    return path


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    return seal_to(tmp_path / "a.sealed", CONTENTS)


@pytest.fixture
def store(tmp_path: Path, sealed: Path) -> Path:
    push(sealed, str(tmp_path / "store"), part_bytes=PART)
    return tmp_path / "store"


def parts(store: Path) -> list[Path]:
    return sorted((store / "parts").iterdir())


def read_through(url: str) -> bytes:
    sink = io.BytesIO()
    source = open_store_reader(url)
    try:
        Reader(source, KEY).copy_to(sink)
    finally:
        source.close()
    return sink.getvalue()


def refused_both_ways(store: Path, tmp_path: Path) -> tuple[PrivityError, PrivityError]:
    """Return what pulling and reading straight from the store raise; nothing is left behind."""
    with pytest.raises(PrivityError) as pulling:
        pull(str(store), tmp_path / "back")
    assert not (tmp_path / "back").exists()
    with pytest.raises(PrivityError) as reading:
        read_through(str(store))
    return pulling.value, reading.value


def test_what_was_pushed_is_read_and_pulled_alike(
    store: Path, sealed: Path, tmp_path: Path
) -> None:
    assert read_through(str(store)) == CONTENTS
    pull(str(store), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == sealed.read_bytes()
    assert not list(tmp_path.glob(".back*"))


def test_an_altered_part_is_refused(store: Path, tmp_path: Path) -> None:
    part = parts(store)[1]
    data = bytearray(part.read_bytes())
    data[77] ^= 4
    part.write_bytes(data)
    pulling, reading = refused_both_ways(store, tmp_path)
    assert isinstance(pulling, OpenError) and "part 1" in pulling.message
    assert isinstance(reading, OpenError)


def test_parts_of_another_version_are_refused(store: Path, tmp_path: Path) -> None:
    """The store keeps serving a part of an artefact that lay there before."""
    old = seal_to(tmp_path / "old.sealed", OTHER_CONTENTS)
    push(old, str(tmp_path / "old"), part_bytes=PART)
    parts(store)[2].write_bytes(parts(tmp_path / "old")[2].read_bytes())
    pulling, reading = refused_both_ways(store, tmp_path)
    assert isinstance(pulling, OpenError) and isinstance(reading, OpenError)


def test_parts_in_another_order_are_refused_even_with_an_index_to_match(
    store: Path, tmp_path: Path
) -> None:
    index = json.loads((store / "artefact.json").read_bytes())
    digests = index["parts"]
    digests[1], digests[2] = digests[2], digests[1]
    for number, digest in enumerate(digests):
        source = next(part for part in parts(store) if part.name.endswith(digest))
        (store / "parts" / f"{number:05d}-{digest}").write_bytes(source.read_bytes())
    (store / "artefact.json").write_bytes(canonical(index))
    pull(str(store), tmp_path / "back")  # all digests hold: only the artefact itself knows
    with pytest.raises(OpenError):
        read_through(str(tmp_path / "back"))
    with pytest.raises(OpenError):
        read_through(str(store))


def test_the_whole_of_an_older_artefact_is_not_the_one_the_key_is_of(
    store: Path, tmp_path: Path
) -> None:
    other = ArtefactKey(b"\4" * 32)
    source = open_store_reader(str(store))
    try:
        with pytest.raises(OpenError):
            Reader(source, other)
    finally:
        source.close()


def test_an_index_that_names_another_artefact_is_refused(store: Path, tmp_path: Path) -> None:
    index = json.loads((store / "artefact.json").read_bytes())
    index["artefact"] = "00" * 16
    (store / "artefact.json").write_bytes(canonical(index))
    with pytest.raises(MalformedError, match="another artefact"):
        pull(str(store), tmp_path / "back")


def test_a_missing_part_is_refused(store: Path, tmp_path: Path) -> None:
    parts(store)[3].unlink()
    pulling, reading = refused_both_ways(store, tmp_path)
    assert isinstance(pulling, PeerError) and isinstance(reading, PeerError)


def test_a_shortened_part_is_refused(store: Path, tmp_path: Path) -> None:
    last = parts(store)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    for error in refused_both_ways(store, tmp_path):
        assert isinstance(error, PeerError | TruncatedError)


def test_an_index_that_leaves_out_the_end_is_refused(store: Path, tmp_path: Path) -> None:
    index = json.loads((store / "artefact.json").read_bytes())
    index["parts"] = index["parts"][:-1]
    index["size"] = PART * len(index["parts"])
    (store / "artefact.json").write_bytes(canonical(index))
    with pytest.raises(TruncatedError):
        read_through(str(store))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"parts": ["../../../../etc/passwd"] * 4},
        {"parts": ["0" * 63 + "/"] * 4},
        {"part_bytes": 1},
        {"part_bytes": 1 << 40},
        {"size": 2**50},
        {"size": 0},
        {"more": 1},
    ],
)
def test_an_index_of_another_form_is_refused(
    store: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    index = json.loads((store / "artefact.json").read_bytes())
    (store / "artefact.json").write_bytes(canonical(index | changes))
    pulling, reading = refused_both_ways(store, tmp_path)
    assert isinstance(pulling, MalformedError) and isinstance(reading, MalformedError)


def test_an_endless_index_is_refused_before_it_is_read(store: Path) -> None:
    with (store / "artefact.json").open("wb") as file:
        file.truncate(1 << 33)  # sparse
    with pytest.raises(OversizeError):
        open_store_reader(str(store))


def test_plaintext_is_never_uploaded(tmp_path: Path) -> None:
    plain = tmp_path / "weights.gguf"
    plain.write_bytes(b"GGUF" + bytes(5000))
    with pytest.raises(MalformedError, match="not a sealed artefact"):
        push(plain, str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_another_artefact_is_not_replaced_unasked(store: Path, tmp_path: Path) -> None:
    other = seal_to(tmp_path / "b.sealed", OTHER_CONTENTS)
    with pytest.raises(InputError, match="another artefact"):
        push(other, str(store), part_bytes=PART)
    assert read_through(str(store)) == CONTENTS
    push(other, str(store), replace=True, part_bytes=PART)
    assert read_through(str(store)) == OTHER_CONTENTS
    assert len(parts(store)) == 4  # those of the first are gone


def test_a_pull_never_overwrites(store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link"):
        with pytest.raises(InputError, match="already"):
            pull(str(store), tmp_path / name)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_what_an_earlier_pull_left_is_verified_before_it_counts(
    store: Path, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from privity.vault import transfer

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "name_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        pull(str(store), tmp_path / "back")
    (left,) = tmp_path.glob(".back.*.part")
    assert left.stat().st_mode & 0o777 == 0o600
    data = bytearray(left.read_bytes())
    data[PART + 5] ^= 1  # somebody else's hand on the half that came
    left.write_bytes(data)
    monkeypatch.undo()
    moved = pull(str(store), tmp_path / "back")
    assert moved.moved == PART
    assert (tmp_path / "back").read_bytes() == sealed.read_bytes()


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("http://192.0.2.1/x", {}),
        ("http://localhost.example/x", {}),
        ("s3://bucket/x", {"AWS_ENDPOINT_URL": "http://192.0.2.1:9000"}),
        ("s3://bucket/x", {"AWS_ENDPOINT_URL_S3": "http://store.example"}),
    ],
)
def test_plain_http_is_for_loopback_alone(url: str, environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match="without encryption"):
        open_place(url, environ=environ)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret-word@host.example/x",
        "https://host.example/x?X-Amz-Signature=secret-word",
        "https://host.example/x#secret-word",
        "gopher://host.example/secret-word",
    ],
)
def test_secrets_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_place(url, environ={})
    assert "secret-word" not in caught.value.message


def test_without_credentials_the_metadata_address_of_a_cloud_is_not_asked() -> None:
    """`object_store` would ask 169.254.169.254 for some; unsigned requests need none."""
    bare: Any = open_place("s3://bucket/x", environ={}).store
    assert bare.config.get("skip_signature") in (True, "true")
    signed: Any = open_place(
        "s3://bucket/x", environ={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    ).store
    assert "skip_signature" not in signed.config


class _Liar(BaseHTTPRequestHandler):
    """A web server whose answers are decided by the test."""

    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")

    def do_GET(self) -> None:
        status, headers, body = type(self).answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def liar() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Liar)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/model"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        (403, {"Content-Length": "0"}, b""),
        (200, {"Content-Length": "5"}, b"hello"),
        (200, {"Content-Length": "99999999999"}, b""),
        (200, {}, b"no length"),
        (302, {"Location": "http://127.0.0.1:1/", "Content-Length": "0"}, b""),
        (206, {"Content-Length": "5", "Content-Range": "bytes 7-11/99"}, b"hello"),
        (200, {"Content-Length": "-3"}, b""),
    ],
)
def test_a_web_server_that_answers_anything_gets_no_further(
    liar: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    _Liar.answer = answer
    with pytest.raises(PrivityError) as caught:
        read_through(liar)
    assert "hello" not in caught.value.message


def test_a_path_where_nothing_is_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file or folder"):
        open_store_reader(str(tmp_path / "absent.sealed"))
