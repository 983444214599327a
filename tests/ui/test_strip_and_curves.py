"""The slice strip and the learning curves."""

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_samadapt.ui.curves import LearningCurves
from napari_samadapt.ui.slice_strip import STATE_COLORS, SliceStrip, StripLegend


@pytest.fixture
def strip(qtbot):
    made = SliceStrip()
    qtbot.addWidget(made)
    made.resize(300, 18)
    made.show()
    made.set_states(["proposed", "predicted", "edited", "accepted", "empty", "empty"])
    return made


def test_each_cell_has_the_colour_of_its_state(strip):
    strip.set_current(5)
    picture = strip.grab().toImage()
    for index, state in enumerate(strip.states[:4]):
        place = strip.cell(index).center()
        assert picture.pixelColor(place).name() == STATE_COLORS[state]


@pytest.mark.parametrize(
    ("made_by", "said"),
    [(None, "accepted"), (0, "accepted, mask by the plain model"), (3, "accepted, mask by adapter 3")],
)
def test_the_tooltip_tells_the_state_and_the_model_that_made_the_mask(strip, made_by, said):
    strip.made_by = lambda index: made_by
    assert strip.description(3) == f"Slice 3: {said}"


def test_a_click_goes_to_the_slice(qtbot, strip):
    chosen = []
    strip.chosen.connect(chosen.append)
    for index in (0, 3, 5):
        qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(strip.cell(index).center()))
    assert chosen == [0, 3, 5]


def test_more_slices_than_pixels_show_their_highest_state(qtbot, strip):
    strip.set_states(["empty"] * 1000)
    strip.set_current(0)
    strip.set_state(501, "accepted")
    picture = strip.grab().toImage()
    place = strip.cell(501).center()
    assert picture.pixelColor(place).name() == STATE_COLORS["accepted"]


def test_a_slice_that_does_not_exist_is_ignored(strip):
    strip.set_state(99, "accepted")
    strip.set_states([])
    strip.grab()


def test_episodes_follow_each_other_on_the_curve(qtbot):
    curves = LearningCurves()
    qtbot.addWidget(curves)
    for step, loss, dice in ((1, 2.0, None), (2, 1.5, 0.5), (1, 1.2, None), (2, 1.0, 0.7)):
        curves.add(step, loss, dice)
    assert curves.points == ((1, 2.0), (2, 1.5), (3, 1.2), (4, 1.0))
    assert curves.dice_points == ((2, 0.5), (4, 0.7))
    curves.clear_curves()
    assert curves.points == curves.dice_points == ()


def test_a_long_session_keeps_a_bounded_number_of_points(qtbot):
    curves = LearningCurves()
    qtbot.addWidget(curves)
    for step in range(1, 10_000):
        curves.add(step, 1.0, None)
    assert len(curves.points) <= 4000
    assert curves.points[-1][0] >= 9_900


def test_arrow_keys_go_from_slice_to_slice(qtbot, strip):
    chosen = []
    strip.chosen.connect(chosen.append)
    strip.set_current(2)
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
        qtbot.keyClick(strip, key)
    assert chosen == [1, 3, 5, 0]


def test_the_suggested_slice_is_marked_and_named(strip):
    strip.set_current(0)
    before = strip.grab().toImage()
    strip.set_suggested(4)
    assert strip.grab().toImage() != before
    assert strip.description(4).endswith("suggested as the next one")


def test_the_legend_names_what_is_there(qtbot, strip):
    legend = StripLegend(strip)
    qtbot.addWidget(legend)

    def named():
        return [
            label.text()
            for label in legend.findChildren(QLabel)
            if label.text() and label.isVisibleTo(legend)
        ]

    assert named() == ["empty", "predicted", "proposed", "edited", "accepted"]
    strip.set_states(["empty", "empty"])
    assert named() == ["empty"]
    strip.set_state(1, "accepted")
    assert named() == ["empty", "accepted"]
    strip.set_suggested(0)
    assert named() == ["empty", "accepted", "▼ next (N)"], "nobody knows what the triangle means"
    strip.set_suggested(None)
    assert named() == ["empty", "accepted"]


@pytest.mark.parametrize(("window", "curves"), [(600, 72), (800, 72), (860, 92), (1080, 150), (2000, 150)])
def test_the_curves_are_higher_in_a_higher_window(qtbot, window, curves):
    place = QWidget()
    qtbot.addWidget(place)
    place.resize(400, window)
    made = LearningCurves(place)
    made.add(1, 0.5, None)
    assert made.height() == curves
