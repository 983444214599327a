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

from napari_samadapt.imaging.dicom_headers import Frame
from napari_samadapt.imaging.dicom_stack import place_frames
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import auto_window
from napari_samadapt.imaging.questions import Answers, QuestionError
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
    stack = place_frames(frames, "ct", Answers())
    for z, frame in enumerate(stack.frames):
        for row, column in product((0, 4), (0, 5)):
            lps = np.array(frame.position) + across * 0.8 * column + down * 0.9 * row
            ras = (stack.affine @ (column, row, z, 1))[:3]
            np.testing.assert_allclose(ras, lps * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize(
    ("positions", "says", "values"),
    [
        (up(0, 3, 9, 12), "gap of 6 mm between slices 2 and 3", ["1-2", "3-4", "resample"]),
        (up(0, 3, 9), "gap of 6 mm", ["1-2", "3-3", "resample"]),
        (up(0, 3, 9, 12, 18), "2 gaps, the first of 6 mm", ["1-2", "3-4", "5-5", "resample"]),
        (up(0, 3, 6, 300), "gap of 294 mm", ["1-3", "4-4"]),  # 98 slices would be made up
        (up(0, 3, 6.5, 9), "unevenly spaced, 2.5 to 3.5 mm apart", ["resample"]),
        ([(0, 0, 0), (0, 1, 3), (0, 2, 6)], "gantry tilt of 18.4", ["resample"]),
        ([(0, 0, 0), (0, 1, 3), (0, 3, 9), (0, 4, 12)], "gap of 6 mm.* and .*gantry tilt", ["resample"]),
    ],
)
def test_what_is_no_straight_even_stack_is_asked_about(tmp_path, positions, says, values):
    write_stack(tmp_path / "ct", positions)
    with pytest.raises(QuestionError, match=says) as asked:
        read_volume(tmp_path / "ct")
    assert asked.value.question.name == "stack"
    assert [choice.value for choice in asked.value.question.choices] == values


def test_a_piece_between_gaps_is_opened_alone(tmp_path):
    pixels = write_stack(tmp_path / "ct", up(0, 3, 9, 12, 15))
    volume = read_volume(tmp_path / "ct", choices={"stack": "3-5"})
    assert (volume.data == pixels[2:].astype(int) - 1024).all()
    assert volume.affine[2].tolist() == [0, 0, 3, 9]
    assert any("slices 3-5 of 5" in note for note in volume.source.notes)
    assert len(volume.source.frames) == 3


@pytest.mark.parametrize(
    "positions",
    [
        up(0, 3, 9, 12),
        up(0, 2, 6.5, 9, 11),
        [(0, 1.1 * n, 3 * n) for n in range(5)],
        [(-0.7 * n, 1.1 * n, 3 * n) for n in range(5)],
        [(0, -0.5 * z, z) for z in (0, 2, 6.5, 9, 11)],
    ],
    ids=["gap", "uneven", "tilted", "tilted twice", "tilted and uneven"],
)
def test_a_resampled_copy_has_each_value_at_its_true_place(tmp_path, positions):
    """A linear function of the place is kept exactly by linear interpolation."""
    (tmp_path / "ct").mkdir()
    row, column = np.mgrid[0:8, 0:9]
    for index, (x, y, z) in enumerate(positions):
        values = 1000 + 20 * (x + 0.8 * column) + 10 * (y + 0.9 * row) + 30 * z
        write_slice(
            tmp_path / "ct" / f"{index}.dcm",
            np.rint(values * 10),
            (x, y, z),
            RescaleSlope=0.1,
            RescaleIntercept=0,
        )
    volume = read_volume(tmp_path / "ct", choices={"stack": "resample"})
    assert volume.source.resampled
    assert volume.source.frames == ()
    assert volume.source.notes[0].startswith("This is a resampled copy")
    assert dict(volume.source.choices) == {"stack": "resample"}
    k, j, i = np.indices(volume.shape)
    x, y, z = np.moveaxis(np.stack([i, j, k, np.ones_like(i)], -1) @ volume.affine.T, -1, 0)[:3]
    expected = 1000 - 20 * x - 10 * y + 30 * z
    lowest = volume.data.min()
    inside = volume.data > lowest + 1e-3
    assert inside.mean() > 0.3
    np.testing.assert_allclose(volume.data[inside], expected[inside], atol=0.2)
    assert volume.spacing[1:] == pytest.approx((0.9, 0.8))
    assert np.allclose(volume.affine[2, 3], positions[0][2])
    assert (volume.affine @ (0, 0, len(volume.data) - 1, 1))[2] == pytest.approx(positions[-1][2])


def test_rounded_positions_are_even_enough(tmp_path):
    write_stack(tmp_path / "ct", up(0, 0.7, 1.3, 2.0, 2.7, 3.3))
    assert read_volume(tmp_path / "ct").spacing[0] == pytest.approx(0.66, abs=0.01)


def test_images_of_two_patients_are_never_one_volume(tmp_path):
    """Not even where both have the same UIDs, as after a careless anonymisation; the numbers are not shown."""
    for index, height in enumerate((0, 3, 6, 9)):
        pixels = np.full((5, 6), index, np.uint16)
        write_slice(tmp_path / f"{index}.dcm", pixels, (0, 0, height), PatientID=f"Secret{index // 2}")
    with pytest.raises(QuestionError, match="2 volumes") as asked:
        read_volume(tmp_path)
    assert "Secret" not in str(asked.value)
    assert read_volume(tmp_path, choices={"series": "3.2"}).data.max() == 3 - 1024


def test_a_series_is_chosen_by_what_it_is_not_by_names(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6), SeriesDescription="Secret")
    other = {
        "series": generate_uid(),
        "SeriesNumber": 7,
        "orientation": (1, 0, 0, 0, 0, -1),
        "Modality": "PT",
    }
    write_slice(tmp_path / "ct" / "other.dcm", np.full((4, 6), 9), (0, 0, 9), **other)
    with pytest.raises(QuestionError, match="2 volumes") as asked:
        read_volume(tmp_path / "ct")
    assert [(choice.value, choice.text) for choice in asked.value.question.choices] == [
        ("3", "CT, 3 images of 6 x 5, pixels of 0.8 x 0.9 mm, 3 mm apart, axial"),
        ("7", "PT, 1 image of 6 x 4, pixels of 0.8 x 0.9 mm, coronal"),
    ]
    assert read_volume(tmp_path / "ct", choices={"series": "3"}).shape == (3, 5, 6)
    assert read_volume(tmp_path / "ct", choices={"series": "7"}).source.modality == "PT"
    with pytest.raises(SamAdaptError, match="'8' is no answer"):
        read_volume(tmp_path / "ct", choices={"series": "8"})


@pytest.mark.parametrize(
    "fields",
    [
        {"orientation": (1, 0, 0, 0, 0, -1)},
        {"PixelSpacing": [0.5, 0.5]},
        {"ImagePositionPatient": None},
        {"PixelSpacing": None},
        {"FrameOfReferenceUID": generate_uid()},
    ],
)
def test_an_image_that_does_not_fit_its_series_is_a_choice_of_its_own(tmp_path, fields):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    write_slice(tmp_path / "ct" / "other.dcm", np.zeros((5, 6)), (0, 0, 9), **fields)
    with pytest.raises(QuestionError) as asked:
        read_volume(tmp_path / "ct")
    assert {choice.value for choice in asked.value.question.choices} == {"3.1", "3.2"}
    shapes = [read_volume(tmp_path / "ct", choices={"series": value}).shape for value in ("3.1", "3.2")]
    assert sorted(shapes) == [(1, 5, 6), (3, 5, 6)]


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("EchoTime", (4.6, 9.2), ["echo time 4.6 ms", "echo time 9.2 ms"]),
        ("DiffusionBValue", (0.0, 1000.0), ["b = 0.0", "b = 1000.0"]),
        ("TemporalPositionIdentifier", (1, 2), ["time 1", "time 2"]),
        ("AcquisitionNumber", (5, 6), ["acquisition 5", "acquisition 6"]),
        (
            "PatientComments",
            ("a", "b"),
            ["image 1 of up to 2 at each place", "image 2 of up to 2 at each place"],
        ),
    ],
)
def test_images_of_the_same_places_are_split_with_counts(tmp_path, name, values, labels):
    (tmp_path / "mr").mkdir()
    for number, (value, height) in enumerate(product(values, (0, 3, 6))):
        fields = {name: value, "InstanceNumber": number}
        path = tmp_path / "mr" / f"{(7 * number) % 6}.dcm"
        write_slice(path, np.full((5, 6), 100 * values.index(value) + height), (0, 0, height), **fields)
    with pytest.raises(QuestionError) as asked:
        read_volume(tmp_path / "mr")
    texts = [choice.text for choice in asked.value.question.choices]
    assert [text.endswith(label) for text, label in zip(texts, labels, strict=True)] == [True, True]
    assert all("3 images" in text for text in texts)
    for which in (0, 1):
        volume = read_volume(tmp_path / "mr", choices={"series": f"3.{which + 1}"})
        assert (volume.data[:, 0, 0] + 1024).tolist() == [100 * which + height for height in (0, 3, 6)]


def test_one_repeated_slice_is_not_dropped(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 3, 6))
    with pytest.raises(QuestionError) as asked:
        read_volume(tmp_path / "ct")
    assert ["3 images" in c.text or "1 image of" in c.text for c in asked.value.question.choices] == [
        True,
        True,
    ]


def test_copies_of_a_file_are_left_out_and_told(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    (tmp_path / "ct" / "copy of 001.dcm").write_bytes((tmp_path / "ct" / "001.dcm").read_bytes())
    volume = read_volume(tmp_path / "ct")
    assert volume.shape == (3, 5, 6)
    assert "1 are copies" in volume.source.notes[0]


def test_other_files_in_the_folder_are_left_out_and_counted(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    (tmp_path / "ct" / "notes.txt").write_text("hello")
    (tmp_path / "ct" / "DICOMDIR").write_bytes(b"x")
    write_slice(tmp_path / "ct" / "report.dcm", np.zeros((5, 6)), Modality="SR")
    volume = read_volume(tmp_path / "ct")
    assert volume.shape == (3, 5, 6)
    assert volume.source.notes == (
        "Files were left out: report.dcm holds a report (SR), not an image. 1 is no DICOM file.",
    )


def test_a_cut_slice_is_not_left_out_silently(tmp_path):
    write_stack(tmp_path / "ct", up(0, 3, 6))
    path = tmp_path / "ct" / "001.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(
        QuestionError, match=r"1 of 3 images in ct cannot be read: 001\.dcm is incomplete: 50 %"
    ):
        read_volume(tmp_path / "ct")
    choices = {"damaged": "leave-out", "stack": "resample"}
    assert any("001.dcm" in note for note in read_volume(tmp_path / "ct", choices=choices).source.notes)


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
    with pytest.raises(QuestionError, match="gap of 10 mm between slices 3 and 4"):
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
        "SC_rgb_rle_16bit",  # whose colours SimpleITK decodes wrongly
    ],
)
def test_real_files_that_are_no_usable_image_are_refused(shared_data, name):
    with pytest.raises(SamAdaptError, match=name):
        read_volume(shared_data / f"pydicom+pydicom/src/pydicom/data/test_files/{name}.dcm")


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame", "ExplVR_BigEnd", "SC_rgb_small_odd"])
def test_colours_are_those_of_pydicom(shared_data, name):
    path = shared_data / f"pydicom+pydicom/src/pydicom/data/test_files/{name}.dcm"
    data = read_volume(path).data
    assert (data == pydicom.dcmread(path).pixel_array.reshape(data.shape)).all()


def test_a_palette_and_ybr_are_shown_in_their_colours(shared_data):
    from pydicom.pixels import apply_color_lut, convert_color_space

    folder = shared_data / "pydicom+pydicom/src/pydicom/data/test_files"
    palette = pydicom.dcmread(folder / "examples_palette.dcm")
    expected = apply_color_lut(palette.pixel_array, palette) >> 8
    assert np.abs(read_volume(folder / "examples_palette.dcm").data[0].astype(int) - expected).max() <= 1
    name = "SC_rgb_dcmtk_+eb+cy+n1.dcm"
    raw = pydicom.dcmread(folder / name)
    expected = (
        raw.pixel_array
        if raw.PhotometricInterpretation == "RGB"
        else convert_color_space(raw.pixel_array, "YBR_FULL", "RGB")
    )
    found = read_volume(folder / name).data[0]
    assert min(np.abs(found.astype(int) - image).max() for image in (expected, raw.pixel_array)) <= 2


def test_a_crash_of_the_native_reader_is_a_message(tmp_path, monkeypatch):
    child = tmp_path / "crash.py"
    child.write_text("import os\nos.abort()\n")
    monkeypatch.setattr("napari_samadapt.imaging.native._CHILD", child)
    write_slice(tmp_path / "a.dcm", np.zeros((5, 6)))
    for name in ("a.dcm", "a.mha", "a.nrrd"):
        if name != "a.dcm":
            sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16)), str(tmp_path / name))
        with pytest.raises(SamAdaptError, match=f"{name} stopped the reader"):
            read_volume(tmp_path / name)


# --- the odder tables of DICOM ------------------------------------------------------------------------------------


def write_enhanced(path, positions, slopes=None, **more):
    """One file with a frame for each position, described by functional groups."""
    pixels = RNG.integers(0, 3000, (len(positions), 5, 6)).astype(np.uint16)
    each = []
    for index, position in enumerate(positions):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = list(position)
        frame.PlanePositionSequence = [place]
        if slopes:
            scaling = Dataset()
            scaling.RescaleSlope, scaling.RescaleIntercept = slopes[index], 0
            frame.PixelValueTransformationSequence = [scaling]
        each.append(frame)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.9, 0.8], 3
    plane.ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    fields = {
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
        "SliceThickness": None,
        "NumberOfFrames": len(positions),
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": each,
        "PixelData": pixels.tobytes(),
    }
    write_slice(path, pixels[0], **fields | more)
    return pixels


def test_frames_of_one_file_are_placed_one_by_one(tmp_path):
    pixels = write_enhanced(tmp_path / "a.dcm", up(6, 0, 3))
    volume = read_volume(tmp_path / "a.dcm")
    assert volume.spacing == pytest.approx((3, 0.9, 0.8))
    assert (volume.data == pixels[[1, 2, 0]].astype(int) - 1024).all()
    assert [index for _, index in volume.source.frames] == [1, 2, 0]


def test_frames_of_the_same_places_in_one_file_are_a_choice(tmp_path):
    write_enhanced(tmp_path / "a.dcm", up(0, 3, 0, 3))
    with pytest.raises(QuestionError) as asked:
        read_volume(tmp_path / "a.dcm")
    assert [choice.value for choice in asked.value.question.choices] == ["3.1", "3.2"]
    frames = read_volume(tmp_path / "a.dcm", choices={"series": "3.2"}).source.frames
    assert [index for _, index in frames] == [2, 3]


def test_frames_with_scalings_of_their_own_are_refused(tmp_path):
    write_enhanced(tmp_path / "a.dcm", up(0, 3), slopes=(1, 2))
    with pytest.raises(SamAdaptError, match="scaled differently"):
        read_volume(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("sop_class", "scaled"),
    [
        *((f"1.2.840.10008.5.1.4.1.1.{end}", True) for end in ("2.1", "2.2", "4.1", "4.4", "130", "128.1")),
        *((f"1.2.840.10008.5.1.4.1.1.{end}", True) for end in ("13.1.1", "13.1.2", "13.1.3")),
        *((f"1.2.840.10008.5.1.4.1.1.{end}", False) for end in ("7.3", "6.2", "77.1.5.4")),
    ],
)
def test_the_scaling_of_frames_is_applied_or_the_file_is_refused(tmp_path, sop_class, scaled):
    """SimpleITK leaves the pixels of other classes unscaled without a word."""
    plain = {"RescaleSlope": None, "RescaleIntercept": None, "SOPClassUID": sop_class}
    pixels = write_enhanced(tmp_path / "a.dcm", up(0, 3), slopes=(2.5, 2.5), **plain)
    if scaled:
        assert (read_volume(tmp_path / "a.dcm").data == pixels * 2.5).all()
    else:
        with pytest.raises(SamAdaptError, match="scales the pixels of its frames"):
            read_volume(tmp_path / "a.dcm")
    pixels = write_enhanced(tmp_path / "b.dcm", up(0, 3), slopes=(1, 1), **plain)
    assert (read_volume(tmp_path / "b.dcm").data == pixels).all()


def test_values_from_a_table_are_refused(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [2, 0, 16], "US"
    table.add_new("LUTData", "OW", bytes(4))
    fields = {"RescaleSlope": None, "RescaleIntercept": None, "ModalityLUTSequence": [table]}
    write_slice(tmp_path / "a.dcm", np.ones((5, 6), np.uint16), **fields)
    with pytest.raises(SamAdaptError, match="Modality LUT"):
        read_volume(tmp_path / "a.dcm")


def test_bits_at_another_place_are_refused(tmp_path):
    write_slice(tmp_path / "a.dcm", np.full((5, 6), 850 << 4, np.uint16), BitsStored=12)
    with pytest.raises(SamAdaptError, match="12 bits per pixel up to bit 15, not 11"):
        read_volume(tmp_path / "a.dcm")


@pytest.mark.parametrize("size", [500, 1e-5])
def test_pixels_of_impossible_size_are_refused(tmp_path, size):
    write_stack(tmp_path / "ct", up(0, 3, 6), PixelSpacing=[size, size])
    with pytest.raises(SamAdaptError, match="claims voxels of"):
        read_volume(tmp_path / "ct")


@pytest.mark.parametrize(
    ("padding", "fields"),
    [
        ((-2000, -2000), {"PixelRepresentation": 1, "PixelPaddingValue": -2000}),
        ((63536, 63536), {"PixelPaddingValue": 63536}),
        ((0, 5), {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 5}),
    ],
)
def test_padding_does_not_count_for_the_grey_values(tmp_path, padding, fields):
    pixels = RNG.integers(100, 200, (20, 30))
    pixels[:, :2] = padding[1]
    fields = {"Modality": "MR", "RescaleSlope": 2, "RescaleIntercept": -10, **fields}
    volume = read_volume(write_slice(tmp_path / "a.dcm", pixels.astype(np.int64), **fields))
    assert volume.source.padding == (2 * padding[0] - 10, 2 * padding[1] - 10)
    assert volume.data.min() == min(2 * padding[1] - 10, volume.data[0, :, 2:].min())
    window = auto_window(volume)
    assert window.low >= 2 * 100 - 10
    assert window.high <= 2 * 200 - 10


def test_an_index_or_a_study_opens_the_files_below_it(tmp_path, shared_data):
    (tmp_path / "study" / "PA1").mkdir(parents=True)
    write_stack(tmp_path / "study" / "PA1" / "SE1", up(0, 3, 6))
    (tmp_path / "study" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    for path in (tmp_path / "study", tmp_path / "study" / "DICOMDIR"):
        assert read_volume(path).shape == (3, 5, 6)


def test_an_image_with_the_size_of_the_detector_only_is_in_pixels(tmp_path):
    fields = {"PixelSpacing": None, "ImagePositionPatient": None, "ImageOrientationPatient": None}
    path = write_slice(tmp_path / "a.dcm", np.zeros((5, 6)), ImagerPixelSpacing=[0.1, 0.1], **fields)
    volume = read_volume(path)
    assert not volume.spatial
    assert volume.spacing[1:] == (1, 1)
    write_stack(tmp_path / "ct", up(0, 3, 6), PixelSpacing=None)
    volume = read_volume(tmp_path / "ct")
    assert not volume.spatial
    assert any("lengths are in pixels" in note for note in volume.source.notes)


@pytest.mark.parametrize(
    ("patient_position", "orientation", "letters"),
    [
        ("HFS", (1, 0, 0, 0, 1, 0), "LPS"),
        ("FFP", (1, 0, 0, 0, -1, 0), "LAI"),
        ("HFDR", (0, -1, 0, 1, 0, 0), "ALS"),
        ("FFDL", (0, 1, 0, 1, 0, 0), "PLI"),
    ],
)
def test_the_side_is_told_by_the_orientation_alone(tmp_path, patient_position, orientation, letters):
    normal = np.cross(orientation[:3], orientation[3:])
    (tmp_path / "ct").mkdir()
    for index in range(3):
        position = (normal * 3 * index).tolist()
        fields = {"orientation": orientation, "PatientPosition": patient_position}
        write_slice(tmp_path / "ct" / f"{index}.dcm", np.zeros((5, 6)), position, **fields)
    assert "".join(nib.aff2axcodes(read_volume(tmp_path / "ct").affine)) == letters


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # from writing the file
@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO 2022 IR 87", "", "NOT_A_CHARSET", None])
def test_names_in_any_script_neither_stop_reading_nor_appear(tmp_path, charset, caplog):
    fields = {} if charset is None else {"SpecificCharacterSet": charset}
    write_slice(tmp_path / "a.dcm", np.zeros((5, 6)), **fields)
    content = (tmp_path / "a.dcm").read_bytes().replace(b"Secret^Name ", "山田^太郎".encode()[:12])
    (tmp_path / "a.dcm").write_bytes(content)
    with caplog.at_level("DEBUG"):
        volume = read_volume(tmp_path / "a.dcm")
    assert volume.shape == (1, 5, 6)
    assert "山田" not in caplog.text + repr(volume.source)


def test_a_codec_that_is_missing_is_named(shared_data):
    folder = shared_data / "pydicom+pydicom/src/pydicom/data/test_files"
    with pytest.raises(SamAdaptError, match="of the coding JPEG 2000 Image Compression"):
        read_volume(folder / "JPEG2000-embedded-sequence-delimiter.dcm")
