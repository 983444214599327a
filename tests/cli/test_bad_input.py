"""Whatever is wrong: one plain sentence on stderr, exit code 2 (1 for a defect), nothing written."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_samadapt import commands

from .conftest import AFFINE, Outcome, Run, save


@pytest.fixture
def places(tmp_path: Path, image_path: Path, labels_path: Path, labels: np.ndarray) -> dict[str, Path]:
    """Files to name in a command, good and bad."""
    shifted = AFFINE.copy()
    shifted[0, 3] = 2.0
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(image_path.read_bytes()[:-300])
    page = tmp_path / "page.pth"
    page.write_text("<html>")
    text = tmp_path / "text.xyz"
    text.write_text("hello")
    return {
        "image": image_path,
        "labels": labels_path,
        "empty": save(tmp_path / "empty.nii.gz", np.zeros_like(labels)),
        "shifted": save(tmp_path / "shifted.nii.gz", labels, shifted),
        "cut": cut,
        "page": page,
        "text": text,
        "missing": tmp_path / "missing.nii.gz",
        "out": tmp_path / "out.nii.gz",
        "nowhere": tmp_path / "nowhere" / "out.nii.gz",
        "folder": tmp_path,
    }


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
SEGMENT = "segment {image} --slice axial:1 --point 5,5,+ --out {out}"
ADAPT = "adapt {image} {labels} --slices axial:0,1 --steps 1 --device cpu --out {out}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("gui {missing}", "missing.nii.gz"),
        ("{missing}", "missing.nii.gz"),
        (SEGMENT.replace("{image}", "{missing}"), "missing.nii.gz"),
        (SEGMENT.replace("{image}", "{cut}"), "cut.nii.gz"),
        (SEGMENT.replace("{image}", "{text}"), "text.xyz"),
        (SEGMENT.replace("axial:1", "axial:3"), "slices 0 to 2"),
        (SEGMENT.replace("axial:1", "axial:-1"), "Slice -1 is outside"),
        (SEGMENT.replace("5,5,+", "5,5,-"), "only background points"),
        (SEGMENT.replace("axial:1", "diagonal:1"), "diagonal"),
        (SEGMENT.replace("axial:1", "axial:0,1"), "one slice"),
        (SEGMENT.replace("5,5,+", "24,5,+"), "24"),
        (SEGMENT.replace("5,5,+", "5,-2,+"), "-2"),
        (SEGMENT.replace("5,5,+", "5,5"), "--point is X,Y"),
        (SEGMENT.replace("--point 5,5,+", "--box 5,5,60,10"), "60"),
        (SEGMENT.replace("--point 5,5,+", ""), "no prompt"),
        (SEGMENT + " --model vit_x", "vit_x"),
        (SEGMENT + " --model {page}", "web page"),
        (SEGMENT + " --model {missing}", "missing.nii.gz"),
        (SEGMENT + " --device quantum", "quantum"),
        (SEGMENT + " --window lungs", "lungs"),
        (SEGMENT.replace("{out}", "{nowhere}"), "does not exist"),
        (SEGMENT.replace("{out}", "{folder}"), "must end in"),
        (SEGMENT.replace("{out}", "{image}"), "choose another name"),
        (SEGMENT.replace("{out}", "{labels}") + " --model {labels}", "also an input"),
        (ADAPT.replace("{out}", "{empty}") + " --model {empty}", "also an input"),
        ("predict {image} --adapter {empty} --out {empty}", "also an input"),
        ("predict {image} --adapter {page} --model {empty} --out {empty}", "also an input"),
        (ADAPT + " --report {folder}/none/report.json", "does not exist"),
        (ADAPT + " --save {folder}/none/adapter.safetensors", "does not exist"),
        pytest.param(ADAPT + " --report /proc/report.json", "cannot be written", marks=LINUX),
        pytest.param(ADAPT + " --save /proc/adapter.safetensors", "cannot be written", marks=LINUX),
        (ADAPT.replace("{labels}", "{missing}"), "missing.nii.gz"),
        (ADAPT.replace("{labels}", "{cut}"), "cut.nii.gz"),
        (ADAPT.replace("{labels}", "{shifted}"), "2"),
        (ADAPT.replace("{labels}", "{empty}"), "no label in the named slices (0, 1 of"),
        (ADAPT.replace("axial:0,1", "axial:0,9"), "Slice 9"),
        (ADAPT.replace("axial:0,1", "0,1"), "AXIS:I,J,K"),
        (ADAPT + " --method magic", "magic"),
        (ADAPT + " --set rank", "'rank' sets nothing: write NAME=VALUE"),
        (ADAPT + " --set tokens=3", "conv-lora has no option tokens"),
        (ADAPT + " --decoder magic", "Unknown decoder 'magic': use one of detail, queries"),
        (ADAPT + " --report {folder}/report.txt", "must end in .json"),
        (ADAPT + " --save {folder}/adapter.pth", "must end in .safetensors"),
        ("predict {image} --adapter {missing} --out {out}", "missing.nii.gz"),
        ("predict {image} --adapter {page} --out {out}", "page.pth"),
        ("evaluate {missing} {labels}", "missing.nii.gz"),
        ("evaluate {labels} {labels} --labels liver", "liver"),
        ("evaluate {labels} {labels} --exclude-slices axial:3", "slices 0 to 2"),
        ("evaluate {labels} {labels} --labels 999 --json", "Neither file holds label 999"),
        ("evaluate {labels} {labels} --exclude-slices axial:0,1,2 --json", "outside the excluded slices"),
        ("evaluate {empty} {empty}", "Neither file holds a label"),
    ],
)
def test_one_sentence_and_nothing_written(run, places, words, sentence):
    refused(run, places, words, sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("segment", "IMAGE"),
        ("segment {image} --out {out}", "--slice"),
        ("segment {image} --slice 0:1 --point 5,5,+", "--out"),
        ("segment {image} --slice 0:1 --out", "--out"),
        (SEGMENT + " --label 0", "--label"),
        (SEGMENT + " --label one", "--label"),
        (ADAPT + " --steps 0", "--steps"),
        (ADAPT + " --seconds many", "--seconds"),
        (ADAPT + " --seconds 0", "--seconds"),
        (ADAPT + " --seconds nan", "--seconds"),
        (ADAPT + " --seconds inf", "--seconds"),
        (ADAPT + " --seed -1", "--seed"),
        (ADAPT + " --seed 4294967296", "--seed"),
        ("doctor --nonsense", "--nonsense"),
        ("--nonsense", "--nonsense"),
        ("{image} {labels}", "labels.nii.gz"),
        ("demo --seconds 0", "--seconds"),
        ("demo --seconds nan", "--seconds"),
    ],
)
def test_words_that_no_command_takes(run, places, words, sentence):
    outcome = refused(run, places, words, sentence)
    assert outcome.err.endswith("--help lists what can be given.\n")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("height is 0\nat line 3"), "(RuntimeError: height is 0). Nothing was written"),
        (MemoryError(), "(MemoryError). Nothing"),
        (EOFError("cut"), "(EOFError: cut)"),
    ],
)
def test_a_defect_is_told_without_a_traceback(run, places, monkeypatch, caplog, error, told):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(commands, "segment", fail)
    with caplog.at_level("DEBUG", logger="napari_samadapt"):
        outcome = run(*SEGMENT.format(**places).split())
    assert outcome.code == 1
    assert told in outcome.err
    assert "napari-samadapt doctor" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    assert type(error).__name__ in caplog.text
    assert "in fail" in caplog.text
    assert "height" not in caplog.text


def test_an_interruption_is_quiet(run, places, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "segment", interrupt)
    outcome = run(*SEGMENT.format(**places).split())
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(run, places, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    words = SEGMENT.format(**{**places, "out": closed / "out.nii.gz"})
    outcome = run(*words.split())
    assert outcome.code == 2
    assert "read-only" in outcome.err


def refused(run: Run, places: dict[str, Path], words: str, sentence: str) -> Outcome:
    before = contents(places["folder"])
    outcome = run(*(word.format(**places) for word in words.split()))
    assert outcome.code == 2
    assert sentence in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    assert outcome.err.startswith("napari-samadapt: ")
    assert outcome.out == ""
    assert contents(places["folder"]) == before
    return outcome


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
