"""Label maps as NIfTI, NRRD and MetaImage: a new header, nothing of the source in it but its geometry."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .file_kinds import suffix_of
from .saving import NotSavedError, new_file
from .volume import NiftiGeometry, Volume

_NIFTI1_LARGEST = 32767
_LONGEST_HEADER = 1 << 20
_SEGMENT = re.compile(r"Segment(\d+)_(Name|LabelValue):=(.*)")


def plain_name(name: str, longest: int = 200) -> str:
    """A class's name as one line of at most `longest` characters, without control characters."""
    kept = "".join(letter if letter.isprintable() else " " for letter in name)
    return " ".join(kept.split())[:longest].strip()


def write_nifti(path: Path, labels: NDArray[Any], reference: Volume) -> None:
    """Write labels (z, y, x) as .nii or .nii.gz; OSError where it does not go onto the disk."""
    header = _nifti_header(labels, reference)
    with new_file(path) as raw:
        if suffix_of(path) == ".nii.gz":  # no name and no time in the gzip header
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
                _write_nifti_bytes(packed, header, labels)
        else:
            _write_nifti_bytes(raw, header, labels)


def _write_nifti_bytes(stream: BinaryIO | gzip.GzipFile, header: Any, labels: NDArray[Any]) -> None:
    stream.write(header.binaryblock)
    stream.write(bytes(4))  # no extensions
    stream.write(labels.data)


def _nifti_header(labels: NDArray[Any], reference: Volume) -> Any:
    """A new header with the labels' type and the source's geometry; everything else stays at its default."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    geometry = reference.source.header or nifti_geometry(reference)
    second = geometry.version == 2 or max(labels.shape) > _NIFTI1_LARGEST
    header: Any = (Nifti2Header if second else Nifti1Header)()  # type: ignore[no-untyped-call]
    header.set_data_shape(labels.shape[::-1][: geometry.dimensions])
    header.set_data_dtype(labels.dtype)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    header["scl_slope"], header["scl_inter"] = 1, 0
    for name, numbers in geometry.fields:
        header[name] = numbers if len(numbers) > 1 else numbers[0]
    return header


def nifti_geometry(reference: Volume) -> NiftiGeometry:
    """Geometry fields for a volume that was no NIfTI file: sform and qform alike, in mm."""
    from nibabel.nifti1 import Nifti1Header

    from .nifti import geometry_of

    code = 1 if reference.source.format == "dicom" else 2
    header: Any = Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_shape(tuple(min(size, _NIFTI1_LARGEST) for size in reference.shape[::-1]))
    header.set_zooms(reference.spacing[::-1])
    header.set_sform(reference.affine, code)
    header.set_qform(reference.affine, code)
    header.set_xyzt_units("mm")
    return geometry_of(header)


def write_with_itk(
    path: Path, labels: NDArray[Any], reference: Volume, names: Mapping[int, str] | None
) -> None:
    """Write .nrrd (with its segments, as 3D Slicer names them) or .mha.

    A full disk may show only when the file is read back; NotSavedError for what shows at once.
    """
    import SimpleITK as sitk

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ reference.affine
    spacing = np.array(reference.spacing[::-1])
    image: Any = sitk.GetImageFromArray(labels)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    if suffix_of(path) == ".nrrd":
        for key, value in _segments(labels.shape, names or {}).items():
            image.SetMetaData(key, value)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise NotSavedError(
            f"The labels could not be written as {suffix_of(path)}: the disk is full, or writing is not "
            "allowed here. Choose another place."
        ) from error
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _segments(shape: tuple[int, ...], names: Mapping[int, str]) -> dict[str, str]:
    """The header entries that name the segments of a label map (z, y, x)."""
    z, y, x = (size - 1 for size in shape)
    entries = {}
    for number, label in enumerate(sorted(names)):
        key = f"Segment{number}_"
        entries[key + "ID"] = f"Segment_{label}"
        entries[key + "Name"] = plain_name(names[label])
        entries[key + "LabelValue"] = str(label)
        entries[key + "Layer"] = "0"
        entries[key + "Extent"] = f"0 {x} 0 {y} 0 {z}"
    return entries


def segment_names(path: Path) -> dict[int, str]:
    """The names of the ids in the header of a .nrrd file; empty where there are none."""
    found: dict[str, dict[str, str]] = {}
    with path.open("rb") as stream:
        while stream.tell() < _LONGEST_HEADER and (line := stream.readline(_LONGEST_HEADER).strip()):
            if match := _SEGMENT.fullmatch(line.decode("utf-8", "replace")):
                number, what, value = match.groups()
                found.setdefault(number, {})[what] = value.replace("\\\\", "\\")
    return {
        int(segment["LabelValue"]): segment["Name"]
        for segment in found.values()
        if segment.keys() == {"Name", "LabelValue"} and segment["LabelValue"].isdecimal()
    }
