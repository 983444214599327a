"""Volumes, their anatomical axes and their slices."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import (
    AXIS_NAMES,
    SliceKey,
    Source,
    Volume,
    corner_distance,
    parse_slices,
    put_slice,
    slice_count,
    slice_spacing,
    take_slice,
)

ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def affine_of(order, signs, spacing=(1.0, 1.0, 1.0)):
    """Voxel axis n points along world axis order[n] (0 right, 1 front, 2 up), forwards or backwards."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, voxel] = sign * spacing[voxel]
    return affine


def volume_of(shape=(4, 5, 6), affine=None, **source):
    return Volume(np.zeros(shape, np.int16), np.eye(4) if affine is None else affine, Source(**source))


def rotation(degrees):
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_axes_are_told_from_the_affine_in_every_storage_order(order, signs):
    volume = volume_of(affine=affine_of(order, signs))
    for name, world in zip(AXIS_NAMES, (2, 1, 0), strict=True):
        axis = volume.anatomical_axis(name)
        assert order[2 - axis] == world
        assert volume.axis_name(axis) == name


@pytest.mark.parametrize("degrees", [0, 19, 44.9, 45, 45.1, 63, 90])
def test_each_axis_has_one_name_even_at_45_degrees(degrees):
    volume = volume_of(affine=rotation(degrees))
    assert sorted(volume.anatomical_axis(name) for name in AXIS_NAMES) == [0, 1, 2]


def test_axes_stay_a_bijection_where_two_point_mostly_upwards():
    affine = np.eye(4)
    affine[:3, :3] = [[0.7, 0.1, 0.7], [0.1, 1, 0.1], [-0.71, 0.1, 0.70]]
    volume = volume_of(affine=affine)
    assert sorted(volume.anatomical_axis(name) for name in AXIS_NAMES) == [0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "order", "spacing_xyz", "expected"),
    [
        ((30, 50, 50), (0, 1, 2), (1, 1, 1), 0),  # isotropic: axial
        ((30, 50, 50), (1, 2, 0), (1, 1, 1), 1),  # isotropic, stored P, S, R: axial is axis 1
        ((30, 50, 50), (0, 2, 1), (1, 1, 5), 0),  # coronal slices of 5 mm: as acquired
        ((50, 50, 30), (0, 1, 2), (6, 1, 1), 2),  # sagittal slices of 6 mm
        ((30, 50, 50), (0, 1, 2), (3, 3, 4), 0),
        ((1, 50, 50), (1, 2, 0), (1, 1, 1), 0),  # one picture
        ((50, 50, 1), (0, 1, 2), (1, 1, 1), 2),
    ],
)
def test_default_axis(shape, order, spacing_xyz, expected):
    assert volume_of(shape, affine_of(order, (1, 1, 1), spacing_xyz)).default_axis == expected


def test_spacing_is_in_array_order():
    volume = volume_of(affine=affine_of((0, 1, 2), (-1, 1, 1), (0.5, 0.75, 7.5)))
    assert volume.spacing == (7.5, 0.75, 0.5)
    assert slice_spacing(volume, 0) == (0.75, 0.5)
    assert slice_spacing(volume, 1) == (7.5, 0.5)
    assert slice_spacing(volume, 2) == (7.5, 0.75)


def test_data_is_read_only_and_the_callers_array_is_not():
    mine = np.zeros((2, 3, 4))
    volume = Volume(mine, np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        volume.data[0] = 1
    mine[0] = 1


@pytest.mark.parametrize(
    ("data", "affine"),
    [
        (np.zeros((3, 4)), np.eye(4)),
        (np.zeros((2, 3, 4, 3)), np.eye(4)),  # colour must be uint8
        (np.zeros((2, 3, 4, 2), np.uint8), np.eye(4)),
        (np.zeros((0, 3, 4)), np.eye(4)),
        (np.zeros((2, 3, 4)), np.eye(3)),
        (np.zeros((2, 3, 4)), np.zeros((4, 4))),
        (np.zeros((2, 3, 4)), np.full((4, 4), np.nan)),
    ],
)
def test_what_is_no_volume_is_refused(data, affine):
    with pytest.raises(SamAdaptError):
        Volume(data, affine)


def test_slices_are_views_of_the_array():
    data = np.arange(24).reshape(2, 3, 4)
    for axis in range(3):
        view = take_slice(data, SliceKey(axis, 1))
        assert view.base is not None
        assert (view == data.take(1, axis)).all()
    color = np.zeros((2, 3, 4, 3), np.uint8)
    assert take_slice(color, SliceKey(1, 0)).shape == (2, 4, 3)


def test_put_slice_writes_only_its_slice():
    data = np.zeros((2, 3, 4), int)
    put_slice(data, SliceKey(2, 3), np.ones((2, 3), int))
    assert data.sum() == 6
    assert (data[:, :, 3] == 1).all()
    with pytest.raises(SamAdaptError, match="2, 3"):
        put_slice(data, SliceKey(2, 3), np.ones((3, 2), int))


def test_slice_keys_sort_and_refuse_nonsense():
    assert sorted([SliceKey(1, 0), SliceKey(0, 2), SliceKey(0, 1)])[0] == SliceKey(0, 1)
    for axis, index in [(3, 0), (-1, 0), (0, -1)]:
        with pytest.raises(SamAdaptError):
            SliceKey(axis, index)
    with pytest.raises(SamAdaptError):
        slice_count((2, 3, 4), 3)


def test_slices_are_parsed():
    volume = volume_of((20, 5, 6), affine_of((1, 2, 0), (1, 1, 1)))  # axial is array axis 1
    assert parse_slices("0:5,10, 14", volume) == tuple(SliceKey(0, index) for index in (5, 10, 14))
    assert parse_slices("axial:3,3,1", volume) == (SliceKey(1, 3), SliceKey(1, 1))
    assert parse_slices("Sagittal:0", volume) == (SliceKey(0, 0),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("axial", "AXIS:I,J,K"),
        ("axial:", "AXIS:I,J,K"),
        ("axial:1,,2", "AXIS:I,J,K"),
        ("axial:-1", "slices 0 to 3"),
        ("axial:--1", "AXIS:I,J,K"),
        ("axial:1.5", "AXIS:I,J,K"),
        ("oblique:1", "oblique"),
        ("3:1", "'3'"),
        ("axial:4", "slices 0 to 3"),
        ("²:1", "axis"),
    ],
)
def test_bad_slices_are_refused_with_what_is_wrong(text, says):
    with pytest.raises(SamAdaptError, match=says):
        parse_slices(text, volume_of())


def test_corner_distance_is_the_largest_shift():
    moved = np.eye(4)
    moved[0, 3] = 0.58
    assert corner_distance((4, 5, 6), np.eye(4), moved) == pytest.approx(0.58)
    scaled = np.diag([1.1, 1, 1, 1])
    assert corner_distance((4, 5, 6), np.eye(4), scaled) == pytest.approx(0.5)
