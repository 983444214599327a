"""The acts on prompts: place, draw, move and take away; a preview of the mask while one is drawn or moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from superqt.utils import qthrottled

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, take_slice

from . import notify
from .connections import end_timer
from .prompt_shapes import (
    Grip,
    Path,
    box_around,
    corners_of,
    dotted,
    grip_at,
    last_of,
    moved,
    outline_of,
    points_along,
    region_of,
    with_mask,
    with_points,
    without,
)
from .workplace import Workplace

if TYPE_CHECKING:
    from napari_samadapt.session.messages import PredictResponse

_REDRAW_MS = 40
_SMALLEST_BOX = 2.0  # in pixels of the slice; a smaller box was a click


class PromptActs:
    """Listens to the prompt tools; `keys` are the acts that have a key."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._session = place.session
        self._layers = place.layers
        self._tools = place.tools
        self._positive = True
        self._chosen: tuple[SliceKey, Grip] | None = None
        self._drawn: tuple[SliceKey, Path] | None = None
        self._wanted: tuple[SliceKey, Prompts] | None = None  # while something is drawn or moved
        self._preview: tuple[SliceKey, Path] | None = None
        self._show_soon = qthrottled(notify.reported(self._show_drawing), timeout=_REDRAW_MS)
        self._connect()
        self.keys: dict[str, Callable[[], object]] = {
            "sign": lambda: self.set_sign(not self._positive),
            "point": lambda: self.toggle_tool("point"),
            "box": lambda: self.toggle_tool("box"),
            "scribble": lambda: self.toggle_tool("scribble"),
            "lasso": lambda: self.toggle_tool("lasso"),
            "mask": self.use_mask,
            "keep": self.keep_draft,
            "delete": self.delete_prompt,
            "delete too": self.delete_prompt,
        }
        place.panels.prompts.set_tool("")
        place.panels.prompts.set_sign(True)

    def close(self) -> None:
        """Show nothing any more."""
        end_timer(self._show_soon)

    def _connect(self) -> None:
        on, tools, panel = self._place.on, self._tools, self._place.panels.prompts
        tools.grip_at = lambda key, place, reach: grip_at(self._prompts(key), place, reach)
        on(panel.tool, tools.choose)
        on(panel.sign, self.set_sign)
        on(panel.kept, self.keep_draft)
        on(panel.mask_used, self.use_mask)
        on(tools.clicked, self.add_point)
        on(tools.drawing, self._on_drawing)
        on(tools.drawn, self._on_drawn)
        on(tools.chosen, self._on_chosen)
        on(tools.dragging, self._on_dragging)
        on(tools.dropped, self._on_dropped)
        on(tools.removed, self.remove)
        self._place.connections.add(tools.hinted, notify.tell)
        self._place.connections.add(tools.tool_changed, panel.set_tool)
        on(self._session.previewed, self._on_previewed)
        on(self._session.prompts_changed, lambda _key: self._show())

    def toggle_tool(self, tool: str) -> None:
        """Take a tool in hand, or release it when it is in hand already."""
        self._tools.choose("" if self._tools.tool == tool else tool)

    def set_sign(self, positive: bool) -> None:
        """Place positive or negative points and scribbles from now on."""
        self._positive = positive
        self._place.panels.prompts.set_sign(positive)

    def add_point(self, key: SliceKey, x: float, y: float) -> None:
        """Add a point at pixel (x, y) to the prompts of a slice."""
        prompts = with_points(self._to_correct(key), np.array([[x, y]]), self._positive)
        self._chosen = (key, Grip("point", len(prompts.point_coords) - 1))
        self._session.set_prompts(key, prompts)

    def use_mask(self) -> None:
        """Give SAM a mask that is there already: see `_existing_mask`."""
        key = self._tools.slice_on_screen()
        self._session.set_prompts(key, with_mask(self._prompts(key), self._existing_mask(key)))

    def keep_draft(self) -> None:
        """Make the open masks the user's own: the next prompt is for another object."""
        for key in tuple(self._session.prompts):
            self._session.keep_draft(key)

    def delete_prompt(self) -> None:
        """Take away the chosen prompt of the slice on screen, or its last one."""
        key = self._tools.slice_on_screen()
        chosen = self._chosen[1] if self._chosen is not None and self._chosen[0] == key else None
        grip = chosen if chosen is not None and self._has(key, chosen) else last_of(self._prompts(key))
        if grip is None:
            notify.tell("There is no prompt on this slice. R takes the mask of the slice back.")
        else:
            self.remove(key, grip)

    def remove(self, key: SliceKey, grip: Grip) -> None:
        """Take a prompt away; the mask follows."""
        self._chosen = None
        self._session.set_prompts(key, without(self._prompts(key), grip))

    def _prompts(self, key: SliceKey) -> Prompts:
        return self._session.prompts.get(key, Prompts())

    def _to_correct(self, key: SliceKey) -> Prompts:
        """The prompts of a slice; where a negative one is the first, the mask that it is to correct."""
        prompts = self._prompts(key)
        if self._positive or not prompts.empty or not (mask := self._displayed(key)).any():
            return prompts
        return with_mask(prompts, mask)

    def _displayed(self, key: SliceKey) -> NDArray[np.bool_]:
        """The chosen class (H, W) on a slice, the user's own and predicted."""
        active = self._session.active_class
        shown: NDArray[np.bool_] = self._session.displayed_slice(key) == active
        return shown & (active > 0)

    def _has(self, key: SliceKey, grip: Grip) -> bool:
        prompts = self._prompts(key)
        if grip.kind == "point":
            return grip.number < len(prompts.point_coords)
        return (prompts.mask_input if grip.kind == "mask" else prompts.box) is not None

    def _existing_mask(self, key: SliceKey) -> NDArray[np.bool_]:
        """(H, W) of the slice: the mask layer of the user's own that is selected, else the chosen class as displayed.

        Raises SamAdaptError where it is empty, or the layer has another size.
        """
        shape = self._session.annotation.shape
        layer = self._place.viewer.layers.selection.active
        if isinstance(layer, Labels) and layer not in self._layers.owned:
            data = np.asarray(layer.data)
            data = data[np.newaxis] if data.ndim == 2 else data
            if data.shape != shape:
                raise SamAdaptError(
                    f"The layer {layer.name!r} has {data.shape} voxels, the volume {shape}: "
                    "choose a mask of this volume."
                )
            labels = take_slice(data, key)
            mask: NDArray[np.bool_] = labels == layer.selected_label
            mask, what = (mask if mask.any() else labels > 0), f"the layer {layer.name!r}"
        else:
            mask, active = self._displayed(key), self._session.active_class
            what = next((shown.name for shown in self._session.classes if shown.id == active), "the class")
        if not mask.any():
            raise SamAdaptError(
                f"There is no mask of {what} on this slice: draw one, or click inside the structure."
            )
        return mask

    # drawing and moving

    def _on_drawing(self, tool: str, key: SliceKey, path: Path) -> None:
        box = tool == "box"
        self._drawn = key, dotted(corners_of(np.array(box_around(path))) if box else path, closed=box)
        self._wanted = self._prompted(tool, key, path)
        self._show_soon()

    def _on_drawn(self, tool: str, key: SliceKey, path: Path) -> None:
        wanted = self._prompted(tool, key, path)
        self._end_drawing()
        if wanted is None:
            hint = (
                "Drag from one corner of the structure to the other."
                if tool == "box"
                else "Draw a longer line."
            )
            notify.tell(hint)
            return
        self._chosen = None
        self._session.set_prompts(*wanted)

    def _prompted(self, tool: str, key: SliceKey, path: Path) -> tuple[SliceKey, Prompts] | None:
        """The prompts of the slice with what was drawn; None where that is too small to mean anything."""
        before = self._prompts(key)
        extent = np.ptp(path, axis=0)
        if tool == "box":
            if extent.min() < _SMALLEST_BOX and np.ptp(path[[0, -1]], axis=0).min() < _SMALLEST_BOX:
                return None
            box = np.array(box_around(path))
            if min(box[2] - box[0], box[3] - box[1]) < _SMALLEST_BOX:
                return None
            return key, Prompts(before.point_coords, before.point_labels, box)
        if tool == "scribble":
            return key, with_points(self._to_correct(key), points_along(path), self._positive)
        if extent.min() < _SMALLEST_BOX:
            return None
        shape = take_slice(self._session.annotation, key).shape
        return key, with_mask(before, region_of(path, (shape[0], shape[1])))

    def _on_chosen(self, key: SliceKey, grip: Grip) -> None:
        self._chosen = (key, grip)
        self._show()

    def _on_dragging(self, key: SliceKey, grip: Grip, by: Path) -> None:
        self._chosen = (key, grip)
        self._wanted = key, self._moved(key, grip, by)
        self._show_soon()

    def _on_dropped(self, key: SliceKey, grip: Grip, by: Path) -> None:
        prompts = self._moved(key, grip, by)
        self._end_drawing()
        self._session.set_prompts(key, prompts)

    def _moved(self, key: SliceKey, grip: Grip, by: Path) -> Prompts:
        shape = take_slice(self._session.annotation, key).shape
        return moved(self._prompts(key), grip, by, (shape[0], shape[1]))

    def _end_drawing(self) -> None:
        self._show_soon.cancel()
        self._drawn = self._wanted = self._preview = None
        self._show()

    def _show_drawing(self) -> None:
        """Show what is drawn or moved so far, and ask what mask that would give."""
        self._show()
        if self._wanted is not None:
            self._session.preview(*self._wanted)

    def _on_previewed(self, response: PredictResponse) -> None:
        if self._wanted is not None and response.mask is not None:
            self._preview = response.request.key, outline_of(response.mask)
            self._show()

    def _show(self) -> None:
        prompts = dict(self._session.prompts)
        if self._wanted is not None and self._drawn is None:
            prompts[self._wanted[0]] = self._wanted[1]
        self._layers.show_prompts(
            prompts,
            chosen=self._chosen,
            drawn=() if self._drawn is None else (self._drawn,),
            preview=() if self._preview is None else (self._preview,),
        )
