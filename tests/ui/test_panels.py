"""Panels: a signal for each act of the user, silence when they are told what to show."""

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QAbstractButton, QComboBox, QPushButton, QTableWidget, QToolButton, QWidget

from napari_samadapt.ui.keys import KEYS
from napari_samadapt.ui.panels.classes import ClassesPanel
from napari_samadapt.ui.panels.export import ExportPanel
from napari_samadapt.ui.panels.learning import LearningPanel
from napari_samadapt.ui.panels.prompts import PromptsPanel
from napari_samadapt.ui.panels.section import Column, Section
from napari_samadapt.ui.panels.slice_actions import SlicePanel
from napari_samadapt.ui.panels.volume import VolumePanel
from napari_samadapt.ui.slice_strip import SliceStrip
from napari_samadapt.ui.style import dock_style


def heard(panel, *names):
    """What the panel's signals say from now on: (name, *arguments)."""
    said = []
    for name in names:
        getattr(panel, name).connect(lambda *args, name=name: said.append((name, *args)))
    return said


def click(qtbot, panel, text):
    made = next(button for button in panel.findChildren(QPushButton) if button.text().startswith(text))
    qtbot.mouseClick(made, Qt.MouseButton.LeftButton)


def choose(panel, text):
    """Choose an entry of one of the panel's combo boxes, as the user does."""
    box = next(box for box in panel.findChildren(QComboBox) if box.findText(text) >= 0)
    box.setCurrentIndex(box.findText(text))
    box.activated.emit(box.findText(text))


@pytest.fixture
def shown(qtbot):
    def show(panel):
        qtbot.addWidget(panel)
        return panel

    return show


def test_volume_panel(qtbot, shown):
    panel = shown(VolumePanel())
    said = heard(panel, "axis", "window_preset", "model", "model_file", "open_file")
    panel.set_volume("scan · 10 × 10", ("soft tissue", "lung"))
    panel.set_axes(("axial", "coronal"))
    panel.set_axis("coronal")
    panel.set_window("lung")
    panel.set_window("as on the canvas")
    panel.set_model("vit_b", busy=True)
    panel.set_model("/somewhere/medsam.pth")
    panel.set_model("mini")
    assert said == [], "set_* must not emit"
    click(qtbot, panel, "Axial")
    click(qtbot, panel, "Sagittal")
    choose(panel, "lung")
    choose(panel, "ViT-B")
    choose(panel, "medsam.pth")
    choose(panel, "from a file…")
    assert said == [
        ("axis", "axial"),
        ("window_preset", "lung"),
        ("model", "vit_b"),
        ("model", "/somewhere/medsam.pth"),
        ("model_file",),
    ]


def test_classes_panel(qtbot, shown, session):
    panel = shown(ClassesPanel())
    said = heard(
        panel, "added", "removed", "selected", "renamed", "color_asked", "lock_changed", "visible_changed"
    )
    session.add_class("liver")
    panel.set_classes(session.classes, 2, hidden={1})
    panel.set_volumes({2: "12.3"})
    panel.set_volume_unit("pixels")
    table = panel.findChild(QTableWidget)
    assert [table.item(row, 0).text() for row in range(2)] == ["class 1", "liver"]
    assert table.currentRow() == 1
    assert [table.item(row, 2).text() for row in range(2)] == ["0", "12.3"]
    assert [table.item(row, 3).checkState() for row in range(2)] == [
        Qt.CheckState.Unchecked,
        Qt.CheckState.Checked,
    ]
    panel.set_classes(session.classes, 2)
    assert table.item(1, 2).text() == "12.3", "volumes outlive a change of the classes"
    assert said == []
    table.item(1, 0).setText("spleen")
    table.item(0, 3).setCheckState(Qt.CheckState.Unchecked)
    table.item(0, 4).setCheckState(Qt.CheckState.Checked)
    table.selectRow(0)
    click(qtbot, panel, "+")
    click(qtbot, panel, "−")
    place = table.visualItemRect(table.item(0, 0))
    for x in (8, 60):  # on the square, and on the name
        qtbot.mouseClick(
            table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place.left() + x, place.center().y())
        )
    next(action for action in table.actions() if action.text() == "Colour…").trigger()
    assert said == [
        ("renamed", 2, "spleen"),
        ("visible_changed", 1, False),
        ("lock_changed", 1, True),
        ("selected", 1),
        ("added",),
        ("removed", 1),
        ("color_asked", 1),
        ("color_asked", 1),
    ]


@pytest.mark.parametrize(
    ("pressed", "released", "asked"),
    [
        ((0, 8), (0, 8), [("color_asked", 1)]),
        ((0, 8), (0, 12), [("color_asked", 1)]),  # a hand that shakes
        ((0, 8), (1, 8), []),
        ((0, 8), (0, 60), []),
        ((0, 60), (0, 8), []),
    ],
)
def test_a_colour_is_asked_for_where_the_mouse_is_pressed_and_released_on_its_square(
    qtbot, shown, session, pressed, released, asked
):
    """Places are (row, pixels from the left of the name)."""
    panel = shown(ClassesPanel())
    session.add_class("liver")
    panel.set_classes(session.classes, 1)
    said = heard(panel, "color_asked")
    table = panel.findChild(QTableWidget)

    def place(row, x):
        cell = table.visualItemRect(table.item(row, 0))
        return QPoint(cell.left() + x, cell.center().y())

    qtbot.mousePress(table.viewport(), Qt.MouseButton.LeftButton, pos=place(*pressed))
    qtbot.mouseRelease(table.viewport(), Qt.MouseButton.LeftButton, pos=place(*released))
    assert said == asked


def test_prompts_panel(qtbot, shown):
    panel = shown(PromptsPanel())
    said = heard(panel, "tool", "sign", "kept", "mask_used")
    click(qtbot, panel, "Point")
    panel.set_tool("point")
    click(qtbot, panel, "Point")
    click(qtbot, panel, "Box")
    click(qtbot, panel, "+")
    panel.set_sign(False)
    click(qtbot, panel, "−")
    for text in ("Scribble", "Lasso", "Keep", "Mask"):
        click(qtbot, panel, text)
    assert said == [
        ("tool", "point"),
        ("tool", ""),
        ("tool", "box"),
        ("sign", False),
        ("sign", True),
        ("tool", "scribble"),
        ("tool", "lasso"),
        ("kept",),
        ("mask_used",),
    ]


@pytest.mark.parametrize(
    ("state", "tool", "said"),
    [
        ("predicted", "box", "Predicted: accept it (A) if it is right. Drag a box around the structure."),
        ("proposed", "box", "Proposed: accept it (A) if it is right. Drag a box around the structure."),
        ("accepted", "box", "Drag a box around the structure."),
        ("empty", "", "Choose Point or Box to ask SAM for a mask, or Brush to draw it."),
    ],
)
def test_the_hint_says_that_a_mask_which_is_there_can_be_accepted(shown, state, tool, said):
    panel = shown(PromptsPanel())
    panel.set_tool(tool)
    panel.set_slice_state(state)
    assert panel._hint.text() == said
    panel.set_hint("SAM finds nothing there.")
    panel.set_slice_state("predicted")
    assert panel._hint.text() == "SAM finds nothing there.", "an answer was replaced by a general hint"


def test_slice_panel(qtbot, shown):
    panel = shown(SlicePanel())
    said = heard(panel, "accepted", "rejected", "undone", "redone", "prediction_shown")
    panel.set_prediction_shown(False)
    panel.set_undo(None, None)
    for text in ("Accept", "Reject", "Undo", "Redo", "Prediction"):
        click(qtbot, panel, text)
    assert said == [("accepted",), ("rejected",), ("prediction_shown", True)]
    panel.set_undo("mask on slice 3", "edit of slice 4")
    click(qtbot, panel, "Undo")
    click(qtbot, panel, "Redo")
    assert said[3:] == [("undone",), ("redone",)]


def test_help_from_slice_to_slice(qtbot, shown):
    panel = shown(SlicePanel())
    said = heard(panel, "next_wanted", "propagated", "propagation_cancelled", "interpolated", "outlined")
    directions = next(made for made in panel.findChildren(QPushButton) if made.menu())
    click(qtbot, panel, "Interpolate")
    click(qtbot, panel, "Propagate")
    assert not directions.isEnabled()
    assert said == [], "no slice is accepted yet"
    panel.set_next(7)
    panel.set_interpolation((3, 9))
    panel.set_propagation(None)
    panel.set_outlined(True)
    click(qtbot, panel, "Next")
    click(qtbot, panel, "Interpolate 3–9")
    click(qtbot, panel, "Outline")
    click(qtbot, panel, "Propagate")
    for action in directions.menu().actions():
        action.trigger()
    panel.set_propagation((2, 9))
    click(qtbot, panel, "Stop  G   2 of 9")
    assert said == [
        ("next_wanted",),
        ("interpolated",),
        ("outlined", False),
        *(("propagated", direction) for direction in ("both", "both", "up", "down")),
        ("propagation_cancelled",),
    ]
    panel.set_next(None)
    assert panel.strip.suggested is None


def test_a_picture_offers_no_other_slices(shown):
    def hidden(panel):
        return {
            made.text().split("  ")[0].strip() for made in panel.findChildren(QPushButton) if made.isHidden()
        }

    slices, volume = shown(SlicePanel()), shown(VolumePanel())
    slices.strip.set_states(["empty"])
    volume.set_axes(("axial",))
    assert hidden(slices) == {"Next", "Propagate", "Interpolate", ""}
    assert hidden(volume) == {"Axial", "Coronal", "Sagittal"}
    slices.strip.set_states(["empty", "empty"])
    volume.set_axes(("axial", "coronal"))
    assert hidden(slices) == hidden(volume) == set()


def test_the_keys_of_the_tools_are_on_their_buttons(shown):
    panels = [shown(kind()) for kind in (PromptsPanel, SlicePanel)]
    texts = [made.text() for panel in panels for made in panel.findChildren(QAbstractButton)]
    for name in ("point", "box", "scribble", "lasso", "sign", "mask", "keep"):
        assert any(text.endswith(f"  {KEYS[name]}") for text in texts), name
    for name in ("accept", "reject", "next", "propagate", "interpolate", "prediction", "outline"):
        assert any(text.endswith(f"  {KEYS[name]}") for text in texts), name


def test_learning_panel(qtbot, shown):
    panel = shown(LearningPanel())
    said = heard(
        panel,
        "enabled",
        "method",
        "seconds",
        "started",
        "paused",
        "resumed",
        "stopped",
        "rolled_back",
        "reset",
    )
    panel.set_settings(True, "lora", 45)
    panel.set_state("idle", can_start=True, can_reset=True)
    assert said == []
    click(qtbot, panel, "Start")
    panel.set_state("training", can_start=True)
    click(qtbot, panel, "Start")
    click(qtbot, panel, "Pause")
    panel.set_state("paused", can_start=True)
    click(qtbot, panel, "Resume")
    click(qtbot, panel, "Stop")
    click(qtbot, panel, "Roll back")  # there is nothing to go back from
    panel.set_state("idle", can_start=True, can_reset=True)
    click(qtbot, panel, "Roll back")
    click(qtbot, panel, "Reset")
    choose(panel, "Decoder only")
    choose(panel, "45 s")
    assert said == [
        ("started",),
        ("paused",),
        ("resumed",),
        ("stopped",),
        ("rolled_back",),
        ("reset",),
        ("method", "decoder-only"),
        ("seconds", 45),
    ]


def test_export_panel(qtbot, shown):
    panel = shown(ExportPanel())
    said = heard(panel, "export_masks", "save_session", "save_adapter", "load_adapter")
    click(qtbot, panel, "Export")
    panel.set_ready(True, False)
    for text in ("Export", "Save session", "Save adapter", "Load"):
        click(qtbot, panel, text)
    panel.set_ready(True, True)
    click(qtbot, panel, "Save adapter")
    assert said == [("export_masks",), ("save_session",), ("load_adapter",), ("save_adapter",)]


PANELS = (VolumePanel, ClassesPanel, PromptsPanel, SlicePanel, LearningPanel, ExportPanel)


@pytest.mark.parametrize("kind", PANELS)
def test_every_control_has_a_tooltip_and_the_keyboard_reaches_it(shown, kind):
    panel = shown(kind())
    controls = [
        control
        for kind_ in (QAbstractButton, QComboBox, QTableWidget, SliceStrip)
        for control in panel.findChildren(kind_)
        if not isinstance(control.parent(), QTableWidget)
    ]
    assert controls
    for control in controls:
        assert control.toolTip() or isinstance(control, SliceStrip), control
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


@pytest.mark.parametrize("kind", PANELS)
@pytest.mark.parametrize("points", [9, 12, 14])
@pytest.mark.parametrize("width", [250, 330, 430])
def test_no_text_is_clipped_in_a_narrow_dock_or_with_a_large_font(qapp, shown, kind, points, width):
    panel = shown(kind())
    if isinstance(panel, SlicePanel):
        panel.set_interpolation((112, 148))
    panel.setStyleSheet(dock_style(points, "#ffffff") + f"QWidget {{ font-size: {points + 1}pt; }}")
    panel.resize(max(width, panel.minimumSizeHint().width()), panel.heightForWidth(width))
    panel.show()
    qapp.processEvents()
    panel.resize(panel.width(), max(panel.heightForWidth(panel.width()), panel.minimumSizeHint().height()))
    qapp.processEvents()
    for control in panel.findChildren(QAbstractButton):
        if control.isVisible() and not isinstance(control.parent(), QTableWidget):
            assert control.width() >= control.minimumSizeHint().width(), control.text()
            assert control.height() >= control.minimumSizeHint().height() - 1, control.text()
            assert panel.rect().contains(control.mapTo(panel, control.rect().bottomRight())), control.text()


class Around(QWidget):
    """What is around a panel: it gets the keys that the panel leaves alone."""

    def __init__(self, panel):
        super().__init__()
        self.heard = []
        panel.setParent(self)

    def keyPressEvent(self, event):
        if event.key() != Qt.Key.Key_Control:
            self.heard.append(QKeySequence(event.keyCombination()).toString())


@pytest.mark.parametrize("kind", PANELS)
def test_keys_of_the_tools_work_wherever_the_keyboard_is(qtbot, shown, session, kind):
    """B chose the window “bone”, and P a class that began with P, after a click on the box or the table."""
    panel = kind()
    around = shown(Around(panel))
    if isinstance(panel, VolumePanel):
        panel.set_volume("scan", ("soft tissue", "bone"))
    if isinstance(panel, ClassesPanel):
        panel.set_classes(session.classes, 1)
    said = heard(panel, *{VolumePanel: ["window_preset", "model"], ClassesPanel: ["renamed"]}.get(kind, []))
    controls = [
        *panel.findChildren(QComboBox),
        *panel.findChildren(QTableWidget),
        *panel.findChildren(QPushButton),
    ]
    for control in controls:
        control.setEnabled(True)
        around.heard.clear()
        for key in (Qt.Key.Key_B, Qt.Key.Key_P, Qt.Key.Key_2):
            qtbot.keyClick(control, key)
        qtbot.keyClick(control, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert around.heard == ["B", "P", "2", "Ctrl+Z"], control
    assert said == []


def test_a_section_folds_and_remembers(qtbot, shown):
    def section():
        made = shown(Section("Export", ExportPanel(), name="export"))
        made.show()
        return made

    first = section()
    qtbot.mouseClick(first.findChild(QToolButton), Qt.MouseButton.LeftButton)
    assert not first.panel.isVisible()
    second = section()
    assert not second.panel.isVisible()
    qtbot.keyClick(second.findChild(QToolButton), Qt.Key.Key_Space)
    assert second.panel.isVisible()
    assert section().panel.isVisible()


def test_a_section_can_be_opened_without_being_remembered(shown):
    made = shown(Section("Export", ExportPanel(), name="export"))
    made.set_open(False)
    assert made.panel.isHidden()
    assert not shown(Section("Export", ExportPanel(), name="export")).panel.isHidden()


def test_a_column_is_never_narrower_than_its_panels(shown):
    """The dock's right edge was cut off once the theme had made the panels wider."""
    inner = QPushButton("short")
    column = shown(Column())
    column.setWidgetResizable(True)
    column.setWidget(inner)
    column.show()
    bar = column.verticalScrollBar().sizeHint().width()
    narrow = column.minimumSizeHint().width()
    inner.setText("a text that is very much longer than it was before")
    assert column.minimumSizeHint().width() == inner.minimumSizeHint().width() + bar > narrow
