"""What can be written for prompts, ids, slices and outputs, and what is refused."""

import numpy as np
import pytest

from napari_samadapt.arguments import (
    check_distinct,
    check_label_target,
    check_target,
    one_slice,
    parse_ids,
    parse_prompts,
)
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import SliceKey, Volume


def test_points_and_box_become_prompts():
    prompts = parse_prompts(["3,4,+", "5.5, 6 ,-"], "0,1,10,12.5")
    np.testing.assert_array_equal(prompts.point_coords, [[3, 4], [5.5, 6]])
    np.testing.assert_array_equal(prompts.point_labels, [1, 0])
    np.testing.assert_array_equal(prompts.box, [0, 1, 10, 12.5])


@pytest.mark.parametrize(
    ("points", "box", "words"),
    [
        ([], None, "There is no prompt"),
        (["3,4"], None, "--point is X,Y"),
        (["3,4,1"], None, "--point is X,Y"),
        (["3,4,+,-"], None, "--point is X,Y"),
        (["a,4,+"], None, "no number"),
        (["nan,4,+"], None, "finite"),
        (["3,4,-", "5,6,-"], None, "only background points"),
        ([], "1,2,3", "--box is X0"),
        ([], "1,2,3,x", "no number"),
        ([], "5,5,2,2", "no area"),
    ],
)
def test_other_prompts_are_refused(points, box, words):
    with pytest.raises(SamAdaptError, match=words):
        parse_prompts(points, box)


def test_background_points_go_with_a_box():
    assert parse_prompts(["3,4,-"], "0,1,10,12").point_labels.tolist() == [0]


def test_ids():
    assert parse_ids("1, 2,52,2") == (1, 2, 52)


@pytest.mark.parametrize("text", ["", "0", "1,,2", "a", "-1", "1.5"])
def test_other_ids_are_refused(text):
    with pytest.raises(SamAdaptError, match="--labels"):
        parse_ids(text)


def test_one_slice():
    volume = Volume(np.zeros((5, 6, 7)), np.eye(4))
    assert one_slice("axial:4", volume) == SliceKey(0, 4)
    assert one_slice("2:0", volume) == SliceKey(2, 0)
    with pytest.raises(SamAdaptError, match="one slice"):
        one_slice("axial:1,2", volume)


def test_targets(tmp_path):
    image = tmp_path / "image.nii.gz"
    image.write_bytes(b"")
    check_label_target(tmp_path / "mask.nii.gz", image)
    check_target(None, ".json")
    check_target(tmp_path / "report.json", ".json")
    for path, words in [
        (tmp_path / "mask.txt", "must end in"),
        (tmp_path / "none" / "mask.nii", "does not exist"),
        (image, "is also an input"),
        (tmp_path / ("long" * 80 + ".nii"), "cannot be written"),
    ]:
        with pytest.raises(SamAdaptError, match=words):
            check_label_target(path, image)
    with pytest.raises(SamAdaptError, match=r"must end in \.json"):
        check_target(tmp_path / "report.txt", ".json")
    with pytest.raises(SamAdaptError, match="two outputs"):
        check_distinct(tmp_path / "a.json", None, tmp_path / "a.json")
