"""napari's notifications, made readable: whole, opaque, above one another, and there long enough to be read.

By itself napari shows one line of 400 pixels, half transparent over the one before it, for four seconds.
"""

from __future__ import annotations

from contextlib import suppress

from napari._qt.dialogs.qt_notification import NapariQtNotification  # napari has no public way to them
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

_GAP = 8
_ROOM = 28  # around the text: napari's margins
_MS_PER_LETTER = 70  # some 170 words a minute


def show_whole(message: str) -> None:
    """Make the notification that was shown last readable, if it says `message`."""
    with suppress(RuntimeError):  # one of a window that was closed
        shown = NapariQtNotification._instances[-1:]
        if shown and shown[0].message.text() == message:
            _open(shown[0])
            _pile(shown[0].parentWidget())


def _open(shown: NapariQtNotification) -> None:
    """All lines instead of the first one, at once."""
    shown.geom_anim.stop()
    shown.opacity_anim.setEndValue(1.0)
    shown.message.setElideMode(Qt.TextElideMode.ElideNone)
    height = max(shown.message.sizeHint().height() + _ROOM, shown.minimumHeight())
    shown.resize(shown.width(), height)
    shown.setProperty("expanded", True)
    shown.style().unpolish(shown.expand_button)  # a style sheet looks at a property only once
    shown.style().polish(shown.expand_button)
    shown.timer.setInterval(max(shown.DISMISS_AFTER, _MS_PER_LETTER * len(shown.message.text())))


def _pile(canvas: QWidget) -> None:
    """The newest lowest; those that find no room above it are closed."""
    bottom = canvas.height()
    for shown in reversed([shown for shown in NapariQtNotification._instances if shown.parent() is canvas]):
        bottom -= shown.height() + _GAP
        if bottom < 0:
            shown.close()
        else:
            shown.move(canvas.width() - shown.width() - _GAP, bottom)
