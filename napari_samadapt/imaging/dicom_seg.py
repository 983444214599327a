"""Label maps as DICOM segmentation objects (DICOM-SEG) that refer to the images they were drawn on.

Frame of reference, study, series and the images are named by their UIDs. Of what the images say about the
patient nothing is copied, unless that is asked for: the attributes that the standard wants are left empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_headers import MALFORMED
from .dicom_source import (
    SourceImages,
    check_dicom_source,
    copy_identity,
    frame_corners,
    source_images,
    three_corners,
)
from .errors import SamAdaptError
from .mask_files import plain_name
from .quietly import quietly
from .saving import NotSavedError, new_file
from .volume import Volume

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_IDENTITY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_SERIES_NUMBER = 900
_LONGEST_LABEL = 64
_SAME_PLACE_MM = 1e-3
_LABEL = "label "


def write_dicom_seg(
    path: Path,
    labels: NDArray[Any],
    reference: Volume,
    names: Mapping[int, str] | None,
    *,
    identity: bool = False,
) -> None:
    """Write labels (z, y, x) as a new binary DICOM-SEG, one segment for each id that has voxels.

    `identity` copies the patient's and the study's attributes from the images. Raises SamAdaptError for a source
    without DICOM images, missing images and empty masks; OSError where it does not go onto the disk.
    """
    check_dicom_source(reference)
    ids = [int(label) for label in np.unique(labels) if label]
    if not ids:
        raise SamAdaptError(
            "There are no masks yet, and a DICOM-SEG cannot be empty: segment something first."
        )
    images = source_images(reference)
    numbered = np.searchsorted(np.array(ids), labels).astype(np.uint16) + 1
    numbered[labels == 0] = 0
    try:
        with quietly():
            made = _segmentation(numbered[list(images.order)], ids, images, names or {})
    except MALFORMED as error:
        raise NotSavedError(
            "Not saved: the headers of the DICOM images do not allow a DICOM-SEG. Save as .nii.gz instead."
        ) from error
    if identity:
        copy_identity(made, reference.source.frames[0][0])
    with new_file(path) as stream:
        made.save_as(stream)


def _segmentation(
    numbered: NDArray[Any], ids: list[int], images: SourceImages, names: Mapping[int, str]
) -> Any:
    """The object for segment numbers (frame, row, column), without anything about the patient."""
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian

    from napari_samadapt import __version__

    made = hd.seg.Segmentation(
        source_images=list(images.headers),
        pixel_array=numbered,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(number, label, names) for number, label in enumerate(ids, start=1)],
        series_instance_uid=hd.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="napari-samadapt",
        manufacturer_model_name="napari-samadapt",
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        series_description="Segmentation, research use only",
        specific_character_set="ISO_IR 192",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "Patient and study left empty, UIDs kept"
    return made


def _segment(number: int, label: int, names: Mapping[int, str]) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    from napari_samadapt import __version__

    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment_label(label, names),
        segmented_property_category=Code("123037004", "SCT", "Anatomical Structure"),
        segmented_property_type=Code("85756007", "SCT", "Tissue"),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="napari-samadapt", family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
    )
    described.SegmentDescription = f"{_LABEL}{label}"
    return described


def segment_label(label: int, names: Mapping[int, str]) -> str:
    """The name of a segment: the class's, on one line of at most 64 characters, never empty."""
    return plain_name(names.get(label, "").replace("\\", "/"), _LONGEST_LABEL) or f"{_LABEL}{label}"


def read_dicom_seg(path: Path, reference: Volume) -> tuple[NDArray[Any], dict[int, str]]:
    """The labels (z, y, x) and the names in a DICOM-SEG that this program wrote for `reference`.

    Every frame is placed by the position that the file states, within 1e-3 mm of an image of the source. Raises
    SamAdaptError where one lies elsewhere, segments overlap, or the file is not whole.
    """
    places = np.stack([frame_corners(frame) for frame in source_images(reference).frames])
    try:
        found = _read_whole(path)
        ids = {int(segment.SegmentNumber): _id_of(segment) for segment in found.SegmentSequence}
        names = {ids[int(s.SegmentNumber)]: str(s.SegmentLabel) for s in found.SegmentSequence}
        pixels = found.pixel_array.reshape(-1, found.Rows, found.Columns)
        labels = np.zeros(reference.shape, np.uint32)
        for mask, group in zip(pixels, found.PerFrameFunctionalGroupsSequence, strict=True):
            z = _slice_of(_corners(found, group), places)
            inside = mask > 0
            if labels[z][inside].any():
                raise SamAdaptError(f"Segments of {path.name} overlap, so they are no label map.")
            labels[z][inside] = ids[_segment_of(found, group)]
    except MALFORMED as error:
        if isinstance(error, SamAdaptError):
            raise
        raise SamAdaptError(f"{path.name} is no DICOM segmentation, or it is damaged.") from error
    return labels, names


def _read_whole(path: Path) -> Any:
    import pydicom

    with quietly():
        return pydicom.dcmread(path)


def _id_of(segment: Any) -> int:
    text = str(segment.get("SegmentDescription") or "")
    stated = text.removeprefix(_LABEL)
    return int(stated) if text.startswith(_LABEL) and stated.isdecimal() else int(segment.SegmentNumber)


def _segment_of(found: Any, group: Any) -> int:
    """Which segment a frame shows; one segment for all frames stands in the shared group."""
    place = group if "SegmentIdentificationSequence" in group else found.SharedFunctionalGroupsSequence[0]
    return int(place.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _corners(found: Any, group: Any) -> NDArray[np.float64]:
    """As `three_corners`, of a frame of a segmentation."""
    shared = found.SharedFunctionalGroupsSequence[0]
    return three_corners(
        tuple(map(float, group.PlanePositionSequence[0].ImagePositionPatient)),
        tuple(map(float, shared.PlaneOrientationSequence[0].ImageOrientationPatient)),
        tuple(map(float, shared.PixelMeasuresSequence[0].PixelSpacing)),
        (int(found.Rows), int(found.Columns)),
    )


def _slice_of(corners: NDArray[np.float64], places: NDArray[np.float64]) -> int:
    """The slice of the volume that lies where the corners are; `places` (z, 3, 3) are those of its slices."""
    away = np.abs(places - corners).max(axis=(1, 2))
    nearest = int(np.argmin(away))
    if away[nearest] > _SAME_PLACE_MM:
        raise SamAdaptError(f"A frame lies {away[nearest]:.3g} mm away from the nearest slice of the image.")
    return nearest
