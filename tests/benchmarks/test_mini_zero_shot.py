"""The pieces of the zero-shot benchmark, on arrays small enough to know the answer."""

from __future__ import annotations

import json

import mini_zero_shot
import numpy as np
import pytest
from mini_zero_shot import calibration_error, corrected, means, next_click, points_along, table
from no_learning import Walker, ellipse_in_box, otsu_in_box
from region_sets import Picture, Scribbles, components, image_pictures, regions_of

from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.prompts import box_of, click_in_error


def disc(shape, centre, radius):
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def rectangle(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_regions_are_the_large_parts_that_touch_by_a_side():
    mask = rectangle((20, 20), (0, 6), (0, 5)) | rectangle((20, 20), (6, 12), (5, 10))
    mask[15:17, 15:17] = True
    first, second = components(mask)
    assert first.sum() == second.sum() == 30
    assert not (first & second).any()
    assert not components(np.zeros((20, 20), bool))


def test_a_region_that_two_masks_share_counts_once():
    left, right = rectangle((20, 20), (2, 9), (0, 7)), rectangle((20, 20), (2, 9), (12, 19))
    assert len(regions_of([left | right, left, right])) == 2


@pytest.mark.parametrize(
    ("predicted", "real", "error"),
    [
        ([0.0, 0.35, 0.99, 1.0], [0.0, 0.35, 0.99, 1.0], 0.0),
        ([1.0] * 4, [0.5] * 4, 0.5),
        ([0.72, 0.78], [0.9, 0.6], 0.0),  # right on average within one bin
        ([0.05, 0.95], [0.15, 0.85], 0.1),
        ([1.3, -0.1], [1.0, 0.0], 0.2),  # a prediction outside [0, 1] is wrong by all it is off
    ],
)
def test_calibration_error(predicted, real, error):
    assert calibration_error(predicted, real) == pytest.approx(error)


def test_the_next_click_is_that_of_the_whole_slice():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask, region = rng.random((2, 12, 17)) < 0.4
        (xy, label), (expected, sign) = next_click(mask, region), click_in_error(mask, region)
        assert xy.tolist() == expected.tolist()
        assert label == sign


def test_clicks_end_where_nothing_is_wrong():
    region, asked = disc((20, 20), (10, 10), 5), []

    def answer(points, labels, mask):
        asked.append((points.tolist(), labels.tolist(), int(mask.sum())))
        return region if len(points) == 2 else np.ones_like(region)

    scores = corrected(region, answer)
    assert scores[0] == pytest.approx(dice(np.ones_like(region), region))
    assert scores[1:] == [1.0] * 4
    assert asked[0] == ([[10, 10]], [1], 0)
    assert asked[1][1:] == ([1, 0], 400)
    assert len(asked) == 2


def test_points_lie_spread_along_a_stroke():
    stroke = rectangle((20, 40), (9, 12), (2, 38))
    points = points_along(stroke, 4)
    assert points.shape == (4, 2)
    assert set(points[:, 1]) <= {9, 10, 11}
    assert np.diff(np.sort(points[:, 0])).min() >= 8
    assert len(points_along(rectangle((9, 9), (4, 5), (4, 5)), 4)) == 1
    assert points_along(np.zeros((9, 9), bool), 4).shape == (0, 2)


def test_the_ellipse_of_a_discs_box_is_the_disc():
    region = disc((40, 50), (20, 27), 12.4)
    assert dice(ellipse_in_box(box_of(region), region.shape), region) > 0.97


@pytest.mark.parametrize("bright", [True, False])
def test_otsu_finds_a_square_with_a_hole(bright):
    square = rectangle((30, 30), (10, 20), (8, 18))
    image = np.where(square, 0.8, 0.2)
    image[12, 10] = 0.2
    image[5, 5] = 0.8
    found = otsu_in_box(image if bright else 1 - image, np.array([4.5, 4.5, 21.5, 24.5]))
    assert (found == square).all()


def test_otsu_keeps_a_box_without_contrast():
    found = otsu_in_box(np.full((20, 20), 0.5), np.array([4.5, 5.5, 9.5, 11.5]))
    assert (found == rectangle((20, 20), (6, 12), (5, 10))).all()


@pytest.mark.parametrize("size", [40, 200])
def test_the_walker_finds_a_blob(size):
    blob = disc((size, size), (size // 2, size // 3), size / 6)
    walker = Walker(np.where(blob, 0.9, 0.1))
    click = np.array([[size / 3, size / 2]])
    assert dice(walker.mask(click, np.array([1])), blob) > 0.95
    assert not walker.mask(click, np.array([0])).any()


def test_the_table_is_aligned_and_shows_what_is_missing():
    columns = {"ct": {"slices": 2, "regions": 10, "box": 0.5}, "medscribble": {"slices": 1, "regions": 1}}
    columns["mean"] = means(list(columns.values()), ["box"])
    lines = table(columns, ["box"]).splitlines()
    assert [line.split() for line in lines] == [
        ["ct", "medscribble", "mean"],
        ["slices", "2", "1", "–"],
        ["regions", "10", "1", "–"],
        ["box", "0.500", "–", "0.500"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_masks_belong_to_the_image_whose_name_they_begin_with(tmp_path):
    from PIL import Image

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    grey = np.arange(400, dtype=np.uint8).reshape(20, 20)
    Image.fromarray(grey).save(tmp_path / "images" / "a.png")
    Image.fromarray(grey).save(tmp_path / "images" / "without.png")
    mask = rectangle((20, 20), (2, 9), (3, 12)).astype(np.uint8) * 255
    Image.fromarray(mask).convert("RGBA").save(tmp_path / "masks" / "a_liver.png")
    (picture,) = image_pictures("images", "masks", tmp_path)
    assert np.allclose(picture.image, grey / 255)
    assert len(picture.regions) == 1
    assert (picture.regions[0] == (mask > 0)).all()


def test_a_run_measures_every_nth_region_and_reports(monkeypatch, tmp_path, capsys):
    left, right = disc((40, 48), (20, 12), 8.4), disc((40, 48), (20, 34), 9.4)
    image = np.where(left | right, 0.8, 0.2).astype(np.float32)
    strokes = Scribbles(rectangle((40, 48), (19, 22), (8, 16)), rectangle((40, 48), (2, 5), (5, 40)), left)
    pictures = [Picture(image, (left, right), (strokes,)), Picture(image, (left,))]
    monkeypatch.setattr(mini_zero_shot, "SETS", {"discs": lambda data: iter(pictures)})
    report = tmp_path / "report.json"
    arguments = ["mini_zero_shot.py", "--sets", "discs", "--every", "2", "--report", str(report)]
    monkeypatch.setattr("sys.argv", arguments)
    mini_zero_shot.main()
    written = json.loads(report.read_text())
    assert written["figures"]["discs"]["regions"] == 2
    assert written["figures"]["discs"]["ellipse in the box"] > 0.95
    assert written["figures"]["mean"]["scribble"] == written["measured"]["discs"]["dice"]["scribble"][0]
    assert 2 * 2 + 1 <= len(written["measured"]["discs"]["predicted"]) <= 2 * 6 + 1
    assert "random walker, 5 clicks" in capsys.readouterr().out
