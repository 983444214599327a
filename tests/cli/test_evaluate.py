"""`evaluate`: the numbers, the choices, and what is refused."""

import numpy as np
import pytest

from .conftest import AFFINE, save


@pytest.fixture
def prediction_path(tmp_path, labels):
    """One row of label 7 is missing in slice 0; label 9 is only here."""
    wrong = labels.copy()
    wrong[0, 4] = 0
    wrong[1, 0, 0] = 9
    return save(tmp_path / "prediction.nii.gz", wrong)


def test_json(run, prediction_path, labels_path):
    outcome = run("evaluate", prediction_path, labels_path, "--labels", "7,52", "--json")
    assert outcome.code == 0
    rows = outcome.json["labels"]
    assert list(rows) == ["7", "52"]
    assert rows["7"]["dice"] == pytest.approx(2 * 232 / (232 + 240))
    assert rows["7"]["volume_ml"] == pytest.approx(232 * 1.5 * 1.5 * 4 / 1000)
    assert rows["52"] == {
        "dice": 1,
        "hd95_mm": 0,
        "assd_mm": 0,
        "volume_ml": pytest.approx(180 * 9 / 1000),
        "reference_volume_ml": pytest.approx(180 * 9 / 1000),
    }
    assert outcome.json["mean"]["dice"] == pytest.approx((rows["7"]["dice"] + 1) / 2)


def test_excluded_slices_count_for_nothing(run, prediction_path, labels_path):
    words = ("evaluate", prediction_path, labels_path, "--json", "--exclude-slices")
    assert run(*words, "axial:0,1").json["mean"]["dice"] == 1
    assert run(*words, "0:0").json["mean"]["dice"] < 1


def test_table_names_what_only_one_file_holds(run, prediction_path, labels_path):
    outcome = run("evaluate", prediction_path, labels_path)
    assert outcome.code == 0
    assert "mean" in outcome.out
    assert "holds 9" in outcome.out


def test_another_grid_is_refused(run, tmp_path, labels, prediction_path):
    shifted = AFFINE.copy()
    shifted[2, 3] = 1.0
    outcome = run("evaluate", prediction_path, save(tmp_path / "shifted.nii.gz", labels, shifted))
    assert outcome.code == 2
    assert "mm" in outcome.err
    outcome = run("evaluate", prediction_path, save(tmp_path / "other.nii.gz", np.zeros((4, 4, 4), np.uint8)))
    assert outcome.code == 2
