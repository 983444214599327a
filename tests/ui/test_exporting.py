"""Exporting from the window: the kinds of files, the questions, and what counts as saved."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import nibabel
import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_samadapt.imaging.volume import Volume
from napari_samadapt.ui import exporting
from napari_samadapt.ui.exporting import MaskTarget, ask_target, suggested_mask_path, with_suffix


@pytest.fixture
def drawn(dock):
    """A dock with masks of class 1, annotated and predicted, that are not saved."""
    dock.session.annotation[2, 3:6, 3:6] = 1
    dock.session.prediction[4, 3:6, 3:6] = 1
    dock.session.labels_changed.emit(())
    return dock


@pytest.fixture
def asked(monkeypatch):
    """What the questions say, and what answers them: {"question": button, "box": text of a button}."""
    answers, said = {"question": QMessageBox.StandardButton.Ok, "box": "Leave out"}, []

    def question(_parent, _title, text, *_):
        said.append(text)
        return answers["question"]

    def press(box):
        said.append(box.text())
        answer = next((b for b in box.buttons() if b.text() == answers["box"]), None)
        monkeypatch.setattr(QMessageBox, "clickedButton", lambda _: answer)

    monkeypatch.setattr(QMessageBox, "question", question)
    monkeypatch.setattr(QMessageBox, "exec", press)
    return answers, said


@pytest.fixture
def choose(monkeypatch):
    """Makes the file dialog answer."""

    def make(path, kind):
        def dialog(_parent, _title, _suggested, kinds):
            assert not path or kind in kinds.split(";;")
            return str(path), kind

        monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog)

    return make


ADAPTER, MERGED = "Adapters (*.safetensors)", "SAM with the adapter merged into it (*.pth)"


@pytest.mark.parametrize(
    ("named", "kind", "written", "said"),
    [
        ("liver", ADAPTER, "liver.safetensors", "Saved the adapter as liver.safetensors; it is listed under Models."),
        ("liver.safetensors", MERGED, "liver.pth", "Saved SAM with the adapter merged into it as liver.pth."),
        ("liver.pth", ADAPTER, "liver.pth", "Saved SAM with the adapter merged into it as liver.pth."),
    ],
)  # fmt: skip
def test_an_adapter_is_saved_as_it_is_or_merged(
    qtbot, dock, choose, tmp_path, told, named, kind, written, said
):
    choose(tmp_path / named, kind)
    dock.files.ask_save_adapter(dock.session)
    qtbot.waitUntil(lambda: bool(told))
    assert ("save_adapter", tmp_path / written) in dock.session.calls
    assert told == [("hint", said)]


def test_what_does_not_merge_is_offered_as_an_adapter_only(dock, monkeypatch):
    offered = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *asked: (offered.append(asked[-1]), ("", ""))[1]
    )
    for merges in (False, True):
        dock.session.adapter_merges = merges
        dock.files.ask_save_adapter(dock.session)
    assert offered == [ADAPTER, f"{ADAPTER};;{MERGED}"]


def test_what_is_displayed_is_written_and_saved(qtbot, drawn, tmp_path, told):
    drawn.files.export(drawn.session, MaskTarget(tmp_path / "masks.nii.gz"))
    assert drawn.files.unsaved
    qtbot.waitUntil(lambda: bool(told))
    assert told == [("hint", "Exported masks.nii.gz")]
    assert np.count_nonzero(nibabel.load(tmp_path / "masks.nii.gz").dataobj) == 18
    assert not drawn.files.unsaved


def test_each_class_becomes_a_file(qtbot, drawn, tmp_path, told):
    drawn.session.annotation[1, 0, 0] = 2
    drawn.files.export(drawn.session, MaskTarget(tmp_path / "m.nii.gz", each=True))
    qtbot.waitUntil(lambda: bool(told))
    assert told == [("hint", "Exported m_1_class_1.nii.gz and 1 more")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.json",
        "m_1_class_1.nii.gz",
        "m_2.nii.gz",
    ]


def test_a_failed_export_is_said_once_and_stays_unsaved(qtbot, drawn, tmp_path, told):
    before = drawn.session.displayed()
    drawn.files.export(drawn.session, MaskTarget(tmp_path / "gone" / "masks.nii.gz"))
    qtbot.waitUntil(lambda: bool(told))
    qtbot.wait(20)
    ((kind, text),) = told
    assert kind == "error"
    assert "does not exist: make it or choose another. Your masks are still here, unsaved." in text
    assert drawn.files.unsaved
    assert (drawn.session.displayed() == before).all()


def test_what_was_painted_during_an_export_is_not_saved(qtbot, drawn, tmp_path, told, monkeypatch):
    painted, write = Event(), exporting._write

    def slowly(*args):
        painted.wait(5)
        return write(*args)

    monkeypatch.setattr(exporting, "_write", slowly)
    drawn.files.export(drawn.session, MaskTarget(tmp_path / "masks.nii.gz"))
    drawn.session.annotation[0, 0, 0] = 1
    drawn.session.labels_changed.emit(())
    painted.set()
    qtbot.waitUntil(lambda: bool(told))
    assert np.count_nonzero(nibabel.load(tmp_path / "masks.nii.gz").dataobj) == 18
    assert drawn.files.unsaved


def test_the_kind_gives_the_ending(drawn, choose, tmp_path):
    for kind, target in (
        ("NIfTI (*.nii.gz *.nii)", MaskTarget(tmp_path / "m.nii.gz")),
        ("NRRD with segment names (*.nrrd)", MaskTarget(tmp_path / "m.nrrd")),
        ("One NIfTI file per class (*.nii.gz)", MaskTarget(tmp_path / "m.nii.gz", each=True)),
    ):
        choose(tmp_path / "m", kind)
        assert ask_target(drawn, drawn.session) == target
    choose("", "")
    assert ask_target(drawn, drawn.session) is None


def test_files_that_the_dialog_did_not_ask_about_are_asked_about(drawn, choose, asked, tmp_path):
    answers, said = asked
    (tmp_path / "m.nii.gz").touch()
    (tmp_path / "m_1_class_1.nii.gz").touch()
    choose(tmp_path / "m.nii.gz", "NIfTI (*.nii.gz *.nii)")
    assert ask_target(drawn, drawn.session) is not None
    assert said == []
    for name, kind in (("m", "NIfTI (*.nii.gz *.nii)"), ("m", "One NIfTI file per class (*.nii.gz)")):
        choose(tmp_path / name, kind)
        answers["question"] = QMessageBox.StandardButton.Ok
        assert ask_target(drawn, drawn.session) is not None
        answers["question"] = QMessageBox.StandardButton.Cancel
        assert ask_target(drawn, drawn.session) is None
    assert ["m.nii.gz" in text for text in said] == [True, True, False, False]
    assert "m_1_class_1.nii.gz" in said[-1]


@pytest.mark.parametrize(("button", "asked_where"), [("Wait", False), ("Export now", True)])
def test_masks_that_lack_predictions_are_exported_only_if_the_user_says_so(
    drawn, choose, asked, tmp_path, button, asked_where
):
    answers, said = asked
    drawn.session.unseen = 12
    answers["box"] = button
    choose(tmp_path / "m", "NIfTI (*.nii.gz *.nii)")
    assert (ask_target(drawn, drawn.session) is not None) == asked_where
    assert "12 slices have no prediction yet." in said[0]


@pytest.mark.parametrize(
    ("button", "identity"), [("Leave out", False), ("Copy from the images", True), ("Cancel", None)]
)
def test_the_patient_goes_into_a_dicom_segmentation_only_if_the_user_says_so(
    drawn, choose, asked, tmp_path, button, identity
):
    answers, said = asked
    source = replace(drawn.session.volume.source, frames=((Path("a.dcm"), 0),))
    drawn.session.volume = Volume(drawn.session.volume.data, drawn.session.volume.affine, source)
    answers["box"] = button
    choose(tmp_path / "m", "DICOM segmentation (*.dcm)")
    target = ask_target(drawn, drawn.session)
    assert target == (None if identity is None else MaskTarget(tmp_path / "m.dcm", identity=identity))
    assert "Leave the patient out" in said[0]


def test_only_volumes_from_dicom_offer_a_dicom_segmentation(drawn, choose, tmp_path):
    choose(tmp_path / "m", "DICOM segmentation (*.dcm)")
    with pytest.raises(AssertionError):
        ask_target(drawn, drawn.session)


def test_an_unexpected_error_is_passed_on(qtbot, drawn, tmp_path, told, monkeypatch):
    def fail(*_):
        raise RuntimeError("SECRET")

    monkeypatch.setattr(exporting, "_write", fail)
    drawn.files.export(drawn.session, MaskTarget(tmp_path / "m.nii.gz"))
    qtbot.waitUntil(lambda: bool(told))
    assert told[0][0] == "error"
    assert "SECRET" not in told[0][1]
    assert drawn.files.unsaved


def test_paths(volume):
    assert suggested_mask_path(volume) == Path("masks.nii.gz")
    dicom = Volume(volume.data, volume.affine, replace(volume.source, path=Path("/a/NAME"), format="dicom"))
    assert suggested_mask_path(dicom) == Path("/a/masks.nii.gz")
    assert with_suffix(Path("a/b"), "NIfTI (*.nii.gz *.nii)") == Path("a/b.nii.gz")
    assert with_suffix(Path("a/b.v2"), "NRRD with segment names (*.nrrd)") == Path("a/b.v2.nrrd")
    assert with_suffix(Path("a/b"), "DICOM segmentation (*.dcm)") == Path("a/b.dcm")
    assert with_suffix(Path("a/B.NII"), "NRRD with segment names (*.nrrd)") == Path("a/B.NII")
