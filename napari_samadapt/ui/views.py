"""The looks and larger views of one session: opened when asked for, kept up to date, closed with the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtWidgets import QWidget

from napari_samadapt.imaging.volume import SliceKey

from . import notify
from .before_after import BeforeAfter
from .comparing import Comparing
from .connections import Connections
from .evidence_bar import EvidenceBar
from .keys import KeyBindings
from .layers import VolumeLayers
from .learning_view import LearningView
from .posting import Background
from .slice_overlays import BEFORE, UNCERTAINTY, SliceOverlays

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session


class Views:
    """Opens with the session, closes before it. `go_to` shows a slice of the session's axis on the canvas."""

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        layers: VolumeLayers,
        bar: EvidenceBar,
        slice_on_screen: Callable[[], SliceKey],
        go_to: Callable[[int], None],
        background: Background,
        parent: QWidget,
    ) -> None:
        self._viewer, self._session, self._layers, self._bar = viewer, session, layers, bar
        self._slice_on_screen, self._go_to = slice_on_screen, go_to
        self._background, self._parent = background, parent
        self.overlays = SliceOverlays(viewer, session, layers)
        self.comparing: Comparing | None = None
        self.learning: LearningView | None = None
        self.before_after: BeforeAfter | None = None
        self._connections = Connections()
        acts = (
            (bar.switched, self.overlays.switch),
            (bar.side_by_side_asked, self.open_before_after),
            (bar.learning_asked, self.open_learning),
            (bar.comparison_asked, self.open_comparison),
            (viewer.dims.events.current_step, self._on_slice_on_screen_changed),
        )
        for signal, act in acts:
            self._connections.add(signal, notify.reported(act))
        self._connections.add(self.overlays.switched, bar.set_on)
        self._connections.add(session.insight.changed, self._show_learning)
        self._keys = KeyBindings(
            (viewer, layers.annotation, layers.prediction, layers.prompts),
            {
                "uncertainty": notify.reported(lambda: self._toggle(UNCERTAINTY)),
                "before": notify.reported(lambda: self._toggle(BEFORE)),
            },
        )
        self.overlays.look_at(slice_on_screen())
        bar.set_ready(True)

    def close(self) -> None:
        """Close what is open."""
        self._keys.close()
        self._connections.close()
        self.overlays.close()
        for name in (UNCERTAINTY, BEFORE):
            self._bar.set_on(name, False)
        self._bar.set_ready(False)
        if self.comparing is not None:
            self.comparing.close()
        if self.before_after is not None:
            self.before_after.close_for_good()
        if self.learning is not None:
            self.learning.close()
            self.learning.deleteLater()
        self.comparing = self.learning = self.before_after = None

    def open_comparison(self) -> None:
        """Compare with a reference."""
        if self.comparing is None:
            self.comparing = Comparing(self._session, self._other_labels, self._background, self._parent)
            self._connections.add(self.comparing.view.plot.chosen, notify.reported(self._go_to))
        self.comparing.view.plot.set_current(self._slice_on_screen().index)
        self.comparing.present()

    def open_learning(self) -> None:
        """How the model learned."""
        if self.learning is None:
            unit = "mm" if self._session.volume.spatial else "px"
            self.learning = LearningView(unit, self._parent)
            self._connections.add(self.learning.chosen, notify.reported(self._go_to))
        self._show_learning()
        self.learning.present()

    def open_before_after(self) -> None:
        """The slice on screen, before and after."""
        if self.before_after is None:
            self.before_after = BeforeAfter(self._session, self._slice_on_screen(), self._parent)
        self.before_after.look_at(self._slice_on_screen())
        self.before_after.present()

    def _toggle(self, name: str) -> None:
        self.overlays.switch(name, not self.overlays.is_on(name))

    def _show_learning(self) -> None:
        if self.learning is not None:
            self.learning.set_updates(self._session.insight.updates)
            self.learning.set_accepted(self._session.insight.accepted)

    def _on_slice_on_screen_changed(self, _event: Any = None) -> None:
        key = self._slice_on_screen()
        self.overlays.look_at(key)
        if self.before_after is not None:
            self.before_after.look_at(key)
        if self.comparing is not None:
            self.comparing.view.plot.set_current(key.index)

    def _other_labels(self) -> list[Labels]:
        """napari's masks that are not ours."""
        ours = (*self._layers.owned, *self.overlays.layers)
        return [layer for layer in self._viewer.layers if isinstance(layer, Labels) and layer not in ours]
