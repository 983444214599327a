"""How a label file codes its objects: as ids, as a mask of two values, or by colours; asked where it is not certain.

Ids are kept as they are, gaps and all. What looks like a mask (0 and 255), like a mask with blurred edges, or like
colours is told and asked: the same numbers can mean either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .questions import Answers, Choice, Question

_ROUNDING = 1e-3  # a label further from a whole number is no label
_WHITE = (254, 255, 32767, 65534, 65535)  # the largest values that programs write for "inside"
_NEARLY_WHITE = 250
_RINGING = 32  # how far compression and smoothing carry a pixel of a mask away from 0 or 255
_MASK_SHARE = 0.9  # of the pixels of a blurred mask are still that close to 0 or 255
_MOST_IDS = 16  # more grey levels than that in a picture of two are no ids
_MOST_COLORS = 256
_LOSSY = (".jpg", ".jpeg")

Labels = tuple[NDArray[Any], tuple[str, ...]]


def label_dtype(highest: int) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
    """The smallest unsigned type that holds ids up to `highest`."""
    if highest >= 2**32:
        raise SamAdaptError(f"The label id {highest} is too large: ids go up to {2**32 - 1}.")
    return np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.uint32


def to_labels(values: NDArray[Any], path: Path, answers: Answers) -> Labels:
    """Ids in the smallest unsigned type from the voxels (z, y, x) or (z, y, x, 3) of a label file, and notes.

    Asks ("coding") where the numbers can mean ids or a mask, and for colours. Raises SamAdaptError for what is no
    label map.
    """
    if values.ndim == 4:
        return _from_colors(values, path, answers)
    if values.dtype.kind == "f":
        return _from_floats(values, path, answers)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0:
        raise SamAdaptError(
            f"{path.name} holds the negative id {lowest}: label ids are 0 (background) and above."
        )
    if path.suffix.lower() in _LOSSY:
        return _from_grey(values, path, answers, lossy=True)
    if highest in _WHITE or (values.dtype == np.uint8 and highest >= _NEARLY_WHITE):
        return _from_grey(values, path, answers)
    return values.astype(label_dtype(highest)), ()


def _from_floats(values: NDArray[Any], path: Path, answers: Answers) -> Labels:
    """Whole numbers, rounded within a tolerance; asks what numbers between 0 and 1 mean."""
    if not np.isfinite(values).all():
        raise SamAdaptError(
            f"{path.name} holds values that are no numbers (NaN or infinite), so it is no label map."
        )
    whole = np.rint(values)
    off = np.abs(values - whole)
    broken = int(np.count_nonzero(off > _ROUNDING))
    if broken and values.min() >= -_ROUNDING and values.max() <= 1 + _ROUNDING:
        return _from_shares(values, path, answers, broken)
    if broken or float(np.abs(whole).max()) >= 2**32:
        raise SamAdaptError(
            f"{path.name} holds {broken:,} values that are no whole numbers: "
            "it is a probability map or was interpolated, so it is no label map."
        )
    labels, notes = to_labels(whole.astype(np.int64), path, answers)
    count = np.count_nonzero(off)
    text = f"{count:,} label values were rounded, by at most {off.max():.2g}."
    return labels, (text, *notes) if count else notes


def _from_shares(values: NDArray[Any], path: Path, answers: Answers, broken: int) -> Labels:
    """A mask from numbers of 0 to 1: two of them, or a probability map."""
    highest = float(values.max())
    inside = values > _ROUNDING
    if np.abs(values[inside] - highest).max() <= _ROUNDING:
        question = _asked(
            path,
            f"has the two values 0 and {highest:.3g}, which are no ids",
            Choice("mask", f"{highest:.3g} is the object, id 1: {np.count_nonzero(inside):,} voxels"),
        )
    else:
        inside = values >= 0.5
        question = _asked(
            path,
            f"holds {broken:,} values that are no whole numbers: a probability map or an interpolated mask",
            Choice("threshold", f"0.5 and more is the object, id 1: {np.count_nonzero(inside):,} voxels"),
        )
    return _mask(inside, answers.to(question))


def _from_grey(values: NDArray[Any], path: Path, answers: Answers, *, lossy: bool = False) -> Labels:
    """Ids, or a mask of two values with or without blurred edges, from whole numbers that end near white."""
    found = distinct(values)
    inside, highest = found[found > 0], int(found[-1])
    same = Choice("ids", f"each value is the id of a class: {_listed(inside)}")
    if inside.size and (inside.size == 1 or inside[0] >= _NEARLY_WHITE):
        white = values > 0
        text = f"has the values 0 and {_listed(inside)}"
        mask = Choice("mask", f"white is the object, id 1: {np.count_nonzero(white):,} voxels")
        value = answers.to(_asked(path, text, mask, *(() if lossy else (same,))))
        return _mask(white, value) if value == "mask" else (values.astype(label_dtype(highest)), ())
    blurred = _looks_blurred(values, found)
    if lossy and not blurred:
        raise SamAdaptError(
            f"{path.name} is a JPEG file, whose compression changes the numbers of labels: save them as PNG."
        )
    if blurred:
        white, between = values >= 128, np.count_nonzero((values > 0) & (values < 255))
        text = f"is nearly black and white, with {between:,} pixels between: a mask that was compressed or smoothed"
        mask = Choice("threshold", f"128 and more is the object, id 1: {np.count_nonzero(white):,} pixels")
        value = answers.to(_asked(path, text, mask, *(() if lossy else (same,))))
        if value == "threshold":
            return _mask(white, value)
    return values.astype(label_dtype(highest)), ()


def _looks_blurred(values: NDArray[Any], found: NDArray[Any]) -> bool:
    """True for the 8-bit picture of a mask with more grey levels than a picture of labels has."""
    if values.dtype != np.uint8 or found.size <= _MOST_IDS or found[-1] < 255 - _RINGING:
        return False
    near = np.count_nonzero(values <= _RINGING) + np.count_nonzero(values >= 255 - _RINGING)
    return bool(near >= _MASK_SHARE * values.size)


def _from_colors(values: NDArray[Any], path: Path, answers: Answers) -> Labels:
    """Ids from the colours (z, y, x, 3) uint8 of a picture: one for each, or one for all."""
    packed = values.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found = distinct(packed)
    if found.size > _MOST_COLORS:
        raise SamAdaptError(
            f"{path.name} is a colour image with {found.size:,} colours, too many for classes: "
            "save the labels as one integer per voxel."
        )
    counts = {int(color): np.count_nonzero(packed == color) for color in found}
    background = 0 if 0 in counts else max(counts, key=lambda color: counts[color])
    colors = [color for color in counts if color != background]
    told = ", ".join(f"{number} = #{color:06x}" for number, color in enumerate(colors[:8], 1))
    told += ", …" if len(colors) > 8 else ""
    text = f"is a colour image with {len(colors)} colours on #{background:06x}"
    value = answers.to(
        _asked(
            path,
            text,
            Choice("colors", f"each colour is a class: {told}"),
            Choice("mask", f"all colours are one object, id 1: {sum(counts[c] for c in colors):,} pixels"),
        )
    )
    if value == "mask":
        return _mask(packed != background, value)
    labels = np.searchsorted(np.array(colors, np.uint32), packed).astype(label_dtype(len(colors))) + 1
    labels[packed == background] = 0
    return labels.astype(label_dtype(len(colors))), (f"The colours became the ids {told}.",)


def _mask(inside: NDArray[Any], coding: str) -> Labels:
    return inside.astype(np.uint8), (f"The file was read as a {coding}: its object has the id 1.",)


def _asked(path: Path, text: str, *choices: Choice) -> Question:
    return Question("coding", f"{path.name} {text}: how are its objects coded?", choices)


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The sorted different values; slice by slice, as sorting a whole volume takes long."""
    return np.unique(np.concatenate([np.unique(part) for part in values]))


def _listed(values: NDArray[Any]) -> str:
    shown = ", ".join(str(int(value)) for value in values[:8])
    return f"{shown}, …" if values.size > 8 else shown
