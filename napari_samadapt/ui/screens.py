"""The room on the screen that a widget is on."""

from qtpy.QtCore import QRect
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QWidget


def room_around(widget: QWidget) -> QRect:
    """The screen's geometry without task bars.

    Not by `QWidget.screen()`: PySide6 makes the widget own the one Python object of the screen, and a second widget
    that asks and is collected leaves a dangling owner, which ends the process in some later garbage collection.
    """
    screen = (
        QGuiApplication.screenAt(widget.mapToGlobal(widget.rect().center()))
        or QGuiApplication.primaryScreen()
    )
    return screen.availableGeometry()
