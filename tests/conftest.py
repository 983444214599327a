"""Fixtures that every layer's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_journals(tmp_path_factory, monkeypatch):
    """No test sees or leaves a journal in the user's folder."""
    monkeypatch.setenv("SAMADAPT_STATE_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files beside the project; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real files are not at {folder}")
    return folder
