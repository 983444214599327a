"""The journal of the open session, what is offered from before, and sessions saved and opened. One for a dock.

A plain object: what it ends must not depend on widgets, which Qt may have deleted by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import Volume

from . import notify
from .case_files import Offer, first_offer, look, read_offer, read_saved
from .contributions import volume_name
from .posting import Background, MainThreadPoster
from .recovery_dialog import RecoveryDialog

if TYPE_CHECKING:
    from napari_samadapt.session.journal import Case, Journal
    from napari_samadapt.session.journal_files import Unfinished
    from napari_samadapt.session.session import Session
    from napari_samadapt.session.session_folder import SavedSession

NOT_LOCKED = (
    "This case is open elsewhere ({owner}). You can work here too, but no journal is kept: "
    "save the session yourself."
)


@dataclass(frozen=True)
class DockActs:
    """What the keeper may ask of the dock."""

    open_volume: Callable[[Volume], None]
    choose_model: Callable[[str], None]
    model: Callable[[], str]
    session: Callable[[], Any]
    note_unsaved: Callable[[bool], None]
    show_axis: Callable[[], None]


class CaseKeeper:
    """`begin` with each session, `end` after it; `unsaved` tells then whether its journal is still needed."""

    def __init__(self, dock: QWidget, acts: DockActs, background: Background, post: MainThreadPoster) -> None:
        self._dock, self._acts, self._background, self._post = dock, acts, background, post
        self._session: Session | None = None
        self._case: Case | None = None
        self.journal: Journal | None = None
        """Of the open session; None until its case is known, and where another window has it."""
        self._early: list[tuple[float, Any]] | None = None  # acts from before the journal is there
        self._wanted: Offer | SavedSession | None = (
            None  # what the volume that is being opened is to begin with
        )
        self._folder: Path | None = None  # where the session was saved
        self._begun = False
        self._ended = False
        self.dialog: RecoveryDialog | None = None

    @property
    def keeps(self) -> bool:
        """True where what was done in the open session is offered again later, however the session ends."""
        return self.journal is not None and not self.journal.failing

    # One session.

    def begin(self, session: Session) -> None:
        """Keep a journal of it, once its case is known; offer what there is from before."""
        if self.journal is not None and self._session is not None and self._session.volume is session.volume:
            self._session = session  # the model was changed: the journal goes on
            session.record_to(self.journal)
            return
        self._session, self._folder, self._early = session, None, []
        early = self._early
        session.record_to(lambda act: early.append((time.time(), act)))
        wanted, self._wanted = self._wanted, None
        volume = session.volume
        self._background.run(
            lambda: look(volume, lambda: not self._ended),
            lambda found: self._on_found(session, wanted, *found),
            notify.report,
        )

    def end(self, *, unsaved: bool) -> None:
        """The session is closed: its journal is needed only where there is unsaved work. May be called twice."""
        journal, case = self.journal, self._case
        self._session = self.journal = self._case = self._early = None
        if journal is not None:
            journal.close(delete=not unsaved)
        elif case is not None:
            case.release()
        self._dismiss()

    def shut_down(self, *, unsaved: bool) -> None:
        """The dock is closed."""
        self._ended = True
        self.end(unsaved=unsaved)

    def _dismiss(self) -> None:
        """Close the question without an answer: it is asked again next time."""
        dialog, self.dialog = self.dialog, None
        if dialog is not None:
            with suppress(RuntimeError):  # Qt has deleted it
                dialog.blockSignals(True)
                dialog.close()

    def _on_found(
        self, session: Session, wanted: Offer | SavedSession | None, case: Case, offers: list[Unfinished]
    ) -> None:
        if session is not self._session:
            case.release()
            return
        self._case = case
        if not case.ours:
            if wanted is not None:
                self._take_up(wanted, journal=False)
            owner = case.holder
            notify.warn(NOT_LOCKED.format(owner=owner.told) if owner else case.refused)
            session.record_to(None)
            self._early = None
        elif wanted is not None:
            self._take_up(wanted, journal=True)
        elif offers:
            self._background.run(
                lambda: read_offer(offers[0], session.volume),
                lambda offer: self._present(offer, here=True),
                lambda _error: self._start_journal(),
            )
        else:
            self._start_journal()
            self.offer_at_start()

    def _start_journal(self, **begin: Any) -> None:
        """Write what was done so far and what comes."""
        from napari_samadapt.session.journal import Journal

        if self._session is None or self._case is None:
            return
        self.journal = Journal(self._case, self._post, notify.warn, **begin)
        for when, act in self._early or ():
            self.journal.put(act, when)
        self._early = None
        self._session.record_to(self.journal)

    def _take_up(self, wanted: Offer | SavedSession, *, journal: bool) -> None:
        """Go on with unfinished or saved work in the session that has just begun."""
        session = self._session
        if session is None:
            return
        try:
            if isinstance(wanted, Offer):
                self._check(wanted, session)
                session.take_up(wanted.recovered.work)
            else:
                wanted.check(session.volume)
                wanted.go_on(session)
        except SamAdaptError as error:
            notify.report(error)
            if journal:
                self._start_journal()
            return
        self._early = None
        self._acts.show_axis()
        self._acts.note_unsaved(isinstance(wanted, Offer))
        if isinstance(wanted, Offer):
            if journal:
                self._start_journal(resumed=(wanted.journal.path, wanted.recovered.whole))
            notify.tell(f"{wanted.journal.header.name} was recovered.")
        else:
            self._folder = wanted.folder
            if journal:
                self._start_journal(start=session.work)

    def _check(self, offer: Offer, session: Session) -> None:
        if self._case is not None and self._case.header.case != offer.journal.header.case:
            raise SamAdaptError(
                f"{volume_name(session.volume)} is not the image that the journal was written for: its voxels or their "
                "place differ. The journal is kept."
            )

    # What is offered.

    def offer_at_start(self) -> None:
        """Once for a dock: what is unfinished, if the volume that is open has nothing itself."""
        if not self._begun:
            self._begun = True
            self.offer_unfinished()

    def offer_unfinished(self, *, skipped: bool = False) -> None:
        """Offer the newest work that a program left behind when it died; `skipped`: also what was skipped before."""
        self._background.run(
            lambda: first_offer(skipped),
            lambda offer: self._on_first(offer, asked=skipped),
            notify.report,
        )

    def _on_first(self, offer: Offer | None, *, asked: bool) -> None:
        if offer is not None:
            self._present(offer, here=False)
        elif asked:
            notify.tell("There is no unfinished work.")

    def _present(self, offer: Offer, *, here: bool) -> None:
        """Ask; `here`: it is work on the open volume."""
        if not here and (self.dialog is not None or self._same_case(offer)):
            return
        self._begun = True
        self._dismiss()
        dialog = RecoveryDialog(offer, self._dock.window())
        self.dialog = dialog
        for signal, act in (
            (dialog.recovered, self._on_recover_chosen),
            (dialog.skipped, self._on_skip_chosen),
            (dialog.deleted, self._on_delete_chosen),
        ):
            signal.connect(notify.reported(lambda act=act: act(offer, here)))
        dialog.open()

    def _same_case(self, offer: Offer) -> bool:
        return self._case is not None and self._case.header.case == offer.journal.header.case

    def _on_recover_chosen(self, offer: Offer, here: bool) -> None:
        self.dialog = None
        if here:
            self._take_up(offer, journal=True)
        elif offer.volume is None:
            raise SamAdaptError(
                f"The image {offer.journal.header.source} cannot be read: open it where it is now, and the work is "
                "offered again."
            )
        else:
            self._open_with(offer, offer.volume)

    def _on_skip_chosen(self, offer: Offer, here: bool) -> None:
        self.dialog = None
        if not offer.journal.skipped:
            offer.journal.skip()
        self._go_on(here)

    def _on_delete_chosen(self, offer: Offer, here: bool) -> None:
        self.dialog = None
        offer.journal.delete()
        self._go_on(here)

    def _go_on(self, here: bool) -> None:
        """After one was skipped or deleted."""
        if here:
            self._start_journal()
        else:
            self.offer_unfinished()

    def _open_with(self, wanted: Offer | SavedSession, volume: Volume) -> None:
        """Open a volume, unless the user wants to stay, and begin with earlier work."""
        before = self._session
        self._wanted = wanted
        self._acts.open_volume(volume)
        if self._session is before and before is not None:
            self._wanted = None

    # Saved sessions.

    def ask_save(self) -> bool:
        """Save the session where it was saved before, or ask where; True where it was."""
        session = self._acts.session()
        if session is None:
            return False
        folder = self._folder
        if folder is None:
            name, _ = QFileDialog.getSaveFileName(
                self._dock, "Save the session as a folder", str(_suggested(session.volume)), "Folder (*)"
            )
            if not name:
                return False
            folder = Path(name)
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            session.snapshot(self._acts.model()).write(folder)
        finally:
            QApplication.restoreOverrideCursor()
        self._folder = folder
        self._acts.note_unsaved(False)
        notify.tell(f"Saved the session in {folder.name}.")
        return True

    def ask_open(self) -> None:
        """Ask for a session's folder, and go on with it."""
        name = QFileDialog.getExistingDirectory(self._dock, "Open a saved session")
        if name:
            folder = Path(name)
            self._background.run(lambda: read_saved(folder), lambda read: self._on_saved_read(*read))

    def _on_saved_read(self, saved: SavedSession, volume: Volume) -> None:
        if saved.model != self._acts.model():
            self._acts.choose_model(saved.model)
        self._open_with(saved, volume)


def _suggested(volume: Volume) -> Path:
    path = volume.source.path
    if path is None:
        return Path("session")
    if volume.source.format == "dicom":  # its folder may be named after the patient
        return path.parent / "session"
    return path.parent / f"{volume_name(volume)}_session"
