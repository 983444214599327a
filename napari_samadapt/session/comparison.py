"""How well masks agree with a reference, per class and per slice, as a table to look at and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.metrics import Spacing, dice, surface_distances
from napari_samadapt.imaging.saving import put_in_place
from napari_samadapt.imaging.volume import SliceKey, take_slice

TOLERANCE_MM = 2.0
"""Surfaces this close count as the same, unless somebody chooses."""
_COLUMNS = (
    "class_id", "class", "reference_id", "slice", "dice", "hd95_mm", "surface_dice", "tolerance_mm", "volume_ml",
    "reference_volume_ml",
)  # fmt: skip


@dataclass(frozen=True)
class ComparedClass:
    """Agreement of one class with one id of the reference.

    Empty masks as in `imaging.metrics`: NaN where both are, 0 and infinity where one is. `slice_dice` holds a value
    for each slice along the axis, NaN where neither mask is there or the slice is left out.
    """

    id: int
    name: str
    reference_id: int
    dice: float
    hd95_mm: float
    surface_dice: float
    volume_ml: float
    reference_volume_ml: float
    slice_dice: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """The classes compared along a numpy axis; `left_out` are slices whose voxels do not count."""

    axis: int
    tolerance_mm: float
    rows: tuple[ComparedClass, ...]
    left_out: frozenset[SliceKey] = frozenset()

    @property
    def mean_dice(self) -> float:
        """Over the classes where it is defined; NaN where it is for none."""
        defined = [row.dice for row in self.rows if not math.isnan(row.dice)]
        return sum(defined) / len(defined) if defined else math.nan

    def to_csv(self) -> str:
        """A line for each class, with an empty slice, and one for each class and slice that was measured."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in self.rows:
            who = (row.id, row.name, row.reference_id)
            numbers = (row.dice, row.hd95_mm, row.surface_dice)
            volumes = (row.volume_ml, row.reference_volume_ml)
            writer.writerow((*who, "", *map(_cell, numbers), self.tolerance_mm, *map(_cell, volumes)))
            for index, value in enumerate(row.slice_dice):
                if not math.isnan(value):
                    writer.writerow((*who, index, _cell(value), "", "", "", "", ""))
        return text.getvalue()

    def save(self, path: Path) -> Path:
        """Write the CSV under a temporary name, then give it its own; SamAdaptError where that is impossible."""
        try:
            put_in_place(path, self.to_csv().encode())
        except OSError as error:
            raise SamAdaptError(
                f"{path} was not written ({error.strerror}): choose another folder."
            ) from error
        return path


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def matching_ids(
    names: Mapping[int, str], reference_ids: Collection[int], reference_names: Mapping[int, str]
) -> dict[int, int]:
    """Which id of a reference each class {id: name} is compared with: that of the same name, else the same id.

    A reference id whose own name is that of another class is nobody's by its number. 0 where there is none.
    """
    present = set(reference_ids) - {0}
    by_name = {
        text.strip().casefold(): number for number, text in reference_names.items() if number in present
    }
    matched = {class_id: by_name.get(name.strip().casefold(), 0) for class_id, name in names.items()}
    taken = set(matched.values())
    return {
        class_id: found or (class_id if class_id in present - taken else 0)
        for class_id, found in matched.items()
    }


def compare(
    labels: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing: Spacing,
    axis: int,
    names: Mapping[int, str],
    matches: Mapping[int, int],
    *,
    tolerance_mm: float = TOLERANCE_MM,
    left_out: Collection[SliceKey] = (),
    on_class: Callable[[int, int], None] = lambda _done, _count: None,
) -> Comparison:
    """Compare label arrays (z, y, x) of one shape, class by class. Runs on any thread.

    spacing: (dz, dy, dx) mm. matches: {class id: id in the reference}, 0 for a class that is not compared. left_out:
    slices whose voxels count for nothing; distances from the others go to the whole other surface. `on_class` is told
    the classes done and all there are. Raises SamAdaptError when the shapes differ.
    """
    counted = np.ones(np.shape(labels), bool)
    for key in left_out:
        take_slice(counted, key)[...] = False
    pairs = [(class_id, number) for class_id, number in matches.items() if number]
    rows = []
    for done, (class_id, number) in enumerate(pairs):
        on_class(done, len(pairs))
        ours, theirs = np.asarray(labels) == class_id, np.asarray(reference) == number
        distances = surface_distances(ours, theirs, spacing, counted)
        ours, theirs = ours & counted, theirs & counted
        voxel_ml = math.prod(spacing) / 1000
        rows.append(
            ComparedClass(
                class_id,
                names[class_id],
                number,
                dice(ours, theirs),
                distances.hd95,
                distances.surface_dice(tolerance_mm),
                int(ours.sum()) * voxel_ml,
                int(theirs.sum()) * voxel_ml,
                slice_dices(ours, theirs, axis),
            )
        )
    on_class(len(pairs), len(pairs))
    return Comparison(axis, tolerance_mm, tuple(rows), frozenset(left_out))


def slice_dices(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], axis: int) -> tuple[float, ...]:
    """Dice of two masks (z, y, x) on every slice along an axis; NaN where both are empty."""
    others = tuple(other for other in range(ours.ndim) if other != axis)
    both = 2.0 * np.count_nonzero(ours & theirs, axis=others)
    total = np.count_nonzero(ours, axis=others) + np.count_nonzero(theirs, axis=others)
    return tuple(float(b / t) if t else math.nan for b, t in zip(both, total, strict=True))
