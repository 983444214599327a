"""What a row trains and measures, image by image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paper_tasks
import pytest
import torch
from paper_data import find_pairs
from paper_rows import row_of
from paper_tasks import ON_PROBABILITIES, Task, WithBoxes, WithoutPrompts, build_task, loose_box

from napari_samadapt.imaging import paper_metrics
from napari_samadapt.learning.adapters import AdapterConfig, trainable
from napari_samadapt.learning.sam import VIT_SHAPES, build_vit
from napari_samadapt.learning.structure_losses import BINARY_LOSSES

from ..learning.conftest import make_tiny_sam
from .conftest import write_pictures


def task_of(key: str, **schedule: Any) -> Task:
    row = row_of(key)
    row = replace(row, schedule=replace(row.schedule, **schedule))
    return build_task(make_tiny_sam(), row, AdapterConfig("decoder-only"), 3).eval()


def is_mirrored(mask: torch.Tensor) -> bool:
    """Whether the disc, left of the middle in the pictures, is right of it."""
    return mask.nonzero()[:, 1].double().mean().item() > mask.shape[1] / 2


def assert_mirrored_alike(seen: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Of pictures (1, 3, H, W) and masks (H, W): the discs lie on one another, and half are mirrored."""
    for image, mask in seen:
        bright = image[0, 0] > 0.59
        assert ((bright & mask).sum() / (bright | mask).sum()).item() > 0.9
    mirrored = [is_mirrored(mask) for _, mask in seen]
    assert 5 <= sum(mirrored) <= 15


@pytest.mark.parametrize(("key", "classes"), [("conv-lora/kvasir", False), ("conv-lora/trans10k", True)])
def test_a_mask_is_mirrored_with_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, classes: bool
) -> None:
    pair = find_pairs(write_pictures(tmp_path, 1, classes=classes))[0]
    task, images, masks = task_of(key), [], []

    def answer(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images.append(image)
        return torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 4)

    def binary_loss(_logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        masks.append(target[0, 0] > 0)
        return torch.zeros(())

    def set_loss(_masks: Any, _classes: Any, targets: Any, *_: Any) -> torch.Tensor:
        masks.append(targets[0].masks[targets[0].classes.tolist().index(1)] > 0)
        return torch.zeros(())

    monkeypatch.setattr(task, "_answer", answer)
    monkeypatch.setitem(BINARY_LOSSES, "structure", binary_loss)
    monkeypatch.setattr(paper_tasks, "set_loss", set_loss)
    for seed in range(20):
        task.loss(pair, torch.Generator().manual_seed(seed))
    assert_mirrored_alike(list(zip(images, masks, strict=True)))


def test_labels_of_boxes_are_mirrored_with_their_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = find_pairs(write_pictures(tmp_path, 1))[0]
    task, seen = task_of("cobot/nwpu", natural=False), []

    def answers(image: torch.Tensor, labels: np.ndarray, *_: Any) -> list[Any]:
        seen.append((image, torch.from_numpy(labels > 0)))
        return []

    monkeypatch.setattr(task, "_answers", answers)
    for seed in range(20):
        task.loss(pair, torch.Generator().manual_seed(seed))
    assert_mirrored_alike(seen)


@pytest.mark.parametrize("key", ["conv-lora/kvasir", "cobot/adome"])
def test_nothing_is_mirrored_when_testing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    pair = find_pairs(write_pictures(tmp_path, 1))[0]
    task, seen = task_of(key), []
    normalise = task.sam.normalise
    monkeypatch.setattr(task.sam, "normalise", lambda image: seen.append(image) or normalise(image))
    with torch.no_grad():
        for _ in range(8):
            task.scores([pair])
    assert not any(is_mirrored(image[0, 0] > 0.59) for image in seen)
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("key", "training", "testing"), [("cobot/adome", 19, 19), ("cobot/nwpu", 49, 0), ("cobot/sonar", 49, 0)]
)
def test_how_loose_boxes_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, training: int, testing: int
) -> None:
    """Medical boxes are loose in training and in the test, those of natural images in training alone."""
    pair = find_pairs(write_pictures(tmp_path, 1))[0]
    task, seen = task_of(key), []

    def watched(region: np.ndarray, jitter: int, numbers: np.random.Generator) -> np.ndarray:
        seen.append(jitter)
        return loose_box(region, jitter, numbers)

    monkeypatch.setattr(paper_tasks, "loose_box", watched)
    with torch.no_grad():
        task.loss(pair, torch.Generator().manual_seed(0))
        task.scores([pair])
    assert seen == [training, testing]


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


def test_s_e_and_f_are_of_the_stretched_prediction_and_e_is_the_mean() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((20, 20), bool)
    truth[4:12, 5:15] = True
    probability = 0.2 + 0.3 * truth + 0.2 * rng.random(truth.shape)
    stretched = (probability - probability.min()) / (probability.max() - probability.min())
    kinds = [paper_metrics.e_measure(stretched, truth, kind) for kind in ("mean", "max", "adaptive")]
    assert len({*kinds}) == 3
    assert ON_PROBABILITIES["E"](probability, truth) == kinds[0]
    assert ON_PROBABILITIES["S"](probability, truth) == paper_metrics.s_measure(stretched, truth)
    assert ON_PROBABILITIES["weighted-F"](probability, truth) == paper_metrics.weighted_f_measure(
        stretched, truth
    )


@pytest.mark.parametrize("key", ["conv-lora/sbu", "cobot/adome"])
def test_what_is_trained_beside_the_encoder(key: str) -> None:
    """SAM-COBOT trains the whole mask decoder, Conv-LoRA a trimmed one without the head of the IoU."""
    with torch.device("meta"):
        sam = build_vit(VIT_SHAPES["vit_b"], 1024, "vit_b")
        task = build_task(sam, row_of(key), AdapterConfig("decoder-only"), 2)
    named = trainable(task)
    count = sum(parameter.numel() for parameter in named.values())
    if key.startswith("cobot"):
        assert isinstance(task, WithBoxes)
        assert count == 4_058_340
        assert all(name.startswith("sam.mask_decoder.") for name in named)
    else:
        assert isinstance(task, WithoutPrompts)
        assert count == 3_505_536
        assert all(name.startswith("decoder.trimmed.") for name in named)
        assert not any("iou_prediction_head" in name for name in named)
