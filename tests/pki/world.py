"""An enclave on synthetic hardware, a signer, a log, a witness and a device that trusts them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pki.certificates import NOON
from pki.intel import IntelPki, TdxQuoter
from pki.nitro import NitroPki
from pki.nvidia import NvidiaPki
from pki.snp import SnpPki
from privity.attest.evidence import Quoter
from privity.attest.examine import LogView, examine_statement
from privity.attest.log.checkpoint import cosign
from privity.attest.log.entry import KeysetEntry, entry_bytes
from privity.attest.log.folder import LogFolder
from privity.attest.log.note import Algorithm, NoteKey
from privity.attest.log.proof import LogEndorsement
from privity.attest.manifest import Manifest, ReferenceValue, Source
from privity.attest.publish import build_statement
from privity.attest.roots import Roots
from privity.attest.signed_manifest import SignedManifest
from privity.attest.trust import Trust
from privity.attest.verify import verify_statement
from privity.attested import AttestedEnclave
from privity.errors import EvidenceError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.policy import EvidencePolicy
from privity.statement import Keyset, Model, Software

ORIGIN = "log.example/privity"
NAME = "enclave.example"
NONCE = bytes(range(32))
SIGNER, LOG_KEY, WITNESS = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
KEYSET = Keyset(
    ohttp=bytes(80),
    receipts=SigningKey(b"\4" * 32).did,
    models=(Model("small", "tree-sha256:" + "ab" * 32, "llama.cpp"),),
    software=(Software("privity", "0.2.0"),),
)
INTEL, AMD, AMAZON, NVIDIA = IntelPki(), SnpPki(), NitroPki(), NvidiaPki()
MACHINES: dict[str, tuple[Quoter, ...]] = {
    "tdx": (TdxQuoter(INTEL),),
    "snp": (AMD,),
    "nitro": (AMAZON,),
    "tdx + nvidia": (TdxQuoter(INTEL), NVIDIA),
    "snp + nvidia": (AMD, NVIDIA),
}


def anchors() -> Roots:
    return Roots(INTEL.root_der, AMD.anchors, AMAZON.anchors, NVIDIA.anchors)


@dataclass
class World:
    """An enclave, those who vouch for it, and a device. Each test changes one thing."""

    folder: Path
    quoters: tuple[Quoter, ...]
    keyset: Keyset = KEYSET
    nonce: bytes | None = NONCE
    now: datetime = NOON
    logged: str | None = None
    approved: bool = True
    manifest: dict[str, Any] = field(default_factory=dict)
    trust: Trust = field(
        default_factory=lambda: Trust(
            roots=anchors(),
            signers=(SIGNER.did,),
            logs=(NoteKey.of(ORIGIN, Algorithm.ED25519, LOG_KEY).vkey,),
            witnesses=(NoteKey.of("witness.example", Algorithm.COSIGNATURE, WITNESS).vkey,),
        )
    )

    def reference(self) -> dict[str, Any]:
        """Sign a manifest of what this machine measures as."""
        bare = build_statement(self.keyset, self.quoters, now=NOON, nonce=NONCE)
        seen = examine_statement(bare.to_bytes(), nonce=NONCE, trust=self.trust, now=NOON)
        values = tuple(ReferenceValue(one.kind, dict(one.registers)) for one in seen.findings)
        fields: dict[str, Any] = {
            "name": "privity-enclave",
            "builder": "privity",
            "source": Source("https://git.example/privity", "0" * 40),
            "measurements": values,
            "issued": NOON - timedelta(days=1),
            "expires": NOON + timedelta(days=1),
        }
        signed = SignedManifest.sign(Manifest(**{**fields, **self.manifest}), SIGNER)
        return {"kind": "reference", "manifest": signed.to_json()}

    def log(self, *, folder: str = "log", digest: str | None = None, filler: int = 3) -> Any:
        """Append the keyset to the log; return its endorsement."""
        path = self.folder / folder
        if not path.exists():
            LogFolder.create(path, ORIGIN, LOG_KEY)
        with LogFolder.open(path, LOG_KEY) as log:
            for number in range(filler):
                log.append(entry_bytes(self.entry(f"sha256:{number:064x}")))
            entry = self.entry(digest or self.keyset.digest)
            index = log.append(entry_bytes(entry))
            size = log.checkpoint.size
            log.add_signatures(size, [cosign(log.note, WITNESS, "witness.example", self.now)])
            shown = LogEndorsement(
                ORIGIN, index, entry.to_json(), tuple(log.inclusion(index, size)), log.note
            )
        return shown.to_json()

    def entry(self, digest: str) -> KeysetEntry:
        return KeysetEntry(NAME, digest, NOON - timedelta(hours=1), NOON + timedelta(hours=1))

    def publish(self, **log: Any) -> dict[str, Any]:
        beside = [self.log(**log)]
        if self.approved:
            beside.append(self.reference())
        statement = build_statement(
            self.keyset, self.quoters, now=self.now, nonce=self.nonce, beside=beside
        )
        return statement.to_json()

    def verify(
        self, statement: dict[str, Any] | None = None, *, view: LogView | None = None
    ) -> AttestedEnclave:
        view = view or LogView(NAME)
        data = canonical(self.publish() if statement is None else statement)
        return verify_statement(data, nonce=self.nonce, trust=self.trust, now=self.now, view=view)

    def refused(
        self, check: str, statement: dict[str, Any] | None = None, **view: Any
    ) -> EvidenceError:
        with pytest.raises(EvidenceError) as caught:
            self.verify(statement, view=LogView(**{"enclave": NAME, **view}))
        assert caught.value.check == check, caught.value
        return caught.value

    def trusting(self, **changes: Any) -> World:
        return replace(self, trust=replace(self.trust, **changes))

    def demanding(self, **changes: Any) -> World:
        return self.trusting(policy=EvidencePolicy(**changes))
