"""Compile contracts/*.vy to src/privity/ledger/artefacts/*.json, or check that they are so.

Run: python scripts/compile_contracts.py [--check]
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "contracts"
ARTEFACTS = ROOT / "src" / "privity" / "ledger" / "artefacts"
CONTRACTS = ("Token", "Membership", "Credits", "Providers")
SETTINGS = {"evm_version": "cancun", "optimize": "gas", "bytecode_metadata": False}


def compiled(name: str) -> dict[str, Any]:
    """Compile one contract; raise subprocess.CalledProcessError where the compiler refuses."""
    command = [sys.executable, "-m", "vyper", "--evm-version", str(SETTINGS["evm_version"])]
    command += [
        "--optimize",
        str(SETTINGS["optimize"]),
        "--no-bytecode-metadata",
        "--disable-sys-path",
    ]
    command += ["-p", ".", "-f", "abi,bytecode", f"{name}.vy"]
    out = subprocess.run(command, cwd=SOURCES, check=True, capture_output=True, text=True).stdout
    abi, bytecode = out.strip().split("\n")
    return {
        "contract": name,
        "compiler": f"vyper {version('vyper')}",
        "settings": SETTINGS,
        "source_sha256": {source.name: digest(source) for source in sources(name)},
        "abi": json.loads(abi),
        "bytecode": bytecode,
    }


def sources(name: str) -> list[Path]:
    """Return a contract's file and those of ours that it imports."""
    main = SOURCES / f"{name}.vy"
    modules = re.findall(r"^import (\w+)$", main.read_text(), re.MULTILINE)
    return [main, *(SOURCES / f"{module}.vy" for module in sorted(modules))]


def digest(source: Path) -> str:
    """Return SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def text(artefact: dict[str, Any]) -> str:
    """Write an artefact as it is kept: one entry of the ABI a line."""
    abi = ",\n".join(f"  {json.dumps(entry)}" for entry in artefact["abi"])
    kept = json.dumps({**artefact, "abi": None}, indent=1)
    return kept.replace('"abi": null', f'"abi": [\n{abi}\n ]') + "\n"


def main() -> int:
    """Write, or compare with ``--check``; return the exit status."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name in CONTRACTS:
        path, fresh = ARTEFACTS / f"{name}.json", text(compiled(name))
        if not check:
            ARTEFACTS.mkdir(parents=True, exist_ok=True)
            path.write_text(fresh)
        elif not path.is_file() or path.read_text() != fresh:
            stale.append(name)
    if stale:
        print(f"not as compiled: {', '.join(stale)}; run python scripts/compile_contracts.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
