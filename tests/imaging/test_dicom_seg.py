"""DICOM-SEG: on the images it refers to, names and ids kept, and nothing about the patient unless asked for."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from napari_samadapt.imaging import writing
from napari_samadapt.imaging.dicom_seg import read_dicom_seg
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.imaging.writing import write_each_label, write_labels

RNG = np.random.default_rng(0)
OBLIQUE = (0.9848077530122, 0.1736481776669, 0, -0.1736481776669, 0.9848077530122, 0)
NAMES = {7: "liver", 300: "Herz ♥", 9: "never drawn"}
PATIENT = {
    "PatientName": "SECRET^NAME",
    "PatientID": "SECRET1",
    "PatientBirthDate": "19700102",
    "PatientSex": "F",
    "AccessionNumber": "SECRET2",
    "StudyID": "SECRET3",
    "StudyDate": "20200304",
    "StudyTime": "101112",
    "ReferringPhysicianName": "SECRET^DOCTOR",
    "StudyDescription": "SECRET4",
    "PatientComments": "SECRET5",
}


def header(uid, sop_class=CTImageStorage):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = (
        uid + ".1",
        uid + ".2",
        uid + ".3",
    )
    made.Modality, made.Rows, made.Columns = "CT", 5, 6
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    for keyword, value in PATIENT.items():
        setattr(made, keyword, value)
    return made


@pytest.fixture
def series(tmp_path):
    """A folder of four oblique slices, 3.1 mm apart, in a shuffled order of names."""
    folder, uid = tmp_path / "ct", "1.2.3.4"
    folder.mkdir()
    for number, index in enumerate(RNG.permutation(4)):
        made = header(uid)
        made.ImagePositionPatient = [-20.5, 11.25, 40 + 3.1 * int(index)]
        made.ImageOrientationPatient, made.PixelSpacing, made.SliceThickness = list(OBLIQUE), [0.9, 0.8], 3
        made.PixelData = RNG.integers(0, 99, (5, 6)).astype("<u2").tobytes()
        made.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def multiframe(tmp_path):
    """One file of four frames, stored from the top down."""
    made = header("1.2.3.4", EnhancedMRImageStorage)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.9, 0.8], 3.0
    plane.ImageOrientationPatient = list(OBLIQUE)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    made.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for index in (3, 2, 1, 0):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [-20.5, 11.25, 40 + 3.1 * index]
        group.PlanePositionSequence = [place]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence, made.NumberOfFrames = groups, 4
    made.PixelData = RNG.integers(0, 99, (4, 5, 6)).astype("<u2").tobytes()
    made.save_as(tmp_path / "mr.dcm", enforce_file_format=True)
    return tmp_path / "mr.dcm"


def drawn(ids=(0, 7, 300)):
    labels = RNG.choice(np.array(ids, np.uint16), (4, 5, 6))
    labels[2] = 0  # a slice without masks has no frame
    return labels


@pytest.mark.parametrize("kind", ["series", "multiframe"])
def test_another_library_finds_every_voxel_where_it_was_drawn(request, tmp_path, kind):
    """highdicom places the frames by itself; the volume it makes is compared point by point."""
    volume, labels = read_volume(request.getfixturevalue(kind)), drawn()
    path = write_labels(tmp_path / "mask.dcm", labels, volume, NAMES)
    found = hd.seg.segread(path)
    ids = {n: int(found.get_segment_description(n).SegmentDescription[6:]) for n in found.segment_numbers}
    assert {ids[n]: found.get_segment_description(n).segment_label for n in ids} == {
        7: "liver",
        300: "Herz ♥",
    }
    stacked = found.get_volume(combine_segments=True, allow_missing_positions=True)
    to_volume = np.linalg.inv(volume.affine) @ np.diag([-1, -1, 1, 1]) @ stacked.affine
    there = np.zeros(labels.shape, int)
    for place in np.argwhere(stacked.array):
        x, y, z, _ = to_volume @ (*place, 1)
        there[round(z), round(y), round(x)] = ids[int(stacked.array[tuple(place)])]
        np.testing.assert_allclose((x, y, z), np.rint((x, y, z)), atol=1e-3)
    assert (there == labels).all()


@pytest.mark.parametrize("kind", ["series", "multiframe"])
def test_it_refers_to_its_images(request, tmp_path, kind):
    source = request.getfixturevalue(kind)
    images = [pydicom.dcmread(path) for path in (source.iterdir() if source.is_dir() else [source])]
    found = pydicom.dcmread(write_labels(tmp_path / "m.dcm", drawn(), read_volume(source), NAMES))
    assert found.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert found.StudyInstanceUID == images[0].StudyInstanceUID
    assert found.SeriesInstanceUID != images[0].SeriesInstanceUID
    referenced = found.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == {
        image.SOPInstanceUID for image in images
    }
    assert found.SegmentationType == "BINARY"


def test_the_patient_is_left_out_unless_asked_for(series, tmp_path):
    volume, labels = read_volume(series), drawn()
    without = write_labels(tmp_path / "without.dcm", labels, volume, NAMES)
    assert b"SECRET" not in without.read_bytes()
    plain = pydicom.dcmread(without)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        assert not plain[keyword].value, keyword
    assert plain.PatientIdentityRemoved == "YES"

    named = pydicom.dcmread(write_labels(tmp_path / "with.dcm", labels, volume, NAMES, identity=True))
    for keyword, value in PATIENT.items():
        if keyword not in ("StudyDescription", "PatientComments"):
            assert str(named[keyword].value) == value, keyword
    assert "PatientIdentityRemoved" not in named
    assert b"SECRET4" not in (tmp_path / "with.dcm").read_bytes()


def test_what_the_standard_wants_empty_or_not_is_there(series, tmp_path):
    found = pydicom.dcmread(write_labels(tmp_path / "m.dcm", drawn(), read_volume(series)))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
                    "StudyID", "AccessionNumber", "ReferringPhysicianName", "SegmentSequence",
                    "DimensionIndexSequence", "ContentLabel", "InstanceNumber"):  # fmt: skip
        assert keyword in found, keyword


def test_one_file_for_each_label_keeps_the_id(series, tmp_path):
    volume, labels = read_volume(series), drawn()
    paths = write_each_label(tmp_path / "m.dcm", labels, volume, NAMES)
    assert [path.name for path in paths] == ["m_7_liver.dcm", "m_300_Herz.dcm"]
    for path, label in zip(paths, (7, 300), strict=True):
        found, names = read_dicom_seg(path, volume)
        assert (found == np.where(labels == label, label, 0)).all()
        assert names == {label: NAMES[label]}


def test_long_and_hostile_names_become_one_short_line(series, tmp_path):
    volume, labels = read_volume(series), drawn()
    path = write_labels(tmp_path / "m.dcm", labels, volume, {7: "a\\b\n\x1b[31m" + "x" * 99})
    _, names = read_dicom_seg(path, volume)
    assert names == {7: ("a/b [31m" + "x" * 99)[:64], 300: "label 300"}


def test_empty_masks_and_other_sources_are_refused(series, tmp_path):
    volume = read_volume(series)
    with pytest.raises(SamAdaptError, match="cannot be empty"):
        write_labels(tmp_path / "m.dcm", np.zeros((4, 5, 6), np.uint8), volume)
    with pytest.raises(SamAdaptError, match="opened from DICOM"):
        write_labels(tmp_path / "m.dcm", drawn(), Volume(volume.data, volume.affine))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct"]


@pytest.mark.parametrize(
    ("keyword", "value"), [("FrameOfReferenceUID", None), ("StudyInstanceUID", "SECRET"), ("Rows", 7)]
)
def test_images_that_cannot_be_referred_to(series, tmp_path, keyword, value):
    volume = read_volume(series)
    for path in series.iterdir():
        changed = pydicom.dcmread(path)
        if value is None:
            delattr(changed, keyword)
        else:
            changed[keyword].value = value
        changed.save_as(path)
    with pytest.raises(SamAdaptError, match=r"nii\.gz|incomplete") as caught:
        write_labels(tmp_path / "m.dcm", drawn(), volume)
    assert "SECRET" not in str(caught.value)


def test_images_that_are_gone(series, tmp_path):
    volume = read_volume(series)
    for path in series.iterdir():
        path.unlink()
    with pytest.raises(SamAdaptError, match="not saved: its folder is gone"):
        write_labels(tmp_path / "m.dcm", drawn(), volume)


def test_images_and_other_cases_are_not_replaced(series, tmp_path):
    volume, labels = read_volume(series), drawn()
    image = next(series.iterdir())
    before = image.read_bytes()
    with pytest.raises(SamAdaptError, match="the image itself"):
        write_labels(image, labels, volume)
    path = write_labels(tmp_path / "m.dcm", labels, volume)
    write_labels(path, labels, volume)  # masks of the same image
    other = pydicom.dcmread(path)
    other.FrameOfReferenceUID = generate_uid()
    other.save_as(path)
    with pytest.raises(SamAdaptError, match="another case"):
        write_labels(path, labels, volume)
    (tmp_path / "n.dcm").write_bytes(b"something else")
    with pytest.raises(SamAdaptError, match="another case"):
        write_labels(tmp_path / "n.dcm", labels, volume)
    assert image.read_bytes() == before


@pytest.mark.parametrize("what", ["position", "voxel", "name", "cut"])
def test_what_does_not_read_back_never_takes_the_name(series, tmp_path, monkeypatch, what):
    volume = read_volume(series)
    write = writing.write_dicom_seg

    def damage(path, *args, **options):
        write(path, *args, **options)
        made = pydicom.dcmread(path)
        if what == "position":
            place = made.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
            place.ImagePositionPatient = [-20.5, 11.26, 40]
        elif what == "voxel":
            made.PixelData = bytes([made.PixelData[0] ^ 1]) + made.PixelData[1:]
        elif what == "name":
            made.SegmentSequence[0].SegmentLabel = "spleen"
        made.save_as(path)
        if what == "cut":
            path.write_bytes(path.read_bytes()[:-10])

    monkeypatch.setattr(writing, "write_dicom_seg", damage)
    with pytest.raises(SamAdaptError, match="Not saved"):
        write_labels(tmp_path / "m.dcm", drawn(), volume, NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct"]
