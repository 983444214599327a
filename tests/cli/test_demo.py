"""`demo`: off screen on demand and where there is no display, in a window otherwise."""

import pytest

from napari_samadapt import window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.session import demonstration
from napari_samadapt.session.annotator import AnnotatorReport


def test_off_screen_prints_dice_and_the_mask(run, tmp_path, base_model, monkeypatch):
    """Only the printing: the loop itself is tested with the session."""

    def pretend(volume, reference, names, sam, folder, seconds, on_progress):
        assert volume.shape == reference.shape
        assert len(names) == 8
        on_progress(TrainProgress(1, 0.5, 0.5, 1.0, ()))
        return demonstration.Demonstration(
            annotated=(SliceKey(0, 4), SliceKey(0, 12)),
            effort=AnnotatorReport((), ()),
            boxed_dice=0.5,
            boxes=99,
            dice_before=0.0,
            dice_after=0.875,
            steps=12,
            mask=folder / "mask.nii.gz",
            adapter=folder / "adapter.safetensors",
        )

    monkeypatch.setattr(window, "has_display", lambda: False)
    monkeypatch.setattr(demonstration, "demonstrate", pretend)
    outcome = run("demo", "--out", tmp_path / "results", "--seconds", 1)
    assert outcome.code == 0, outcome.err
    assert "axial slices: 4, 12" in outcome.out
    assert "Dice before adaptation, no prompt: 0.000" in outcome.out
    assert "Dice before adaptation, 99 boxes: 0.500" in outcome.out
    assert "Dice after adaptation, no prompt: 0.875" in outcome.out
    assert outcome.out.splitlines()[-1] == f"Mask: {tmp_path / 'results' / 'mask.nii.gz'}"


@pytest.mark.parametrize("words", [["--headless"], []])
def test_the_display_decides(run, monkeypatch, words):
    called = []
    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window, "open_gui", lambda path: called.append(path.name))
    monkeypatch.setattr(window, "_demonstrate", lambda *arguments: called.append("off screen"))
    assert run("demo", *words).code == 0
    assert called == (["off screen"] if words else ["sample_ct.nii.gz"])


def test_a_folder_that_cannot_be_made(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    outcome = run("demo", "--headless", "--out", tmp_path / "file")
    assert outcome.code == 2
    assert "cannot be made" in outcome.err
