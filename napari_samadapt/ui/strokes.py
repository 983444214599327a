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


def stroke_of(atoms: Iterable[Any], shape: Sequence[int]) -> Stroke:
    """Join the atoms of one stroke on labels of `shape` (z, y, x): each voxel once, its first old and last new value.

    Told from the atoms alone: where one edit is not part of a stroke (a finished polygon), napari sends the event
    before it writes the voxels.
    """
    parts = [_atom_voxels(atom, shape) for atom in atoms]
    if not parts:
        nothing = np.zeros(0, np.intp)
        return Stroke((nothing, nothing, nothing), nothing, nothing)
    flat = np.concatenate([np.ravel_multi_index(indices, tuple(shape)) for indices, _, _ in parts])
    old = np.concatenate([old for _, old, _ in parts])
    new = np.concatenate([new for _, _, new in parts])
    voxels, first = np.unique(flat, return_index=True)
    last = len(flat) - 1 - np.unique(flat[::-1], return_index=True)[1]
    z, y, x = np.unravel_index(voxels, tuple(shape))
    before, after = old[first], new[last]
    return Stroke((z, y, x), before, after).where(before != after)


def _atom_voxels(atom: Any, shape: Sequence[int]) -> tuple[Indices, NDArray[Any], NDArray[Any]]:
    """The voxels of one atom, three (N,) arrays, their old values (N,) and their new ones (N,)."""
    if not hasattr(atom, "slice_key"):
        indices, old, new = atom
        z, y, x = (np.asarray(axis, np.intp).ravel() for axis in indices)
        return (z, y, x), np.broadcast_to(old, z.shape), np.broadcast_to(new, z.shape)
    starts = [part.indices(size)[0] for part, size in zip(atom.slice_key, shape, strict=True)]
    sizes = [len(range(*part.indices(size))) for part, size in zip(atom.slice_key, shape, strict=True)]
    mask = np.ones(sizes, bool) if atom.mask is None else np.asarray(atom.mask)
    z, y, x = (local + start for local, start in zip(np.nonzero(mask), starts, strict=True))
    old = np.asarray(atom.old_values).ravel()
    return (z, y, x), old, np.full(old.shape, atom.new_value, old.dtype)
