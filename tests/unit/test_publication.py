"""What an enclave publishes beside its evidence: of its own keyset, and as the log last said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from privity.attest.log.folder import LogFolder
from privity.attest.manifest import Manifest, ReferenceValue, Source
from privity.attest.signed_manifest import SignedManifest
from privity.errors import InputError, PeerError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.node import publication as module
from privity.node.log import log_app
from privity.node.publication import LogSubmission, Publication, approval_in
from privity.statement import Keyset

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = SigningKey(b"\1" * 32)
KEYSET = Keyset(ohttp=bytes(80), receipts=KEY.did)


def manifest(path: Path) -> Path:
    value = ReferenceValue("snp", {"measurement": "ab" * 48})
    source = Source("https://git.example/privity", "0" * 40)
    made = Manifest("privity", "us", source, (value,), NOW, NOW + timedelta(days=1))
    path.write_bytes(canonical(SignedManifest.sign(made, KEY).to_json()) + b"\n")
    return path


@pytest.mark.anyio
async def test_nothing_is_published_where_nothing_was_asked_for() -> None:
    publication = Publication()
    await publication.open(KEYSET)
    assert publication.endorsements == ()
    await publication.aclose()


@pytest.mark.anyio
async def test_the_manifest_and_the_logs_proof_are_of_this_keyset(
    tmp_path: Path, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    LogFolder.create(tmp_path / "log", "log.example", KEY)
    now = [NOW]
    monkeypatch.setattr(module, "_RENEW_S", 0.02)
    with log_app(tmp_path / "log", KEY, clock=lambda: now[0]) as app:
        approval = (approval_in(manifest(tmp_path / "m.json")),)
        log = LogSubmission(serve(app), name="enclave.example")
        publication = Publication(approval, log, clock=lambda: now[0])
        await publication.open(KEYSET)
        approval, proof = publication.endorsements
        assert (approval["kind"], proof["kind"]) == ("reference", "log")
        assert proof["entry"]["keyset"] == KEYSET.digest
        assert (proof["entry"]["enclave"], proof["index"]) == ("enclave.example", 0)

        # Renewed: the same entry while it is young, a new one before it ends.
        now[0] = NOW + timedelta(hours=13)
        with anyio.fail_after(60):
            while publication.endorsements[1]["index"] == 0:
                await anyio.sleep(0.02)
        until = publication.endorsements[1]["entry"]["until"]
        assert until == "2026-06-03T01:00:00Z"
        await publication.aclose()


@pytest.mark.anyio
async def test_a_log_that_does_not_answer_is_told_at_the_start() -> None:
    log = LogSubmission("http://127.0.0.1:9", name="enclave.example")
    with pytest.raises(PeerError, match="log"):
        await Publication(log=log).open(KEYSET)


@pytest.mark.parametrize("content", [None, b"", b"{}", json.dumps({"manifest": {}}).encode()])
def test_a_file_that_is_no_manifest_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.json"):
        approval_in(path)
