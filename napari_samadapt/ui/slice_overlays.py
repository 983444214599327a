"""Two looks at the slice on screen that exist only while they are switched on: where the model is unsure, and the
outlines of what it said before its last update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.volume import SliceKey

from . import notify
from .connections import Connections
from .layers import VolumeLayers

if TYPE_CHECKING:
    from napari_samadapt.session.insight import Uncertainty
    from napari_samadapt.session.session import Session

UNCERTAINTY, BEFORE = "uncertainty", "before the update"
_NOT_YET = "The model predicts nothing yet: accept a slice, and let it learn."
_NO_BEFORE = "Nothing was predicted on this slice before the last update."
_CONTOUR = 1  # pixels
_UNSURE = Colormap(
    [(1.0, 0.1, 0.9, 0.0), (1.0, 0.1, 0.9, 0.75), (1.0, 0.9, 1.0, 1.0)], name="samadapt unsure"
)
"""From nothing to magenta and white: no class has these colours, and what is sure stays as it is."""


class SliceOverlays:
    """Each is a layer of one slice, laid where the slice lies; hiding or deleting it switches it off."""

    switched = Signal(str, bool)
    """UNCERTAINTY or BEFORE was switched on or off."""

    def __init__(self, viewer: ViewerModel, session: Session, layers: VolumeLayers) -> None:
        self._viewer, self._session, self._layers = viewer, session, layers
        self._shown: dict[str, Layer | None] = {}  # those that are on; None while there is nothing to show
        self._key = SliceKey(session.axis, 0)
        self._connections = Connections()
        add = self._connections.add
        add(session.insight.uncertain, self._on_uncertain)
        add(session.adapter_changed, self._on_adapter_changed)
        add(session.predicted, self._on_predicted)
        add(session.classes_changed, self._show_before)
        add(viewer.layers.events.removed, self._on_layer_removed)

    def close(self) -> None:
        """Take the layers away."""
        self._connections.close()
        for name in tuple(self._shown):
            self._remove(name)
        self._shown.clear()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Those that are in the viewer."""
        return tuple(layer for layer in self._shown.values() if layer is not None)

    def is_on(self, name: str) -> bool:
        """Whether UNCERTAINTY or BEFORE is switched on."""
        return name in self._shown

    def switch(self, name: str, on: bool) -> None:
        """Show or hide UNCERTAINTY or BEFORE; without a model that predicts it says why there is nothing to see."""
        if on == self.is_on(name):
            return
        if on and self._session.adapter_version == 0 and not self._session.insight.past.versions(self._key):
            notify.tell(_NOT_YET)
            on = False
        if on:
            self._shown[name] = None
            if name == BEFORE and self._before() is None:
                notify.tell(_NO_BEFORE)
            self._renew()
        else:
            self._remove(name)
            self._shown.pop(name, None)
        self.switched.emit(name, on)

    def look_at(self, key: SliceKey) -> None:
        """Another slice is on screen."""
        if key != self._key:
            self._key = key
            self._remove(UNCERTAINTY)
            self._renew()

    def _renew(self) -> None:
        if self.is_on(UNCERTAINTY):
            self._session.insight.ask_uncertainty(self._key)
        self._show_before()

    def _on_uncertain(self, found: Uncertainty) -> None:
        if self.is_on(UNCERTAINTY) and found.key == self._key:
            self._show_uncertainty(found.values)

    def _on_adapter_changed(self, version: int) -> None:
        if version == 0:
            self._remove(UNCERTAINTY)
        self._renew()

    def _on_predicted(self, key: SliceKey) -> None:
        if key == self._key:
            self._show_before()

    def _on_layer_removed(self, event: Any) -> None:
        for name, layer in tuple(self._shown.items()):
            if layer is event.value:
                del self._shown[name]
                self.switched.emit(name, False)

    def _before(self) -> NDArray[np.uint16] | None:
        """What the adapter before the one that predicted the slice last said of it; None where none did."""
        past = self._session.insight.past
        versions = past.versions(self._key)
        return past.get(self._key, versions[-2]) if len(versions) > 1 else None

    def _show_uncertainty(self, values: NDArray[np.float32]) -> None:
        data = np.expand_dims(values, self._key.axis)
        layer = self._shown[UNCERTAINTY]
        if layer is not None:
            layer.data = data
            return
        made = Image(
            data,
            name=UNCERTAINTY,
            colormap=_UNSURE,
            blending="translucent",
            contrast_limits=(0.0, 1.0),
            affine=self._place(),
        )
        self._add(UNCERTAINTY, made)

    def _show_before(self) -> None:
        if not self.is_on(BEFORE):
            return
        self._remove(BEFORE)
        labels = self._before()
        if labels is None:
            return
        made = Labels(
            np.expand_dims(labels, self._key.axis),
            name=BEFORE,
            colormap=self._layers.annotation.colormap,
            affine=self._place(),
            opacity=1.0,
        )
        made.contour = _CONTOUR
        made.editable = False
        self._add(BEFORE, made)

    def _place(self) -> NDArray[np.float64]:
        """The affine (4, 4) of a layer that holds one slice only, as a part of the volume's."""
        origin = np.zeros(3)
        origin[self._key.axis] = self._key.index
        start = np.asarray(self._layers.world_position(origin))
        affine = np.eye(4)
        for axis in range(3):
            step = origin.copy()
            step[axis] += 1
            affine[:3, axis] = np.asarray(self._layers.world_position(step)) - start
        affine[:3, 3] = start
        return affine

    def _add(self, name: str, layer: Layer) -> None:
        """Above the masks and below the prompts; the user's layer stays the active one."""
        viewer = self._viewer
        active = viewer.layers.selection.active
        below = self._layers.annotation if self._layers.annotation in viewer.layers else self._layers.image
        place = viewer.layers.index(below) + 1 if below in viewer.layers else len(viewer.layers)
        self._shown[name] = layer
        viewer.layers.insert(place, layer)
        viewer.layers.selection.active = active

    def _remove(self, name: str) -> None:
        """Take the layer away; what is switched on stays so."""
        layer = self._shown.get(name)
        if layer is None:
            return
        self._shown[name] = None
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
