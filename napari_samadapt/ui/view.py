"""How a volume is shown: which array axes are rows and columns, and which way up, told by anatomy.

Slices are shown the radiological way: in axial and coronal slices the patient's right is on the left of the
screen, in axial slices the front is at the top, in coronal and sagittal slices the head is at the top, in
sagittal slices the front is on the left. Only the camera is turned: arrays, indices and layer transforms
stay as they are in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import Volume, slice_count

CUSTOM_WINDOW = "as on the canvas"
"""The name of a window that is no preset: what the user set by napari's contrast."""
_PIXELS_PER_WIDTH = 200
_ROWS_AND_COLUMNS = {
    "axial": ("coronal", "sagittal"),
    "coronal": ("axial", "sagittal"),
    "sagittal": ("axial", "coronal"),
}
_LETTERS = {
    "axial": ("S", "I"),
    "coronal": ("A", "P"),
    "sagittal": ("R", "L"),
}  # (RAS direction, the opposite)
_WORLD = {"axial": 2, "coronal": 1, "sagittal": 0}
_DOWNWARD = {"I", "P"}  # letters that belong at the bottom of the screen
_RIGHTWARD = {"L", "P"}  # letters that belong on the right


@dataclass(frozen=True)
class SliceView:
    """One way to look at a volume.

    `order` is napari's dims order (slice axis, row axis, column axis); `orientation` its (vertical,
    horizontal) camera orientation; `edges` the anatomical letters at the (left, right, top, bottom) of the
    screen.
    """

    order: tuple[int, int, int]
    orientation: tuple[str, str]
    edges: tuple[str, str, str, str]


def letter_towards(volume: Volume, axis: int) -> str:
    """The anatomical letter (R, L, A, P, S or I) that growing indices of a numpy axis lead to."""
    name = volume.axis_name(axis)
    positive, negative = _LETTERS[name]
    return positive if volume.affine[_WORLD[name], 2 - axis] > 0 else negative


def slice_view(volume: Volume, axis: int) -> SliceView:
    """The radiological view of the slices along a numpy axis."""
    row_name, column_name = _ROWS_AND_COLUMNS[volume.axis_name(axis)]
    row, column = volume.anatomical_axis(row_name), volume.anatomical_axis(column_name)
    down = letter_towards(volume, row) in _DOWNWARD
    right = letter_towards(volume, column) in _RIGHTWARD
    bottom = next(letter for letter in _LETTERS[row_name] if letter in _DOWNWARD)
    top = next(letter for letter in _LETTERS[row_name] if letter != bottom)
    right_letter = next(letter for letter in _LETTERS[column_name] if letter in _RIGHTWARD)
    left_letter = next(letter for letter in _LETTERS[column_name] if letter != right_letter)
    return SliceView(
        (axis, row, column),
        ("down" if down else "up", "right" if right else "left"),
        (left_letter, right_letter, top, bottom),
    )


def window_names(volume: Volume) -> tuple[str, ...]:
    """The presets to choose from: CT windows for a CT, percentiles, and what was set on the canvas."""
    from napari_samadapt.imaging.intensity import CT_WINDOWS, looks_like_ct

    presets = tuple(CT_WINDOWS) if looks_like_ct(volume) else ("auto",)
    return (*presets, "percentile", CUSTOM_WINDOW)


def shows_slices(volume: Volume, axis: int) -> bool:
    """False for the axes along which a 2D image or a single slice would be cut into lines."""
    others = [slice_count(volume.shape, other) for other in range(3) if other != axis]
    return min(others) > 1


def window_text(window: Window) -> str:
    """The grey values as radiologists say them: width and level."""
    return f"W {window.high - window.low:.4g}  L {(window.high + window.low) / 2:.4g}"


def dragged_window(window: Window, usual: Window, right: float, down: float) -> Window:
    """The window after a drag of so many pixels of the screen: to the right it gets wider, down darker.

    A drag over 200 pixels changes width or level by the width of `usual`, so that it suits any unit.
    """
    step = (usual.high - usual.low) / _PIXELS_PER_WIDTH
    width = max(window.high - window.low + right * step, step)
    level = (window.high + window.low) / 2 + down * step
    return Window(level - width / 2, level + width / 2)


def view_text(volume: Volume, axis: int) -> str:
    """Which slices are seen, and by which convention; nothing of an image without a place in the patient."""
    if not volume.spatial:
        return ""
    return f"{volume.axis_name(axis)}, radiological"
