"""DICOM folders: one volume in the right place, or the reason why they are none."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from napari_samadapt.imaging.dicom import DicomAuditError, place_frames
from napari_samadapt.imaging.dicom_headers import Frame
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_volume

ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
RNG = np.random.default_rng(0)
SERIES = generate_uid()
AXIAL = (1, 0, 0, 0, 1, 0)
ICOMETRIX = "icometrix+dicom2nifti/tests/data"


def write_slice(path, pixels, position=(0, 0, 0), orientation=AXIAL, series=SERIES, **fields):
    """A CT slice (row, column) uint16 with slope 1 and offset -1024."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.PatientName = "Secret^Name"
    header.Modality, header.SeriesInstanceUID, header.SeriesNumber = "CT", series, 3
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.PixelSpacing, header.SliceThickness = [0.9, 0.8], 3
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.ImagePositionPatient, header.ImageOrientationPatient = list(position), list(orientation)
    header.PixelData = pixels.astype("<u2").tobytes()
    for name, value in fields.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    header.save_as(path, enforce_file_format=True)
    return path


def write_stack(folder, positions, shape=(5, 6), **fields):
    """One file per position, in a shuffled order of names; returns the pixels (z, row, column)."""
    pixels = RNG.integers(0, 3000, (len(positions), *shape)).astype(np.uint16)
    folder.mkdir(exist_ok=True)
    for name, index in enumerate(RNG.permutation(len(positions))):
        write_slice(folder / f"{name:03}.dcm", pixels[index], positions[index], **fields)
    return pixels


def up(*heights, x=0.0):
    return [(x, 0, height) for height in heights]


def test_a_folder_becomes_a_volume_in_hounsfield_units(tmp_path):
    pixels = write_stack(tmp_path / "ct", up(0, 3, 6, 9))
    volume = read_volume(tmp_path / "ct")
    assert volume.data.dtype == np.int16
    assert (volume.data == pixels.astype(int) - 1024).all()
    assert volume.spacing == pytest.approx((3, 0.9, 0.8))
    assert volume.source.modality == "CT"
    assert "Secret" not in repr(volume.source)


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_every_scan_direction_lies_where_its_pixels_are(order, signs):
    """Rows, columns and slices along any of the body's axes, forwards or backwards."""
    across, down, step = (sign * np.eye(3)[axis] for axis, sign in zip(order, signs, strict=True))
    frames = [
        Frame(None, index, 5, 6, tuple(step * 3 * index + (1, 2, 3)), (*across, *down), (0.9, 0.8), None)
        for index in RNG.permutation(4)
    ]
    placed, affine, _ = place_frames(frames, "ct")
    for z, frame in enumerate(placed):
        for row, column in product((0, 4), (0, 5)):
            lps = np.array(frame.position) + across * 0.8 * column + down * 0.9 * row
            ras = (affine @ (column, row, z, 1))[:3]
            np.testing.assert_allclose(ras, lps * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize(
    ("positions", "says"),
    [
        (up(0, 3, 9, 12), "gap of 6 mm between slices 2 and 3"),
        (up(0, 3, 9), "gap of 6 mm"),
        (up(0, 3, 3, 6), "coincide"),
        (up(0, 0, 3, 3), "only 2 place"),
        (up(0, 3, 6.5, 9), "unevenly spaced"),
        ([(0, 0, 0), (0, 1, 3), (0, 2, 6)], "gantry tilt of 18.4"),
        (up(0, 0), "coincide"),
    ],
)
def test_what_is_no_straight_even_stack_is_refused(tmp_path, positions, says):
    write_stack(tmp_path / "ct", positions)
    with pytest.raises(DicomAuditError, match=says):
        read_volume(tmp_path / "ct")


def test_rounded_positions_are_even_enough(tmp_path):
    write_stack(tmp_path / "ct", up(0, 0.7, 1.3, 2.0, 2.7, 3.3))
    assert read_volume(tmp_path / "ct").spacing[0] == pytest.approx(0.66, abs=0.01)


def test_several_series_are_named(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    write_slice(
        tmp_path / "ct" / "other.dcm", np.zeros((5, 6)), (0, 0, 9), series=generate_uid(), SeriesNumber=7
    )
    with pytest.raises(
        DicomAuditError, match=r"2 series: series 3 \(CT, 3 files\), series 7 \(CT, 1 files\)"
    ):
        read_volume(tmp_path / "ct")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"orientation": (1, 0, 0, 0, 0, -1)}, "oriented differently"),
        ({"PixelSpacing": [0.5, 0.5]}, "different pixel sizes"),
        ({"ImagePositionPatient": None}, "1 of 4 images"),
        ({"PixelSpacing": None}, "no pixel size"),
    ],
)
def test_mixed_images_are_refused(tmp_path, fields, says):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    write_slice(tmp_path / "ct" / "other.dcm", np.zeros((5, 6)), (0, 0, 9), **fields)
    with pytest.raises(DicomAuditError, match=says):
        read_volume(tmp_path / "ct")


def test_mixed_sizes_are_refused(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    write_slice(tmp_path / "ct" / "other.dcm", np.zeros((4, 4)), (0, 0, 9))
    with pytest.raises(DicomAuditError, match="6 x 5 MONOCHROME2"):
        read_volume(tmp_path / "ct")


def test_other_files_in_the_folder_are_left_out_and_counted(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    (tmp_path / "ct" / "notes.txt").write_text("hello")
    (tmp_path / "ct" / "DICOMDIR").write_bytes(b"x")
    write_slice(tmp_path / "ct" / "report.dcm", np.zeros((5, 6)), Modality="SR")
    volume = read_volume(tmp_path / "ct")
    assert volume.shape == (3, 5, 6)
    assert "2 files" in volume.source.notes[0]


def test_a_cut_slice_is_not_left_out_silently(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    path = tmp_path / "ct" / "001.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SamAdaptError, match=r"001\.dcm is incomplete: 50 %"):
        read_volume(tmp_path / "ct")


def test_one_file_is_one_slice_in_its_place(tmp_path):
    path = write_slice(tmp_path / "a", np.zeros((5, 6)), (10, 20, 30))
    volume = read_volume(path)
    assert volume.shape == (1, 5, 6)
    assert volume.affine[:3, 3].tolist() == [-10, -20, 30]
    assert volume.spacing[0] == 3


def test_one_file_without_position_says_so(tmp_path):
    path = write_slice(
        tmp_path / "a.dcm", np.zeros((5, 6)), ImagePositionPatient=None, ImageOrientationPatient=None
    )
    volume = read_volume(path)
    assert not volume.spatial
    assert volume.spacing[1:] == pytest.approx((0.9, 0.8))


def test_slices_with_their_own_scaling(tmp_path):
    (tmp_path / "pt").mkdir()
    for index, slope in enumerate((0.5, 2.0, 3.25)):
        pixels = np.full((5, 6), 10 * index + 1)
        write_slice(tmp_path / "pt" / f"{index}.dcm", pixels, (0, 0, 3 * index), RescaleSlope=slope)
    data = read_volume(tmp_path / "pt").data
    assert data[:, 0, 0].tolist() == [0.5 - 1024, 22 - 1024, 68.25 - 1024]


def test_the_folder_lies_where_simpleitk_puts_it(tmp_path, shared_data):
    for folder in ("fepegar+torchio/tests/image_data/dicom", f"{ICOMETRIX}/anatomical/001"):
        volume = read_volume(shared_data / folder)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared_data / folder)))
        image = reader.Execute()
        z, y, x = volume.shape
        for corner in product((0, x - 1), (0, y - 1), (0, z - 1)):
            place = np.array(image.TransformIndexToPhysicalPoint(corner)) * (-1, -1, 1)
            voxel = np.linalg.inv(volume.affine) @ (*place, 1)
            nearest = np.rint(voxel[:3])
            np.testing.assert_allclose((volume.affine @ (*nearest, 1))[:3], place, atol=1e-3)
            i, j, k = nearest.astype(int)
            assert volume.data[k, j, i] == image[corner]


@pytest.mark.parametrize(
    "name",
    [
        "anatomical/001",
        "ge/anatomical/001_implicit",
        "ge/anatomical/001_single_slice",
        "generic/anatomical/001",
        "generic/anatomical/002_non_isotropic",  # a scaling for each slice
        "generic/compressed_rle/001",
        "generic/compressed_jpeg/001",
        "generic/compressed_jpegls/001",
        "generic/compressed_j2k/001",
        "generic/rgb/001",
        "siemens/anatomical/001",
        "philips_enhanced/anatomical/001",  # multi-frame
    ],
)
def test_real_series_have_the_voxels_of_their_true_nifti(shared_data, name):
    volume = read_volume(shared_data / ICOMETRIX / name)
    truth = read_volume(shared_data / ICOMETRIX / f"{name}_ground_truth.nii.gz")
    z, y, x = volume.shape
    voxels = np.stack(np.meshgrid(np.arange(x), np.arange(y), np.arange(z), indexing="ij"), -1).reshape(-1, 3)
    there = nib.affines.apply_affine(np.linalg.inv(truth.affine) @ volume.affine, voxels)
    np.testing.assert_allclose(there, np.rint(there), atol=1e-3)
    i, j, k = np.rint(there).astype(int).T
    ours = volume.data[voxels[:, 2], voxels[:, 1], voxels[:, 0]].astype(float)
    np.testing.assert_allclose(ours, truth.data[k, j, i], rtol=1e-5, atol=1e-3)


def test_a_real_gap_is_refused(shared_data):
    with pytest.raises(DicomAuditError, match="gap of 10 mm between slices 3 and 4"):
        read_volume(shared_data / ICOMETRIX / "failing/sliceincrement/001")


def test_monochrome1_is_inverted_and_the_user_is_told(shared_data):
    path = shared_data / "ImagingDataCommons+highdicom/data/test_files/dx_image.dcm"
    volume = read_volume(path)
    assert (volume.data[0].astype(int) + pydicom.dcmread(path).pixel_array == 255).all()
    assert any("MONOCHROME1" in note for note in volume.source.notes)


def test_nine_codings_of_one_image_are_the_same_pixels(shared_data):
    folder = shared_data / "neurolabusc+dcm_qa_ts/In"
    first, *others = (read_volume(folder / f"{number}.dcm").data for number in range(1, 10))
    assert all((other == first).all() for other in others)


@pytest.mark.parametrize(
    "name",
    [
        "rtdose",
        "test-SR",
        "liver_1frame",
        "MR_truncated",
        "no_meta",
        "badVR",
        "waveform_ecg",
        "SC_rgb_rle_16bit",
    ],
)
def test_real_files_that_are_no_usable_image_are_refused(shared_data, name):
    with pytest.raises(SamAdaptError, match=name):
        read_volume(shared_data / f"pydicom+pydicom/src/pydicom/data/test_files/{name}.dcm")


def test_a_crash_of_the_native_reader_is_a_message(tmp_path, monkeypatch):
    child = tmp_path / "crash.py"
    child.write_text("import os\nos.abort()\n")
    monkeypatch.setattr("napari_samadapt.imaging.native._CHILD", child)
    path = write_slice(tmp_path / "a.dcm", np.zeros((5, 6)))
    with pytest.raises(SamAdaptError, match=r"a\.dcm stopped the reader"):
        read_volume(path)
