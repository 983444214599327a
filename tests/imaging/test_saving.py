"""What a file may replace, what it may be called, and what is said when it cannot be written."""

from __future__ import annotations

import errno
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_samadapt.imaging import saving, writing
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.saving import NotSavedError
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.imaging.writing import label_names, write_each_label, write_labels

SHAPE = (4, 5, 6)
RNG = np.random.default_rng(0)
LABELS = RNG.choice(np.array([0, 1, 52, 300], np.uint16), SHAPE)
NAMES = {1: "liver", 52: "Herz ♥ / left", 300: "", 4: "never drawn"}
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]


def volume(shift=0.0, shape=SHAPE):
    affine = np.diag([-0.8, -0.9, 3.0, 1.0])
    affine[0, 3] = shift
    return Volume(np.zeros(shape, np.int16), affine)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("other", [volume(0.6), volume(shape=(4, 5, 5))], ids=["shift", "shape"])
def test_masks_of_another_case_are_not_replaced(tmp_path, suffix, other):
    labels = np.ones(other.shape, np.uint8)
    path = write_labels(tmp_path / f"a{suffix}", labels, other)
    before = path.read_bytes()
    with pytest.raises(SamAdaptError, match="another case"):
        write_labels(path, LABELS, volume())
    assert path.read_bytes() == before
    write_labels(path, labels, other)


def test_another_image_on_the_same_grid_is_not_replaced(tmp_path):
    t2 = nib.Nifti1Image(RNG.normal(size=SHAPE[::-1]).astype(np.float32), volume().affine)
    nib.save(t2, tmp_path / "t2.nii")
    with pytest.raises(SamAdaptError, match=r"t2\.nii exists and holds no masks"):
        write_labels(tmp_path / "t2.nii", LABELS, volume())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_scan_of_whole_numbers_on_the_same_grid_is_not_replaced(tmp_path, suffix, dtype):
    """As the FLAIR beside a T1: its grey values could be ids, and were replaced by the masks of the T1."""
    flair = RNG.normal(120, 20, SHAPE).clip(0, 255).astype(dtype)
    image = sitk.GetImageFromArray(flair)
    image.SetSpacing((0.8, 0.9, 3.0))
    sitk.WriteImage(image, str(tmp_path / f"flair{suffix}"))
    before = (tmp_path / f"flair{suffix}").read_bytes()
    with pytest.raises(SamAdaptError, match=r"exists and holds no masks"):
        write_labels(tmp_path / f"flair{suffix}", LABELS, volume())
    assert (tmp_path / f"flair{suffix}").read_bytes() == before


def test_many_classes_may_be_replaced(tmp_path):
    many = np.repeat(np.arange(1, 121, dtype=np.uint8).reshape(4, 5, 6), 4, axis=2)
    for _ in range(2):
        write_labels(tmp_path / "m.nii.gz", many, volume(shape=many.shape))


def test_what_is_no_ordinary_file_is_not_replaced(tmp_path):
    (tmp_path / "a.nii").symlink_to("/dev/full")
    with pytest.raises(SamAdaptError, match="no ordinary file"):
        write_labels(tmp_path / "a.nii", LABELS, volume())
    assert (tmp_path / "a.nii").is_symlink()


def test_a_read_only_file_is_not_replaced(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    path = write_labels(tmp_path / "a.nii", LABELS, volume())
    path.chmod(0o400)
    with pytest.raises(SamAdaptError, match="read-only"):
        write_labels(path, LABELS, volume())


@pytest.mark.parametrize("name", ["nul.nii.gz", "CON.nrrd", "Com1.x.mha", "lpt9 .nii"])
def test_reserved_names(tmp_path, name):
    with pytest.raises(SamAdaptError, match="reserved name"):
        write_labels(tmp_path / name, LABELS, volume())


def test_an_ending_is_no_name(tmp_path):
    with pytest.raises(SamAdaptError, match="only an ending"):
        write_labels(tmp_path / ".nii.gz", LABELS, volume())


@pytest.mark.parametrize(
    "name",
    [
        "Ärzte und Söhne.nii.gz",
        "a b#c%20d.nrrd",
        "🫀.mha",
        "e\u0301.nii",
        "\u00e9.nii",
        "a" * 200 + ".nii.gz",
    ],
)
def test_odd_names(tmp_path, name):
    path = write_labels(tmp_path / name, LABELS, volume(), NAMES)
    assert (read_labels(path)[0] == LABELS).all()
    assert label_names(path) == NAMES


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_label_becomes_a_file_of_zeros_and_ones(tmp_path, suffix):
    paths = write_each_label(tmp_path / f"m{suffix}", LABELS, volume(), NAMES)
    assert [path.name for path in paths] == [
        f"m_1_liver{suffix}",
        f"m_52_Herz_____left{suffix}",
        f"m_300{suffix}",
    ]
    for path, label in zip(paths, (1, 52, 300), strict=True):
        assert (read_labels(path, volume())[0] == (label == LABELS)).all()
    assert label_names(tmp_path / "m.nii") == NAMES


def test_no_label_no_file(tmp_path):
    with pytest.raises(SamAdaptError, match="no masks yet"):
        write_each_label(tmp_path / "m.nii", np.zeros(SHAPE, np.uint8), volume())
    assert list(tmp_path.iterdir()) == []


def test_one_file_that_fails_keeps_all_names_free(tmp_path, monkeypatch):
    write, calls = writing.write_nifti, []

    def full(*args):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*args)

    monkeypatch.setattr(writing, "write_nifti", full)
    with pytest.raises(NotSavedError, match=r"m\.nii was not saved: the disk is full\. Choose another place"):
        write_each_label(tmp_path / "m.nii", LABELS, volume(), NAMES)
    assert list(tmp_path.iterdir()) == []


def test_nrrd_names_its_segments(tmp_path):
    """3D Slicer reads these; ITK hands them on as they are."""
    path = write_labels(tmp_path / "m.nrrd", LABELS, volume(), NAMES)
    image = sitk.ReadImage(str(path))
    entries = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.startswith("Segment")}
    assert entries["Segment2_Name"] == "Herz ♥ / left"
    assert entries["Segment2_LabelValue"] == "52"
    assert entries["Segment0_Extent"] == "0 5 0 4 0 3"
    (tmp_path / "m.json").unlink()
    assert label_names(path) == NAMES


@pytest.mark.parametrize(
    "name", ["two\nlines:=x", "tab\there", "back\\slash\\n", "\x1b[31mred", "x" * 5000, "<b>bold</b>", "a:=b"]
)
def test_hostile_names_stay_one_header_line(tmp_path, name):
    path = write_labels(tmp_path / "m.nrrd", LABELS, volume(), {1: name})
    assert label_names(path) == {1: name}
    (tmp_path / "m.json").unlink()
    (kept,) = label_names(path).values()
    assert kept == "".join(c if c.isprintable() else " " for c in name)[:200].strip()


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "not allowed"),
        (errno.ENOENT, "folder is gone"),
        (errno.ESTALE, "network folder is gone"),
        (errno.EIO, "disk reports an error"),
        (errno.ENAMETOOLONG, "Choose a shorter name"),
        (errno.EXDEV, "Choose another place"),
    ],
)
@pytest.mark.parametrize("step", ["open", "replace", "fsync"])
def test_each_reason_is_said_plainly_and_the_old_file_stays(tmp_path, monkeypatch, number, says, step):
    path = write_labels(tmp_path / "m.nii.gz", LABELS, volume())
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError(number, os.strerror(number), "/SECRET/path")

    if step == "open":
        monkeypatch.setattr(writing, "write_nifti", fail)
    elif step == "replace":
        monkeypatch.setattr(writing.Path, "replace", fail)
    else:
        monkeypatch.setattr(saving.os, "fsync", fail)
    with pytest.raises(NotSavedError, match=says) as caught:
        write_labels(path, LABELS, volume())
    assert "SECRET" not in str(caught.value)
    assert path.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == ["m.nii.gz"]


def test_a_folder_that_vanishes_while_writing(tmp_path, monkeypatch):
    folder = tmp_path / "usb"
    folder.mkdir()
    write = writing.write_nifti

    def pulled(part, *args):
        write(part, *args)
        part.unlink()
        folder.rmdir()

    monkeypatch.setattr(writing, "write_nifti", pulled)
    with pytest.raises(NotSavedError, match="Not saved"):
        write_labels(folder / "m.nii", LABELS, volume())
    assert not folder.exists()


def test_the_masks_of_an_image_read_by_its_second_position_may_be_replaced(tmp_path):
    source = nib.Nifti1Image(np.zeros(SHAPE[::-1], np.int16), np.eye(4))
    source.set_sform(np.diag([1.0, 1, 1, 1]), 1)
    source.set_qform(np.diag([-1.0, 1, 1, 1]), 1)
    nib.save(source, tmp_path / "image.nii")
    image = read_volume(tmp_path / "image.nii", choices={"transform": "qform"})
    for _ in range(2):
        write_labels(tmp_path / "m.nii", LABELS, image)
