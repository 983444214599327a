"""A file or folder becomes a Volume, or one plain sentence says why not.

The ending of the name chooses the reader; for DICOM also the content, as DICOM files often have no ending.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .volume import Volume, corner_distance

SUPPORTED = "NIfTI (.nii, .nii.gz), NRRD, MHA, MHD, DICOM (file or folder), PNG, JPEG, TIFF"
_SUFFIXES = {
    ".nii": "nifti", ".nii.gz": "nifti",
    ".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "mha", ".mhd": "mha",
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".tif": "image", ".tiff": "image",
    ".dcm": "dicom", ".dicom": "dicom", ".ima": "dicom",
}  # fmt: skip
_ROUNDING = 1e-3  # a label further from a whole number is no label
_SAME_GRID_MM = 0.05


def read_volume(path: str | PathLike[str], *, transform: str = "ask") -> Volume:
    """Read an image: NIfTI, NRRD, MHA or MHD, a DICOM file or folder, PNG, JPEG or TIFF.

    `transform` ("ask", "sform" or "qform") chooses the position of a NIfTI file that states two. Raises
    SamAdaptError, one plain sentence, for anything that cannot be read completely and placed safely.
    """
    return _read(Path(path).expanduser(), transform=transform, exact=False)


def read_labels(
    path: str | PathLike[str], reference: Volume | None = None, *, transform: str = "ask"
) -> tuple[NDArray[Any], Volume]:
    """Read a label map: its ids (z, y, x) in the smallest unsigned integer type, and its volume.

    Values within 1e-3 of a whole number are rounded (the volume's notes say so). With `reference`, the grid
    must be that of the reference. Raises SamAdaptError for other values, negative ids, colours, another grid.
    """
    path = Path(path).expanduser()
    volume = _read(path, transform=transform, exact=True)
    if reference is not None:
        _check_grid(path, volume, reference)
    labels, note = _to_labels(volume.data, path)
    source = replace(volume.source, notes=(*volume.source.notes, *note))
    return labels, Volume(labels, volume.affine, source)


def suffix_of(path: Path) -> str:
    """The ending that names the format, in lower case: ".nii.gz" as a whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _read(path: Path, *, transform: str, exact: bool) -> Volume:
    try:
        return _read_as(_format_of(path), path, transform=transform, exact=exact)
    except MemoryError as error:
        raise SamAdaptError(
            f"{path.name} does not fit into memory: crop it or close other programs."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SamAdaptError(f"{path.name} cannot be read: {reason}.") from error


def _read_as(kind: str, path: Path, *, transform: str, exact: bool) -> Volume:
    """Import only the reader that is needed."""
    if kind == "nifti":
        from .nifti import read_nifti

        return read_nifti(path, exact=exact, transform=transform)
    if kind == "image":
        from .pictures import read_picture

        return read_picture(path, exact=exact)
    if kind == "dicom":
        from .dicom import read_dicom

        return read_dicom(path)
    from .native import read_native

    return read_native(path, kind)


def _format_of(path: Path) -> str:
    """Which reader; SamAdaptError for what is missing, empty or unknown."""
    if not path.exists():
        raise SamAdaptError(f"{path} does not exist: check the spelling and the folder.")
    if path.is_dir():
        return "dicom"
    if not path.is_file():
        raise SamAdaptError(f"{path.name} is neither a file nor a folder.")
    if path.stat().st_size == 0:
        raise SamAdaptError(f"{path.name} is empty (0 bytes): copy it again.")
    if (kind := _SUFFIXES.get(suffix_of(path))) is not None:
        return kind
    with path.open("rb") as stream:
        if stream.read(132)[128:] == b"DICM":
            return "dicom"
    raise SamAdaptError(f"{path.name} is of no supported kind; supported are {SUPPORTED}.")


def _check_grid(path: Path, labels: Volume, reference: Volume) -> None:
    if labels.shape != reference.shape:
        raise SamAdaptError(
            f"{path.name} has {_size(labels)} voxels (x, y, z) and the image has {_size(reference)}: "
            "the labels belong to another grid."
        )
    if not reference.spatial:
        return
    if not labels.spatial:
        raise SamAdaptError(f"{path.name} holds no position, so it cannot be placed on the image.")
    shift = corner_distance(reference.shape, labels.affine, reference.affine)
    if shift > _SAME_GRID_MM:
        raise SamAdaptError(
            f"{path.name} lies up to {shift:.3g} mm away from the image: the labels belong to another grid."
        )


def _size(volume: Volume) -> str:
    return " x ".join(str(size) for size in reversed(volume.shape))


def _to_labels(values: NDArray[Any], path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Whole, non-negative ids in the smallest unsigned type, and a note where values had to be rounded."""
    if values.ndim == 4:
        raise SamAdaptError(f"{path.name} is a colour image: save the labels as one integer per voxel.")
    note: tuple[str, ...] = ()
    if values.dtype.kind == "f":
        values, note = _rounded(values, path)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0:
        raise SamAdaptError(
            f"{path.name} holds the negative id {lowest}: label ids are 0 (background) and above."
        )
    return values.astype(label_dtype(highest)), note


def _rounded(values: NDArray[Any], path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    if not np.isfinite(values).all():
        raise SamAdaptError(
            f"{path.name} holds values that are no numbers (NaN or infinite), so it is no label map."
        )
    whole = np.rint(values)
    off = np.abs(values - whole)
    if off.max() > _ROUNDING or np.abs(whole).max() >= 2**32:
        raise SamAdaptError(
            f"{path.name} holds {np.count_nonzero(off > _ROUNDING):,} values that are no whole numbers: "
            "it is a probability map or was interpolated, so it is no label map."
        )
    count = np.count_nonzero(off)
    text = f"{count:,} label values were rounded, by at most {off.max():.2g}."
    return whole.astype(np.int64), (text,) if count else ()


def label_dtype(highest: int) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
    """The smallest unsigned type that holds ids up to `highest`."""
    if highest >= 2**32:
        raise SamAdaptError(f"The label id {highest} is too large: ids go up to {2**32 - 1}.")
    return np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.uint32
