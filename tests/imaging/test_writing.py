"""Masks lie exactly on their source in every program, and a failed save changes nothing."""

from __future__ import annotations

import gzip
import json
import os
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_samadapt.imaging import writing
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import Source, Volume
from napari_samadapt.imaging.writing import label_names, write_labels

ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]
RNG = np.random.default_rng(0)
SHAPE = (4, 5, 6)  # z, y, x


def affine_of(order, signs):
    """Permuted and flipped, 0.8 x 0.9 x 3 mm, turned by 19 degrees."""
    angle = np.deg2rad(19)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, voxel] = sign * (0.8, 0.9, 3.0)[voxel]
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (-31.5, 12.25, 100.125)
    return affine


def labels_of(shape=SHAPE, ids=(0, 1, 52, 79)):
    return RNG.choice(np.array(ids, np.uint16), shape)


def in_memory(affine=None, **source):
    return Volume(
        np.zeros(SHAPE, np.int16),
        affine_of((0, 1, 2), (1, 1, 1)) if affine is None else affine,
        Source(**source),
    )


def check_world(path, labels, affine):
    """nibabel and SimpleITK both find every label within 1e-3 mm of where the source has it."""
    voxels = np.argwhere(np.ones(labels.shape, bool))[:, ::-1]  # x, y, z
    voxels = voxels[RNG.choice(len(voxels), min(400, len(voxels)), replace=False)]
    places = (np.c_[voxels, np.ones(len(voxels))] @ affine.T)[:, :3]
    image = sitk.ReadImage(str(path))
    for voxel, place in zip(voxels, places, strict=True):
        x, y, z = image.TransformIndexToPhysicalPoint(voxel.tolist())
        np.testing.assert_allclose((-x, -y, z), place, atol=1e-3)
    assert (sitk.GetArrayFromImage(image) == labels).all()
    if path.name.endswith((".nii", ".nii.gz")):
        mask = nib.load(path)
        np.testing.assert_allclose(nib.affines.apply_affine(mask.affine, voxels), places, atol=1e-3)
        assert (labels == np.asarray(mask.dataobj).T).all()
        assert mask.get_data_dtype().kind == "u"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_masks_lie_on_their_source_in_every_storage_order(tmp_path, order, signs, suffix):
    affine, labels = affine_of(order, signs), labels_of()
    path = write_labels(tmp_path / f"mask{suffix}", labels, in_memory(affine))
    check_world(path, labels, affine)
    if suffix.startswith(".nii"):
        header = nib.load(path).header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 2)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("codes", "unit"), [((1, 1), 2), ((2, 0), 10), ((0, 1), 2), ((4, 2), 0), ((0, 0), 2), ((1, 1), 3)]
)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_geometry_of_a_nifti_source_is_kept_to_the_bit(tmp_path, codes, unit, kind, suffix):
    affine = affine_of((1, 2, 0), (1, -1, 1))
    affine[:3, :3] *= 100 if unit == 3 else 1  # micrometres
    source = kind(np.zeros(SHAPE[::-1], np.int16), affine)
    source.set_sform(affine, codes[0])
    source.set_qform(affine, codes[1])
    if codes == (0, 0):
        source = kind(np.zeros(SHAPE[::-1], np.int16), source.header.get_base_affine(), source.header)
        source.set_sform(None, 0)
        source.set_qform(None, 0)
    source.header["xyzt_units"] = unit
    source.header["descrip"] = b"patient name"
    nib.save(source, tmp_path / "image.nii")
    image, labels = read_volume(tmp_path / "image.nii"), labels_of()
    mask = nib.load(write_labels(tmp_path / f"mask{suffix}", labels, image))
    source = nib.load(tmp_path / "image.nii")
    assert type(mask) is kind
    assert (mask.affine == source.affine).all()
    for name in ("sform_code", "qform_code", "xyzt_units", "pixdim", "quatern_b", "srow_x"):
        assert (mask.header[name] == source.header[name]).all(), name
    assert (labels == np.asarray(mask.dataobj).T).all()
    assert bytes(mask.header["descrip"]).strip(b"\0") == b""


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 1, 1)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_single_slice_has_as_many_axes_as_its_source(tmp_path, shape, kind):
    """Other programs do not lay a mask of (6, 5, 1) over an image of (6, 5)."""
    affine = affine_of((0, 1, 2), (1, -1, 1))
    nib.save(kind(np.zeros(shape, np.int16), affine), tmp_path / "image.nii")
    labels = np.arange(30, dtype=np.uint8).reshape(1, 5, 6)
    mask = nib.load(write_labels(tmp_path / "mask.nii.gz", labels, read_volume(tmp_path / "image.nii")))
    assert mask.shape == shape[:3]
    assert (mask.affine == nib.load(tmp_path / "image.nii").affine).all()
    assert (labels[0] == np.asarray(mask.dataobj).reshape(6, 5).T).all()
    if kind is nib.Nifti1Image:
        ours, theirs = (sitk.ReadImage(str(tmp_path / name)) for name in ("mask.nii.gz", "image.nii"))
        assert ours.GetSize() == theirs.GetSize()[:3]
        assert ours.GetOrigin() == pytest.approx(theirs.GetOrigin()[:3])
        assert ours.GetSpacing() == pytest.approx(theirs.GetSpacing()[:3])


def test_a_chosen_transform_does_not_change_the_header(tmp_path):
    source = nib.Nifti1Image(np.zeros(SHAPE[::-1], np.int16), np.eye(4))
    source.set_sform(affine_of((0, 1, 2), (1, 1, 1)), 1)
    source.set_qform(affine_of((0, 1, 2), (-1, 1, 1)), 1)
    nib.save(source, tmp_path / "image.nii")
    image = read_volume(tmp_path / "image.nii", choices={"transform": "qform"})
    mask = nib.load(write_labels(tmp_path / "mask.nii", labels_of(), image))
    assert (mask.get_qform() == nib.load(tmp_path / "image.nii").get_qform()).all()
    assert (mask.get_sform() == nib.load(tmp_path / "image.nii").get_sform()).all()


def test_codes_say_scanner_for_dicom(tmp_path):
    header = nib.load(write_labels(tmp_path / "a.nii", labels_of(), in_memory(format="dicom"))).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_a_picture_becomes_one_slice_that_both_libraries_place_alike(tmp_path):
    picture = Volume(
        np.zeros((1, 5, 6), np.uint8), np.diag([-1, -1, 1, 1]), Source(format="image", spatial=False)
    )
    labels = labels_of((1, 5, 6))
    path = write_labels(tmp_path / "mask.nii.gz", labels, picture)
    check_world(path, labels, picture.affine)
    assert (read_labels(path, picture)[0] == labels).all()


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.uint32,
        SHAPE,
        elements=st.sampled_from([0, 1, 254, 255, 256, 32767, 32768, 65535, 65536, 2**32 - 1]),
    ),
    st.sampled_from(SUFFIXES),
)
def test_ids_and_counts_come_back(tmp_path_factory, labels, suffix):
    path = write_labels(tmp_path_factory.mktemp("a") / f"m{suffix}", labels, in_memory())
    back, _ = read_labels(path, choices={"coding": "ids"})
    assert (back == labels).all()
    assert back.dtype.itemsize == 1 if labels.max() < 256 else back.dtype.itemsize >= 2


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.uint64, ">u2"])
def test_every_integer_type_is_accepted(tmp_path, dtype):
    labels = (labels_of() > 0).astype(dtype)
    assert (read_labels(write_labels(tmp_path / "a.nii", labels[::-1], in_memory()))[0] == labels[::-1]).all()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((4, 5, 5), np.uint8), r"\(4, 5, 5\)"),
        (np.zeros(SHAPE, np.float32), "float32"),
        (np.full(SHAPE, -1), "-1"),
        (np.full(SHAPE, 2**32), "too large"),
    ],
)
def test_what_is_no_label_map_is_not_written(tmp_path, labels, says):
    with pytest.raises(SamAdaptError, match=says):
        write_labels(tmp_path / "a.nii", labels, in_memory())
    assert list(tmp_path.iterdir()) == []


def test_names_are_written_beside_it(tmp_path):
    path = write_labels(tmp_path / "a.b.nii.gz", labels_of(), in_memory(), {52: "Herz ♥", 1: "liver"})
    text = (tmp_path / "a.b.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"labels": {"1": "liver", "52": "Herz ♥"}}
    write_labels(path, labels_of(), in_memory(), {1: "spleen"})
    assert sorted(other.name for other in tmp_path.iterdir()) == ["a.b.json", "a.b.nii.gz"]


def test_someone_elses_json_is_not_overwritten(tmp_path):
    (tmp_path / "a.json").write_text('{"RepetitionTime": 2}')
    with pytest.raises(SamAdaptError, match=r"a\.json"):
        write_labels(tmp_path / "a.nii", labels_of(), in_memory(), {1: "liver"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_source_is_never_overwritten(tmp_path):
    nib.save(nib.Nifti1Image(np.ones(SHAPE[::-1], np.int16), np.eye(4)), tmp_path / "image.nii")
    before = (tmp_path / "image.nii").read_bytes()
    image = read_volume(tmp_path / "image.nii")
    (tmp_path / "link.nii").symlink_to(tmp_path / "image.nii")
    for name in ("image.nii", "link.nii", "../" + tmp_path.name + "/image.nii"):
        with pytest.raises(SamAdaptError, match="the image itself"):
            write_labels(tmp_path / name, labels_of(), image)
    assert (tmp_path / "image.nii").read_bytes() == before


@pytest.mark.parametrize(
    ("there", "wanted"), [("a.nii", "a.nii.gz"), ("a.nii.gz", "a.nii"), ("a.hdr", "a.nii")]
)
def test_no_mask_beside_a_neighbour_of_the_same_stem(tmp_path, there, wanted):
    (tmp_path / there).write_bytes(b"x")
    with pytest.raises(SamAdaptError, match=there):
        write_labels(tmp_path / wanted, labels_of(), in_memory())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.png", "must end"),
        ("a", "must end"),
        ("no/a.nii", "does not exist"),
        ("x" * 300 + ".nii", "not saved"),
    ],
)
def test_targets_that_cannot_be(tmp_path, name, says):
    with pytest.raises(SamAdaptError, match=says):
        write_labels(tmp_path / name, labels_of(), in_memory())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_target(tmp_path):
    (tmp_path / "a.nii").mkdir()
    with pytest.raises(SamAdaptError, match="is a folder"):
        write_labels(tmp_path / "a.nii", labels_of(), in_memory())


def test_a_read_only_folder(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(SamAdaptError, match="not saved"):
        write_labels(tmp_path / "a.nii", labels_of(), in_memory())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_does_not_read_back_never_takes_the_name(tmp_path, monkeypatch, suffix):
    path = write_labels(tmp_path / f"a{suffix}", labels_of(), in_memory())
    before = path.read_bytes()
    write = writing._write

    def damage(part: Path, *args, **options):
        write(part, *args, **options)
        content = bytearray(part.read_bytes())
        content[-20] ^= 0xFF
        part.write_bytes(content)

    monkeypatch.setattr(writing, "_write", damage)
    with pytest.raises(SamAdaptError, match="Not saved"):
        write_labels(path, labels_of(), in_memory())
    assert path.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == [path.name]


def test_nothing_of_the_source_but_its_geometry_gets_out(tmp_path):
    source = nib.Nifti1Image(np.zeros(SHAPE[::-1], np.int16), np.eye(4))
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        source.header[name] = b"SECRET"
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"SECRET"))
    nib.save(source, tmp_path / "SECRET.nii")
    path = write_labels(tmp_path / "mask.nii.gz", labels_of(), read_volume(tmp_path / "SECRET.nii"))
    assert b"SECRET" not in gzip.decompress(path.read_bytes())
    assert b"SECRET" not in path.read_bytes()
    assert path.read_bytes()[4:8] == bytes(4), "the gzip header holds a time"


@pytest.mark.parametrize(
    "name",
    [
        "wasserth+TotalSegmentator/tests/reference_files/example_ct_sm.nii.gz",
        "Hendrik-code+TPTBox/TPTBox/tests/sample_ct/sub-ct_label-22_ct.nii.gz",  # PIR
        "neurolabusc+niivue-images/CT_pitch.nii.gz",  # oblique
        "spinalcordtoolbox+sct_testing_data/t2/t2.nii.gz",  # PSR
        "AIM-Harvard+pyradiomics/data/brain1_image.nrrd",  # anisotropic
        "fepegar+torchio/tests/image_data/dicom",
        "icometrix+dicom2nifti/tests/data/anatomical/001",  # oblique sagittal DICOM
        "QIICR+dcmqi/data/segmentations/ct-3slice",
    ],
)
def test_real_sources(tmp_path, shared_data, name):
    image = read_volume(shared_data / name)
    labels = labels_of(image.shape)
    for suffix in SUFFIXES[1:]:
        path = write_labels(tmp_path / f"mask{suffix}", labels, image)
        check_world(path, labels, image.affine)
    if image.source.format == "nifti":
        assert (nib.load(tmp_path / "mask.nii.gz").affine == nib.load(shared_data / name).affine).all()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"labels": {"1": "liver", "52": "aorta"}}', {1: "liver", 52: "aorta"}),
        ('{"labels": {}}', {}),
        ('{"RepetitionTime": 2.0}', {}),
        ('{"labels": {"one": "liver"}}', {}),
        ("not JSON", {}),
        (None, {}),
    ],
)
def test_the_names_beside_a_label_file(tmp_path, text, names):
    if text is not None:
        (tmp_path / "masks.json").write_text(text)
    assert label_names(tmp_path / "masks.nii.gz") == names
