"""1280×800 at 150 %: 853×533 pixels as Qt counts them. Three columns do not fit there, and no text may be cut off."""

from types import SimpleNamespace

import pytest
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDockWidget,
    QLabel,
    QMessageBox,
    QStyle,
    QStyleOptionComboBox,
    QToolButton,
)
from superqt import QElidingLabel

from napari_samadapt.ui import shared_column

SMALLEST = QSize(853, 533)


def clipped(place):
    """What is seen in part only: (class, text)."""
    found = [widget for kind in (QAbstractButton, QLabel, QComboBox) for widget in place.findChildren(kind)]
    seen = [(widget, text_of(widget)) for widget in found if widget.isVisible()]
    return [(type(widget).__name__, text) for widget, text in seen if text and not fits(widget)]


def text_of(widget):
    return widget.currentText() if isinstance(widget, QComboBox) else widget.text()


def fits(widget):
    if isinstance(widget, QElidingLabel):
        return widget.toolTip() == widget.text() or not widget.isElided()
    if isinstance(widget, QLabel) and widget.wordWrap():
        return widget.height() >= widget.heightForWidth(widget.width())
    if isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        field = widget.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, widget
        )
        return field.width() >= widget.fontMetrics().horizontalAdvance(widget.currentText())
    text = widget.fontMetrics().size(0, widget.text())
    seen = widget.contentsRect() if isinstance(widget, QLabel | QToolButton) else widget.rect()
    needed = text if isinstance(widget, QLabel | QToolButton) else widget.sizeHint()
    return seen.width() >= needed.width() and seen.height() >= text.height()


def test_what_is_cut_off_is_found(qtbot):
    label = QLabel("This text is longer than its place")
    qtbot.addWidget(label)
    label.show()
    label.setFixedSize(20, 20)
    assert not fits(label)
    label.setFixedSize(label.sizeHint())
    assert fits(label)


@pytest.fixture
def small_window(make_napari_viewer, make_dock, monkeypatch, qapp):
    """A window on a screen that is small, and the dock on the fake session."""
    if qapp.platformName() == "offscreen":
        pytest.skip("a real window needs a display with OpenGL: run under xvfb-run")
    monkeypatch.setattr(shared_column, "_LEAST_WIDTH", 10**6)

    def make(points):
        from napari.settings import get_settings

        get_settings().appearance.font_size = points
        viewer = make_napari_viewer()
        dock = make_dock(viewer)
        frame = viewer.window.add_dock_widget(dock, name="Segment and adapt SAM")
        window = viewer.window._qt_window
        window.show()
        window.resize(SMALLEST)
        return window, frame, dock

    return make


@pytest.mark.parametrize("points", [8, 9, 11])
def test_nothing_is_cut_off_on_the_smallest_screen(qtbot, small_window, volume, points):
    window, _, dock = small_window(points)
    qtbot.waitUntil(lambda: dock.companions.first.isVisible())
    assert clipped(dock) == []
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session is not None and dock.panels.slice.isVisible())
    dock.panels.slice.set_interpolation((113, 219))
    dock.panels.learning.set_state("paused", can_start=False, can_reset=True)
    dock.panels.slice.strip.set_states(["empty", "predicted", "proposed", "edited", "accepted"])
    if dock.companions.tour is not None:
        dock.companions.tour.leave()
    qtbot.wait(50)
    assert window.size() == SMALLEST
    assert clipped(dock) == []


def test_the_layer_docks_share_the_column_and_get_their_own_back(qtbot, small_window):
    window, frame, dock = small_window(9)
    others = [window.findChild(QDockWidget, name) for name in ("layer controls", "layer list")]
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(frame) == others)
    assert not dock.visibleRegion().isEmpty(), "our tab is not the one in front"
    dock.shut_down()
    assert window.tabifiedDockWidgets(frame) == []
    assert {window.dockWidgetArea(other) for other in others} == {Qt.DockWidgetArea.LeftDockWidgetArea}


def test_a_dock_that_napari_takes_out_ends(qtbot, small_window, volume, told, monkeypatch):
    """Its close button asks nothing; layers, keys and threads must not stay behind without the dock."""
    monkeypatch.setattr(qtbot, "addWidget", lambda widget: None)  # it would close the dock once more
    _, frame, dock = small_window(9)
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session is not None)
    session, dock.files.unsaved = dock.session, True
    monkeypatch.setattr(dock.cases, "journal", SimpleNamespace(failing=False, close=lambda delete: None))
    frame.destroyOnClose()
    qtbot.waitUntil(lambda: bool(session.called("close")))
    assert "Unfinished work" in told[-1][1]


@pytest.mark.parametrize("journal", [None, SimpleNamespace(failing=True, close=lambda delete: None)])
@pytest.mark.parametrize("answer", ["Cancel", "Discard"])
def test_a_dock_that_is_taken_out_asks_where_no_journal_keeps_its_masks(
    qtbot, small_window, volume, told, monkeypatch, journal, answer
):
    """As where another window has the case, or the disk is full."""
    monkeypatch.setattr(qtbot, "addWidget", lambda widget: None)
    window, frame, dock = small_window(9)
    monkeypatch.setattr(dock.cases, "_on_found", lambda session, wanted, case, offers: case.release())
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session is not None)
    session, dock.files.unsaved = dock.session, True
    monkeypatch.setattr(dock.cases, "journal", journal)
    asked = []
    monkeypatch.setattr(
        QMessageBox,
        "question",
        lambda *args: asked.append(args[1]) or getattr(QMessageBox.StandardButton, answer),
    )
    frame.destroyOnClose()
    qtbot.waitUntil(lambda: bool(session.called("close")))
    assert asked == ["Unsaved work"]
    assert ("annotation" in window._qt_viewer.viewer.layers) == (answer == "Cancel")
    assert not any("Unfinished work" in text for _, text in told)


def test_the_strip_lies_under_the_canvas_and_leaves_with_the_dock(qtbot, small_window, volume):
    window, frame, dock = small_window(9)
    dock.open_volume(volume)
    strip = dock.panels.slice.strip
    qtbot.waitUntil(strip.isVisible)
    canvas = window._qt_viewer.canvas.native
    below = [canvas.mapTo(window, canvas.rect().bottomLeft()), strip.mapTo(window, strip.rect().topLeft())]
    assert below[0].y() < below[1].y()
    assert not dock.isAncestorOf(strip)
    assert clipped(strip.parentWidget()) == []
    viewer = window._qt_viewer.viewer
    for _ in range(2):
        frame.setVisible(not frame.isVisible())
        viewer.dims.ndisplay = 5 - viewer.dims.ndisplay
        assert strip.isVisible()
        qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.cell(4).center())
        assert strip.current == 4 or viewer.dims.ndisplay == 3
    strip.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(strip, Qt.Key.Key_Left)
    assert strip.current == 3
    qtbot.keyClick(strip, Qt.Key.Key_B)
    assert dock.tools.tool == "box", "letters are the keys of the tools there too"
    height = canvas.height()
    dock.shut_down()
    qtbot.waitUntil(lambda: canvas.height() > height)
    assert not strip.isVisible()


def test_the_keyboard_goes_to_the_canvas_and_comes_to_the_tour(qtbot, small_window, volume):
    window, _, dock = small_window(9)
    window.activateWindow()
    dock.open_volume(volume)
    tour = qtbot.waitUntil(lambda: dock.companions.tour is not None) or dock.companions.tour
    canvas = window._qt_viewer.canvas.native
    qtbot.waitUntil(lambda: window.focusWidget() is canvas)
    title = dock.companions.sections["volume"].findChild(QToolButton)
    title.setFocus()
    for expected in ("Skip the tour", "Next"):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        assert window.focusWidget().text() == expected
    qtbot.keyClick(tour, Qt.Key.Key_Escape)
    assert dock.companions.tour is None


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_frame_of_the_keyboard_is_seen(qtbot, small_window, theme):
    window, _, dock = small_window(9)
    window._qt_viewer.viewer.theme = theme
    window.activateWindow()
    made = dock.companions.first.ways[0]
    qtbot.waitUntil(made.isVisible)
    without = made.grab().toImage().pixelColor(made.width() // 2, 0).lightnessF()
    made.setFocus()
    qtbot.waitUntil(made.hasFocus)
    seen = made.grab().toImage().pixelColor(made.width() // 2, 0).lightnessF()
    assert abs(seen - without) > 0.4
