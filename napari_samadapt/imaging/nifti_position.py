"""Where a NIfTI header places its volume: the sform or the qform, asked where they disagree, in millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .questions import Answers, Choice, Question
from .volume import LARGEST_MM, NO_POSITION, SMALLEST_MM, check_affine, corner_distance

_UNIT_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_NAMES = {1: "metre", 3: "micrometre"}
_SAME_PLACE_MM = 0.05


def position(header: Any, path: Path, answers: Answers) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """The affine to RAS mm, whether it is a physical position, and what to tell the user.

    Asks ("transform") where sform and qform differ by more than 0.05 mm at a corner. Raises SamAdaptError for
    voxels of impossible size and for sheared axes.
    """
    code = int(header["xyzt_units"]) & 7
    stated = {name: affine for name in ("sform", "qform") if (affine := _stated(header, name)) is not None}
    if not stated:
        return _grid_affine(header), False, (NO_POSITION,)
    unit = np.diag([_UNIT_MM.get(code, 1.0)] * 3 + [1.0])
    stated = {name: unit @ affine for name, affine in stated.items()}
    name = _chosen(stated, header, path, answers)
    check_affine(stated[name], _shape(header), path)
    notes = [
        f"The {other} of the file cannot be used, its {name} is."
        for other in ("sform", "qform")
        if other not in stated and int(header[f"{other}_code"]) > 0
    ]
    if code in _UNIT_NAMES:
        notes.append(f"The unit of the file is the {_UNIT_NAMES[code]}; lengths are shown in mm.")
    return stated[name], True, tuple(notes)


def _chosen(stated: dict[str, NDArray[np.float64]], header: Any, path: Path, answers: Answers) -> str:
    """Which of the stated transforms is taken."""
    if len(stated) == 1:
        return next(iter(stated))
    apart = corner_distance(_shape(header), stated["sform"], stated["qform"])
    if apart <= _SAME_PLACE_MM:
        return "sform"
    text = f"{path.name} states two positions that differ by {apart:.3g} mm (sform and qform): which one is right?"
    choices = tuple(Choice(name, _described(affine)) for name, affine in stated.items())
    return answers.to(Question("transform", text, choices))


def _described(affine: NDArray[np.float64]) -> str:
    """A position in numbers: where the first voxel lies, to which side each axis runs, how large a voxel is."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    mains = np.abs(affine[:3, :3]).argmax(axis=0)
    letters = "".join(
        ("LR", "PA", "IS")[main][int(affine[main, axis] > 0)] for axis, main in enumerate(mains)
    )
    place, size = ", ".join(f"{mm:.5g}" for mm in affine[:3, 3]), " x ".join(f"{mm:.4g}" for mm in sizes)
    return f"first voxel at {place} mm, axes {letters}, voxels of {size} mm"


def _stated(header: Any, name: str) -> NDArray[np.float64] | None:
    """The sform or qform where its code is set and it can be used; else None."""
    from nibabel.spatialimages import HeaderDataError

    if int(header[f"{name}_code"]) <= 0:
        return None
    header = header.copy()
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # the standard's meaning of 0
    try:
        affine = np.asarray(header.get_sform() if name == "sform" else header.get_qform(), np.float64)
    except (HeaderDataError, ValueError):  # a quaternion longer than 1
        return None
    size = np.prod(np.linalg.norm(affine[:3, :3], axis=0))
    usable = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-3 * size
    return affine if usable else None


def _shape(header: Any) -> tuple[int, ...]:
    sizes = [int(size) for size in header["dim"][1 : int(header["dim"][0]) + 1]]
    return tuple([*sizes, 1, 1][:3][::-1])


def _grid_affine(header: Any) -> NDArray[np.float64]:
    """Voxel sizes only, as nibabel places a file without position; sizes that make no sense become 1."""
    sizes = np.abs(np.nan_to_num(np.asarray(header["pixdim"][1:4], np.float64), posinf=0.0))
    sizes[(sizes < SMALLEST_MM) | (sizes > LARGEST_MM)] = 1.0
    affine = np.diag([-sizes[0], sizes[1], sizes[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(_shape(header)[::-1]) - 1) / 2)
    return affine
