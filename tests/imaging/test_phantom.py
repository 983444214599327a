"""The procedural volumes look like what they stand for: tissues in their ranges, organs on their sides."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_samadapt.imaging import shapes
from napari_samadapt.imaging.intensity import looks_like_ct
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.phantom import ct_phantom, mr_phantom, ultrasound_phantom
from napari_samadapt.imaging.reading import read_labels, read_volume

SHAPE = (16, 64, 64)


@pytest.fixture(scope="module", params=[ct_phantom, mr_phantom], ids=["ct", "mr"])
def phantom(request):
    return request.param(3, SHAPE)


def centre(labels, names, organ):
    (number,) = (number for number, name in names.items() if name == organ)
    return np.argwhere(labels == number).mean(0)


def test_every_named_organ_is_there_and_nothing_else(phantom):
    volume, labels, names = phantom
    assert volume.shape == labels.shape == SHAPE
    assert set(np.unique(labels)) == {0, *names}


def test_organs_lie_on_their_sides_by_the_affine(phantom):
    volume, labels, names = phantom

    def world(organ):
        return (volume.affine @ [*centre(labels, names, organ)[::-1], 1])[:3]  # right is positive: RAS

    assert world("liver")[0] > 20
    assert world("right kidney")[0] > 20
    assert world("spleen")[0] < -20
    assert world("left kidney")[0] < -20
    assert world("stomach")[1] > world("vertebrae")[1], "the stomach is in front of the spine"
    assert world("liver")[2] > world("right kidney")[2], "the liver is above the kidney"
    assert world("aorta")[0] < world("inferior vena cava")[0], "the aorta is left of the vena cava"


def test_slices_are_axial_and_spacing_is_that_of_the_field_of_view(phantom):
    volume, _, _ = phantom
    assert volume.axis_name(0) == "axial"
    assert volume.spacing == pytest.approx((160 / 16, 6.0, 6.0))


def test_a_seed_gives_one_phantom_and_another_seed_another_one():
    first, labels, _ = ct_phantom(1, (6, 32, 32))
    again, _, _ = ct_phantom(1, (6, 32, 32))
    _, others, _ = ct_phantom(2, (6, 32, 32))
    assert (first.data == again.data).all()
    assert (labels != others).any()


def test_organs_change_their_shape_from_slice_to_slice(phantom):
    _, labels, names = phantom
    for number in names:
        sizes = (labels == number).sum((1, 2))
        assert len(set(sizes[sizes > 0])) > 2, names[number]


def test_ct_tissues_have_their_hounsfield_units():
    volume, labels, names = ct_phantom(1, (20, 96, 96))
    numbers = {name: number for number, name in names.items()}
    cores = {
        name: ndimage.binary_erosion(labels == numbers[name]) for name in ("liver", "spleen", "vertebrae")
    }
    medians = {name: np.median(volume.data[core]) for name, core in cores.items()}
    assert looks_like_ct(volume)
    assert medians["liver"] == pytest.approx(104, abs=10)
    assert 3 < medians["spleen"] - medians["liver"] < 20, "few HU apart, as in a real scan"
    assert medians["vertebrae"] > 150
    assert np.median(volume.data[0, :4]) < -950, "air around the body"
    assert volume.data.min() >= -1024


def test_mr_is_brighter_near_the_coil_than_in_the_middle():
    volume, _, _ = mr_phantom(2, SHAPE)
    fat = volume.data[8][volume.data[8] > 500]
    assert volume.data.min() >= 0
    assert fat.std() / fat.mean() > 0.08, "the bias field spreads one tissue's signal"


def test_ultrasound_is_a_fan_with_a_dark_lesion_and_a_black_gallbladder():
    volume, labels, names = ultrasound_phantom(1)
    image = volume.data[0].astype(float)
    numbers = {name: number for number, name in names.items()}
    assert volume.data.dtype == np.uint8
    assert set(np.unique(labels)) == {0, *names}
    lesion, bile = (image[labels[0] == numbers[name]].mean() for name in ("lesion", "gallbladder"))
    tissue = image[(labels[0] == 0) & (image > 0)].mean()
    assert bile < 0.5 * lesion
    assert lesion < 0.8 * tissue
    assert image[:, 0].max() == image[:, -1].max() == 0, "black beside the fan"


@pytest.mark.parametrize("name", ["ct", "mr", "ultrasound"])
def test_the_bundled_samples_are_read_with_their_labels_and_names(name):
    folder = Path(str(files("napari_samadapt.resources")))
    volume = read_volume(folder / f"sample_{name}.{'png' if name == 'ultrasound' else 'nii.gz'}")
    labels, _ = read_labels(folder / f"sample_{name}_labels.nii.gz", volume)
    names = json.loads((folder / f"sample_{name}_labels.json").read_text("utf-8"))["labels"]
    assert labels.shape == volume.shape
    assert {str(number) for number in np.unique(labels)} - {"0"} == set(names)
    assert label_report(labels, labels, volume.spacing).mean_dice == 1


def test_the_samples_are_small_enough_to_ship():
    folder = Path(str(files("napari_samadapt.resources")))
    sizes = [path.stat().st_size for path in folder.iterdir() if path.name.startswith("sample_")]
    assert max(sizes) < 1.5e6


def test_depths_are_distances_in_mm():
    grid = shapes.make_grid((9, 21, 21), (9.0, 42.0, 42.0))
    assert (grid.x.min(), grid.x.max(), grid.z.min()) == (-20, 20, 0.5)
    ball = shapes.ellipsoid(grid, (0, 0, 4.5), (10, 10, 10))
    assert ball[4, 10, 10:] == pytest.approx(np.arange(0, 22, 2) - 10.0, abs=1e-4)
    pipe = shapes.tube(grid, [(0, -50, 4.5), (0, 50, 4.5)], 6)
    assert pipe[4, 3] == pytest.approx(np.abs(np.arange(-20, 22, 2)) - 6.0, abs=1e-4)
    cone = shapes.tube(grid, [(-20, 0, 4.5), (20, 0, 4.5)], [2, 10])
    assert cone[4, 10, [0, 10, 20]] == pytest.approx([-2, -6, -10])


def test_bodies_combine():
    grid = shapes.make_grid((1, 1, 5), (1.0, 1.0, 5.0))  # x from -2 to 2
    left, right = grid.x, -grid.x
    assert (shapes.join(left, right)[0, 0]).tolist() == [-2, -1, 0, -1, -2]
    assert (shapes.within(left, right)[0, 0]).tolist() == [2, 1, 0, 1, 2]
    assert (shapes.without(left, left)[0, 0]).tolist() == [2, 1, 0, 1, 2]
    assert shapes.join(left, right, 4.0)[0, 0, 2] == -1, "the crease is filled by a quarter of the rounding"


def test_noise_has_unit_spread_and_the_asked_scale():
    grid = shapes.make_grid((4, 64, 64), (16.0, 192.0, 192.0))
    rng = np.random.default_rng(0)
    fine, coarse = (shapes.smooth_noise(grid, rng, scale) for scale in (6.0, 40.0))
    assert (fine.std(), coarse.std()) == pytest.approx((1, 1), abs=1e-3)
    assert np.abs(np.diff(coarse, axis=2)).mean() < 0.4 * np.abs(np.diff(fine, axis=2)).mean()
