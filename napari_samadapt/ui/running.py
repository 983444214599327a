"""What runs beside the window, and its end, which must not depend on the window's widgets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QApplication, QWidget

from .posting import Background, MainThreadPoster

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

# A learning thread hands the interpreter back to the window after this time (Python waits 5 ms by itself).
_SWITCH_SECONDS = 0.001


class Running:
    """The open session, the worker threads for files, and the poster that brings their results back.

    This is no QObject: closing napari's window deletes the dock without a close event, and with it every
    connection to a method of the dock. `end` is connected as a plain function and uses no widget.
    """

    def __init__(self, owner: QWidget) -> None:
        self.post = MainThreadPoster()
        self.background = Background(self.post)
        self.session: Session | None = None
        self.ended = False
        self.at_end: Callable[[], None] = lambda: None
        """What else ends with all this."""
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)

        def end(_owner: object = None) -> None:
            self.end()

        owner.destroyed.connect(end)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(end)

    def close_session(self) -> None:
        """End the session's threads; may be called without a session."""
        session, self.session = self.session, None
        if session is not None:
            session.close()

    def end(self) -> None:
        """End everything. May be called twice, and after Qt has deleted the widgets."""
        if self.ended:
            return
        self.ended = True
        self.post.close()
        self.background.close()
        if self.session is not None:
            _silence(self.session)
        self.close_session()
        self.at_end()
        sys.setswitchinterval(self._switch_interval)


def _silence(session: Session) -> None:
    """Whoever listens may be a deleted widget by now."""
    for kind in type(session).__mro__:
        for name, made in vars(kind).items():
            if isinstance(made, Signal):
                getattr(session, name).disconnect()
