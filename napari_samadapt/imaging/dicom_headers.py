"""What a DICOM file says about its frames: where each lies, how large it is, to which series it belongs.

Only the tags named here are read. Names of patients are never touched; their numbers only tell them apart, within
this process, and are not kept.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SamAdaptError
from .quietly import quietly

_TAGS = [
    "SOPClassUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "SpacingBetweenSlices", "SliceThickness", "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
    "SOPInstanceUID", "FrameOfReferenceUID", "InstanceNumber", "PixelRepresentation", "RescaleSlope",
    "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit", "EchoTime", "DiffusionBValue",
    "TemporalPositionIdentifier", "TriggerTime", "ImageType", "AcquisitionNumber", "ConvolutionKernel",
    "BitsStored", "HighBit", "ModalityLUTSequence", "PatientID",
]  # fmt: skip
_DIFFERENCES = {
    "EchoTime": "echo time {} ms", "EffectiveEchoTime": "echo time {} ms", "DiffusionBValue": "b = {}",
    "TemporalPositionIdentifier": "time {}", "TemporalPositionIndex": "time {}", "TriggerTime": "trigger {} ms",
    "ImageType": "{}", "FrameType": "{}", "ConvolutionKernel": "kernel {}", "AcquisitionNumber": "acquisition {}",
}  # fmt: skip
"""What can differ between images of the same place: the field, and how it is shown. None of it names anybody."""

_GROUPS = (
    "MREchoSequence", "MRDiffusionSequence", "FrameContentSequence", "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence", "CardiacSynchronizationSequence",
)  # fmt: skip
_SCALED_BY_FRAMES = {
    "1.2.840.10008.5.1.4.1.1." + end
    for end in ("2.1", "2.2", "4.1", "4.4", "130", "128.1", "13.1.1", "13.1.2", "13.1.3")
}
"""The classes of multi-frame images whose scaling SimpleITK takes from the groups of the frames: CT, MR, PET, X-ray."""
_NO_IMAGES = {
    "SEG": "a segmentation", "RTDOSE": "a dose map", "RTSTRUCT": "a set of contours", "RTPLAN": "a plan",
    "SR": "a report", "PR": "a presentation state", "KO": "a list of images", "REG": "a registration",
}  # fmt: skip
MALFORMED = (
    AttributeError, EOFError, IndexError, KeyError, NotImplementedError, OverflowError, TypeError, ValueError,
)  # fmt: skip
"""What pydicom, and libraries that build on it, raise for headers that are not as they should be."""
_DAMAGED = (*MALFORMED, StopIteration, struct.error)
_CODE = re.compile(r"[A-Za-z0-9_./ +-]+")
_LARGE = 4096  # values longer than this many bytes stay on the disk
_PIXEL_DATA = 0x7FE00010


@dataclass(frozen=True)
class Frame:
    """One image of a DICOM file. LPS mm; `position` is the centre of the first pixel; None where not stated.

    `orientation` holds the directions of a row's and of a column's pixels; `spacing` is (row, column) mm.
    `differences` holds fields, and their values as plain text, that tell images of the same place apart; `order`
    is the number that the file gives its image.
    """

    path: Path
    index: int
    rows: int
    columns: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    differences: tuple[tuple[str, str], ...] = ()
    order: int = 0


@dataclass(frozen=True)
class DicomFile:
    """The frames of one file and what they have in common.

    `series` and `instance` are UIDs, `space` is that of the frame of reference; `person` is one number for the files
    of one patient; `padding` is the lowest and the highest value, in real units, of pixels without a measurement;
    `coding` is the name of the transfer syntax.
    """

    path: Path
    series: str
    instance: str
    space: str
    person: int
    series_number: str
    modality: str
    photometric: str
    samples: int
    bits: int
    coding: str
    padding: tuple[float, float] | None
    frames: tuple[Frame, ...]


class NoImageError(SamAdaptError):
    """A DICOM file without a picture: a report, contours, a segmentation."""


def read_dicom_file(path: Path) -> DicomFile:
    """The description of a DICOM image file; NoImageError, or SamAdaptError for a damaged or cut file."""
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with quietly():
            header = pydicom.dcmread(path, force=True, defer_size=_LARGE, specific_tags=list(_TAGS))
            return _described(header, path)
    except SamAdaptError:
        raise
    except (*_DAMAGED, BytesLengthException, InvalidDicomError) as error:
        raise SamAdaptError(f"{path.name} is not a DICOM file, or its header is damaged.") from error


def _described(header: Any, path: Path) -> DicomFile:
    modality = str(header.get("Modality") or "")
    if modality in _NO_IMAGES:
        raise NoImageError(f"{path.name} holds {_NO_IMAGES[modality]} ({modality}), not an image.")
    rows, columns = header.get("Rows"), header.get("Columns")
    if (
        not rows
        or not columns
        or not ({"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(header.dir()))
    ):
        raise NoImageError(f"{path.name} is a DICOM file without an image.")
    if "PixelData" not in header:
        raise SamAdaptError(
            f"{path.name} holds floating-point pixels, which cannot be read: export it as integers."
        )
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 16)
    photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    count = int(header.get("NumberOfFrames") or 1)
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    _check_values(header, path)
    _check_pixels(header, path, int(rows) * int(columns) * count, samples * bits, photometric, syntax)
    return DicomFile(
        path=path,
        series=str(header.get("SeriesInstanceUID") or ""),
        instance=str(header.get("SOPInstanceUID") or ""),
        space=str(header.get("FrameOfReferenceUID") or ""),
        person=_person(header),
        series_number=_plain(header.get("SeriesNumber")) or "0",
        modality=_plain(modality),
        photometric=_plain(photometric),
        samples=samples,
        bits=bits,
        coding=str(syntax.name) if syntax is not None and syntax.is_transfer_syntax else "",
        padding=_padding(header, photometric),
        frames=tuple(_frames(header, path, count)),
    )


def _person(header: Any) -> int:
    """A number for the patient that means nothing outside this process, as Python salts its hashes."""
    return hash(getattr(header.get_item("PatientID"), "value", None) or b"")


def _plain(value: Any) -> str:
    """A short code from a header; anything that is no code is left out, whatever it may hold."""
    several = hasattr(value, "__iter__") and not isinstance(value, str)
    text = "" if value is None else "/".join(map(str, value)) if several else str(value)
    return text if len(text) <= 64 and _CODE.fullmatch(text) else ""


def _padding(header: Any, photometric: str) -> tuple[float, float] | None:
    """The range of real values that stand for "not measured"; None where there is none."""
    first = header.get("PixelPaddingValue")
    if not isinstance(first, int) or photometric != "MONOCHROME2":
        return None
    last = header.get("PixelPaddingRangeLimit")
    slope, offset = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
    ends = [slope * end + offset for end in (first, last if isinstance(last, int) else first)]
    return min(ends), max(ends)


def _check_values(header: Any, path: Path) -> None:
    """Refuse pixels that SimpleITK would hand on unscaled or shifted, without a word."""
    stored, high = header.get("BitsStored"), header.get("HighBit")
    if "ModalityLUTSequence" in header:
        problem = "has a table that turns its pixels into values (Modality LUT)"
    elif isinstance(stored, int) and isinstance(high, int) and high != stored - 1:
        problem = f"stores {stored} bits per pixel up to bit {high}, not {stored - 1}"
    elif str(header.get("SOPClassUID")) not in _SCALED_BY_FRAMES and _is_scaled_by_frames(header):
        problem = "scales the pixels of its frames, which is known of CT, MR, PET and X-ray images only"
    else:
        return
    raise SamAdaptError(f"{path.name} {problem}, which cannot be read: export it as a plain series.")


def _is_scaled_by_frames(header: Any) -> bool:
    sequences = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    for group in (_first(header, name) for name in sequences):
        scaling = _first(group, "PixelValueTransformationSequence")
        if (float(scaling.get("RescaleSlope") or 1), float(scaling.get("RescaleIntercept") or 0)) != (1, 0):
            return True
    return False


def _check_pixels(header: Any, path: Path, pixels: int, bits: int, photometric: str, syntax: Any) -> None:
    """Refuse an uncompressed file that holds fewer pixels than its header names."""
    if syntax is None or not syntax.is_transfer_syntax or syntax.is_compressed or syntax.is_deflated:
        return
    element = header.get_item(_PIXEL_DATA, keep_deferred=True)
    start = getattr(element, "value_tell", 0)
    found = min(int(element.length), path.stat().st_size - start)
    needed = pixels * (16 if photometric == "YBR_FULL_422" else bits) // 8
    if found < needed:
        percent = math.floor(1000 * max(0, found) / needed) / 10
        raise SamAdaptError(
            f"{path.name} is incomplete: {percent:g} % of its pixels are there. Copy it again."
        )


def _frames(header: Any, path: Path, count: int) -> Iterator[Frame]:
    shared = _first(header, "SharedFunctionalGroupsSequence")
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    if not each:  # a plain file; the frames of a cine loop have no place of their own
        groups: list[list[Any]] = [[header] if count == 1 else [_only_spacing(header)]] * count
    elif len(each) != count:
        raise SamAdaptError(
            f"{path.name} has {count} frames and describes {len(each)}: its header is damaged."
        )
    else:
        groups = [[frame, shared] for frame in each]
        _check_same_scaling(each, path)
    order = header.get("InstanceNumber")
    for index, group in enumerate(groups):
        yield Frame(
            path=path,
            index=index,
            rows=int(header.Rows),
            columns=int(header.Columns),
            position=_find(group, "PlanePositionSequence", "ImagePositionPatient", 3),
            orientation=_find(group, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
            spacing=_find(group, "PixelMeasuresSequence", "PixelSpacing", 2),
            thickness=_thickness(group),
            differences=tuple(_differences([*group, header])),
            order=int(order) if isinstance(order, int) else 0,
        )


def _check_same_scaling(each: Any, path: Path) -> None:
    """Refuse frames with a scaling of their own: the decoder gives all frames the scaling of the first."""
    found = set()
    for frame in each:
        group = _first(frame, "PixelValueTransformationSequence")
        found.add((group.get("RescaleSlope"), group.get("RescaleIntercept")))
    if len(found) > 1:
        raise SamAdaptError(
            f"The frames of {path.name} are scaled differently, which cannot be read: "
            "export it as one file per image."
        )


def _differences(groups: list[Any]) -> Iterator[tuple[str, str]]:
    """The fields that may tell a frame from others of its place, from the first group that states each."""
    for name, shown in _DIFFERENCES.items():
        for group in groups:
            places = (group, *(_first(group, sequence) for sequence in _GROUPS)) if group else ()
            value = next((place[name].value for place in places if name in place), None)
            if text := _plain(value):
                yield name, shown.format(text)
                break


def _only_spacing(header: Any) -> dict[str, Any]:
    return {"PixelSpacing": header.get("PixelSpacing")}


def _first(group: Any, name: str) -> Any:
    """The first item of a sequence, or an empty group."""
    items = group.get(name) if group else None
    return items[0] if items else {}


def _find(groups: list[Any], sequence: str, name: str, size: int) -> tuple[float, ...] | None:
    """`size` finite numbers from a group or from the sequence inside it."""
    for group in groups:
        for place in (group, _first(group, sequence)):
            value = place.get(name) if place else None
            if value is not None and not isinstance(value, str) and len(value) == size:
                numbers = tuple(float(number) for number in value)
                if all(map(math.isfinite, numbers)) and (size != 2 or min(numbers) > 0):
                    return numbers
    return None


def _thickness(groups: list[Any]) -> float | None:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        for group in groups:
            for place in (group, _first(group, "PixelMeasuresSequence")):
                value = place.get(name) if place else None
                if value is not None and str(value).strip() and 1e-3 < abs(float(value)) <= 100:
                    return abs(float(value))
    return None
