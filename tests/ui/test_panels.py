"""Panels: a signal for each act of the user, silence when they are told what to show."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QPushButton, QTableWidget, QToolButton

from napari_samadapt.ui.panels.classes import ClassesPanel
from napari_samadapt.ui.panels.export import ExportPanel
from napari_samadapt.ui.panels.learning import LearningPanel
from napari_samadapt.ui.panels.prompts import PromptsPanel
from napari_samadapt.ui.panels.section import Column, Section
from napari_samadapt.ui.panels.slice_actions import SlicePanel
from napari_samadapt.ui.panels.volume import VolumePanel


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
    said = heard(panel, "added", "removed", "selected", "renamed", "lock_changed")
    session.add_class("liver")
    panel.set_classes(session.classes, 2)
    table = panel.findChild(QTableWidget)
    assert [table.item(row, 0).text() for row in range(2)] == ["class 1", "liver"]
    assert table.currentRow() == 1
    assert said == []
    table.item(1, 0).setText("spleen")
    table.item(0, 2).setCheckState(Qt.CheckState.Checked)
    table.selectRow(0)
    click(qtbot, panel, "＋")
    click(qtbot, panel, "－")
    assert said == [
        ("renamed", 2, "spleen"),
        ("lock_changed", 1, True),
        ("selected", 1),
        ("added",),
        ("removed", 1),
    ]


def test_prompts_panel(qtbot, shown):
    panel = shown(PromptsPanel())
    said = heard(panel, "tool", "sign", "kept")
    click(qtbot, panel, "Point")
    panel.set_tool("point")
    click(qtbot, panel, "Point")
    click(qtbot, panel, "Box")
    click(qtbot, panel, "+")
    panel.set_sign(False)
    click(qtbot, panel, "−")
    click(qtbot, panel, "Keep")
    assert said == [
        ("tool", "point"),
        ("tool", ""),
        ("tool", "box"),
        ("sign", False),
        ("sign", True),
        ("kept",),
    ]


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
    said = heard(panel, "export_masks", "save_adapter", "load_adapter")
    click(qtbot, panel, "Export")
    panel.set_ready(True, False)
    for text in ("Export", "Save", "Load"):
        click(qtbot, panel, text)
    panel.set_ready(True, True)
    click(qtbot, panel, "Save")
    assert said == [("export_masks",), ("load_adapter",), ("save_adapter",)]


def test_every_control_has_a_tooltip(shown):
    for kind in (VolumePanel, ClassesPanel, PromptsPanel, SlicePanel, LearningPanel, ExportPanel):
        panel = shown(kind())
        for control in (*panel.findChildren(QPushButton), *panel.findChildren(QComboBox)):
            assert control.toolTip(), f"{kind.__name__}: {control}"


def test_a_section_folds(qtbot, shown):
    panel = ExportPanel()
    section = shown(Section("Export", panel))
    section.show()
    qtbot.mouseClick(section.findChild(QToolButton), Qt.MouseButton.LeftButton)
    assert not panel.isVisible()


def test_a_column_is_never_narrower_than_its_panels(shown):
    """The dock's right edge was cut off once the theme had made the panels wider."""
    inner = QPushButton("short")
    column = shown(Column())
    column.setWidgetResizable(True)
    column.setWidget(inner)
    column.show()
    narrow = column.minimumSizeHint().width()
    inner.setText("a text that is very much longer than it was before")
    assert column.minimumSizeHint().width() == inner.minimumSizeHint().width() > narrow
