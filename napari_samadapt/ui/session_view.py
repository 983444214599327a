"""What one Session looks like: its signals, shown in the layers and the panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, slice_count

from . import notify
from .canvas_texts import CanvasTexts
from .canvas_tools import CanvasTools
from .class_volumes import ClassVolumes, volume_text
from .connections import Connections
from .fitting import Fitting
from .layers import VolumeLayers
from .panels.classes import ClassesPanel
from .panels.export import ExportPanel
from .panels.learning import LearningPanel
from .panels.prompts import PromptsPanel
from .panels.slice_actions import SlicePanel
from .panels.volume import VolumePanel
from .slice_help import SliceHelp
from .status import LearningFacts, learning_status
from .view import CUSTOM_WINDOW, slice_view, view_text, window_text

if TYPE_CHECKING:
    from napari_samadapt.learning.fine_tune import TrainProgress
    from napari_samadapt.session.messages import Draft
    from napari_samadapt.session.session import Session


_CORRECT = "Add points where the mask is wrong, or drag or right-click a prompt; then accept the slice (A)."
_ACCEPTED = "Accepted. N goes to the slice where you help most; or correct this one and accept it again."
_COMPLETE = "Accepted, as every slice. Export the masks; or correct this slice and accept it again."
_NOTHING_FOUND = "SAM finds nothing there. Try a box around the structure, or paint it."


@dataclass(frozen=True)
class Panels:
    """The panels of the dock."""

    volume: VolumePanel
    classes: ClassesPanel
    prompts: PromptsPanel
    slice: SlicePanel
    learning: LearningPanel
    export: ExportPanel


class SessionView:
    """Shows a session; changes nothing in it but which slice is on screen.

    Opens with the session, closes before it.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        layers: VolumeLayers,
        tools: CanvasTools,
        panels: Panels,
    ) -> None:
        self._viewer = viewer
        self._session = session
        self._layers = layers
        self._tools = tools
        self._panels = panels
        self._progress: TrainProgress | None = None
        self._dice: float | None = None
        self._refreshed = (0, 0)
        self.window_name = ""  # what the user chose last; shown when the session has it
        self._camera_before = viewer.scene.camera.orientation
        self._connections = Connections()
        self._texts = CanvasTexts(viewer)
        self._fitting = Fitting(viewer)
        self._volumes = ClassVolumes(session, self._show_volumes)
        self.help = SliceHelp(session, tools, panels.slice)
        panels.classes.set_volume_unit("ml" if session.volume.spatial else "pixels")
        panels.slice.strip.made_by = lambda index: session.made_by(SliceKey(session.axis, index))
        self._connect()
        self.show_axis()
        self.show_classes()
        self._show_window()
        self._on_learning_changed()
        self._show_undo()

    def close(self) -> None:
        """Stop showing; the camera looks as before."""
        self._connections.close()
        self._volumes.close()
        self.help.close()
        self._texts.close()
        self._fitting.close()
        self._panels.slice.strip.made_by = lambda _index: None
        self._viewer.scene.camera.orientation = self._camera_before

    def show_axis(self) -> None:
        """Turn the viewer to the session's axis, the radiological way up, in the middle of the volume."""
        volume, axis = self._session.volume, self._session.axis
        self._tools.axis = axis
        seen = slice_view(volume, axis)
        extra = self._viewer.dims.ndim - 3
        self._viewer.dims.order = (*range(extra), *(place + extra for place in seen.order))
        self._viewer.scene.camera.orientation2d = seen.orientation
        middle = [(size - 1) // 2 for size in volume.shape]
        world = self._layers.world_position(middle)
        for place, part in enumerate(world):
            self._viewer.dims.set_point(place + extra, part)
        self._texts.show_letters(seen.edges if volume.spatial else ("", "", "", ""))
        self._texts.show_view(view_text(volume, axis))
        self._panels.volume.set_axis(volume.axis_name(axis))
        self._panels.slice.strip.set_states(
            [self.help.state(SliceKey(axis, index)) for index in range(slice_count(volume.shape, axis))]
        )
        self._on_slice_on_screen_changed()
        self._fitting.fit()

    def go_to(self, index: int) -> None:
        """Show another slice of the session's axis."""
        position = np.zeros(3)
        position[self._session.axis] = index
        place = self._session.axis
        self._viewer.dims.set_point(
            place + self._viewer.dims.ndim - 3, self._layers.world_position(position)[place]
        )

    def _connect(self) -> None:
        add, session = self._connections.add, self._session
        add(session.drafted, self._on_drafted)
        add(session.labels_changed, self._on_labels_changed)
        add(session.predicted, self._on_predicted)
        add(session.progress, self._on_progress)
        add(session.learning_changed, self._on_learning_changed)
        add(session.adapter_changed, self._on_adapter_changed)
        add(session.forecasted, self.show_status)
        add(session.classes_changed, self.show_classes)
        add(session.prompts_changed, self._on_prompts_changed)
        add(session.refresh_progress, self._on_refresh_progress)
        add(session.window_changed, self._on_window_changed)
        add(session.failed, notify.warn)
        add(self._viewer.dims.events.current_step, self._on_slice_on_screen_changed)
        add(self._panels.slice.strip.chosen, self.go_to)
        add(self._layers.prediction.events.visible, self._on_prediction_shown)
        add(self._layers.prediction.events.contour, self._on_prediction_shown)
        add(self._layers.image.events.contrast_limits, self._show_window)

    def _on_drafted(self, draft: Draft) -> None:
        found = bool(draft.mask.any())
        self._panels.prompts.set_hint(_CORRECT if found else _NOTHING_FOUND)

    def _on_labels_changed(self, keys: tuple[SliceKey, ...]) -> None:
        here = self._tools.slice_on_screen()
        if any(key == here or key.axis != here.axis for key in keys):
            self._layers.refresh(self._layers.annotation, self._session.annotation)
            self._layers.refresh(self._layers.prediction, self._session.prediction)
        if here in keys and here in self._session.accepted:
            self._panels.prompts.set_hint(_COMPLETE if self._complete else _ACCEPTED)
        for key in keys:
            self._show_state(key)
        self._volumes.count(keys)
        self._show_undo()
        self.show_status()

    def _on_predicted(self, key: SliceKey) -> None:
        self._show_state(key)
        self._volumes.count((key,))
        if key == self._tools.slice_on_screen():
            self._layers.refresh(self._layers.prediction, self._session.prediction)

    def _on_progress(self, progress: TrainProgress) -> None:
        self._progress = progress
        if progress.held_out_dice is not None:
            self._dice = progress.held_out_dice
        self._panels.learning.curves.add(progress.step, progress.loss, progress.held_out_dice)
        self.show_status()

    def _on_learning_changed(self, _state: str = "") -> None:
        if self._session.learning_state == "training" and self._refreshed[1]:
            self._refreshed = (0, 0)
        session = self._session
        if session.learning_state not in ("training", "paused"):
            self._dice = session.held_out_dice
        self._panels.learning.set_settings(
            session.policy.enabled, session.config.method, session.policy.seconds or 60.0
        )
        self._panels.learning.curves.draw_now()
        self.show_status()

    def _on_adapter_changed(self, version: int) -> None:
        self._dice = self._session.held_out_dice
        if version == 0:
            self._progress = None
            self._panels.learning.curves.clear_curves()
            self._volumes.count_all()
        self.show_status()

    def show_classes(self) -> None:
        """Show the classes in the table and on the canvas."""
        classes, active = self._session.classes, self._session.active_class
        self._layers.show_classes(classes, active)
        self._panels.classes.set_classes(classes, active, self._layers.hidden)

    def _show_volumes(self, voxels: Mapping[int, int]) -> None:
        volume = self._session.volume
        self._panels.classes.set_volumes({i: volume_text(count, volume) for i, count in voxels.items()})

    def _on_prompts_changed(self, _key: SliceKey) -> None:
        self._show_undo()

    def _on_window_changed(self, window: Window) -> None:
        if not self._session.volume.is_color:
            self._layers.image.contrast_limits = (window.low, window.high)
        self._panels.volume.set_window(self.window_name or CUSTOM_WINDOW)
        self.window_name = ""

    def _show_window(self, _event: Any = None) -> None:
        """While it is dragged too."""
        text = ""
        if not self._session.volume.is_color:
            low, high = (float(limit) for limit in self._layers.image.contrast_limits)
            text = window_text(Window(low, high)) if low < high else ""
        self._texts.show_window(text)

    def _on_refresh_progress(self, done: int, total: int) -> None:
        self._refreshed = (done, total)
        if done == total:
            self._layers.refresh(self._layers.prediction, self._session.prediction)
        self.show_status()

    def _on_slice_on_screen_changed(self, _event: Any = None) -> None:
        key = self._tools.slice_on_screen()
        if key.index != self._panels.slice.strip.current:
            self._panels.prompts.reset_hint()
        self._panels.slice.strip.set_current(key.index)
        self._panels.prompts.set_slice_state(self.help.state(key))
        self._session.look_at(key)
        self.help.look_at(key)

    def _on_prediction_shown(self, _event: Any = None) -> None:
        self._panels.slice.set_prediction_shown(bool(self._layers.prediction.visible))
        self._panels.slice.set_outlined(bool(self._layers.prediction.contour))

    def _show_state(self, key: SliceKey) -> None:
        if key.axis != self._session.axis:
            return
        state = self.help.state(key)
        self._panels.slice.strip.set_state(key.index, state)
        if key == self._tools.slice_on_screen():
            self._panels.prompts.set_slice_state(state)

    def _show_undo(self) -> None:
        self._panels.slice.set_undo(self._session.can_undo, self._session.can_redo)

    @property
    def _complete(self) -> bool:
        """Every slice of the axis is accepted, as that of a picture is at once."""
        axis, accepted = self._session.axis, self._session.accepted
        return sum(key.axis == axis for key in accepted) == slice_count(self._session.volume.shape, axis)

    def show_status(self) -> None:
        session, progress = self._session, self._progress
        accepted, version = len(session.accepted), session.adapter_version
        forecast, seconds = session.forecast, session.policy.seconds
        self._panels.learning.set_state(
            session.learning_state, can_start=accepted > 0, can_reset=session.can_roll_back
        )
        self._panels.learning.set_status(
            learning_status(
                LearningFacts(
                    session.learning_state,
                    accepted,
                    version,
                    progress.seconds if progress else 0.0,
                    session.policy.seconds or 0.0,
                    self._dice,
                    self._refreshed,
                    forecast.told(seconds) if forecast and seconds else "",
                    self._complete,
                )
            )
        )
        self._panels.export.set_ready(True, version > 0)
