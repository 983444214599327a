"""What stands around the panels of the dock: first steps, the buttons in the titles, the tour, the larger views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari.components import ViewerModel
from qtpy.QtWidgets import QWidget

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import SliceKey

from . import notify, remembered
from .activity import Activity
from .connections import Connections
from .dropped_files import DroppedFiles
from .evidence_bar import EvidenceBar, HelpBar
from .first_steps import FirstSteps
from .layers import VolumeLayers
from .models_and_adapters import DockSide, ModelsAndAdapters
from .posting import Background
from .tour import Tour
from .views import Views

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_TOUR = "tour"


class Part(Protocol):
    """Something that ends with the session."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class DockActs:
    """What can be done with the dock from here; `ask_file` and `ask_folder` open a dialog."""

    ask_file: Callable[[], None]
    ask_folder: Callable[[], None]
    open_sample: Callable[[], None]
    open_path: Callable[[Path], None]


class Companions:
    """Made with the dock, before its layout: `first`, `bar` and `help` are widgets for it to place."""

    def __init__(self, side: DockSide, acts: DockActs, background: Background, dock: QWidget) -> None:
        self._side, self._acts, self._background, self._dock = side, acts, background, dock
        self.first, self.bar, self.help = FirstSteps(), EvidenceBar(), HelpBar()
        self.models = ModelsAndAdapters(side, background, dock)
        self.tour: Tour | None = None
        self.sections: Mapping[str, QWidget] = {}
        """The dock's sections by name, for the tour and the first steps."""
        self._drops = DroppedFiles(dock, acts.open_path, side.choose_model, self._use_adapter)
        self._connections = Connections()
        for signal, act in (
            (self.first.open_file, acts.ask_file),
            (self.first.open_folder, acts.ask_folder),
            (self.first.sample, acts.open_sample),
            (self.first.tour_asked, self.start_tour),
            (self.first.models_asked, self.models.present),
            (self.help.tour_asked, self.start_tour),
            (self.help.models_asked, self.models.present),
        ):
            self._connections.add(signal, notify.reported(act))

    def close(self) -> None:
        """End with the dock."""
        self._connections.close()
        self.models.close()
        if self.tour is not None:
            self.tour.leave()

    def show_ready(self, ready: bool) -> None:
        """With a session the sections are shown, without one the first steps."""
        self.first.setVisible(not ready)
        for section in self.sections.values():
            section.setVisible(ready)
        self.models.refresh()

    def parts_for(
        self,
        viewer: ViewerModel,
        session: Session,
        layers: VolumeLayers,
        slice_on_screen: Callable[[], SliceKey],
        go_to: Callable[[int], None],
    ) -> list[Part]:
        """The views of a session, to be closed before it. The first time that there is one the tour begins."""
        if self.tour is not None:
            self.tour.follow(session)
        views = Views(
            viewer, session, layers, self.bar, slice_on_screen, go_to, self._background, self._dock.window()
        )
        if self._dock.window().isVisible() and self.tour is None and not remembered.is_done(_TOUR):
            self.start_tour()
        return [views, Activity(session)]

    def start_tour(self) -> None:
        """Show the tour, on the sample where nothing is open."""
        if self.tour is not None:
            self.tour.leave()
        self.tour = Tour(self.sections, self._dock.window())
        self.tour.ended.connect(self._on_tour_ended)
        session = self._side.session()
        if session is None:
            self._acts.open_sample()
        else:
            self.tour.follow(session)

    def _on_tour_ended(self) -> None:
        remembered.set_done(_TOUR)
        if self.tour is not None:
            self.tour.deleteLater()
            self.tour = None

    def _use_adapter(self, path: Path) -> None:
        session = self._side.session()
        if session is None:
            raise SamAdaptError(f"{path.name} is an adapter: open a volume first, then drop it again.")
        told: Any = session.apply_adapter(path)
        self._background.follow(told, lambda _: notify.tell("The adapter predicts this volume now."))
