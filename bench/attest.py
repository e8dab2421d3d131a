"""Judging one piece of hardware evidence of each kind, beside peers, cold and warm.

Cold: nothing was seen before. New: the chip's certificates were (`privity.attest.chain` remembers
chains), the evidence was not. Again: the very same evidence, or statement, while the result holds
(`privity.attest.cache`). Whole statements, with approval and log, are of synthetic makers. Real
evidence from the folder that ``PRIVITY_VECTORS`` names, or ``shared/vectors/attestation`` beside
the checkout; where neither is there, SNP and Nitro evidence of a synthetic maker, and the line says
so. Peers: raw `dcap_qvl` on the same quote and collateral; Google's Go libraries (``bench/go``,
built where go is present), timed inside their own process; and one bare P-384 verification by
`cryptography`, below which no new evidence that is signed so can be judged. What a peer leaves out
is in its name.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from measure import Report, median_seconds, title
from privity.attest import chain
from privity.attest.cache import Cached
from privity.attest.evidence import Companions, EvidenceVerifier
from privity.policy.evidence import PLATFORM_FLAGS, EvidencePolicy, TcbStatus

HERE = Path(__file__).parent
SECONDS = 1.5
GOAL_MS = 0.2
GO_COUNT = 300
GO_WARM_UP = 20

# A real fixture is of its day: any grade but revoked, or the figures would be of refusals.
POLICY = EvidencePolicy(
    tcb=frozenset(TcbStatus) - {TcbStatus.REVOKED}, platform=frozenset(PLATFORM_FLAGS)
)
IN_2025 = datetime(2025, 6, 20, tzinfo=UTC)
CHRISTMAS = datetime(2025, 12, 25, 17, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """One piece of evidence, and who judges it.

    Attributes:
        name: of the line.
        make: a verifier that has seen nothing.
        evidence: what it judges.
        endorsements: what came along.
        now: the time it is judged for.
        peers: seconds of others for the same, by name; each runs them when called.
    """

    name: str
    make: Callable[[], EvidenceVerifier]
    evidence: dict[str, Any]
    endorsements: list[dict[str, Any]]
    now: datetime
    peers: Callable[[], dict[str, float]] = dict


def main() -> None:
    """Measure all that can be measured here."""
    title("evidence: milliseconds for one, one thread")
    report = Report("attest")
    folder = vectors()
    with tempfile.TemporaryDirectory() as scratch:
        go = build_go(report, Path(scratch))
        cases = synthetic_cases() if folder is None else real_cases(folder, go, Path(scratch))
        for case in cases:
            measure(report, case)
    for name in ("tdx", "snp", "snp + nvidia"):
        measure_statement(report, name)
    report.write()


def measure(report: Report, case: Case) -> None:
    """Add one line: cold, warm, again, and each peer."""
    verifier = case.make()
    cached = Cached(case.make())

    def examine(by: EvidenceVerifier) -> None:
        found = by.examine(case.evidence, None, case.endorsements, case.now)
        if not found.accepted:
            raise RuntimeError(f"{case.name}: {found.failed}")

    def cold() -> None:
        chain.forget()
        examine(case.make())

    took = median_seconds({"cold": cold}, SECONDS)
    took |= median_seconds(
        {"new": lambda: examine(verifier), "again": lambda: examine(cached)}, SECONDS
    )
    peers = case.peers()
    line = f"cold {_ms(took['cold'])}, new {_ms(took['new'])}, again {_ms(took['again'])} ms"
    line += "".join(f"; {name} {_ms(seconds)} ms" for name, seconds in peers.items())
    report.add(
        case.name,
        f"{line}  ({_goal(took['again'])})",
        ours_ms={name: seconds * 1000 for name, seconds in took.items()},
        peers_ms={name: seconds * 1000 for name, seconds in peers.items()},
        goal_ms=GOAL_MS,
    )


def measure_statement(report: Report, machine: str) -> None:
    """Add one line: a whole statement of a synthetic machine, with its approval and its log."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    worlds = import_module("pki.world")
    from privity.attest import examine, verify_statement
    from privity.attest.verifiers import verifier_for
    from privity.identity.jcs import canonical

    with tempfile.TemporaryDirectory() as folder:
        world = worlds.World(Path(folder), worlds.MACHINES[machine])
        data = canonical(world.publish())

    def again() -> None:
        verify_statement(data, nonce=worlds.NONCE, trust=world.trust, now=world.now)

    def cold() -> None:
        chain.forget()
        verifier_for.cache_clear()
        examine.forget()
        again()

    took = median_seconds({"cold": cold}, SECONDS) | median_seconds({"again": again}, SECONDS)
    report.add(
        f"statement, {machine} (synthetic)",
        f"cold {_ms(took['cold'])}, again {_ms(took['again'])} ms  ({_goal(took['again'])})",
        ours_ms={name: seconds * 1000 for name, seconds in took.items()},
        goal_ms=GOAL_MS,
    )


def _goal(again: float) -> str:
    met = "met" if again * 1000 <= GOAL_MS else "NOT met"
    return f"goal: again <= {GOAL_MS} ms, {met}"


def vectors() -> Path | None:
    """Return the folder of real evidence, or None where there is none."""
    beside = HERE.parents[1] / "shared" / "vectors" / "attestation"
    folder = Path(os.environ.get("PRIVITY_VECTORS") or beside)
    return folder if (folder / "MANIFEST.json").is_file() else None


def real_cases(folder: Path, go: Path | None, scratch: Path) -> Iterator[Case]:
    """Yield a case for each kind that the folder has evidence of."""
    yield tdx_case(folder, go)
    yield snp_case(folder, go, scratch)
    yield nvidia_case(folder)
    yield nitro_case(folder)


def tdx_case(folder: Path, go: Path | None) -> Case:
    """TDX: the quote with its collateral; the peers are the library underneath, and Go's."""
    import dcap_qvl

    from privity.attest.evidence_tdx import TdxVerifier, from_file

    quote = (folder / "tdx_quote").read_bytes()
    text = (folder / "tdx_quote_collateral.json").read_bytes()
    evidence, endorsements = from_file(quote, Companions(collateral=text))
    seconds = int(IN_2025.timestamp())
    collateral = dcap_qvl.QuoteCollateralV3.from_json(text.decode())

    def peers() -> dict[str, float]:
        run = lambda: dcap_qvl.verify(quote, collateral, seconds)  # noqa: E731
        found = median_seconds({"dcap_qvl": run}, SECONDS)
        if go is not None:
            name = "go-tdx-guest without collateral"
            found[name] = time_go(go, "tdx", folder / "tdx_quote", now=seconds)
        return found

    return Case(
        "TDX quote and collateral",
        lambda: TdxVerifier(None, POLICY),
        evidence[0],
        endorsements,
        IN_2025,
        peers,
    )


def snp_case(folder: Path, go: Path | None, scratch: Path) -> Case:
    """SNP: a report, its VCEK, ASK and ARK, as Go's library wants them all."""
    from privity.attest.evidence_snp import SnpVerifier, from_file

    report, vcek = folder / "test-report.bin", folder / "test-vcek.der"
    bundle = chain.load_certificates((folder / "milan_ask_ark_asvk.pem").read_bytes())
    ders = [one.public_bytes(Encoding.DER) for one in bundle[:2]]
    files = [vcek, scratch / "ask.der", scratch / "ark.der"]
    for path, der in zip(files[1:], ders, strict=True):
        path.write_bytes(der)
    evidence, endorsements = from_file(
        report.read_bytes(), Companions(tuple(path.read_bytes() for path in files))
    )

    def peers() -> dict[str, float]:
        found = bare_p384()
        if go is not None:
            seconds = int(IN_2025.timestamp())
            found["go-sev-guest"] = time_go(go, "snp", report, *files, now=seconds)
        return found

    make = lambda: SnpVerifier(policy=POLICY)  # noqa: E731
    return Case("SNP report, VCEK, ASK, ARK", make, evidence[0], endorsements, IN_2025, peers)


def nvidia_case(folder: Path) -> Case:
    """NVIDIA: a Hopper's report with its chain of five."""
    from privity.attest.evidence_nvidia import NvidiaVerifier, from_file
    from privity.attest.roots import Roots

    data = (folder / "hopper_evidence.json").read_bytes()
    evidence, endorsements = from_file(data, Companions())
    make = lambda: NvidiaVerifier(Roots().nvidia, POLICY)  # noqa: E731
    return Case("NVIDIA H100 report and chain", make, evidence[0], endorsements, IN_2025, bare_p384)


def nitro_case(folder: Path) -> Case:
    """Nitro: a document with its chain of five."""
    from privity.attest.evidence_nitro import NitroVerifier, from_file

    data = (folder / "nitro_attestation.bin").read_bytes()
    evidence, endorsements = from_file(data, Companions())
    make = lambda: NitroVerifier(policy=POLICY)  # noqa: E731
    return Case("Nitro document", make, evidence[0], endorsements, CHRISTMAS, bare_p384)


def synthetic_cases() -> Iterator[Case]:
    """Yield SNP and Nitro evidence of synthetic makers: the same work with other keys."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from privity.attest.evidence_nitro import NitroVerifier
    from privity.attest.evidence_snp import SnpVerifier

    noon = import_module("pki.certificates").NOON
    snp = import_module("pki.snp").SnpPki(chain=("ask", "ark"))
    nitro = import_module("pki.nitro").NitroPki()
    yield Case(
        "SNP report, VCEK, ASK, ARK (synthetic)",
        lambda: SnpVerifier(snp.anchors, POLICY),
        snp.quote(bytes(64), noon),
        list(snp.endorsements),
        noon,
        bare_p384,
    )
    yield Case(
        "Nitro document (synthetic)",
        lambda: NitroVerifier(nitro.anchors, POLICY),
        nitro.quote(bytes(64), noon),
        [],
        noon,
        bare_p384,
    )


def bare_p384() -> dict[str, float]:
    """Return the seconds of one signature's verification and nothing else."""
    key, message = ec.generate_private_key(ec.SECP384R1()), bytes(672)
    method = ec.ECDSA(hashes.SHA384())
    signature, public = key.sign(message, method), key.public_key()
    run = lambda: public.verify(signature, message, method)  # noqa: E731
    return median_seconds({"one bare P-384": run}, SECONDS / 3)


def build_go(report: Report, scratch: Path) -> Path | None:
    """Build the Go peer, or say why it is left out."""
    if shutil.which("go") is None:
        report.add("Go peers", "skipped: no go here to build bench/go")
        return None
    program = scratch / "attest"
    command = ["go", "build", "-o", str(program), "."]
    built = subprocess.run(command, cwd=HERE / "go", capture_output=True, text=True)
    if built.returncode:
        reason = built.stderr.strip().splitlines()[-1:] or ["no reason given"]
        report.add("Go peers", f"skipped: bench/go does not build: {reason[0]:.120}")
        return None
    return program


def time_go(program: Path, kind: str, *files: Path, now: int) -> float:
    """Return the median seconds of one verification in the Go peer's process."""
    command = [str(program), kind, *map(str, files), str(now), str(GO_COUNT)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    times = [int(line) for line in told.splitlines() if line.isdigit()]  # it also logs there
    return statistics.median(times[GO_WARM_UP:]) / 1e9


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"


if __name__ == "__main__":
    main()
