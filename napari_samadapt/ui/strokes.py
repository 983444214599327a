"""What a brush stroke changed, told from the payload of the Labels layer's `paint` event.

napari 0.9 sends a list of atoms: `_MaskedPaintAtom(slice_key, mask, old_values, new_value)` for brush,
eraser, fill and polygon, and `(indices, old values, new values)` for `data_setitem`. One stroke has many
atoms, and they overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Stroke:
    """Voxels that one stroke changed: `indices` three (N,) arrays z, y, x.

    `before` and `after` (N,) label ids.
    """

    indices: Indices
    before: NDArray[Any]
    after: NDArray[Any]

    def where(self, keep: NDArray[np.bool_]) -> Stroke:
        """The part of the stroke where `keep` (N,) is true."""
        z, y, x = (axis[keep] for axis in self.indices)
        return Stroke((z, y, x), self.before[keep], self.after[keep])


def stroke_of(atoms: Iterable[Any], labels: NDArray[Any]) -> Stroke:
    """Join the atoms of one stroke: each voxel once, its first old value, and its value in `labels` (z, y,
    x) now.
    """
    flat_parts, old_parts = [], []
    for atom in atoms:
        indices, old = _atom_voxels(atom, labels.shape)
        flat_parts.append(np.ravel_multi_index(indices, labels.shape))
        old_parts.append(old)
    flat = np.concatenate(flat_parts) if flat_parts else np.zeros(0, np.intp)
    old = np.concatenate(old_parts) if old_parts else np.zeros(0, labels.dtype)
    flat, first = np.unique(flat, return_index=True)  # return_index is the first occurrence: the oldest value
    before = old[first].astype(labels.dtype)
    z, y, x = np.unravel_index(flat, labels.shape)
    after = labels[z, y, x]
    changed = before != after
    return Stroke((z, y, x), before, after).where(changed)


def _atom_voxels(atom: Any, shape: Sequence[int]) -> tuple[Indices, NDArray[Any]]:
    """The voxels of one atom, three (N,) arrays, and their old values (N,)."""
    if isinstance(atom, tuple):
        indices, old, _ = atom
        z, y, x = (np.asarray(axis, np.intp).ravel() for axis in indices)
        return (z, y, x), np.broadcast_to(old, z.shape)
    starts = [part.indices(size)[0] for part, size in zip(atom.slice_key, shape, strict=True)]
    sizes = [len(range(*part.indices(size))) for part, size in zip(atom.slice_key, shape, strict=True)]
    mask = np.ones(sizes, bool) if atom.mask is None else np.asarray(atom.mask)
    z, y, x = (local + start for local, start in zip(np.nonzero(mask), starts, strict=True))
    old = np.asarray(atom.old_values)
    return (z, y, x), old.ravel() if atom.mask is None else old
