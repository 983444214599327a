"""Whatever is wrong: one plain sentence on stderr, exit code 2, nothing written."""

import os
from pathlib import Path

import numpy as np
import pytest

from .conftest import AFFINE, save


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
        (SEGMENT.replace("axial:1", "axial:-1"), "AXIS:I,J,K"),
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
        (ADAPT.replace("{labels}", "{missing}"), "missing.nii.gz"),
        (ADAPT.replace("{labels}", "{cut}"), "cut.nii.gz"),
        (ADAPT.replace("{labels}", "{shifted}"), "2"),
        (ADAPT.replace("{labels}", "{empty}"), "no label in the named slices (0, 1 of"),
        (ADAPT.replace("axial:0,1", "axial:0,9"), "Slice 9"),
        (ADAPT.replace("axial:0,1", "0,1"), "AXIS:I,J,K"),
        (ADAPT + " --method magic", "magic"),
        (ADAPT + " --report {folder}/report.txt", "must end in .json"),
        (ADAPT + " --save {folder}/adapter.pth", "must end in .safetensors"),
        ("predict {image} --adapter {missing} --out {out}", "missing.nii.gz"),
        ("predict {image} --adapter {page} --out {out}", "page.pth"),
        ("evaluate {missing} {labels}", "missing.nii.gz"),
        ("evaluate {labels} {labels} --labels liver", "liver"),
        ("evaluate {labels} {labels} --exclude-slices axial:3", "slices 0 to 2"),
    ],
)
def test_one_sentence_and_nothing_written(run, places, words, sentence):
    before = contents(places["folder"])
    outcome = run(*(word.format(**places) for word in words.split()))
    assert outcome.code == 2
    assert sentence in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    assert outcome.err.startswith("napari-samadapt: ")
    assert outcome.out == ""
    assert contents(places["folder"]) == before


@pytest.mark.parametrize(
    "words",
    [
        "segment",
        "segment {image} --out {out}",
        "adapt {image} {labels} --slices 0:1 --steps 0 --out {out}",
        "adapt {image} {labels} --slices 0:1 --seconds many --out {out}",
        "segment {image} --slice 0:1 --label 0 --out {out}",
        "doctor --nonsense",
        "demo --seconds 0",
    ],
)
def test_words_that_no_command_knows(run, places, words):
    outcome = run(*(word.format(**places) for word in words.split()))
    assert outcome.code == 2
    assert "Usage" in outcome.err
    assert "Traceback" not in outcome.err
    assert not places["out"].exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(run, places, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    words = SEGMENT.format(**{**places, "out": closed / "out.nii.gz"})
    outcome = run(*words.split())
    assert outcome.code == 2
    assert "read-only" in outcome.err


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
