"""Whether a label map lies on the voxels of an image: as it is, in another axis order, or after being asked.

Labels are resampled by the nearest voxel only: nothing between two ids has a meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .questions import Answers, Choice, Question
from .volume import Volume, corner_distance

_SAME_GRID_MM = 0.05

Placed = tuple[NDArray[Any], tuple[str, ...]]


def on_grid(labels: Volume, reference: Volume, path: Path, answers: Answers) -> Placed:
    """The labels (z, y, x) on the voxels of `reference`, and notes for the user.

    The same voxels in another order are put in order. Asks ("grid") before anything is resampled or taken
    without a position. Raises SamAdaptError where the labels cannot lie on the image.
    """
    same_shape = labels.shape == reference.shape
    if not (labels.spatial and reference.spatial):
        return _without_place(labels, reference, path, answers)
    shift = corner_distance(reference.shape, labels.affine, reference.affine) if same_shape else 0.0
    if same_shape and shift <= _SAME_GRID_MM:
        return labels.data, ()
    to_labels = np.linalg.inv(labels.affine) @ reference.affine  # image voxel (x, y, z, 1) to label voxel
    if (ordered := _reordered(labels, reference, to_labels)) is not None:
        return ordered, ("The labels were stored in another axis order; they are in that of the image now.",)
    told = f"lies up to {shift:.3g} mm away from the image" if same_shape else _sizes(labels, reference)
    text = f"{path.name} {told}: it belongs to another grid. How is it to be put onto the image?"
    answers.to(
        Question("grid", text, (Choice("resample", "each voxel of the image gets the nearest label"),))
    )
    return _resampled(labels.data, reference.shape, to_labels, path, told)


def _without_place(labels: Volume, reference: Volume, path: Path, answers: Answers) -> Placed:
    if labels.shape != reference.shape:
        raise SamAdaptError(f"{path.name} {_sizes(labels, reference)}: the labels belong to another grid.")
    if reference.spatial:
        text = f"{path.name} holds no position, so nothing says that it lies on the image: how is it to be placed?"
        same = Choice("voxels", "voxel by voxel, as its size is that of the image")
        answers.to(Question("grid", text, (same,)))
    return labels.data, ()


def _sizes(labels: Volume, reference: Volume) -> str:
    ours, theirs = (" x ".join(str(size) for size in reversed(v.shape)) for v in (labels, reference))
    return f"has {ours} voxels (x, y, z) and the image has {theirs}"


def _reordered(labels: Volume, reference: Volume, to_labels: NDArray[np.float64]) -> NDArray[Any] | None:
    """The labels in the image's axis order where both have the same voxels; else None."""
    turn = np.rint(to_labels[:3, :3]).astype(int)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        return None
    order = np.abs(turn).argmax(axis=0)  # the label axis (x, y, z) that runs along each image axis
    signs = turn[order, range(3)]
    sizes = labels.shape[::-1]
    if [sizes[axis] for axis in order] != list(reference.shape[::-1]):
        return None
    exact = np.eye(4)
    exact[:3, :3] = turn
    for axis, sign in zip(order, signs, strict=True):
        exact[axis, 3] = sizes[axis] - 1 if sign < 0 else 0
    if corner_distance(reference.shape, labels.affine @ exact, reference.affine) > _SAME_GRID_MM:
        return None
    xyz = labels.data.T.transpose(order)
    return np.ascontiguousarray(xyz[tuple(slice(None, None, sign) for sign in signs)].T)


def _resampled(
    data: NDArray[Any], shape: tuple[int, int, int], to_labels: NDArray[np.float64], path: Path, told: str
) -> Placed:
    """The nearest label of every voxel of a (z, y, x) grid, 0 outside; refuses what does not overlap."""
    z, y, x = shape
    plane = np.stack([*np.meshgrid(np.arange(x), np.arange(y)), np.zeros((y, x)), np.ones((y, x))]).reshape(
        4, -1
    )
    limits = np.array(data.shape[::-1])[:, None]
    result, met = np.zeros(shape, data.dtype), False
    for index in range(z):
        plane[2] = index
        nearest = np.rint((to_labels @ plane)[:3]).astype(np.int64)  # (3, y * x)
        inside = ((nearest >= 0) & (nearest < limits)).all(axis=0)
        met = met or bool(inside.any())
        i, j, k = nearest[:, inside]
        result[index].reshape(-1)[inside] = data[k, j, i]
    if not met:
        raise SamAdaptError(f"{path.name} lies wholly outside the image: it belongs to another scan.")
    lost = sorted(set(np.unique(data[data > 0]).tolist()) - set(np.unique(result).tolist()))
    note = f"The labels were resampled onto the image (nearest voxel): their file {told}."
    gone = f"These ids have no voxel left: {', '.join(map(str, lost[:20]))}."
    return result, (note, gone) if lost else (note,)
