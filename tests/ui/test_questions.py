"""A reader's question is a dialog with its choices as plain text; Cancel comes first, an answer goes on reading."""

import nibabel
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialogButtonBox, QLabel

from napari_samadapt.imaging.questions import Choice, Question, QuestionError
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.ui import contributions, questions
from napari_samadapt.ui.posting import Background, MainThreadPoster

QUESTION = Question(
    "transform",
    "<b>a.nii</b> states two positions that differ by 35.6 mm: which one is right?",
    (Choice("sform", "first voxel at <i>0</i> mm"), Choice("qform", "first voxel at 3 mm")),
)


@pytest.fixture
def dialog(qtbot):
    made = questions.QuestionDialog(QUESTION)
    qtbot.addWidget(made)
    made.show()
    return made


def test_texts_of_files_are_shown_as_they_are(dialog):
    label = dialog.findChild(QLabel)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == QUESTION.text
    assert dialog.choices.item(0).text() == "sform: first voxel at <i>0</i> mm"


def test_nothing_is_chosen_until_the_user_does(qtbot, dialog):
    cancel = dialog.buttons.button(QDialogButtonBox.StandardButton.Cancel)
    opens = next(button for button in dialog.buttons.buttons() if button is not cancel)
    assert cancel.isDefault()
    assert not opens.isEnabled()
    qtbot.keyClick(dialog, Qt.Key.Key_Return)
    assert dialog.result() == 0
    dialog.show()
    dialog.choices.setCurrentRow(1)
    assert opens.isEnabled()
    qtbot.mouseClick(opens, Qt.MouseButton.LeftButton)
    assert dialog.result() == 1
    assert dialog.value == "qform"


@pytest.mark.parametrize("answer", ["qform", None])
def test_reading_goes_on_with_the_answer_or_ends(qtbot, monkeypatch, answer):
    asked = []
    monkeypatch.setattr(questions, "ask", lambda question, parent: (asked.append(question), answer)[1])
    poster = MainThreadPoster()
    background = Background(poster)
    done, failed = [], []

    def read(choices):
        if "transform" not in choices:
            raise QuestionError(QUESTION)
        return dict(choices)

    questions.run_asking(background, read, done.append, failed.append, None)
    qtbot.waitUntil(lambda: bool(done or failed))
    background.close()
    assert asked == [QUESTION]
    assert (done, failed) == (([{"transform": "qform"}], []) if answer else ([], [None]))


def test_nobody_is_asked_about_a_file_that_is_not_wanted_any_more(qtbot, monkeypatch):
    monkeypatch.setattr(questions, "ask", lambda *_: pytest.fail("asked"))
    background = Background(MainThreadPoster())
    failed = []

    def read(_choices):
        raise QuestionError(QUESTION)

    questions.run_asking(background, read, failed.append, failed.append, None, lambda: False)
    qtbot.waitUntil(lambda: bool(failed))
    background.close()
    assert failed == [None]


@pytest.mark.parametrize("answer", ["1", None])
def test_naparis_own_open_asks_too(qapp, monkeypatch, tmp_path, answer):
    data = np.arange(5 * 4 * 3 * 2, dtype=np.int16).reshape(5, 4, 3, 2)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "bold.nii")
    monkeypatch.setattr(questions, "ask", lambda question, parent: answer)
    [layer] = contributions.read_layers(str(tmp_path / "bold.nii"))
    if answer is None:
        assert layer == (None,)
    else:
        assert (layer[0] == read_volume(tmp_path / "bold.nii", choices={"time": "1"}).data).all()
