"""A file that can be read in several ways ends a command with the options that answer it; with one it goes on."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from .conftest import AFFINE, SHAPE, load, save

SEGMENT = "segment {image} --slice axial:1 --box 3,3,12,14 --out {out} --device cpu"


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """A volume whose sform and qform are 3 mm apart."""
    image = nibabel.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE).T, AFFINE)
    moved = AFFINE.copy()
    moved[2, 3] += 3
    image.set_sform(AFFINE, 1)
    image.set_qform(moved, 1)
    nibabel.save(image, tmp_path / "turned.nii.gz")
    return tmp_path / "turned.nii.gz"


def test_a_question_names_its_options_and_an_answer_goes_on(run, base_model, turned, tmp_path):
    out = tmp_path / "mask.nii.gz"
    words = SEGMENT.format(image=turned, out=out).split()
    asked = run(*words)
    assert (asked.code, asked.out) == (2, "")
    assert len(asked.err.splitlines()) == 1
    for part in ("differ by 3 mm", "--choose transform=sform (first voxel at", "--choose transform=qform ("):
        assert part in asked.err
    assert not out.exists()
    answered = run(*words, "--choose", "transform=qform")
    assert answered.code == 0, answered.err
    assert nibabel.load(out).header["qform_code"] == 1


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("transform", '--choose is QUESTION=ANSWER, for example transform=sform; "transform" is not'),
        ("colour=red", '"colour=red" is not. Questions: transform, time'),
        ("transform=left", "'left' is no answer here"),
    ],
)
def test_answers_that_are_none(run, base_model, turned, tmp_path, answer, sentence):
    words = SEGMENT.format(image=turned, out=tmp_path / "mask.nii.gz").split()
    outcome = run(*words, "--choose", answer)
    assert outcome.code == 2
    assert sentence in outcome.err


def test_labels_of_another_grid_and_a_mask_in_white(run, labels, tmp_path):
    reference = save(tmp_path / "reference.nii.gz", labels)
    moved = AFFINE.copy()
    moved[0, 3] += 1.5
    white = save(tmp_path / "white.nii.gz", np.where(labels == 7, 255, 0).astype(np.uint8), moved)
    outcome = run("evaluate", white, reference, "--json", "--labels", "1")
    assert "--choose coding=mask" in outcome.err
    outcome = run("evaluate", white, reference, "--json", "--labels", "1", "--choose", "coding=mask")
    assert "up to 1.5 mm away" in outcome.err
    assert "--choose grid=resample" in outcome.err
    answers = ("--choose", "coding=mask", "--choose", "grid=resample")
    outcome = run("evaluate", white, reference, "--json", *answers)
    assert outcome.code == 0, outcome.err
    assert "resampled onto the image" in outcome.err


def test_codes_in_file_names_do_not_reach_the_terminal(run, tmp_path):
    path = tmp_path / "a\x1b[31mred\x07.nii.gz"
    path.write_bytes(b"x")
    outcome = run("evaluate", path, path)
    assert outcome.code == 2
    assert "\x1b" not in outcome.err
    assert "a?[31mred?.nii.gz" in outcome.err


def test_one_of_several_volumes_is_segmented_on_its_grid(run, base_model, tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (*SHAPE[::-1], 4)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "bold.nii.gz")
    words = SEGMENT.format(image=tmp_path / "bold.nii.gz", out=tmp_path / "mask.nii.gz").split()
    assert "--choose time=0 (volume 0), " in run(*words).err
    outcome = run(*words, "--choose", "time=2")
    assert outcome.code == 0, outcome.err
    assert "Volume 2 of 0 to 3" in outcome.err
    assert load(tmp_path / "mask.nii.gz").shape == SHAPE
