"""The command that reruns rows of the papers' tables, on generated pictures of 64 pixels and a SAM as small."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import papers
import pytest
import torch
from paper_rows import row_of
from PIL import Image

from napari_samadapt.arguments import ModelChoice
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam

from ..learning.conftest import make_tiny_sam
from .conftest import write_pictures


def load_tiny(choice: ModelChoice) -> PromptableSam:
    """`mini` itself; by any other name a SAM of 64 pixels with random weights."""
    if choice.name == "mini":
        return load_sam("mini")
    sam = make_tiny_sam()
    sam.model_type = choice.name
    return sam


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papers, "load_model", load_tiny)


def run(*arguments: str | Path, model: str = "tiny") -> int:
    return papers.main([str(argument) for argument in (*arguments, "--model", model)])


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("model", "row", "words", "published"),
    [
        ("vit_h", "conv-lora/kvasir", "--method lora", ("published, lora, vit_h", "91.20", "93.80")),
        ("vit_h", "conv-lora/leaf", "--set scales=4", ("published, conv-lora, scales=4, vit_h", "74.00", "–")),
        ("vit_h", "conv-lora/sbu", "", ("published, conv-lora, vit_h", "2.54")),
        ("vit_b", "cobot/nwpu", "--method decoder-only", ("published, decoder-only, vit_b", "80.50")),
        ("vit_b", "cobot/adome", "--method frozen", ("published, frozen, vit_b", "23.50")),
        ("vit_l", "cobot/adome", "", ("published, cobot-adaptformer, vit_l", "93.00")),
        ("vit_b", "cobot/adome", "--set layer=linear",
         ("published, cobot-adaptformer, layer=linear, vit_b", "90.90")),
        ("vit_h", "cobot/adome", "", ("published, cobot-adaptformer, vit_b", "91.30")),
        ("vit_b", "cobot/adome", "--set preset=identity", ("published, this run", "–")),
        ("vit_l", "cobot/adome", "--set layer=linear", ("published, this run", "–")),
        ("mini", "cobot/adome", "--method cobot-lora", ("published, cobot-lora, vit_b", "88.70")),
        ("vit_h", "conv-lora/leaf", "--shots 2", ("published, this run", "–", "–")),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_tiny")
def test_a_row_is_run_and_printed_beside_its_own_published_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, row: str, words: str,
    published: tuple[str, ...],
) -> None:  # fmt: skip
    folder = write_pictures(tmp_path, 6)
    length = () if "frozen" in words else ("--steps", "2")
    assert run(folder, "--row", row, *words.split(), *length, model=model) == 0
    lines = lines_of(capsys)
    place = next(i for i, line in enumerate(lines) if line.startswith("ours, "))
    assert tuple(re.split(r" {2,}", lines[place - 1])) == published
    size = 256 if model == "mini" else 64
    name, *ours = re.split(r" {2,}", lines[place])
    assert name.endswith(f"{model} at {size}")
    assert len(ours) == len(row_of(row).metrics)
    assert all(0 <= float(figure) <= 100 for figure in ours)
    known = published[0].endswith(model)
    assert ("No published figures of this run" in lines[-1]) == (not known)
    told = [line for line in lines if line.startswith("published, ") and "this run" not in line]
    assert len({model in line for line in told}) < 2, "figures of several models"
    assert any(line.endswith("has not reproduced them.") for line in lines) == bool(told)


@pytest.mark.usefixtures("_tiny")
def test_a_table_is_printed_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path, 4)
    assert run(folder, "--row", "cobot/trcan", "--method", "frozen", model="vit_b") == 0
    lines = lines_of(capsys)
    assert re.split(r" {2,}", lines[0]) == ["TRCAN", "Jaccard"]
    assert "published, lst, vit_b, cannot be run here" in lines[12]
    assert sum(line.startswith("published, ") for line in lines) == 6 + 14
    assert not any(line.startswith("epoch") for line in lines)


@pytest.mark.usefixtures("_tiny")
def test_every_kind_of_option_can_be_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("gated=false", "scales=1,3", "interpolation=bilinear", "alpha=16", "blocks=0,2")
    words = [word for setting in settings for word in ("--set", setting)]
    folder = write_pictures(tmp_path, 4)
    assert run(folder, "--row", "conv-lora/kvasir", "--steps", "1", *words) == 0
    title = lines_of(capsys)[0]
    for setting in ("alpha 16.0", "scales (1, 3)", "gated False", "interpolation bilinear", "blocks (0, 2)"):
        assert setting in title


@pytest.mark.usefixtures("_tiny")
def test_a_multi_class_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path, 4, classes=True)
    words = "--row conv-lora/trans10k --method decoder-only --steps 1 --set-weights autogluon-config"
    assert run(folder, *words.split()) == 0
    assert "MBER" in capsys.readouterr().out


@pytest.mark.usefixtures("_tiny")
def test_a_finished_run_is_only_measured_again_and_a_state_is_of_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = (write_pictures(tmp_path / name, 4) for name in ("pictures", "other"))
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(other / "images" / "0.png")
    words = (
        "--row",
        "conv-lora/leaf",
        "--method",
        "decoder-only",
        "--steps",
        "1",
        "--state",
        tmp_path / "s.pt",
    )
    assert run(folder, *words) == 0
    first = lines_of(capsys)
    assert run(folder, *words) == 0
    assert [line for line in first if not line.startswith("epoch")] == lines_of(capsys)
    for where, more in (
        (folder, ("--seed", "1")), (folder, ("--set", "blocks=0,1")), (folder, ("--set", "last_blocks=2")),
        (folder, ("--shots", "1")), (other, ()),
    ):  # fmt: skip
        assert run(where, *words, *more) == 2, more
        assert "another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--row conv-lora/none", "no row"),
        ("--row conv-lora/kvasir --set rank", "NAME=VALUE"),
        ("--row conv-lora/kvasir --set rank=0", "rank cannot be 0"),
        ("--row conv-lora/kvasir --set method=lora", "no option method"),
        ("--row conv-lora/kvasir --set decoder=queries", "no option decoder"),
        ("--row conv-lora/kvasir --method other", "Unknown method"),
        ("--row cobot/adome --method other", "Unknown method"),
        ("--row conv-lora/leaf --shots 9", "fewer than 9"),
        ("--row conv-lora/trans10k --loss dice-ce", "many classes and one loss: leave --loss out"),
        ("--row conv-lora/kvasir --set-weights autogluon-config", "leave --set-weights out"),
        ("--row cobot/adome --set-weights autogluon-config", "leave --set-weights out"),
        ("--row conv-lora/kvasir --classes 3", "leave --classes out"),
        ("--row cobot/adome --set prompts=true", "leave prompts out"),
        ("--row conv-lora/kvasir --set prompts=true", "leave prompts out"),
        ("--row conv-lora/kvasir --method frozen", "needs a decoder that is trained"),
        ("--row cobot/adome --method frozen --set rank=4", "leave --set out"),
        ("--row cobot/adome --method frozen --epochs 3", "leave --epochs out"),
        ("--row cobot/adome --method frozen --state s.pt", "leave --state out"),
    ],
)
@pytest.mark.usefixtures("_tiny")
def test_what_cannot_be_run_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    assert run(write_pictures(tmp_path, 3), *arguments.split()) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--classes=-1", "-1 is too few"),
        ("--classes=1", "1 is too few with background"),
        ("--epochs 0", "0 leaves nothing to train"),
        ("--shots 0", "0 leaves nothing to train"),
        ("--steps 1 --epochs 1", "not allowed with"),
    ],
)
def test_numbers_without_sense_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, "--row", "conv-lora/trans10k", *arguments.split())
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("_tiny")
def test_boxes_need_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path, 4)
    for number in range(4):
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(folder / "masks" / f"{number}.png")
    assert run(folder, "--row", "cobot/nwpu", "--steps", "1") == 2
    assert "so there is no box" in capsys.readouterr().err


def test_a_device_that_is_not_here_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--row", "conv-lora/kvasir", "--device", "cuda:99")
    assert run(write_pictures(tmp_path, 3), *words, model="mini") == 2
    assert "no device cuda:99" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["nowhere/s.pt", "a file/s.pt"])
@pytest.mark.usefixtures("_tiny")
def test_a_state_that_cannot_be_written_is_said_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "a file").touch()
    folder = write_pictures(tmp_path / "pictures", 3)
    monkeypatch.setattr(papers, "train", lambda *_, **__: pytest.fail("it trained"))
    assert run(folder, "--row", "conv-lora/kvasir", "--steps", "1", "--state", tmp_path / place) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.usefixtures("_tiny")
def test_a_full_disk_is_said_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "pictures", 3)
    command = (folder, "--row", "conv-lora/kvasir", "--method", "decoder-only", "--steps", "2", "--state",
               tmp_path / "s.pt")  # fmt: skip
    save, calls = torch.save, []

    def full(values: object, path: Path) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(values, path)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        assert run(*command) == 2
    assert "the same command goes on" in capsys.readouterr().err
    assert run(*command) == 0
    assert next(line for line in lines_of(capsys) if line.startswith("epoch")).startswith("epoch 2, step 2")


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.usefixtures("_tiny")
def test_an_interruption_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: bool
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(papers, "train", interrupted)
    kept = ("--state", tmp_path / "s.pt") if state else ()
    folder = write_pictures(tmp_path / "pictures", 3)
    assert run(folder, "--row", "conv-lora/kvasir", *kept) == 130
    assert ("The same command goes on" in capsys.readouterr().err) == state
