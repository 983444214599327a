"""What the prompts layer shows: points, green inside and red outside, and outlines as rows of dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey

from .prompt_shapes import Grip, Path, shapes_of

POSITIVE_COLOR, NEGATIVE_COLOR = "#2ecc71", "#ff3b30"
_POSITIVE_SYMBOL, _NEGATIVE_SYMBOL = "disc", "x"  # told apart without colours too
_OUTLINE_COLOR = POSITIVE_COLOR
_DRAWN_COLOR, _PREVIEW_COLOR = "#f0e442", "white"
_BORDER, _CHOSEN_BORDER = "white", "#0072b2"


@dataclass
class Marks:
    """Dots on slices: for each dot whether it is `large`, its symbol, colour and border colour."""

    paths: list[tuple[SliceKey, Path]] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    colors: list[str] = field(default_factory=list)
    borders: list[str] = field(default_factory=list)
    _large: list[bool] = field(default_factory=list)

    @property
    def large(self) -> NDArray[np.bool_]:
        """(N,) bool: points of the user, not dots of an outline."""
        return np.array(self._large, bool)

    def add_point(self, key: SliceKey, path: Path, positive: bool, chosen: bool) -> None:
        """A point of the user at (1, 2) pixels."""
        color = POSITIVE_COLOR if positive else NEGATIVE_COLOR
        symbol = _POSITIVE_SYMBOL if positive else _NEGATIVE_SYMBOL
        self._add(key, path, symbol, color, _CHOSEN_BORDER if chosen else _BORDER, large=True)

    def add_outline(self, key: SliceKey, path: Path, color: str) -> None:
        """A row of dots at (N, 2) pixels."""
        self._add(key, path, "disc", color, color, large=False)

    def _add(self, key: SliceKey, path: Path, symbol: str, color: str, border: str, *, large: bool) -> None:
        count = len(path)
        self.paths.append((key, path))
        self.symbols += [symbol] * count
        self.colors += [color] * count
        self.borders += [border] * count
        self._large += [large] * count


def marks_of(
    prompts: Mapping[SliceKey, Prompts],
    chosen: tuple[SliceKey, Grip] | None = None,
    drawn: Sequence[tuple[SliceKey, Path]] = (),
    preview: Sequence[tuple[SliceKey, Path]] = (),
) -> Marks:
    """The marks of all slices; on top of them paths that are being drawn, and the outline of the mask they give."""
    marks = Marks()
    for key, shown in prompts.items():
        for grip, path in shapes_of(shown):
            if grip.kind == "point":
                marks.add_point(key, path, bool(shown.point_labels[grip.number]), (key, grip) == chosen)
            else:
                marks.add_outline(key, path, _OUTLINE_COLOR)
    for paths, color in ((drawn, _DRAWN_COLOR), (preview, _PREVIEW_COLOR)):
        for key, path in paths:
            marks.add_outline(key, path, color)
    return marks
