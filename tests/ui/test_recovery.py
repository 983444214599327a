"""Work that survives: journals offered, sessions saved and opened, masks imported; the real session, a tiny SAM."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtWidgets import QFileDialog, QLabel, QMenu, QMessageBox, QPushButton

from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.session.journal import Case
from napari_samadapt.session.journal_files import unfinished
from napari_samadapt.ui import file_acts
from napari_samadapt.ui.dock import Dock

KEY = SliceKey(0, 2)
WAIT = {"timeout": 60_000}


@pytest.fixture
def open_dock(qtbot, viewer, told, make_small_sam, monkeypatch):
    """Docks with real sessions, on one viewer after the other; with a path, the volume is open and its case known."""
    monkeypatch.setattr(file_acts, "_load_model", lambda name, say: make_small_sam())
    # pytest-qt closes the docks before this fixture ends.
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.Discard)
    docks = []

    def make(path=None):
        viewer.layers.clear()
        dock = Dock(viewer)
        qtbot.addWidget(dock)
        docks.append(dock)
        if path is None:
            dock.show()  # it begins once it is seen
        else:
            dock.open_volume(read_volume(path))
            qtbot.waitUntil(lambda: dock.session is not None, **WAIT)
            dock.session.set_policy(replace(dock.session.policy, enabled=False))
            qtbot.waitUntil(lambda: known(dock), **WAIT)
        return dock

    yield make
    for dock in docks:
        dock.files.unsaved = False
        dock.shut_down()


def known(dock) -> bool:
    return dock.cases.journal is not None or dock.cases.dialog is not None


def paint(dock, index: int = 2) -> None:
    annotation = dock.layers.annotation
    annotation.brush_size = 5
    with annotation.block_history():  # as a stroke of the mouse does
        annotation.paint((index, 10, 9), 1)


def die(dock) -> np.ndarray:
    """The program ends and asks nobody; returns what the masks were."""
    masks = dock.session.annotation.copy()
    assert dock.files.unsaved
    dock.shut_down()
    return masks


def press(dialog, text: str) -> None:
    next(made for made in dialog.findChildren(QPushButton) if made.text().startswith(text)).click()


def test_unfinished_work_is_offered_and_recovered(qtbot, open_dock, scan):
    dock = open_dock(scan)
    paint(dock)
    dock.session.rename_class(1, "<b>liver</b>")
    dock.session.accept(KEY)
    paint(dock, 4)
    masks = die(dock)
    dock = open_dock(scan)
    dialog = dock.cases.dialog
    said = " ".join(label.text() for label in dialog.findChildren(QLabel))
    assert "scan\n\n2 slices with masks, 1 accepted\nClasses: <b>liver</b>" in said
    assert "Last change: edit of slice 4" in said
    assert not dialog.findChildren(QLabel)[0].pixmap().isNull()
    press(dialog, "Recover")
    qtbot.waitUntil(lambda: dock.cases.journal is not None, **WAIT)
    assert np.array_equal(dock.session.annotation, masks)
    assert dock.session.accepted == {KEY}
    assert [shown.name for shown in dock.session.classes] == ["<b>liver</b>"]
    assert dock.files.unsaved
    dock.session.undo()
    masks = die(dock)
    dock = open_dock(scan)
    press(dock.cases.dialog, "Recover")
    assert np.array_equal(dock.session.annotation, masks), "the journal went on after it was taken up"


def test_the_next_start_offers_it_and_opens_the_image(qtbot, open_dock, scan):
    dock = open_dock(scan)
    paint(dock)
    masks = die(dock)
    dock = open_dock()
    qtbot.waitUntil(lambda: dock.cases.dialog is not None, **WAIT)
    press(dock.cases.dialog, "Recover")
    qtbot.waitUntil(lambda: dock.session is not None and dock.cases.journal is not None, **WAIT)
    assert dock.session.volume.source.path == scan
    assert np.array_equal(dock.session.annotation, masks)


@pytest.mark.parametrize(("button", "left"), [("Skip", [True]), ("Delete", [])])
def test_skipped_and_deleted_work_is_not_offered_again(qtbot, open_dock, scan, monkeypatch, button, left):
    monkeypatch.setattr(QMessageBox, "question", lambda *args: QMessageBox.StandardButton.Yes)
    dock = open_dock(scan)
    paint(dock)
    masks = die(dock)
    dock = open_dock(scan)
    press(dock.cases.dialog, button)
    qtbot.waitUntil(lambda: dock.cases.journal is not None, **WAIT)
    assert not dock.session.annotation.any()
    dock.shut_down()
    assert [one.skipped for one in unfinished()] == left
    dock = open_dock(scan)
    assert dock.cases.dialog is None
    if left:
        dock.panels.volume.open_unfinished.emit()
        dock.shut_down()
        dock = open_dock()
        dock.panels.volume.open_unfinished.emit()
        qtbot.waitUntil(lambda: dock.cases.dialog is not None, **WAIT)
        press(dock.cases.dialog, "Recover")
        qtbot.waitUntil(lambda: dock.session is not None and dock.session.annotation.any(), **WAIT)
        assert np.array_equal(dock.session.annotation, masks)


def test_a_question_that_nobody_answered_is_asked_again(open_dock, scan):
    dock = open_dock(scan)
    paint(dock)
    die(dock)
    dock = open_dock(scan)
    assert dock.cases.dialog is not None
    dock.shut_down()
    assert not unfinished()[0].skipped


def test_work_on_an_image_that_has_changed_is_kept_and_told(qtbot, open_dock, scan, told):
    dock = open_dock(scan)
    paint(dock)
    die(dock)
    image = nibabel.load(scan)
    dock = open_dock()
    qtbot.waitUntil(lambda: dock.cases.dialog is not None, **WAIT)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), scan)
    dock.shut_down()
    dock = open_dock()
    qtbot.waitUntil(lambda: dock.cases.dialog is not None, **WAIT)
    press(dock.cases.dialog, "Recover")
    qtbot.waitUntil(lambda: any("is not the image" in text for _, text in told), **WAIT)
    assert not dock.session.annotation.any()
    assert len(unfinished()) == 1


def test_a_case_that_is_open_elsewhere_is_worked_on_without_a_journal(qtbot, open_dock, scan, told):
    case = Case(read_volume(scan))
    dock = open_dock()
    dock.open_volume(read_volume(scan))
    qtbot.waitUntil(lambda: any("open elsewhere" in text for _, text in told), **WAIT)
    paint(dock)
    assert dock.cases.journal is None
    case.release()


def test_another_model_goes_on_with_the_work_and_its_journal(qtbot, open_dock, scan):
    dock = open_dock(scan)
    paint(dock)
    dock.session.accept(KEY)
    first, journal = dock.session, dock.cases.journal
    dock.load_model("mini")
    qtbot.waitUntil(lambda: dock.session not in (None, first), **WAIT)
    assert dock.cases.journal is journal
    assert np.array_equal(dock.session.annotation, first.annotation)
    assert dock.session.accepted == {KEY}
    assert dock.session.policy == first.policy
    assert dock.session.can_undo == "accept of slice 2"
    paint(dock, 4)
    masks = die(dock)
    dock = open_dock(scan)
    press(dock.cases.dialog, "Recover")
    assert np.array_equal(dock.session.annotation, masks)


# Leaving.


def answering(monkeypatch, button) -> list[str]:
    asked = []

    def question(*args):
        asked.append(args[2])
        return button

    monkeypatch.setattr(QMessageBox, "question", question)
    return asked


def test_leaving_asks_by_name_and_saves(qtbot, open_dock, scan, monkeypatch, tmp_path):
    dock = open_dock(scan)
    paint(dock)
    first, masks = dock.session, dock.session.annotation.copy()
    asked = answering(monkeypatch, QMessageBox.StandardButton.Cancel)
    dock.open_volume(read_volume(scan))
    assert dock.session is first
    assert "The masks of scan have not been" in asked[0]
    answering(monkeypatch, QMessageBox.StandardButton.Save)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: ("", ""))
    dock.open_volume(read_volume(scan))
    assert dock.session is first, "who does not say where does not leave"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(tmp_path / "no" / "where"), ""))
    dock.open_volume(read_volume(scan))
    assert dock.session is first, "what could not be saved is not closed"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(tmp_path / "saved"), ""))
    dock.open_volume(read_volume(scan))
    qtbot.waitUntil(lambda: dock.session not in (None, first), **WAIT)
    qtbot.waitUntil(lambda: dock.cases.journal is not None, **WAIT)
    assert dock.cases.dialog is None, "what was saved is not offered"
    assert not dock.session.annotation.any()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(tmp_path / "saved"))
    second = dock.session
    dock.panels.volume.open_session.emit()
    qtbot.waitUntil(lambda: dock.session not in (None, second) and dock.session.annotation.any(), **WAIT)
    assert np.array_equal(dock.session.annotation, masks)
    assert not dock.files.unsaved
    qtbot.waitUntil(lambda: dock.cases.journal is not None, **WAIT)
    paint(dock, 4)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: pytest.fail("it knows where"))
    dock.panels.export.save_session.emit()
    assert not dock.files.unsaved


def test_discarded_work_leaves_no_journal(open_dock, scan, monkeypatch):
    dock = open_dock(scan)
    paint(dock)
    answering(monkeypatch, QMessageBox.StandardButton.Discard)
    assert dock.files.may_leave(dock.session, dock.cases.ask_save)
    dock.shut_down()
    assert not unfinished()


def test_what_was_learned_from_one_volume_does_not_reach_the_next(qtbot, open_dock, scan, monkeypatch):
    dock = open_dock(scan)
    paint(dock)
    first = dock.session
    first.accept(KEY)
    first.set_policy(replace(first.policy, seconds=60.0))
    first.start_learning()
    steps = []
    first.progress.connect(steps.append)
    qtbot.waitUntil(lambda: bool(steps), **WAIT)
    answering(monkeypatch, QMessageBox.StandardButton.Discard)
    dock.open_volume(read_volume(scan))
    qtbot.waitUntil(lambda: dock.session not in (None, first) and dock.cases.journal is not None, **WAIT)
    second = dock.session
    first._trainer._thread.join(30)
    seen = len(steps)
    done = []
    dock._post(lambda: done.append(True))  # after all that the threads of the first one posted
    qtbot.waitUntil(lambda: bool(done), **WAIT)
    assert len(steps) == seen
    assert (second.adapter_version, second.prediction.any(), second.accepted) == (0, False, frozenset())


# What the user does to our layers.


@pytest.mark.parametrize("act", ["rename", "reorder", "duplicate", "hide", "swap names"])
def test_layers_can_be_treated_as_any(open_dock, scan, viewer, act):
    dock = open_dock(scan)
    annotation = dock.layers.annotation
    match act:
        case "rename":
            annotation.name = "mine"
        case "reorder":
            viewer.layers.move(viewer.layers.index(annotation), 0)
        case "duplicate":
            copied = Labels(
                annotation.data.copy(), name="annotation copy", metadata=dict(annotation.metadata)
            )
            viewer.add_layer(copied)
        case "hide":
            annotation.visible = False
        case "swap names":
            dock.layers.prediction.name, annotation.name = "annotation", "prediction"
    paint(dock)
    assert dock.session.slice_state(KEY) == "edited"
    assert dock.session.can_undo == "edit of slice 2"
    dock.session.undo()
    assert not dock.session.annotation.any()


# Importing.


def test_a_layer_of_the_same_shape_is_imported(open_dock, scan, viewer, told, monkeypatch):
    dock = open_dock(scan)
    labels = np.zeros((6, 24, 20), np.int32)
    labels[3, 5:9, 5:9] = 40
    viewer.add_layer(Labels(labels, name="theirs & <b>"))
    viewer.add_layer(Labels(labels[:, :5], name="too small"))
    menu = QMenu()
    dock.masks.fill(menu)
    names = [action.text() for action in menu.actions() if action.text()]
    assert names == ["From a file…", "From a layer", "theirs && ‹b>"]
    menu.actions()[-1].trigger()
    assert (dock.session.annotation[3, 5:9, 5:9] == 40).all()
    assert "Masks on 1 slices were imported. New classes: structure 40." in told[-1][1]
    dock.session.accept(SliceKey(0, 3))
    labels[3, 5:9, 5:9] = 1
    answering(monkeypatch, QMessageBox.StandardButton.No)
    menu.actions()[-1].trigger()
    assert (dock.session.annotation[3, 5:9, 5:9] == 40).all(), "an accepted slice was overwritten unasked"
    answering(monkeypatch, QMessageBox.StandardButton.Yes)
    menu.actions()[-1].trigger()
    assert (dock.session.annotation[3, 5:9, 5:9] == 1).all()
    dock.session.undo()
    assert dock.session.accepted == {SliceKey(0, 3)}, "both were one step"


def test_a_file_is_imported_with_the_names_beside_it(qtbot, open_dock, scan, tmp_path, told):
    dock = open_dock(scan)
    labels = np.zeros((6, 24, 20), np.uint8)
    labels[1, 2:8, 2:8] = 3
    nibabel.save(nibabel.Nifti1Image(labels.T, nibabel.load(scan).affine), tmp_path / "masks.nii.gz")
    (tmp_path / "masks.json").write_text('{"labels": {"3": "kidney"}}')
    dock.masks.from_file(tmp_path / "masks.nii.gz")
    qtbot.waitUntil(lambda: dock.session.annotation.any(), **WAIT)
    assert np.array_equal(dock.session.annotation, labels)
    assert [shown.name for shown in dock.session.classes] == ["structure 1", "kidney"]
    (tmp_path / "masks.nii.gz").write_bytes(b"nothing")
    dock.masks.from_file(tmp_path / "masks.nii.gz")
    qtbot.waitUntil(lambda: told[-1][0] == "error", **WAIT)
    assert np.array_equal(dock.session.annotation, labels)


@pytest.mark.parametrize("answer", ["Yes", "Cancel"])
def test_a_class_with_voxels_goes_after_a_question(open_dock, scan, monkeypatch, answer):
    dock = open_dock(scan)
    dock.session.add_class("spleen")
    paint(dock)
    asked = []

    def answered(box):
        asked.append(box.text())
        return QMessageBox.StandardButton[answer]

    monkeypatch.setattr(QMessageBox, "exec", answered)
    dock.panels.classes.removed.emit(2)
    assert not asked, "one without voxels goes at once"
    dock.panels.classes.removed.emit(1)
    assert "Remove structure 1 and its" in asked[0]
    assert bool(dock.session.annotation.any()) is (answer == "Cancel")
    dock.session.undo()
    assert dock.session.annotation.any() or answer == "Cancel"
