"""Run one target under atheris: ``python -m fuzz.run_target WHAT [libFuzzer's options]``.

`scripts/fuzz` calls it; by itself it fuzzes until it is stopped.
"""

from __future__ import annotations

import importlib
import sys

import atheris

KINDS = ("tdx", "sgx", "snp", "nitro", "nvidia", "dev")


def main() -> None:
    """Instrument privity while it is imported, and fuzz."""
    what = sys.argv.pop(1)
    with atheris.instrument_imports(include=["privity", "fuzz"], enable_loader_override=False):
        # What production code imports only when it needs it has to be instrumented too.
        for kind in KINDS:
            importlib.import_module(f"privity.attest.evidence_{kind}")
        target = importlib.import_module(f"fuzz.fuzz_{what}")
    from privity.errors import PrivityError

    def one(data: bytes) -> None:
        try:
            target.one(data)
        except PrivityError:
            return

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
