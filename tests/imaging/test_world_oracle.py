"""A mask lies on the anatomy it was painted on, in nibabel and in SimpleITK, whatever the order of storage.

Every voxel of a source holds a number of its own. Slices of the three anatomical directions are painted on what was
read; in the exported file, each voxel's place in the world leads back to the number that lies there in the source.
"""

from __future__ import annotations

import os
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_samadapt.imaging import dicom, native, native_child
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import AXIS_NAMES, SliceKey, put_slice, take_slice
from napari_samadapt.imaging.writing import write_labels

from .test_dicom import write_slice
from .test_reading import oblique

ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
FORMATS = ("nii", "nii.gz", "nrrd", "mha", "dicom")
SIZE = (4, 5, 6)  # x, y, z
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
WORLD_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Decode in this process, and leave the disk alone: neither is what is looked at here."""

    def decoded(paths, _codings=()):
        return [tuple(native_child.decoded(str(path))) for path in paths]

    monkeypatch.setattr(native, "read_isolated", decoded)
    monkeypatch.setattr(dicom, "read_isolated", decoded)
    monkeypatch.setattr(os, "fsync", lambda _number: None)


def write_source(folder, kind, numbers, affine):
    """Store (x, y, z) numbers so that `affine` maps voxels to RAS mm."""
    if kind.startswith("nii"):
        nib.save(nib.Nifti1Image(numbers, affine), folder / f"a.{kind}")
        return folder / f"a.{kind}"
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    if kind == "dicom":
        (folder / "series").mkdir()
        for k in range(SIZE[2]):
            write_slice(
                folder / "series" / f"{(5 * k) % 7}.dcm",
                numbers[:, :, k].T,
                (lps @ (0, 0, k, 1))[:3].round(8).tolist(),
                [*directions[:, 0].round(10), *directions[:, 1].round(10)],
                PixelSpacing=[spacing[1], spacing[0]],
                RescaleIntercept=0,
            )
        return folder / "series"
    image = sitk.GetImageFromArray(numbers.T)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection(directions.ravel().tolist())
    sitk.WriteImage(image, str(folder / f"a.{kind}"))
    return folder / f"a.{kind}"


def opened(path):
    """(library, (x, y, z) labels, affine to RAS mm) for every library that opens the file."""
    if path.name.endswith((".nii", ".nii.gz")):
        image = nib.load(path)
        yield "nibabel", np.asarray(image.dataobj), image.affine
    image = sitk.ReadImage(str(path))
    origin = np.array(image.TransformIndexToPhysicalPoint((0, 0, 0)))
    affine = np.eye(4)
    for axis in range(3):
        unit = [int(axis == other) for other in range(3)]
        affine[:3, axis] = image.TransformIndexToPhysicalPoint(unit) - origin
    affine[:3, 3] = origin
    yield "SimpleITK", sitk.GetArrayFromImage(image).T, LPS @ affine


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_a_mask_lies_on_what_it_was_painted_on(tmp_path, order, signs, kind):
    affine = oblique(order, signs)
    numbers = np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE)
    volume = read_volume(write_source(tmp_path, kind, numbers, affine))

    labels, rng = np.zeros(volume.shape, np.uint8), np.random.default_rng(0)
    painted = np.zeros(numbers.size, np.uint8)  # the label of each of the source's numbers
    for label, name in enumerate(AXIS_NAMES, 1):
        axis = volume.anatomical_axis(name)
        across = volume.affine[:3, 2 - axis]
        assert np.abs(across / np.linalg.norm(across)).argmax() == WORLD_AXIS[name]
        key = SliceKey(axis, int(rng.integers(volume.shape[axis])))
        region = rng.random(take_slice(labels, key).shape) < 0.5
        put_slice(labels, key, np.where(region, label, take_slice(labels, key)))
        painted[take_slice(volume.data, key)[region]] = label

    suffixes = {".nii.gz"} if kind == "dicom" else {".nii.gz", f".{kind}"}
    for suffix in suffixes:
        path = write_labels(tmp_path / f"mask_{suffix[1:4]}_{len(suffix)}{suffix}", labels, volume)
        for library, found, there in opened(path):
            voxels = np.indices(found.shape).reshape(3, -1)
            world = there @ np.vstack([voxels, np.ones(voxels.shape[1])])
            source = np.linalg.inv(affine) @ world
            i, j, k = np.rint(source[:3]).astype(int)
            np.testing.assert_allclose(affine @ np.rint(source), world, atol=1e-3, err_msg=library)
            assert (found.reshape(-1) == painted[numbers[i, j, k]]).all(), (library, suffix)
