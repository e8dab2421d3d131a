"""Shared fixtures: one async backend, and a privity home of its own for every test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def privity_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every test at an empty home, so that none reads or writes the person's own."""
    folder = tmp_path / "privity-home"
    monkeypatch.setenv("PRIVITY_HOME", str(folder))
    return folder
