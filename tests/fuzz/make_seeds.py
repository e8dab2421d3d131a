"""Write the seeds of every target anew: ``python -m fuzz.make_seeds [WHAT …]``.

The synthetic PKIs have new keys each time, so seeds and roots are written together.
"""

from __future__ import annotations

import importlib
import shutil
import sys

from cryptography.hazmat.primitives.serialization import Encoding

from fuzz.harness import FOLDER, ROOTS, SEEDS


def main() -> None:
    """Write seeds and roots."""
    every = sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py"))
    for what in sys.argv[1:] or every:
        made = importlib.import_module(f"fuzz.fuzz_{what}").seeds()
        shutil.rmtree(SEEDS / what, ignore_errors=True)
        (SEEDS / what).mkdir(parents=True)
        for place, seed in enumerate(made.seeds):
            (SEEDS / what / f"{place:02}").write_bytes(seed)
        if made.roots:
            pem = b"".join(one.public_bytes(Encoding.PEM) for one in made.roots)
            ROOTS.mkdir(exist_ok=True)
            (ROOTS / f"{what}.pem").write_bytes(pem)


if __name__ == "__main__":
    main()
