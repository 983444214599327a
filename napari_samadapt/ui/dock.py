"""The dock widget: builds the panels, opens volumes and models, and gives each Session its life."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_samadapt.imaging.volume import Volume

from . import notify
from .canvas_context import keep_context_current
from .canvas_tools import CanvasTools
from .case_keeper import CaseKeeper
from .case_keeper import DockActs as CaseActs
from .companions import Companions, DockActs
from .connections import Connections
from .contributions import sample_path
from .dock_frame import DockFrame
from .dock_sections import column_of, show_ready, show_volume
from .file_acts import FileActs, volume_of
from .importing import MaskImport
from .in_window import InWindow
from .layer_watch import LayerWatch
from .layers import VolumeLayers
from .models_and_adapters import DockSide
from .next_model import NextModel
from .panels.classes import ClassesPanel
from .panels.export import ExportPanel
from .panels.learning import LearningPanel
from .panels.prompts import PromptsPanel
from .panels.slice_actions import SlicePanel
from .panels.volume import VolumePanel
from .preferences import preferences
from .python_end import end_at_once, make_constants_immortal
from .running import Running
from .session_view import Panels, SessionView
from .slice_strip import StripLegend
from .user_acts import UserActs
from .workplace import Workplace

if TYPE_CHECKING:
    from napari_samadapt.session.messages import LearningPolicy
    from napari_samadapt.session.session import Session
    from napari_samadapt.session.work import Work


class Dock(DockFrame):
    """Everything of this plugin that is not on the canvas. One Session at a time; `close_session` ends it."""

    def __init__(self, napari_viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        make_constants_immortal()
        end_at_once()
        # napari hands out a proxy whose layers are proxies too; ours are told apart by identity.
        self._viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._running = Running(self)
        self._post = self._running.post
        self.panels = Panels(
            VolumePanel(), ClassesPanel(), PromptsPanel(), SlicePanel(), LearningPanel(), ExportPanel()
        )
        self.companions = Companions(
            DockSide(lambda: self.session, lambda: self._model.name, self.choose_model),
            DockActs(
                lambda: self.files.ask_file(self.open_path),
                lambda: self.files.ask_folder(self.open_path),
                lambda: self.open_path(sample_path("ct")),
                self.open_path,
            ),
            self._running.background,
            self,
        )
        self._lay_out()
        self.layers: VolumeLayers | None = None
        self.tools: CanvasTools | None = None
        self._parts: list[Any] = []
        self._waiting: tuple[Volume, Image | None] | None = None
        self.files = FileActs(self, self._running.background)
        self._model = NextModel(
            self.files, self.panels.volume, self._say, self._on_model_loaded, self._show_idle
        )
        self.cases = self._make_cases()
        self.masks = MaskImport(self, self._viewer, self._running.background, lambda: self.session)
        self._kept: tuple[Work, LearningPolicy] | None = None
        self._connections = Connections()
        self._connect()
        self._show_ready(False)
        self._watch = LayerWatch(
            self._viewer,
            lambda image: self.open_volume(volume_of(image), image),
            lambda: self.session is None and self._waiting is None,
            lambda: self.layers,
            lambda: self._shown and not self.window().isVisible(),
            self._post,
        )
        keep_context_current(self._viewer)
        self._watch.adopt_open_image()

    @property
    def session(self) -> Session | None:
        """The open session; None where there is no volume, and after the end."""
        return self._running.session

    @property
    def _loading(self) -> bool:
        return self._model.loading

    # volumes and models

    def open_path(self, path: Path) -> None:
        """Read a volume in the background, then work on it."""
        self._say(f"Reading {path.name}…")
        self.files.read(path, self.open_volume, self._show_idle)

    def open_volume(self, volume: Volume, image: Image | None = None) -> None:
        """Work on a volume; `image` is its layer where there is one already.

        Waits for the model if need be.
        """
        if not self._may_leave():
            return
        self.close_session()
        self._kept = None
        self._waiting = (volume, image)
        self._model.expect()
        self._start_when_ready()

    def choose_model(self, name: str) -> None:
        """Change the model at the user's wish; the masks stay, what was learned with the other model ends."""
        self._model.choose(name)

    def load_model(self, name: str) -> None:
        """Load a SAM by name or from a file, in the background."""
        self._model.load(name)

    def close_session(self, *, case_goes_on: bool = False) -> None:
        """End the session: its threads stop, its layers leave the viewer. The image stays.

        Its journal goes on where `case_goes_on`; else it is deleted, unless there is unsaved work in it.
        """
        self._close_parts()
        self._running.close_session()
        if not case_goes_on:
            self.cases.end(unsaved=self.files.unsaved)
            self.files.unsaved = False
        if self.layers is not None:
            self.layers.remove()
            self.layers = self.tools = None
        self._show_ready(False)

    def shut_down(self) -> None:
        """End everything; the dock is of no use afterwards. May be called twice."""
        if self._running.ended:
            return
        self._connections.close()
        self._watch.close()
        self.companions.close()
        self.close_session()
        self._in_window.close()
        self._running.end()

    # inside

    def _on_first_shown(self) -> None:
        self._post(self._in_window.fit)  # once napari has laid the window out

    def _on_first_painted(self) -> None:
        """What takes the interpreter from the window, as importing torch does, begins once the dock was seen."""
        self._post(self._begin)

    def _on_taken_out(self) -> None:
        self._post(self._end_out_of_frame)

    def _end_out_of_frame(self) -> None:
        if self.files.unsaved and self.cases.keeps:
            notify.tell("Masks kept: open the dock again to go on. They are offered under Unfinished work.")
        elif not self._may_leave():
            self.layers = None  # nobody takes them out of the viewer
            notify.tell("The masks stay in the viewer: save them with File ▸ Save Selected Layer.")
        self.shut_down()
        self.deleteLater()

    def _may_leave(self) -> bool:
        return self.files.may_leave(self.session, self.cases.ask_save)

    def _leave(self) -> None:
        """The masks stay in the viewer, for who goes on with it in Python."""
        self._watch.close()
        self.companions.models.close()
        self._close_parts()
        self._running.end()

    def _close_parts(self) -> None:
        for part in reversed(self._parts):
            part.close()
        self._parts.clear()

    def _lay_out(self) -> None:
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        legend = StripLegend(self.panels.slice.strip)
        outer.addWidget(column_of(self.panels, self.companions, legend))
        self._in_window = InWindow(self._viewer, self, self.panels.slice.strip, legend)

    def _begin(self) -> None:
        """Load the model that the user prefers, and offer unfinished work, unless a volume is open or asked for."""
        if self.session is not None or self._waiting is not None:
            return
        self.cases.offer_at_start()
        self._model.expect_without_download()

    def _connect(self) -> None:
        add, volume, export = self._connections.add, self.panels.volume, self.panels.export
        add(volume.open_file, notify.reported(lambda: self.files.ask_file(self.open_path)))
        add(volume.open_folder, notify.reported(lambda: self.files.ask_folder(self.open_path)))
        add(volume.sample, notify.reported(lambda name: self.open_path(sample_path(name))))
        add(volume.model, notify.reported(self.choose_model))
        add(volume.model_file, notify.reported(lambda: self.files.ask_model(self.choose_model)))
        add(export.export_masks, notify.reported(lambda: self.files.ask_export(self.session)))
        add(export.save_session, notify.reported(self.cases.ask_save))
        add(export.import_menu.aboutToShow, notify.reported(lambda: self.masks.fill(export.import_menu)))
        add(volume.open_session, notify.reported(self.cases.ask_open))
        add(volume.open_unfinished, notify.reported(lambda: self.cases.offer_unfinished(skipped=True)))
        add(export.save_adapter, notify.reported(lambda: self.files.ask_save_adapter(self.session)))
        add(export.load_adapter, notify.reported(lambda: self.files.ask_load_adapter(self.session)))

    def _on_model_loaded(self) -> None:
        if self.session is not None and self.layers is not None:
            self._kept = (self.session.work, self.session.policy)
            self._waiting = (self.session.volume, self.layers.image)
            self.close_session(case_goes_on=True)
        self._start_when_ready()

    def _start_when_ready(self) -> None:
        if self._waiting is None:
            self._show_ready(self.session is not None)
            return
        if not self._model.is_here:
            self._show_idle()
            return
        (volume, image), self._waiting = self._waiting, None
        shown = image if image is not None and image in self._viewer.layers else None
        try:
            self._start_session(self._model.take(), volume, shown)
        except Exception:
            self.close_session()  # half a session would take the user's clicks
            raise

    def _start_session(self, sam: Any, volume: Volume, image: Image | None) -> None:
        from napari_samadapt.session.session import Session

        kept, self._kept = self._kept, None
        preferred = preferences()
        session = Session(volume, sam, post=self._post, prefix_folder=preferred.prefix_folder())
        self._running.background.run(preferred.delete_unwanted, lambda _: None)
        if kept is None:
            preferred.apply_to(session)
        else:
            work, policy = kept
            session.set_policy(policy)
            session.take_up(work)
        self._running.session, panels = session, self.panels
        self.layers = VolumeLayers(
            self._viewer, volume, session.annotation, session.prediction, session.displayed, image
        )
        self.tools = CanvasTools(self._viewer, self.layers, session.axis)
        panels.learning.curves.clear_curves()
        show_volume(panels, volume)
        self._show_ready(True)
        view = SessionView(self._viewer, session, self.layers, self.tools, panels)
        acts = UserActs(Workplace(self._viewer, session, self.layers, self.tools, panels, view, self._post))
        self._parts = [self.tools, view, acts]
        self._parts += self.companions.parts_for(
            self._viewer, session, self.layers, self.tools.slice_on_screen, view.go_to
        )
        session.labels_changed.connect(self.files.note_change)
        self.cases.begin(session)
        self._in_window.begin_work()
        for note in volume.source.notes:
            notify.tell(note)

    def _show_ready(self, ready: bool) -> None:
        show_ready(self.panels, ready)
        if not ready:
            self._show_idle()
        self.companions.show_ready(ready)

    def _show_idle(self) -> None:
        if self.session is not None and self._parts:
            self._parts[1].show_status()
        else:
            text = "Loading the model…" if self._loading else "Open a volume or a sample to begin."
            self._say(text)

    def _say(self, text: str) -> None:
        """What happens now, where it is seen: before there is a volume only the first steps are."""
        self.panels.learning.set_status(text)
        self.companions.first.set_status(text)

    def _make_cases(self) -> CaseKeeper:
        acts = CaseActs(
            self.open_volume, self.choose_model, lambda: self._model.name, lambda: self.session,
            self.files.set_unsaved, lambda: self._parts[1].show_axis(),
        )  # fmt: skip
        cases, files = CaseKeeper(self, acts, self._running.background, self._post), self.files
        self._running.at_end = lambda: cases.shut_down(unsaved=files.unsaved)
        return cases
