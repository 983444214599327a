"""Before there is a volume; the tour; files that are dropped; models and adapters."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QMessageBox

from napari_samadapt.imaging.questions import Choice, Question
from napari_samadapt.imaging.volume import SliceKey, Source, Volume
from napari_samadapt.session import adapter_library
from napari_samadapt.session.folder_prediction import FolderOutcome, Undecided
from napari_samadapt.ui import models_and_adapters, remembered
from napari_samadapt.ui.tour import STEPS


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch, tmp_path):
    """Nothing that the developer's own window remembers."""
    monkeypatch.setattr(remembered, "user_config_path", lambda _name: tmp_path / "config")
    monkeypatch.setenv("NAPARI_SAMADAPT_ADAPTERS", str(tmp_path / "adapters"))


def click(qtbot, made):
    qtbot.mouseClick(made, Qt.MouseButton.LeftButton)


def test_without_a_volume_there_are_three_ways_to_begin(qtbot, make_dock, monkeypatch):
    dock, asked = make_dock(), []
    dock.show()
    assert dock.companions.first.isVisible()
    assert not any(section.isVisible() for section in dock.companions.sections.values())
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: asked.append("file") or ("", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: asked.append("folder") or "")
    monkeypatch.setattr(dock, "open_path", lambda path: asked.append(path.name))
    for way in dock.companions.first.ways:
        click(qtbot, way)
    assert asked == ["file", "folder", "sample_ct.nii.gz"]


def test_with_a_volume_the_first_steps_make_room(dock):
    assert dock.companions.first.isHidden()
    assert not dock.companions.sections["export"].isHidden()


def test_the_tour_goes_on_by_itself_when_a_step_is_done(qtbot, dock):
    dock.companions.start_tour()
    tour = dock.companions.tour
    click(qtbot, tour._next)
    assert tour.step == 1
    dock.session.drafted.emit(SimpleNamespace(mask=np.ones((2, 2), bool)))
    assert tour.step == 2
    dock.session.accepted = frozenset({SliceKey(0, 2)})
    dock.session.labels_changed.emit((SliceKey(0, 2),))
    assert tour.step == 3
    dock.session.adapter_changed.emit(1)
    assert tour.step == 3, "one accepted slice is not yet the loop"
    click(qtbot, tour._back)
    assert tour.step == 2


def test_the_tour_keeps_up_with_a_user_who_is_ahead_of_it(dock):
    dock.companions.start_tour()
    tour = dock.companions.tour
    assert tour.step == 0
    dock.session.drafted.emit(SimpleNamespace(mask=np.ones((2, 2), bool)))
    assert tour.step == 2, "still asked to look through the scan"
    dock.session.accepted = frozenset({SliceKey(0, 2), SliceKey(0, 3)})
    dock.session.adapter_changed.emit(1)
    assert tour.step == 4


def test_the_tour_of_a_picture_begins_with_the_click(qtbot, dock):
    picture = Volume(np.zeros((1, 20, 30)), np.eye(4), Source(format="image", spatial=False))
    dock.open_volume(picture)
    qtbot.waitUntil(lambda: dock.session is not None and dock.session.volume is picture)
    dock.companions.start_tour()
    assert dock.companions.tour.step == 1


def test_the_tour_ends_after_the_last_step_and_is_remembered(qtbot, dock):
    dock.companions.start_tour()
    assert not remembered.is_done("tour")
    for _ in STEPS:
        click(qtbot, dock.companions.tour._next)
    assert dock.companions.tour is None
    assert remembered.is_done("tour")
    dock.companions.help.tour_asked.emit()
    assert dock.companions.tour is not None, "it can be seen again"
    click(qtbot, dock.companions.tour._skip)
    assert dock.companions.tour is None


def test_the_tour_does_not_change_who_owns_a_widget(dock):
    """As `QWidget.previousInFocusChain` does in PySide6: a later garbage collection then ends the process."""
    shiboken = pytest.importorskip("shiboken6").Shiboken
    shown = [dock.companions.sections["volume"]]
    while shown[-1] is not dock:
        shown.append(shown[-1].parentWidget())

    def owners():
        told = [shiboken.dump(widget).splitlines() for widget in shown]
        return [[line for line in lines if line.startswith("parent")] for lines in told]

    before = owners()
    dock.companions.start_tour()
    assert owners() == before


def drop(widget, *paths):
    """Drop files on a widget as the window system does; True where it takes them."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPointF(widget.rect().center()).toPoint(), copy, data, left, none)
    QApplication.sendEvent(widget, enter)
    QApplication.sendEvent(widget, QDropEvent(QPointF(widget.rect().center()), copy, data, left, none))
    return enter.isAccepted()


@pytest.mark.parametrize("name", ["medsam.pth", "weights.PT", "weights.safetensors"])
def test_weights_that_are_dropped_become_the_model(dock, monkeypatch, tmp_path, name):
    chosen = []
    monkeypatch.setattr(dock.companions._drops, "_use_model", chosen.append)
    (tmp_path / name).write_bytes(b"no adapter")
    assert drop(dock, tmp_path / name)
    assert chosen == [str(tmp_path / name)]


def test_a_volume_that_is_dropped_on_the_dock_is_opened(dock, monkeypatch, tmp_path, told):
    opened = []
    monkeypatch.setattr(dock.companions._drops, "_open_volume", opened.append)
    drop(dock, tmp_path / "scan.nii.gz")
    assert opened == [tmp_path / "scan.nii.gz"]
    drop(dock, tmp_path / "a.nii", tmp_path / "b.nii")
    assert told[-1] == ("error", "2 files were dropped: drop one, or the folder of a DICOM series.")


# models and adapters


@pytest.fixture
def adapters(monkeypatch, tmp_path):
    """Two adapter files without tensors in the library."""
    folder = tmp_path / "adapters"
    folder.mkdir()
    card = SimpleNamespace()
    for name in ("abdomen", "spine"):
        (folder / f"{name}.safetensors").write_bytes(b"")
    monkeypatch.setattr(adapter_library, "read_card", lambda _path: card)
    monkeypatch.setattr(adapter_library, "card_lines", lambda _card: (("Method", "Conv-LoRA <b>"),))
    return folder


def test_the_adapters_are_listed_with_their_cards(dock, adapters):
    dock.companions.models.present(adapters=True)
    tab = dock.companions.models.view.adapters
    assert [tab._list.item(line).text() for line in range(tab._list.count())] == ["abdomen", "spine"]
    assert "Conv-LoRA &lt;b&gt;" in tab._card.text()
    assert tab._apply.isEnabled()
    dock.close_session()
    assert not tab._apply.isEnabled(), "there is no volume to use it on"


def test_apply_rename_and_delete(qtbot, dock, adapters, monkeypatch):
    dock.companions.models.present(adapters=True)
    tab = dock.companions.models.view.adapters
    click(qtbot, tab._apply)
    assert dock.session.called("apply_adapter") == [(adapters / "abdomen.safetensors",)]
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("belly", True))
    click(qtbot, tab._rename)
    assert (adapters / "belly.safetensors").is_file()
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Cancel)
    click(qtbot, tab._delete)
    assert (adapters / "belly.safetensors").is_file()
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    click(qtbot, tab._delete)
    assert not (adapters / "belly.safetensors").exists()
    assert tab._list.count() == 1


def test_a_folder_is_predicted_in_the_background_and_can_be_stopped(
    qtbot, dock, adapters, monkeypatch, tmp_path
):
    stopped = []

    def predict(model, adapter, folder, out, stop, say, choices):
        say(("a.nii.gz: volume 1 of 2", 0.25))
        stopped.append(stop.wait(10))
        return FolderOutcome((Path("a_masks.nii.gz"),), (), ("b.nii.gz is damaged.",), (), stopped=True)

    monkeypatch.setattr(models_and_adapters, "_predict", predict)
    models = dock.companions.models
    models.present(adapters=True)
    models.predict_folder(adapters / "abdomen.safetensors", tmp_path, tmp_path)
    qtbot.waitUntil(lambda: "volume 1 of 2" in models.view._told.text())
    assert models.view._bar.value() == 250
    click(qtbot, models.view._stop)
    qtbot.waitUntil(lambda: "Stopped: 1 masks written" in models.view._told.text())
    assert stopped == [True]
    assert "1 volumes could not be read" in models.view._told.text()


@pytest.mark.parametrize("answer", ["qform", None])
def test_what_the_volumes_of_a_folder_leave_open_is_asked_once_for_all(
    qtbot, dock, adapters, monkeypatch, tmp_path, told, answer
):
    question = Question("transform", "It is <b>open</b>.", (Choice("sform", "this"), Choice("qform", "that")))
    open_ones = tuple(Undecided(name, question) for name in ("a.nii", "b.nii"))
    asked, known = [], []

    def predict(model, adapter, folder, out, stop, say, choices):
        known.append(choices)
        return FolderOutcome((), (), (), () if choices else open_ones, stopped=False)

    monkeypatch.setattr(models_and_adapters, "_predict", predict)
    monkeypatch.setattr(
        models_and_adapters, "ask", lambda question, _parent: (asked.append(question.text), answer)[1]
    )
    models = dock.companions.models
    models.present(adapters=True)
    models.predict_folder(adapters / "abdomen.safetensors", tmp_path, tmp_path)
    qtbot.waitUntil(lambda: len(known) == 2 if answer else len(told) == 2)
    assert len(asked) == 1
    assert "The same is open in 2 of the volumes" in asked[0]
    if answer:
        assert known == [{}, {"transform": "qform"}]
        qtbot.waitUntil(lambda: not models._busy)
    else:
        assert [kind for kind, _ in told] == ["error", "error"]
        assert "Open a.nii by itself" in told[0][1]


def test_models_are_used_or_downloaded(qtbot, dock, monkeypatch, told):
    fetched, used = [], []
    monkeypatch.setattr(
        models_and_adapters, "model_is_here", lambda name: name in ("mini", "vit_b", *fetched)
    )
    monkeypatch.setattr(models_and_adapters, "_fetch", lambda name, stop, say: fetched.append(name))
    models = dock.companions.models
    object.__setattr__(models._dock, "choose_model", used.append)
    models.present()
    buttons = models.view.models._buttons
    assert [made.text() for made in buttons.values()] == ["In use", "Use", "Download", "Download"]
    click(qtbot, buttons["vit_b"])
    assert used == ["vit_b"]
    click(qtbot, buttons["vit_l"])
    qtbot.waitUntil(lambda: buttons["vit_l"].text() == "Use")
    assert "vit_l" in fetched


def test_nothing_heavy_begins_before_the_dock_was_seen(qtbot, make_dock):
    dock = make_dock()
    assert not dock._loading, "importing torch would hold up the window that is being opened"
    dock.show()
    qtbot.waitUntil(lambda: dock._model.is_here)
