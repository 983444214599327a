"""The rows of the papers' tables on generated pictures of 64 pixels, with `mini` and with a SAM smaller still."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import papers
import pytest
import torch
from paper_data import find_splits
from paper_rows import COBOT_SETS, ROWS, row_of
from paper_tasks import ON_PROBABILITIES, build_task, loose_box
from paper_training import Progress, _optimizer, read_progress, train, write_progress
from PIL import Image

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.sam import load_sam

from ..learning.conftest import make_tiny_sam


def write_pictures(folder: Path, count: int, *, classes: bool = False) -> Path:
    """Discs that are brighter than the noise round them, 64 x 48; with `classes`, a dark one beside each."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :64]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        x, y = rng.uniform(12, 24), rng.uniform(14, 34)
        bright = (columns - x) ** 2 + (rows - y) ** 2 < 100
        dark = (columns - x - 25) ** 2 + (rows - y) ** 2 < 64
        values = 110 + 80 * bright - 80 * (dark & classes) + rng.normal(0, 8, bright.shape)
        mask = bright + 2 * dark if classes else 255 * bright
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{number}.png")
    return folder


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--model tiny` is a SAM of 64 pixels with random weights."""
    monkeypatch.setattr(
        papers, "load_sam", lambda name, **_: make_tiny_sam() if name == "tiny" else load_sam(name)
    )


def run(*arguments: str | Path, model: str = "tiny") -> int:
    return papers.main([str(argument) for argument in (*arguments, "--model", model)])


@pytest.mark.parametrize(
    ("model", "row", "method", "published"),
    [
        ("mini", "conv-lora/kvasir", "conv-lora", ("92.00", "94.70")),
        ("mini", "cobot/adome", "cobot-lora", ("88.70",)),
        ("tiny", "cobot/nwpu", "decoder-only", ("80.50",)),
        ("tiny", "conv-lora/sbu", "lora", ("2.74",)),
        ("tiny", "conv-lora/few-shot-2", "conv-lora", ()),
    ],
)
@pytest.mark.usefixtures("_tiny")
def test_a_row_is_run_and_printed_beside_the_published_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, row: str, method: str,
    published: tuple[str, ...],
) -> None:  # fmt: skip
    folder = write_pictures(tmp_path, 6)
    assert run(folder, "--row", row, "--method", method, "--steps", "2", model=model) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line.split() for line in lines if line.startswith(f"published, {method} ")]
    assert [tuple(words[2:]) for words in told] == ([published] if published else [])
    size = 256 if model == "mini" else 64
    ours = next(line for line in lines if line.startswith(f"ours, {method}, {model} at {size}")).split()[5:]
    assert len(ours) == len(row_of(row).metrics)
    assert all(0 <= float(figure) <= 100 for figure in ours)
    assert lines[-1].endswith("has not reproduced them." if published else "no published figures.")


@pytest.mark.usefixtures("_tiny")
def test_every_kind_of_option_can_be_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("gated=false", "scales=1,3", "interpolation=bilinear", "alpha=16", "blocks=0,2")
    words = [word for setting in settings for word in ("--set", setting)]
    folder = write_pictures(tmp_path, 4)
    assert run(folder, "--row", "conv-lora/kvasir", "--steps", "1", *words) == 0
    title = capsys.readouterr().out.splitlines()[0]
    assert "alpha 16.0, " in title
    assert "scales (1, 3), gated False, paper_literal False, interpolation bilinear, blocks (0, 2))" in title


@pytest.mark.usefixtures("_tiny")
def test_a_multi_class_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path, 4, classes=True)
    assert (
        run(
            folder,
            "--row",
            "conv-lora/trans10k",
            "--method",
            "decoder-only",
            "--steps",
            "1",
            "--set-weights",
            "autogluon-config",
        )
        == 0
    )
    assert "MBER" in capsys.readouterr().out


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Stopped after the first of two epochs (2 images, one update each): the weights are the same bit for bit."""
    row = row_of("conv-lora/kvasir")
    splits = find_splits(write_pictures(tmp_path / "pictures", 4), seed=0)
    state = tmp_path / "state.pt"

    def task() -> torch.nn.Module:
        torch.manual_seed(0)
        return build_task(make_tiny_sam(), row, adapters.AdapterConfig(method="conv-lora"), 2)

    whole = task()
    assert [p.step for p in train(whole, row, splits, Progress("run"), seed=0, steps=2)] == [1, 2]

    stopped = train(task(), row, splits, Progress("run"), seed=0, steps=2)
    write_progress(state, next(stopped))
    stopped.close()
    resumed, kept = task(), read_progress(state, "run")
    assert (kept.epoch, kept.step, kept.finished) == (1, 1, False)
    assert [p.step for p in train(resumed, row, splits, kept, seed=0, steps=2)] == [2]

    expected, found = adapters.state(whole), adapters.state(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    with pytest.raises(SamAdaptError, match="another run"):
        read_progress(state, "another")


@pytest.mark.usefixtures("_tiny")
def test_a_finished_run_is_only_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path / "pictures", 4)
    command = (folder, "--row", "conv-lora/leaf", "--method", "decoder-only", "--steps", "1", "--state",
               tmp_path / "state.pt")  # fmt: skip
    assert run(*command) == 0
    first = capsys.readouterr().out.splitlines()
    assert run(*command) == 0
    second = capsys.readouterr().out.splitlines()
    assert [line for line in first if not line.startswith("epoch")] == second
    for other in (("--seed", "1"), ("--set", "blocks=0,1")):
        assert run(*command, *other) == 2
        assert "another run" in capsys.readouterr().err


def test_the_rows_are_those_of_the_papers() -> None:

    assert len(ROWS) == 10 + len(COBOT_SETS) == 20
    for key, row in ROWS.items():
        assert row_of(key) is row
        assert {row.method} <= set(adapters.METHODS)
        assert set(row.published) - {"frozen SAM"} <= set(adapters.METHODS)
        assert {len(figures) for figures in row.published.values()} == {len(row.metrics)}
        assert row.validated in {*ON_PROBABILITIES, "mIoU"}
    assert row_of("conv-lora/few-shot-16").shots == 16


@pytest.mark.parametrize(
    ("name", "mean"),
    [("frozen SAM", 40.7), ("lora-qv", 81.2), ("cobot-lora", 81.9), ("cobot-adaptformer", 83.6)],
)
def test_table_4_has_its_row_means(name: str, mean: float) -> None:

    figures = [ROWS[f"cobot/{key}"].published[name][0] for key in COBOT_SETS]
    assert np.mean(figures) == pytest.approx(mean, abs=0.06)


def test_cobots_own_parameters_learn_at_their_rate() -> None:
    """Official preset: C, P and the hyper-complex matrices a hundred times as fast as the host and gamma."""
    row = row_of("cobot/adome")
    task = build_task(make_tiny_sam(), row, adapters.AdapterConfig("cobot-lora", preset="official"), 2)
    rates = {id(group["params"][0]): group["rate"] for group in _optimizer(task, row.schedule).param_groups}
    named = {name: rates[id(parameter)] for name, parameter in adapters.trainable(task).items()}
    fast = {name for name, rate in named.items() if rate == pytest.approx(1.25e-4)}
    assert fast
    assert all(("relation" in name or "layer" in name) for name in fast)
    assert all(rate == pytest.approx(1.25e-6) for name, rate in named.items() if name not in fast)


def test_where_there_is_one_rate_gamma_has_it_too() -> None:
    """SAM-COBOT's code for natural images: one rate and one decay for all."""
    row = row_of("cobot/coco")
    task = build_task(make_tiny_sam(), row, adapters.AdapterConfig("cobot-lora", preset="official"), 2)
    groups = _optimizer(task, row.schedule).param_groups
    assert {(group["rate"], group["weight_decay"]) for group in groups} == {(1.5e-4, 5e-5)}


def test_conv_loras_norms_and_biases_do_not_decay() -> None:
    row = row_of("conv-lora/kvasir")
    task = build_task(make_tiny_sam(), row, adapters.AdapterConfig("conv-lora"), 2)
    groups = _optimizer(task, row.schedule).param_groups
    spared = {id(group["params"][0]) for group in groups if group["weight_decay"] == 0}
    named = adapters.trainable(task)
    found = {name for name, parameter in named.items() if id(parameter) in spared}
    assert found == {name for name in named if "norm" in name or name.endswith("bias")} | {
        name for name, parameter in named.items() if parameter.ndim == 1
    }
    assert any(name.endswith("experts.bias") for name in found)


@pytest.mark.parametrize("content", [b"", b"no state at all", None])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.pt"
    if content is None:
        torch.save({"weights": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(SamAdaptError, match="no state of a run"):
        read_progress(path, "run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--row", "conv-lora/none"), "no row"),
        (("--row", "conv-lora/kvasir", "--set", "rank"), "NAME=VALUE"),
        (("--row", "conv-lora/kvasir", "--set", "rank=0"), "rank cannot be 0"),
        (("--row", "conv-lora/kvasir", "--set", "method=lora"), "no option method"),
        (("--row", "conv-lora/kvasir", "--set", "decoder=queries"), "no option decoder"),
        (("--row", "conv-lora/kvasir", "--method", "other"), "Unknown method"),
        (("--row", "conv-lora/few-shot-9"), "fewer than 9"),
        (("--row", "conv-lora/trans10k", "--loss", "dice-ce"), "many classes"),
    ],
)
@pytest.mark.usefixtures("_tiny")
def test_what_cannot_be_run_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:  # fmt: skip
    assert run(write_pictures(tmp_path, 3), *arguments) == 2
    assert words in capsys.readouterr().err


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:

    with pytest.raises(SamAdaptError, match="no files"):
        find_splits(tmp_path, seed=0)
    folder = write_pictures(tmp_path / "a", 3)
    (folder / "masks" / "1.png").unlink()
    with pytest.raises(SamAdaptError, match="first: 1"):
        find_splits(folder, seed=0)
    write_pictures(tmp_path / "b" / "train", 3)
    with pytest.raises(SamAdaptError, match="no folder test"):
        find_splits(tmp_path / "b", seed=0)


def test_splits_of_the_folder_are_kept_and_others_do_not_overlap(tmp_path: Path) -> None:

    for name, count in (("train", 3), ("val", 2), ("test", 1)):
        write_pictures(tmp_path / "split" / name, count)
    splits = find_splits(tmp_path / "split", seed=0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [3, 2, 1]
    drawn = find_splits(write_pictures(tmp_path / "whole", 12), seed=3)
    assert [len(part) for part in (drawn.train, drawn.val, drawn.test)] == [10, 1, 1]
    assert len({*drawn.train, *drawn.val, *drawn.test}) == 12
    assert drawn == find_splits(tmp_path / "whole", seed=3)


def test_a_loose_box_moves_outward_within_the_image() -> None:

    region = np.zeros((20, 30), bool)
    region[5:9, 10:15] = True
    tight = loose_box(region, 0, np.random.default_rng(0))
    boxes = np.array([loose_box(region, 8, np.random.default_rng(seed)) for seed in range(20)])
    assert (boxes[:, :2] <= tight[:2]).all()
    assert (boxes[:, 2:] >= tight[2:]).all()
    assert boxes.min() >= -0.5
    assert boxes[:, 3].max() <= 19.5
    assert len(np.unique(boxes, axis=0)) > 10
