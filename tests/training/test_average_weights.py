"""Checkpoints of one run are averaged tensor by tensor."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from training import average_weights


def test_the_mean_is_written_with_the_latest_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for step, path in enumerate(paths):
        weight = torch.full((2, 3), 1.0 + 2 * step).half()
        save_file({"weight": weight}, path, metadata={"step": str(step)})
    out = tmp_path / "mean.safetensors"
    monkeypatch.setattr(sys, "argv", ["average_weights", *map(str, paths), "--out", str(out)])
    average_weights.main()
    assert torch.equal(load_file(out)["weight"], torch.full((2, 3), 2.0).half())
    with safe_open(out, "pt") as opened:
        assert opened.metadata() == {"step": "1"}
