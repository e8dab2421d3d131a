"""The log role: adding entries, witnesses, refreshing, and what is served."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.attest.log import (
    Algorithm,
    KeysetEntry,
    LogFolder,
    LogMemory,
    NoteKey,
    RevocationEntry,
    UrlSource,
    check_logged,
    fetch_consistency,
    read_log,
    submit,
)
from privity.attest.log.entry import Entry
from privity.errors import EvidenceError, InputError, PeerError
from privity.identity.keys import SigningKey
from privity.node.log import LogSettings, log_app
from privity.node.witness import witness_app

KEY, WITNESS, ENCLAVE = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
ORIGIN = "log.example"
LOG = NoteKey.of(ORIGIN, Algorithm.ED25519, KEY)
WITNESS_KEY = NoteKey.of("w.example", Algorithm.COSIGNATURE, WITNESS)
START = datetime(2026, 6, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.anyio


class Clock:
    """A time that tests move."""

    now = START

    def __call__(self) -> datetime:
        return self.now


class Site:
    """A log and its witness in one process, reached as if over HTTP."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: Any) -> None:
        self.clock = Clock()
        self.witness_up = True
        self.asked = 0
        witness = stack.enter_context(
            witness_app("w.example", WITNESS, [LOG.vkey], folder / "w", self.clock)
        )
        inner = httpx.ASGITransport(app=witness)
        outer = self

        class Way(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                outer.asked += 1
                if not outer.witness_up:
                    raise httpx.ConnectError("down")
                return await inner.handle_async_request(request)

        self.folder = folder / "log"
        if not self.folder.exists():
            LogFolder.create(self.folder, ORIGIN, KEY)
        self.app = stack.enter_context(
            log_app(
                self.folder,
                KEY,
                LogSettings(witnesses=((WITNESS_KEY.vkey, "http://w"),), **settings),
                transport=Way(),
                clock=self.clock,
            )
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app))


@pytest.fixture
def make_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    with ExitStack() as stack:
        yield lambda **settings: Site(tmp_path, stack, **settings)


@pytest.fixture
async def site(make_site: Callable[..., Site]) -> AsyncIterator[Site]:
    made = make_site()
    yield made
    await made.http.aclose()


def _entry(number: int) -> KeysetEntry:
    return KeysetEntry("ai.example", f"sha256:{number:064x}", START, START + timedelta(days=90))


def _check(site: Site, endorsement: dict[str, Any], number: int, **terms: Any) -> Any:
    standard: dict[str, Any] = {
        "logs": [LOG.vkey],
        "witnesses": [WITNESS_KEY.vkey],
        "quorum": 1,
        "now": site.clock.now,
        "max_age": timedelta(hours=24),
        "remembered": None,
        "consistency": None,
    }
    return check_logged(endorsement, _entry(number).keyset, **{**standard, **terms})


async def test_an_enclave_submits_and_a_device_accepts_what_comes_back(site: Site) -> None:
    for number in range(5):
        endorsement = await submit("http://log/", _entry(number), http=site.http)
        logged = _check(site, endorsement, number)
        assert logged.size == number + 1
        assert [one.witness for one in logged.cosigned] == [WITNESS_KEY]


async def test_a_device_follows_the_log_with_proofs_it_fetches(site: Site) -> None:
    memory = LogMemory()
    sizes = []
    for number in range(12):
        endorsement = await submit("http://log", _entry(number), http=site.http)
        if number % 3:
            continue
        seen = memory.get(ORIGIN)
        proof = None
        if seen is not None:
            proof = await fetch_consistency("http://log", seen.size, number + 1, http=site.http)
        logged = _check(site, endorsement, number, remembered=seen, consistency=proof)
        memory.keep(logged.origin, logged.remembered, compared=seen)
        sizes.append(logged.size)
    assert sizes == [1, 4, 7, 10]
    last = memory.get(ORIGIN)
    assert last is not None and last.size == 10


async def test_the_same_entry_is_added_once_and_its_endorsement_is_renewed(site: Site) -> None:
    first = await submit("http://log", _entry(1), http=site.http)
    asked = site.asked
    again = await submit("http://log", _entry(1), http=site.http)
    assert (again, site.asked) == (first, asked)
    site.clock.now = START + timedelta(days=2)
    with pytest.raises(EvidenceError) as caught:
        _check(site, first, 1)
    assert caught.value.check == "log age"
    renewed = await submit("http://log", _entry(1), http=site.http)
    assert _check(site, renewed, 1).size == 1
    assert site.asked == asked + 1


async def test_a_witness_that_is_down_is_left_out_and_asked_again(site: Site) -> None:
    site.witness_up = False
    endorsement = await submit("http://log", _entry(1), http=site.http)
    _check(site, endorsement, 1, quorum=0)
    with pytest.raises(EvidenceError) as caught:
        _check(site, endorsement, 1)
    assert caught.value.check == "log witnesses"
    site.witness_up = True
    _check(site, await submit("http://log", _entry(1), http=site.http), 1)


async def test_a_witness_that_has_seen_more_of_a_rolled_back_log_does_not_cosign(
    make_site: Callable[..., Site], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        site = Site(tmp_path, stack)
        await submit("http://log", _entry(1), http=site.http)
        older = (site.folder / "checkpoint").read_bytes()
        await submit("http://log", _entry(2), http=site.http)
        await site.http.aclose()
    (tmp_path / "log" / "checkpoint").write_bytes(older)
    site = make_site()
    forked = await submit("http://log", _entry(3), http=site.http)
    _check(site, forked, 3, quorum=0)
    with pytest.raises(EvidenceError) as caught:
        _check(site, forked, 3)
    assert caught.value.check == "log witnesses"
    await site.http.aclose()


async def test_a_log_started_again_goes_on_with_its_witness(
    make_site: Callable[..., Site], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        site = Site(tmp_path, stack)
        for number in range(3):
            await submit("http://log", _entry(number), http=site.http)
        await site.http.aclose()
    site = make_site()  # it no longer knows what its witness has seen, and is told
    _check(site, await submit("http://log", _entry(9), http=site.http), 9)
    await site.http.aclose()


async def test_only_listed_submitters_append(make_site: Callable[..., Site]) -> None:
    site = make_site(submitters=frozenset({ENCLAVE.did}))
    await submit("http://log", _entry(1), http=site.http, key=ENCLAVE)
    for key in (None, KEY):
        with pytest.raises(PeerError, match="403"):
            await submit("http://log", _entry(2), http=site.http, key=key)
    assert (await site.http.post("http://log/add", content=b"{}")).status_code == 400
    assert (await site.http.post("http://log/add", content=b"x" * 9000)).status_code == 413
    checkpoint = (await site.http.get("http://log/checkpoint")).text
    assert checkpoint.split("\n")[1] == "1"
    await site.http.aclose()


async def test_a_submission_signed_for_one_entry_adds_no_other(
    make_site: Callable[..., Site],
) -> None:
    from privity.attest.log.submit import submission

    site = make_site(submitters=frozenset({ENCLAVE.did}))
    signed = submission(_entry(1), ENCLAVE)
    moved = signed.replace(_entry(1).keyset.encode(), _entry(2).keyset.encode())
    assert (await site.http.post("http://log/add", content=moved)).status_code == 403
    await site.http.aclose()


async def test_nothing_but_the_logs_own_files_is_served(site: Site) -> None:
    await submit("http://log", _entry(1), http=site.http)
    (site.folder / "secret").write_text("x")
    for path in ("secret", ".lock", "", "tile", "tile/0", "tile/../secret", "%2e%2e/w", "tile/0/0"):
        assert (await site.http.get(f"http://log/{path}")).status_code == 404, path
    assert (await site.http.delete("http://log/checkpoint")).status_code == 405
    assert (await site.http.get("http://log/add")).status_code == 405
    tile = await site.http.get("http://log/tile/0/000.p/1")
    assert len(tile.content) == 32
    assert "immutable" in tile.headers["cache-control"]
    checkpoint = await site.http.get("http://log/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert "immutable" not in checkpoint.headers["cache-control"]


async def test_a_monitor_reads_the_whole_log_over_http(site: Site) -> None:
    entries: list[Entry] = [_entry(number) for number in range(4)]
    entries.append(RevocationEntry(_entry(1).keyset, _entry(2).keyset, KEY.did))
    for entry in entries:
        await submit("http://log", entry, http=site.http)
    contents = await read_log(UrlSource("http://log", site.http), [LOG])
    assert list(contents.entries) == entries
    with pytest.raises(EvidenceError):
        await read_log(UrlSource("http://log", site.http), [WITNESS_KEY])


async def test_a_missing_or_false_tile_is_told(site: Site) -> None:
    for number in range(3):
        await submit("http://log", _entry(number), http=site.http)
    tile = site.folder / "tile/0/000.p/3"
    whole = tile.read_bytes()
    tile.write_bytes(whole[:-1])
    with pytest.raises(PeerError, match="length"):
        await fetch_consistency("http://log", 1, 3, http=site.http)
    tile.write_bytes(bytes(96))
    with pytest.raises(EvidenceError, match="tiles of level 0"):
        await read_log(UrlSource("http://log", site.http), [LOG])
    tile.unlink()
    with pytest.raises(PeerError, match="has no tile/0/000"):
        await fetch_consistency("http://log", 1, 3, http=site.http)


async def test_what_a_hostile_log_answers_is_bounded_and_told(site: Site) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/moved"):
            return httpx.Response(302, headers={"location": "http://elsewhere"})
        return httpx.Response(200, content=b"x" * 200_000)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(PeerError, match="larger"):
            await fetch_consistency("http://log", 1, 2, http=http)
        with pytest.raises(PeerError, match="302"):
            await fetch_consistency("http://log/moved", 1, 2, http=http)
        with pytest.raises(PeerError, match="larger"):
            await submit("http://log", _entry(1), http=http)
    other = await submit("http://log", _entry(1), http=site.http)

    async def swapped(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=other)

    async with httpx.AsyncClient(transport=httpx.MockTransport(swapped)) as http:
        with pytest.raises(PeerError, match="another entry"):
            await submit("http://log", _entry(2), http=http)


async def test_a_full_tile_serves_where_the_partial_one_is_gone(site: Site) -> None:
    for number in range(257):
        await submit("http://log", _entry(number), http=site.http)
    assert not (site.folder / "tile/0/000.p/200").exists()
    proof = await fetch_consistency("http://log", 100, 200, http=site.http)
    with LogReader(site.folder) as log:
        assert proof == log.consistency(100, 200)


class LogReader:
    """A second view of a folder that a log holds, made from a copy."""

    def __init__(self, folder: Path) -> None:
        import shutil

        self._copy = folder.with_name("copy")
        shutil.copytree(folder, self._copy)
        self._opened = LogFolder.open(self._copy, KEY)

    def __enter__(self) -> LogFolder:
        return self._opened.__enter__()

    def __exit__(self, *_: object) -> None:
        self._opened.__exit__(None, None, None)


async def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        LogSettings(submitters=frozenset({"did:web:x"}))
    with pytest.raises(InputError):
        LogSettings(witnesses=((LOG.vkey, "http://w"),))
    with pytest.raises(InputError, match="no log"):
        log_app(tmp_path / "none", KEY).__enter__()
    with pytest.raises(InputError, match="origin"):
        LogFolder.create(tmp_path / "x", "two words", KEY)
