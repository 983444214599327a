"""Windows and rendered slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import (
    CT_WINDOWS,
    Window,
    auto_window,
    looks_like_ct,
    named_window,
    render_slice,
)
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import SliceKey, Source, Volume


def volume_of(data, **source):
    return Volume(np.asarray(data), np.eye(4), Source(**source))


def ct(padding=None):
    rng = np.random.default_rng(0)
    data = np.full((10, 40, 40), -1000, np.int16)
    data[:, 8:32, 8:32] = rng.normal(40, 15, (10, 24, 24))
    data[:, 10:14, 10:30] = -100
    data[:, 25:28, 18:22] = 700
    if padding is not None:
        data[:, :, :5] = padding
    return data


@pytest.mark.parametrize("padding", [None, -1024, -2000, -3024, -32768])
def test_ct_is_told_from_its_values_and_shown_as_soft_tissue(padding):
    volume = volume_of(ct(padding), format="nifti")
    assert looks_like_ct(volume)
    assert auto_window(volume) == CT_WINDOWS["soft tissue"]


@pytest.mark.parametrize(
    "data",
    [
        np.random.default_rng(0).gamma(2, 200, (10, 20, 20)).astype(np.int16),  # MR magnitude
        np.random.default_rng(0).normal(0, 1, (10, 20, 20)),  # z-scored MR
        np.random.default_rng(0).uniform(-4096, 4096, (10, 20, 20)).astype(np.int16),  # MR phase
        np.full((3, 4, 5), -1000, np.int16),
        np.zeros((3, 4, 5, 3), np.uint8),
    ],
)
def test_what_is_no_ct_is_not_taken_for_one(data):
    assert not looks_like_ct(volume_of(data, format="nifti"))


def test_the_modality_decides_where_it_is_known():
    assert not looks_like_ct(volume_of(ct(), format="dicom", modality="PT"))
    assert looks_like_ct(volume_of(np.zeros((2, 3, 4)), format="dicom", modality="CT"))


def test_background_does_not_darken_an_mr():
    data = np.zeros((4, 50, 50))
    data[:, 20:30, 20:30] = np.linspace(500, 1000, 400).reshape(4, 10, 10)
    window = auto_window(volume_of(data, format="nifti"))
    assert 490 <= window.low <= 520
    assert 980 <= window.high <= 1000


@pytest.mark.parametrize(
    "bad", [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38], ids=["nan", "inf", "-inf", "max", "min"]
)
def test_values_that_are_none_do_not_widen_the_window(bad):
    data = np.random.default_rng(0).uniform(0, 100, (4, 20, 20)).astype(np.float32)
    data[0, 0, :] = bad
    window = named_window(volume_of(data, format="nifti"), "percentile")
    assert 0 <= window.low < window.high <= 100


def test_eight_bit_pictures_are_shown_as_they_are():
    assert auto_window(volume_of(np.full((1, 4, 4), 30, np.uint8), format="image")) == Window(0, 255)
    assert auto_window(volume_of(np.zeros((1, 4, 4, 3), np.uint8))) == Window(0, 255)


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.uint16, np.uint8, np.int64, np.bool_]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
    )
)
def test_every_volume_has_a_window_and_renders_between_zero_and_one(data):
    volume = volume_of(data, format="nifti")
    image = render_slice(volume, SliceKey(0, 0), auto_window(volume))
    assert image.dtype == np.float32
    assert image.shape == data.shape[1:]
    assert ((image >= 0) & (image <= 1)).all()


def test_rendering_is_linear_between_the_ends():
    volume = volume_of([[[-500.0, -160.0, 40.0, 240.0, 900.0, np.nan, np.inf, -np.inf]]])
    image = render_slice(volume, SliceKey(0, 0), CT_WINDOWS["soft tissue"])
    assert image[0].tolist() == [0, 0, 0.5, 1, 1, 0, 1, 0]


def test_colours_keep_their_channels():
    volume = volume_of(np.full((1, 2, 2, 3), (0, 51, 255), np.uint8))
    image = render_slice(volume, SliceKey(0, 0), auto_window(volume))
    assert image.shape == (2, 2, 3)
    assert image[0, 0].tolist() == pytest.approx([0, 0.2, 1])


def test_an_unknown_window_is_refused_with_the_known_ones():
    with pytest.raises(SamAdaptError, match="soft tissue"):
        named_window(volume_of(ct()), "liver")
    for low, high in [(1, 1), (2, 1), (0, np.nan), (-np.inf, 0)]:
        with pytest.raises(SamAdaptError):
            Window(low, high)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("wasserth+TotalSegmentator/tests/reference_files/example_ct_sm.nii.gz", True),
        ("wasserth+TotalSegmentator/tests/reference_files/example_mr_sm.nii.gz", False),
        ("Hendrik-code+TPTBox/TPTBox/tests/sample_ct/sub-ct_label-22_ct.nii.gz", True),
        ("AIM-Harvard+pyradiomics/data/brain1_image.nrrd", False),
        ("spinalcordtoolbox+sct_testing_data/t2/t2.nii.gz", False),
        ("nipy+nibabel/nibabel/tests/data/anatomical.nii", False),
    ],
)
def test_real_scans_are_told_apart(shared_data, path, expected):
    assert looks_like_ct(read_volume(shared_data / path)) is expected
