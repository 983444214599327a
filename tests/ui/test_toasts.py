"""Notifications are read whole, one above the other."""

import pytest
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtWidgets import QWidget

from napari_samadapt.ui.toasts import show_whole

_LONG = "The update was kept back: slice 13 is predicted worse than before. " * 4


@pytest.fixture
def show(qtbot):
    """Shows a notification on a canvas of 500 x 400 pixels, as napari does, and makes it readable."""
    canvas = QWidget()
    qtbot.addWidget(canvas)
    canvas.resize(500, 400)
    canvas.show()

    def shown(message):
        made = NapariQtNotification(message, "info", parent=canvas)
        made.show()
        show_whole(message)
        return made

    yield shown
    for left in tuple(NapariQtNotification._instances):
        left.close()


def test_all_lines_are_seen_for_as_long_as_it_takes_to_read_them(qtbot, show):
    short, long = show("Exported masks.nii.gz"), show(_LONG)
    qtbot.waitUntil(lambda: long.opacity.opacity() == 1.0)
    assert long.height() > long.message.sizeHint().height() > 3 * short.message.sizeHint().height()
    assert long.timer.interval() > 10_000 > short.timer.interval()
    assert long.property("expanded")


def test_none_covers_another_and_the_oldest_make_room(qtbot, show):
    first = show(_LONG)
    others = [show("Exported masks.nii.gz"), show(_LONG)]
    canvas = first.parentWidget().rect()
    assert first.isVisible()
    assert all(canvas.contains(made.geometry()) for made in (first, *others))
    assert first.geometry().bottom() < others[0].geometry().top()
    assert others[0].geometry().bottom() < others[1].geometry().top()
    show(_LONG)
    assert first not in NapariQtNotification._instances
    assert all(made in NapariQtNotification._instances for made in others)


def test_another_notification_is_left_as_napari_shows_it(show):
    made = show("Exported masks.nii.gz")
    before = made.geometry()
    show_whole("Not shown, as the user wants errors only.")
    assert made.geometry() == before
