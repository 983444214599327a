import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from napari_samadapt.learning.sam import load_sam
from training.train_mini import Training, iou, mask_losses, parse_stages


def test_stages_of_a_text() -> None:
    first, second = parse_stages("128x16:20000,256x5:8000")
    assert (first.size, first.count, first.steps) == (128, 16, 20000)
    assert (second.size, second.count, second.steps) == (256, 5, 8000)


def test_the_loss_falls_as_the_mask_gets_better() -> None:
    target = torch.zeros(1, 32, 32)
    target[:, 8:24, 8:24] = 1
    good = (target - 0.5)[:, None] * 12
    shifted, nothing = good.roll(6, 3), torch.full_like(good, -6.0)
    losses = [float(mask_losses(logits, target)) for logits in (good, shifted, nothing)]
    assert losses == sorted(losses)
    assert float(iou(good, target)) == 1.0


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "mini.safetensors", tmp_path / "state.pt"


def train(stages: str, run: tuple[Path, Path]) -> Training:
    training = Training(parse_stages(stages), 1e-3, *run, "cpu", None)
    training.run()
    return training


def test_a_run_can_be_ended_and_gone_on_with_at_another_size(run: tuple[Path, Path]) -> None:
    first = train("64x2:2", run)
    again = train("64x2:2,128x1:2", run)
    assert (first.step, again.step, again.size) == (2, 4, 128)
    assert again.images > first.images
    rows = [json.loads(line) for line in run[0].with_suffix(".log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert all(torch.isfinite(t).all() for t in load_file(run[0]).values())
    assert load_sam(str(run[0])).input_size == 256


def test_training_starts_from_weights_that_lack_newer_parts(run: tuple[Path, Path], tmp_path: Path) -> None:
    train("64x1:2", run)
    training = Training(
        parse_stages("64x1:2"), 1e-3, tmp_path / "b.safetensors", tmp_path / "b.pt", "cpu", run[0]
    )
    kept = load_file(run[0])["mask_decoder.iou_token.weight"].float()
    assert torch.equal(training.sam.mask_decoder.iou_token.weight.detach(), kept)
