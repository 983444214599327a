"""Label maps become files that lie exactly on their source, or the old file stays as it was.

A mask is written to a temporary file, brought to the disk, read back and compared; only then does it take its
name. The header is made new: nothing of the source but its geometry gets into it.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .reading import label_dtype, read_labels, suffix_of
from .volume import NiftiGeometry, Volume, corner_distance

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
_SAME_PLACE_MM = 1e-3
_NIFTI1_LARGEST = 32767
_SIBLINGS = {".nii": (".nii.gz", ".hdr", ".img"), ".nii.gz": (".nii", ".hdr", ".img")}


class NotSavedError(SamAdaptError):
    """The labels could not be written; what was at the target before is unchanged."""


def write_labels(
    path: str | PathLike[str],
    labels: NDArray[Any],
    reference: Volume,
    names: Mapping[int, str] | None = None,
) -> Path:
    """Write labels (z, y, x) of whole numbers on the grid of `reference` as .nii.gz, .nii, .nrrd or .mha.

    The type is the smallest unsigned one that holds the largest id. `names` go into `<stem>.json` beside it
    as {"labels": {"1": "liver"}}. Returns the path. Raises SamAdaptError, with every file as it was, for another
    grid or type, a target that is the source image, and a file that cannot be written or does not read back.
    """
    path = Path(path).expanduser()
    labels = _checked(labels, reference)
    with _plain_reason(path):  # a name that is too long already fails when it is looked at
        _check_target(path, reference)
    names_path = names_beside(path)
    if names is not None:
        _check_names_target(names_path)
    part, names_part = _part_beside(path), _part_beside(names_path)
    with _plain_reason(path), _removed_at_end(part), _removed_at_end(names_part):
        _write(part, labels, reference)
        _compare(part, labels, reference)
        if names is not None:
            _write_names(names_part, names)
            names_part.replace(names_path)
        part.replace(path)
        _sync_folder(path.parent)
    return path


def _checked(labels: NDArray[Any], reference: Volume) -> NDArray[Any]:
    """The labels in the type that is written; SamAdaptError for what is no label map on this grid."""
    labels = np.asarray(labels)
    if labels.shape != reference.shape:
        raise SamAdaptError(f"The labels are {labels.shape} and the image is {reference.shape} (z, y, x).")
    if labels.dtype.kind not in "bui":
        raise SamAdaptError(f"Labels are whole numbers; these are {labels.dtype}.")
    if int(labels.min()) < 0:
        raise SamAdaptError(f"Label ids are 0 (background) and above; these go down to {int(labels.min())}.")
    return np.ascontiguousarray(labels, dtype=label_dtype(int(labels.max())))


def _check_target(path: Path, reference: Volume) -> None:
    """Refuse a name that says no format, hides a neighbour or would destroy the source."""
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        raise SamAdaptError(f"{path.name} must end in one of {', '.join(WRITABLE)}.")
    if not path.parent.is_dir():
        raise SamAdaptError(f"The folder {path.parent} does not exist: make it or choose another.")
    if path.is_dir():
        raise SamAdaptError(f"{path.name} is a folder: choose another name.")
    source = reference.source.path
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise SamAdaptError(f"{path.name} is the image itself: choose another name for the labels.")
    for other in _SIBLINGS.get(suffix, ()):
        sibling = path.with_name(path.name[: -len(suffix)] + other)
        if sibling.exists():
            raise SamAdaptError(
                f"{sibling.name} lies beside {path.name}, and some programs would open it instead: "
                "choose another name."
            )


def names_beside(path: Path) -> Path:
    """Where the names of a label file's ids are: `<stem>.json`."""
    return path.with_name(path.name[: len(path.name) - len(suffix_of(path))] + ".json")


def label_names(path: Path) -> dict[int, str]:
    """The names of the ids of a label file, from the JSON beside it; empty where there is none."""
    known = _known_names(names_beside(path))
    return {int(key): str(name) for key, name in (known or {}).items() if str(key).isdecimal()}


def _known_names(path: Path) -> dict[Any, Any] | None:
    """What a file of label names holds; None where it is no such file."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    names = known.get("labels") if isinstance(known, dict) and known.keys() == {"labels"} else None
    return names if isinstance(names, dict) else None


def _check_names_target(path: Path) -> None:
    """A JSON file that holds anything but label names belongs to someone else."""
    if path.exists() and _known_names(path) is None:
        raise SamAdaptError(
            f"{path.name} exists and holds no label names: choose another name for the labels."
        )


def _write(path: Path, labels: NDArray[Any], reference: Volume) -> None:
    if suffix_of(path) in (".nii", ".nii.gz"):
        _write_nifti(path, labels, reference)
    else:
        _write_with_sitk(path, labels, reference)
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())


def _write_nifti(path: Path, labels: NDArray[Any], reference: Volume) -> None:
    header = _nifti_header(labels, reference)
    with path.open("xb") as raw:
        if suffix_of(path) == ".nii.gz":  # no name and no time in the gzip header
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
                _write_nifti_bytes(packed, header, labels)
        else:
            _write_nifti_bytes(raw, header, labels)
        raw.flush()
        os.fsync(raw.fileno())


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
    header.set_data_shape(labels.shape[::-1])
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


def _write_with_sitk(path: Path, labels: NDArray[Any], reference: Volume) -> None:
    """Write .nrrd or .mha; a full disk shows only when the file is read back."""
    import SimpleITK as sitk

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ reference.affine
    spacing = np.array(reference.spacing[::-1])
    image: Any = sitk.GetImageFromArray(labels)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise NotSavedError(
            f"The labels could not be written as {suffix_of(path)}: choose another place."
        ) from error


def _compare(part: Path, labels: NDArray[Any], reference: Volume) -> None:
    """Read the written file and compare every voxel and the position; a library's word is not enough."""
    try:
        written, volume = read_labels(part, transform="sform")
    except SamAdaptError as error:
        raise NotSavedError("Not saved: what was written cannot be read back. Is the disk full?") from error
    same = np.array_equal(written, labels)
    if volume.source.header is not None:
        expected = reference.source.header or nifti_geometry(reference)
        same = same and _equal_geometry(volume.source.header, expected)
    if reference.source.header is None or volume.source.header is None:
        same = same and corner_distance(reference.shape, volume.affine, reference.affine) < _SAME_PLACE_MM
    if not same:
        raise NotSavedError(
            "Not saved: what was written differs from the labels. Choose another place or format."
        )


def _equal_geometry(first: NiftiGeometry, second: NiftiGeometry) -> bool:
    one, other = dict(first.fields), dict(second.fields)
    return all(np.array_equal(one[name], other[name], equal_nan=True) for name in other)


def _write_names(path: Path, names: Mapping[int, str]) -> None:
    text = json.dumps(
        {"labels": {str(key): names[key] for key in sorted(names)}}, ensure_ascii=False, indent=2
    )
    with path.open("xb") as stream:
        stream.write(text.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _part_beside(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(6)}.part{suffix_of(path)}")


@contextmanager
def _removed_at_end(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _plain_reason(path: Path) -> Iterator[None]:
    """Say in plain words why a file could not be written."""
    try:
        yield
    except OSError as error:
        reason = (
            "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or error
        )
        raise NotSavedError(f"{path.name} was not saved: {reason}. Choose another place.") from error


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, where the system knows folders as files."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
