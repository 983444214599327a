"""Small files on disk, a base model with random weights, and the command line run in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from napari_samadapt import cli

AFFINE = np.diag([-1.5, -1.5, 4.0, 1.0])
SHAPE = (3, 20, 24)
"""(z, y, x)"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `napari-samadapt ARGUMENTS…` in this process."""

    def run_words(*words: object) -> Outcome:
        try:
            cli.main([str(word) for word in words])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run_words


@pytest.fixture
def labels() -> np.ndarray:
    """(z, y, x): 7 in a block of every slice, 52 in a smaller one; sorted as text, 52 comes first."""
    values = np.zeros(SHAPE, np.uint8)
    values[:, 4:14, 4:12] = 7
    values[:, 6:16, 15:21] = 52
    return values


@pytest.fixture
def image_path(tmp_path: Path, labels: np.ndarray) -> Path:
    noise = np.random.default_rng(0).normal(0, 10, SHAPE)
    return save(
        tmp_path / "image.nii.gz", (np.where(labels, 100.0 + labels, 0.0) * 3 + noise).astype(np.int16)
    )


@pytest.fixture
def labels_path(tmp_path: Path, labels: np.ndarray) -> Path:
    return save(tmp_path / "labels.nii.gz", labels)


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write (z, y, x) values as NIfTI."""
    nibabel.save(nibabel.Nifti1Image(values.T, affine), path)
    return path


def load(path: Path) -> np.ndarray:
    """The (z, y, x) values of a NIfTI file."""
    return np.asarray(nibabel.load(path).dataobj).T


@pytest.fixture
def base_model(monkeypatch: pytest.MonkeyPatch, make_small_sam: Callable[[], Any]) -> str:
    """The name of a base model that is a complete SAM of 64 pixels with random weights: quick, no download."""
    from napari_samadapt.learning import sam

    def load_tiny(name: str, *, device: str, input_size: int | None) -> sam.PromptableSam:
        return make_small_sam().to(device)

    monkeypatch.setattr(sam, "load_sam", load_tiny)
    return "tiny"
