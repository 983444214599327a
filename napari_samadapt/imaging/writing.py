"""Label maps become files that lie exactly on their source, or the old files stay as they were.

A mask is written to a temporary file, brought to the disk, read back and compared; only then does it take its
name. The header is made new: nothing of the source but its geometry gets into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_seg import read_dicom_seg, segment_label, write_dicom_seg
from .dicom_source import check_dicom_source
from .errors import SamAdaptError
from .file_kinds import suffix_of
from .mask_files import nifti_geometry, plain_name, segment_names, write_nifti, write_with_itk
from .reading import label_dtype, read_labels
from .saving import (
    WRITABLE,
    NotSavedError,
    check_target,
    new_file,
    own_answers,
    part_beside,
    plain_reason,
    removed_at_end,
    sync_folder,
)
from .volume import NiftiGeometry, Volume, corner_distance

__all__ = [
    "WRITABLE",
    "NotSavedError",
    "check_label_file",
    "each_label_path",
    "label_names",
    "names_beside",
    "write_each_label",
    "write_labels",
]

_SAME_PLACE_MM = 1e-3
_LONGEST_NAME = 60


@dataclass(frozen=True)
class _Mask:
    """One file to write: its labels (z, y, x) and the names of their ids."""

    path: Path
    labels: NDArray[Any]
    names: Mapping[int, str] | None


def write_labels(
    path: str | PathLike[str],
    labels: NDArray[Any],
    reference: Volume,
    names: Mapping[int, str] | None = None,
    *,
    identity: bool = False,
) -> Path:
    """Write labels (z, y, x) of whole numbers on the grid of `reference` as .nii.gz, .nii, .nrrd, .mha or .dcm.

    The type is the smallest unsigned one that holds the largest id. `names` go into `<stem>.json` beside it
    as {"labels": {"1": "liver"}}; .nrrd and .dcm (a DICOM-SEG, for volumes from DICOM) hold them too. `identity`
    copies patient and study into a DICOM-SEG. Returns the path. Raises SamAdaptError, with every file as it was,
    for another grid or type, a target that is the source image or holds something else than masks on this grid,
    and a file that cannot be written or does not read back.
    """
    path = Path(path).expanduser()
    _save([_Mask(path, _checked(labels, reference), names)], reference, path, names, identity=identity)
    return path


def write_each_label(
    path: str | PathLike[str],
    labels: NDArray[Any],
    reference: Volume,
    names: Mapping[int, str] | None = None,
    *,
    identity: bool = False,
) -> tuple[Path, ...]:
    """Write each id that has voxels into a file of its own, `<stem>_<id>_<name><suffix>`, with the value 1.

    All of them are written and read back before the first takes its name. A DICOM-SEG keeps the id. Otherwise as
    `write_labels`; raises SamAdaptError too where no id has voxels.
    """
    path, names = Path(path).expanduser(), names or {}
    labels = _checked(labels, reference)
    masks = []
    for label in (int(label) for label in np.unique(labels) if label):
        value = label if suffix_of(path) == ".dcm" else 1
        mask = np.where(labels == label, label_dtype(value)(value), label_dtype(value)(0))
        masks.append(_Mask(each_label_path(path, label, names), mask, {value: names.get(label, "")}))
    if not masks:
        raise SamAdaptError("There are no masks yet: segment something first.")
    _save(masks, reference, path, names, identity=identity)
    return tuple(mask.path for mask in masks)


def each_label_path(path: Path, label: int, names: Mapping[int, str]) -> Path:
    """The file of one id beside `path`: "masks.nii.gz" gives "masks_52_aorta.nii.gz"."""
    suffix = suffix_of(path)
    words = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in names.get(label, ""))
    name = f"{label}_{words[:_LONGEST_NAME]}".rstrip("_")
    return path.with_name(f"{path.name[: len(path.name) - len(suffix)]}_{name}{suffix}")


def check_label_file(path: Path, reference: Volume) -> None:
    """Raise SamAdaptError unless `write_labels` may write to `path`; for use before hours of work."""
    path = path.expanduser()
    check_target(path, reference)
    if suffix_of(path) == ".dcm":
        check_dicom_source(reference)


def names_beside(path: Path) -> Path:
    """Where the names of a label file's ids are: `<stem>.json`."""
    return path.with_name(path.name[: len(path.name) - len(suffix_of(path))] + ".json")


def label_names(path: Path) -> dict[int, str]:
    """The names of the ids of a label file, from the JSON beside it or its own header; empty without either."""
    known = _known_names(names_beside(path))
    if known is None and suffix_of(path) == ".nrrd" and path.is_file():
        return segment_names(path)
    return {int(key): str(name) for key, name in (known or {}).items() if str(key).isdecimal()}


def _known_names(path: Path) -> dict[Any, Any] | None:
    """What a file of label names holds; None where it is no such file."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    names = known.get("labels") if isinstance(known, dict) and known.keys() == {"labels"} else None
    return names if isinstance(names, dict) else None


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


def _save(
    masks: list[_Mask],
    reference: Volume,
    path: Path,
    names: Mapping[int, str] | None,
    *,
    identity: bool,
) -> None:
    """Write all masks, and the names beside `path`; all under their own names or none."""
    for mask in masks:
        check_label_file(mask.path, reference)
    names_path = names_beside(path)
    if names is not None:
        _check_names_target(names_path)
    with plain_reason(path), ExitStack() as parts:
        moves = []
        for mask in masks:
            part = part_beside(mask.path)
            parts.enter_context(removed_at_end(part))
            _write(part, mask, reference, identity=identity)
            _compare(part, mask, reference)
            moves.append((part, mask.path))
        if names is not None:
            part = part_beside(names_path)
            parts.enter_context(removed_at_end(part))
            _write_names(part, names)
            moves.insert(0, (part, names_path))
        for part, target in moves:
            part.replace(target)
        sync_folder(path.parent)


def _check_names_target(path: Path) -> None:
    """A JSON file that holds anything but label names belongs to someone else."""
    with plain_reason(path):
        if path.exists() and _known_names(path) is None:
            raise SamAdaptError(
                f"{path.name} exists and holds no label names: choose another name for the labels."
            )


def _write(part: Path, mask: _Mask, reference: Volume, *, identity: bool) -> None:
    suffix = suffix_of(part)
    if suffix == ".dcm":
        write_dicom_seg(part, mask.labels, reference, mask.names, identity=identity)
    elif suffix in (".nii", ".nii.gz"):
        write_nifti(part, mask.labels, reference)
    else:
        write_with_itk(part, mask.labels, reference, mask.names)


def _compare(part: Path, mask: _Mask, reference: Volume) -> None:
    """Read the written file and compare every voxel, the position and the names; a library's word is not enough."""
    try:
        same = (_same_seg if suffix_of(part) == ".dcm" else _same_grid)(part, mask, reference)
    except SamAdaptError as error:
        raise NotSavedError(
            "Not saved: what was written cannot be read back. Is the disk full? Choose another place."
        ) from error
    if not same:
        raise NotSavedError(
            "Not saved: what was written differs from the labels. Choose another place or format."
        )


def _same_seg(part: Path, mask: _Mask, reference: Volume) -> bool:
    written, names = read_dicom_seg(part, reference)
    wanted = {label: segment_label(label, mask.names or {}) for label in names}
    return np.array_equal(written, mask.labels) and names == wanted


def _same_grid(part: Path, mask: _Mask, reference: Volume) -> bool:
    written, volume = read_labels(part, choices=own_answers(reference))
    if not np.array_equal(written, mask.labels):
        return False
    expected = reference.source.header
    if suffix_of(part) == ".nrrd":
        wanted = {label: plain_name(name) for label, name in (mask.names or {}).items()}
        if segment_names(part) != wanted:
            return False
    if volume.source.header is not None and not _equal_geometry(
        volume.source.header, expected or nifti_geometry(reference)
    ):
        return False
    if expected is not None and volume.source.header is not None:
        return True
    return corner_distance(reference.shape, volume.affine, reference.affine) < _SAME_PLACE_MM


def _equal_geometry(first: NiftiGeometry, second: NiftiGeometry) -> bool:
    one, other = dict(first.fields), dict(second.fields)
    return all(np.array_equal(one[name], other[name], equal_nan=True) for name in other)


def _write_names(path: Path, names: Mapping[int, str]) -> None:
    text = json.dumps(
        {"labels": {str(key): names[key] for key in sorted(names)}}, ensure_ascii=False, indent=2
    )
    with new_file(path) as stream:
        stream.write(text.encode() + b"\n")
