"""HPKE and Oblivious HTTP by size, beside `pyhpke` and the Rust `ohttp` crate.

Lower is better; a ratio is our time over the peer's in the same run. The Rust peer is built from
``bench/rust`` when cargo is there, and left out, saying so, when not. Its cryptography is NSS or a
pure Rust one as the crate chooses; ours is OpenSSL by way of `cryptography`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from pyhpke import AEADId, CipherSuite, KDFId, KEMId

from measure import Report, build_peer, median_seconds, title
from privity.hazmat import hpke
from privity.seal.key_config import GatewayKeys, KeyConfig
from privity.seal.ohttp import encapsulate_request, open_request

SIZES = {"1 KiB": 1 << 10, "64 KiB": 1 << 16, "16 MiB": 1 << 24}
KEMS = {"x25519": 0x0020, "xwing": 0x647A}
RUST = Path(__file__).parent / "rust"
SECONDS = 2.0


def beside_pyhpke(report: Report) -> None:
    """Set up, seal one message, set up the other end, open it: X25519, AES-128-GCM."""
    ours = hpke.suite(0x0020, 0x0001, 0x0001)
    key = ours.kem.generate()
    peer = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM)
    peer_key = peer.kem.derive_key_pair(bytes(range(32)))
    for label, size in SIZES.items():
        body = bytes(size)

        def with_ours(body: bytes = body) -> None:
            enc, sender = hpke.setup_sender(ours, key.public_bytes, b"bench")
            sealed = sender.seal(body)
            hpke.setup_recipient(ours, key, enc, b"bench").open(sealed)

        def with_peer(body: bytes = body) -> None:
            enc, sender = peer.create_sender_context(peer_key.public_key, b"bench")
            sealed = sender.seal(body)
            peer.create_recipient_context(enc, peer_key.private_key, b"bench").open(sealed)

        found = median_seconds({"ours": with_ours, "pyhpke": with_peer}, SECONDS)
        _add(report, f"HPKE seal + open, {label}", found["ours"], "pyhpke", found["pyhpke"])


def beside_rust(report: Report) -> None:
    """One request and one response of the same size, both ends in one process."""
    peer = build_peer(RUST, "privity-bench")
    for name, kem_id in KEMS.items():
        keys = GatewayKeys.generate([hpke.KEMS[kem_id]])
        suite = hpke.suite(kem_id, 0x0001, 0x0001)
        config = keys.configs[0]
        for label, size in SIZES.items():
            body = bytes(size)

            def round_trip(
                body: bytes = body,
                config: KeyConfig = config,
                keys: GatewayKeys = keys,
                suite: hpke.Suite = suite,
            ) -> None:
                request, opener = encapsulate_request(config, body, suite=suite)
                opened, sealer = open_request(keys, request)
                opener.open(sealer.seal(opened))

            ours = median_seconds({"ours": round_trip}, SECONDS)["ours"]
            theirs = None
            if peer is not None:
                command = [str(peer), name, str(size), str(SECONDS)]
                theirs = int(subprocess.run(command, check=True, capture_output=True).stdout) / 1e9
            _add(report, f"OHTTP round trip, {name}, {label}", ours, "Rust ohttp", theirs)


def _add(report: Report, what: str, ours: float, peer: str, theirs: float | None) -> None:
    line = f"{_time(ours):>9}"
    if theirs is not None:
        line += f"   {peer} {_time(theirs):>9}   ratio {ours / theirs:.2f}"
    ratio = None if theirs is None else round(ours / theirs, 3)
    report.add(what, line, seconds=ours, peer=peer, peer_seconds=theirs, ratio=ratio)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def main() -> None:
    """Measure and report."""
    title("HPKE and OHTTP (our time / the peer's; below 1 is faster)")
    report = Report("codec")
    beside_pyhpke(report)
    beside_rust(report)
    report.write()


if __name__ == "__main__":
    main()
