"""`privity doctor` says how jobs leave this device where no enclave is configured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privity.cli import app

NETWORK = '[anonymous]\nledger = "http://127.0.0.1:8545"\ncontracts = "contracts.json"\n'
PROVIDER = '[[provider]]\nname = "openai"\n'


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "jobs stay on this device"),
        (NETWORK, "jobs stay on this device, or go by [anonymous]"),
        (PROVIDER, "jobs stay on this device, or go by [[provider]]"),
        (NETWORK + PROVIDER, "jobs stay on this device, or go by [anonymous] or [[provider]]"),
    ],
)
def test_without_an_enclave_it_names_the_other_ways(
    lines: str, told: str, privity_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    privity_home.mkdir()
    (privity_home / "config.toml").write_text(lines)
    assert app.run(["doctor", "--only", "enclave", "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["detail"] == f"none is configured and no devnet runs: {told}"
