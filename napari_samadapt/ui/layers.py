"""The layers of a session, and the only conversion between array positions and pixels (x, y).

napari's world here is millimetres along the array's own axes (z, y, x), measured from the first voxel: each
layer's scale is the volume's voxel size, so voxels have their true aspect. It is not the scanner's coordinate
system; that one is `Volume.affine`, and export uses it and never a layer's transform. All layers copy scale,
translate, rotate, shear and affine of the image, so an image that the user moved keeps its masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.layers import Points as NapariPoints
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, Volume

from .contributions import DISPLAYED_KEY, NAMES_KEY, VOLUME_KEY, image_layer_tuple
from .panels.classes import ClassRow
from .prompt_marks import Marks, marks_of
from .prompt_shapes import Grip, Path
from .readout import UNIT_KEY, ReadingLabels, unit_of

Position = Sequence[float] | NDArray[Any]
"""Coordinates, (z, y, x) in voxels or napari's world, or (x, y) in pixels."""
_SIZE_LIMITS = (2.5, 14)  # of a prompt, in pixels of the screen
_LARGEST, _SMALLEST = 1e4, 1e-3  # in voxels: beyond both limits at any zoom
_TRANSFORMS = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class Points(NapariPoints):  # type: ignore[misc]  # napari is untyped to mypy
    """napari's Points, whose sizes are no part of the scene: fitting it to the canvas would make the slice a dot.

    Of the same name, because napari tells the type of a layer by it.
    """

    @property
    def _extent_data_augmented(self) -> NDArray[np.float64]:  # what napari fits to the canvas
        extent: NDArray[np.float64] = self._extent_data
        return extent


@dataclass(frozen=True)
class _Places:
    """How the viewer's layers lay, the active one, and what part of the world was shown."""

    layers: tuple[Layer, ...]
    active: Layer | None
    order: tuple[int, ...]
    point: tuple[float, ...]


class VolumeLayers:
    """Opens, owns and closes the layers of one session: image, prediction, annotation, prompts."""

    def __init__(
        self,
        viewer: ViewerModel,
        volume: Volume,
        annotation: NDArray[np.uint16],
        prediction: NDArray[np.uint16],
        displayed: Callable[[], NDArray[np.uint16]],
        image: Image | None = None,
    ) -> None:
        self._viewer = viewer
        self._volume = volume
        self._displayed = displayed
        self.image = image if image is not None else self._add_image()
        placed = _transforms_of(self.image)
        self.hidden: set[int] = set()
        """Ids of the classes that are not shown."""
        kept: dict[str, Any] = {VOLUME_KEY: volume, NAMES_KEY: {}, UNIT_KEY: unit_of(volume)}
        self.prediction = ReadingLabels(
            prediction, name="prediction", opacity=0.35, metadata=dict(kept), **placed
        )
        self.prediction.editable = False
        self.annotation = ReadingLabels(
            annotation,
            name="annotation",
            opacity=0.6,
            metadata=kept | {DISPLAYED_KEY: self._displayed_with},
            **placed,
        )
        self.prompts = Points(
            np.zeros((0, 3)), ndim=3, name="prompts", canvas_size_limits=_SIZE_LIMITS, **placed
        )
        self.prompts.editable = False
        self._places: _Places | None = None
        for layer in (self.prediction, self.annotation, self.prompts):
            viewer.add_layer(layer)
        viewer.layers.selection.active = self.annotation

    @property
    def owned(self) -> tuple[Layer, ...]:
        """The layers made for this session, without the image."""
        return self.prediction, self.annotation, self.prompts

    @property
    def needed(self) -> tuple[Layer, ...]:
        """The layers without which the session cannot be worked on."""
        return self.image, self.prediction, self.annotation, self.prompts

    def remove(self) -> None:
        """Take our layers out of the viewer; the image stays."""
        for layer in self.owned:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def note_places(self) -> None:
        """Before a layer is deleted: remember how all lay, until `restore`."""
        if self._places is None:
            viewer = self._viewer
            self._places = _Places(
                tuple(viewer.layers),
                viewer.layers.selection.active,
                tuple(viewer.dims.order),
                tuple(viewer.dims.point),
            )

    def restore(self) -> bool:
        """Put back the image and those of our layers that the user deleted; True if there were any."""
        viewer, (places, self._places) = self._viewer, (self._places, None)
        missing = [layer for layer in self.needed if layer not in viewer.layers]
        if not missing:
            return False
        order = self.needed if places is None else places.layers
        for layer in sorted(missing, key=order.index):
            below = [other for other in order[: order.index(layer)] if other in viewer.layers]
            viewer.layers.insert(viewer.layers.index(below[-1]) + 1 if below else 0, layer)
        if places is not None:
            if len(places.order) == viewer.dims.ndim:
                viewer.dims.order = places.order
                viewer.dims.point = places.point
            if places.active in viewer.layers:
                viewer.layers.selection.active = places.active
        return True

    def show_classes(self, classes: Sequence[ClassRow], active: int) -> None:
        """Give both masks the colours of the classes, and make `active` what the brush paints."""
        colors: dict[int | None, Any] = {None: (0.6, 0.6, 0.6, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
        colors |= {shown.id: (*shown.color, 0.0 if shown.id in self.hidden else 1.0) for shown in classes}
        names = {shown.id: shown.name for shown in classes}
        for layer in (self.annotation, self.prediction):
            layer.colormap = DirectLabelColormap(color_dict=colors)
            layer.metadata[NAMES_KEY] = names
        if self.annotation.selected_label != active:
            self.annotation.selected_label = active

    def show_prompts(
        self,
        prompts: Mapping[SliceKey, Prompts],
        *,
        chosen: tuple[SliceKey, Grip] | None = None,
        drawn: Sequence[tuple[SliceKey, Path]] = (),
        preview: Sequence[tuple[SliceKey, Path]] = (),
    ) -> None:
        """Show the prompts of all slices, the `chosen` one framed, paths being drawn, and what mask they give."""
        self._show_marks(marks_of(prompts, chosen, drawn, preview))

    def _show_marks(self, marks: Marks) -> None:
        """Points as large as the limits allow, and outlines as rows of the smallest ones: both keep their size
        on the screen.
        """
        shown = self.prompts
        places = [position_of(key, xy) for key, path in marks.paths for xy in path]
        with shown.events.blocker_all():  # drawn once, not after each property
            shown.selected_data = set()
            shown.data = np.asarray(places, float).reshape(-1, 3)
            if places:
                shown.size = np.where(marks.large, _LARGEST, _SMALLEST)
                shown.symbol = list(marks.symbols)
                shown.face_color = list(marks.colors)
                shown.border_color = list(marks.borders)
                shown.border_width = np.where(marks.large, 0.15, 0.0)
        shown.refresh()

    def refresh(self, layer: Labels, array: NDArray[np.uint16]) -> None:
        """Draw a mask again after its memory changed; takes over `array` should it be another one."""
        if layer.data is not array:
            layer.data = array
        else:
            layer.refresh(extent=False, thumbnail=False)

    def data_position(self, world: Position) -> NDArray[np.float64]:
        """The array position (z, y, x), in voxels, of a position in napari's world."""
        return np.asarray(self.annotation.world_to_data(world), float)[-3:]

    def world_position(self, position: Position) -> tuple[float, ...]:
        """The position in napari's world of an array position (z, y, x)."""
        return tuple(float(part) for part in self.annotation.data_to_world(position))

    def _displayed_with(self, data: NDArray[Any]) -> NDArray[Any]:
        """What is saved for a layer with our metadata: what is displayed, or the data of a layer that the user
        duplicated.
        """
        return self._displayed() if data is self.annotation.data else data

    def _add_image(self) -> Image:
        image = Layer.create(*image_layer_tuple(self._volume))
        self._viewer.add_layer(image)
        return image


def _transforms_of(layer: Layer) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in _TRANSFORMS}


def position_of(key: SliceKey, xy: Position) -> NDArray[np.float64]:
    """The array position (z, y, x) of pixel (x, y) on a slice."""
    row, column = (axis for axis in range(3) if axis != key.axis)
    position = np.zeros(3)
    position[key.axis], position[row], position[column] = key.index, xy[1], xy[0]
    return position


def pixel_of(position: Position, axis: int) -> tuple[float, float]:
    """The pixel (x, y) of an array position (z, y, x), on the slices along a numpy axis."""
    row, column = (other for other in range(3) if other != axis)
    return float(position[column]), float(position[row])


def is_inside(position: Position, shape: Sequence[int]) -> bool:
    """True where an array position lies on a voxel; voxel centres are at integers."""
    return all(-0.5 <= part < size - 0.5 for part, size in zip(position, shape, strict=True))
