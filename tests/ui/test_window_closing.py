"""When a window counts as closed: asked first, refused by napari after that, hidden for another reason."""

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow

from napari_samadapt.ui.window_closing import WindowClosing


class Window(QMainWindow):
    """Refuses to close where it was told to, as napari's does when the user says no."""

    refuses = False

    def closeEvent(self, event):
        event.setAccepted(not self.refuses)


@pytest.fixture
def make(qtbot):
    """A window that is shown, and the list that grows when it is left."""

    def made(may_leave=True, kind=Window):
        window, left = kind(), []
        qtbot.addWidget(window)
        window.installEventFilter(WindowClosing(window, lambda: may_leave, lambda: left.append(window)))
        window.show()
        return window, left

    return made


def test_an_accepted_close_is_the_end_at_once_and_once(make):
    window, left = make()
    window.close()
    assert left == [window]
    window.show()
    window.hide()
    assert left == [window]


def test_a_window_that_may_not_be_left_stays(make):
    window, left = make(may_leave=False)
    window.close()
    assert window.isVisible()
    window.hide()
    assert left == []


def test_a_close_that_napari_refuses_is_no_end(make):
    window, left = make()
    window.refuses = True
    window.close()
    assert window.isVisible()
    assert left == []
    QApplication.sendEvent(window, QEvent(QEvent.Type.WindowActivate))  # the question is gone
    window.hide()
    assert left == []


def test_hiding_is_no_closing(make):
    window, left = make()
    window.hide()
    assert left == []


def test_a_floating_dock_is_not_the_window(make):
    dock, left = make(kind=QDockWidget)
    dock.close()
    assert not dock.isVisible()
    assert left == []
