"""The DICOM images that a segmentation refers to: their UIDs, where each slice lies, and nothing else of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_headers import MALFORMED, Frame, read_dicom_file
from .errors import SamAdaptError
from .quietly import quietly
from .volume import Volume

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
IDENTITY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What the standard wants of the patient and the study, empty or not."""


@dataclass(frozen=True)
class SourceImages:
    """The images under a volume: one header for each slice, or one for all, and where each slice lies."""

    headers: tuple[Any, ...]
    frames: tuple[Frame, ...]
    order: tuple[int, ...]  # for each image frame as stored, the slice of the volume


def check_dicom_source(reference: Volume) -> None:
    """SamAdaptError unless `reference` was read from DICOM images that a segmentation can refer to."""
    if not reference.source.frames or not reference.spatial:
        raise SamAdaptError(
            "DICOM-SEG needs an image that was opened from DICOM files with positions, slice by slice: "
            "save the masks as .nii.gz instead."
        )


def source_images(reference: Volume) -> SourceImages:
    """What is needed of the images of a volume, and nothing else."""
    described = {path: read_dicom_file(path) for path, _ in reference.source.frames}
    frames = tuple(described[path].frames[index] for path, index in reference.source.frames)
    if any((frame.rows, frame.columns) != reference.shape[1:] for frame in frames) or any(
        frame.position is None or frame.orientation is None or frame.spacing is None for frame in frames
    ):
        raise SamAdaptError("The DICOM files have changed since they were opened: save as .nii.gz instead.")
    paths = list(described)
    multiframe = len(frames) > len(paths) or "PerFrameFunctionalGroupsSequence" in header_of(
        paths[0], ["PerFrameFunctionalGroupsSequence"]
    )
    if multiframe and len(paths) > 1:
        raise SamAdaptError(
            "This volume comes from several multi-frame files, to which one DICOM-SEG cannot refer: "
            "save as .nii.gz instead."
        )
    if not multiframe:
        headers = tuple(_small_header(frame.path, frame) for frame in frames)
        return SourceImages(headers, frames, tuple(range(len(frames))))
    order = sorted(range(len(frames)), key=lambda z: frames[z].index)
    if [frames[z].index for z in order] != list(range(len(described[paths[0]].frames))):
        raise SamAdaptError(
            "Only a part of the frames of this file is open, and a DICOM-SEG refers to all of them: "
            "save as .nii.gz instead."
        )
    header = _with_groups(_small_header(paths[0], frames[0]), [frames[z] for z in order])
    return SourceImages((header,), frames, tuple(order))


def header_of(path: Path, keywords: list[str]) -> Any:
    import pydicom

    with quietly():
        return pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(keywords))


def _small_header(path: Path, frame: Frame) -> Any:
    """A header with the UIDs and the geometry of an image; all that names a person is empty."""
    from pydicom import Dataset
    from pydicom.uid import UID

    found, small = header_of(path, [*_UIDS, "Modality"]), Dataset()
    for keyword in _UIDS:
        uid = UID(str(found.get(keyword) or ""))
        if not uid.is_valid:
            raise SamAdaptError(
                f"The DICOM images state no usable {keyword}, which a DICOM-SEG refers to: "
                "save as .nii.gz instead."
            )
        setattr(small, keyword, uid)
    for keyword in IDENTITY:
        setattr(small, keyword, "" if not keyword.startswith("Study") else None)
    modality = str(found.get("Modality") or "")
    small.Modality = modality if modality.isalnum() and len(modality) <= 2 else "OT"
    small.Rows, small.Columns = frame.rows, frame.columns
    _place(small, frame)
    return small


def _place(small: Any, frame: Frame) -> None:
    from pydicom.valuerep import DSfloat

    def decimals(numbers: tuple[float, ...] | None) -> list[Any]:
        return [DSfloat(number, auto_format=True) for number in numbers or ()]

    small.ImagePositionPatient = decimals(frame.position)
    small.ImageOrientationPatient = decimals(frame.orientation)
    small.PixelSpacing = decimals(frame.spacing)
    if frame.thickness is not None:
        small.SliceThickness = DSfloat(frame.thickness, auto_format=True)


def _with_groups(small: Any, frames: list[Frame]) -> Any:
    """The header of a multi-frame file: where each frame lies, in its functional groups."""
    from pydicom import Dataset

    def group(sequence: str, source: Any, *keywords: str) -> tuple[str, list[Any]]:
        item = Dataset()
        for keyword in keywords:
            if keyword in source:
                setattr(item, keyword, source[keyword].value)
        return sequence, [item]

    shared = Dataset()
    setattr(shared, *group("PixelMeasuresSequence", small, "PixelSpacing", "SliceThickness"))
    setattr(shared, *group("PlaneOrientationSequence", small, "ImageOrientationPatient"))
    small.SharedFunctionalGroupsSequence = [shared]
    each = []
    for frame in frames:
        placed, item = Dataset(), Dataset()
        _place(placed, frame)
        setattr(item, *group("PlanePositionSequence", placed, "ImagePositionPatient"))
        each.append(item)
    small.PerFrameFunctionalGroupsSequence = each
    small.NumberOfFrames = len(frames)
    return small


def frame_corners(frame: Frame) -> NDArray[np.float64]:
    """As `three_corners`, of an image."""
    return three_corners(
        frame.position or (), frame.orientation or (), frame.spacing or (), (frame.rows, frame.columns)
    )


def three_corners(
    position: tuple[float, ...],
    orientation: tuple[float, ...],
    spacing: tuple[float, ...],
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """(3, 3) LPS mm: the centres of the first pixel, the last of its row and the last of its column."""
    start, across, down = np.array(position), np.array(orientation[:3]), np.array(orientation[3:])
    along_row, along_column = across * spacing[1] * (size[1] - 1), down * spacing[0] * (size[0] - 1)
    return np.stack([start, start + along_row, start + along_column])


def copy_identity(made: Any, path: Path) -> None:
    """Give a segmentation the patient and the study of an image file."""
    header = header_of(path, [*IDENTITY, "SpecificCharacterSet"])
    for keyword in IDENTITY:
        setattr(made, keyword, str(header.get(keyword) or ""))
    del made.PatientIdentityRemoved, made.DeidentificationMethod


def check_same_series(path: Path, reference: Volume) -> None:
    """SamAdaptError unless the file is a segmentation in the frame of reference of `reference`'s images."""
    check_dicom_source(reference)
    wanted = header_of(reference.source.frames[0][0], ["FrameOfReferenceUID"]).get("FrameOfReferenceUID")
    try:
        found = header_of(path, ["Modality", "FrameOfReferenceUID"])
        same = found.get("Modality") == "SEG" and found.get("FrameOfReferenceUID") == wanted
    except MALFORMED:
        same = False
    if not same:
        raise SamAdaptError(
            f"{path.name} exists and holds no masks of this image, but perhaps those of another case or an "
            "image: choose another name, or delete it first."
        )
