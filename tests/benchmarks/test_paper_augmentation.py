"""The augmentation of SAM-COBOT's rows of natural images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from paper_augmentation import augment, draw_warp, letterbox
from paper_data import find_pairs
from paper_figures import COBOT_SETS
from paper_rows import MEDICAL_SETS, ROWS, row_of
from paper_tasks import build_task

from napari_samadapt.learning import adapters

from ..learning.conftest import make_tiny_sam
from .conftest import write_pictures


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def object_and_picture(height: int, width: int) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """A bright corner of class 3, so that no turn or mirror leaves it as it is; (1, 3, H, W) and (H, W)."""
    labels = np.zeros((height, width), np.int64)
    labels[height // 4 : height // 2, width // 4 : -width // 4] = 3
    labels[height // 2 : -height // 4, width // 4 : width // 2] = 3
    return torch.from_numpy(0.3 + 0.15 * labels).float()[None, None].repeat(1, 3, 1, 1), labels


@pytest.mark.parametrize("seed", range(8))
def test_mask_and_image_stay_aligned(seed: int) -> None:
    image, labels = object_and_picture(64, 64)
    moved, numbers = augment(image, labels, seeded(seed))
    assert moved.shape == image.shape
    assert set(np.unique(numbers)) == {0, 3}
    assert not np.array_equal(numbers, labels)
    np.testing.assert_array_equal((moved == moved.max())[0, 0].numpy(), numbers == 3)
    assert 0 <= moved.min() < moved.max() <= 1


def test_the_seed_decides() -> None:
    image, labels = object_and_picture(64, 64)
    first, again, other = (augment(image, labels, seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_turns_and_crops_are_as_far_as_the_official_code_has_them() -> None:
    """Up to 30 degrees, 0.6 to 1 of the area, 3 : 4 to 4 : 3, inside the turned square; all of it is used."""
    angles, areas, aspects = [], [], []
    for seed in range(300):
        warp = draw_warp(seeded(seed)).double()
        width, height = warp[:, 0].norm().item(), warp[:, 1].norm().item()
        angle = math.atan2(warp[1, 0], warp[0, 0])
        turn = torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        ).double()
        centre = turn.T @ warp[:, 2]
        assert torch.allclose(
            turn.T @ warp[:, :2], torch.diag(torch.tensor([width, height]).double()), atol=1e-6
        )
        assert abs(centre[0]) + width <= 1 + 1e-6
        assert abs(centre[1]) + height <= 1 + 1e-6
        angles.append(math.degrees(angle))
        areas.append(width * height)
        aspects.append(width / height)
    for found, (low, high), slack in (
        (angles, (-30, 30), 3), (areas, (0.6, 1), 0.05), (aspects, (3 / 4, 4 / 3), 0.05),
    ):  # fmt: skip
        assert low - 1e-5 <= min(found) < low + slack
        assert high - slack < max(found) <= high + 1e-5


def test_colours_change_by_a_fifth() -> None:
    """A plain picture keeps its colour's mean under contrast: what is left is the brightness, 0.8 to 1.2."""
    image, labels = torch.full((1, 3, 32, 32), 0.5), np.ones((32, 32), np.int64)
    means = []
    for seed in range(100):
        moved, numbers = augment(image, labels, seeded(seed))
        means.append(moved[0, 0][torch.from_numpy(numbers == 1)].mean().item() / 0.5)
    assert 0.7 < min(means) < 0.85
    assert 1.15 < max(means) < 1.3


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (24, 32), (128, 96)])
def test_a_letterbox_has_the_picture_in_its_middle(height: int, width: int) -> None:
    image, labels = object_and_picture(height, width)
    square, numbers = letterbox(image, labels, 64)
    assert square.shape == (1, 3, 64, 64)
    inside = np.zeros((64, 64), bool)
    middle, whole = slice(8, 56), slice(0, 64)
    inside[(middle, whole) if width > height else (whole, middle)] = True
    np.testing.assert_array_equal(square[0, 0].numpy() > 0, inside)
    assert not numbers[~inside].any()
    np.testing.assert_array_equal(square[0, 0].numpy() > 0.525, numbers == 3)


def test_the_rows_of_natural_images_have_it() -> None:
    natural = {key for key, row in ROWS.items() if row.schedule.natural}
    assert natural == {f"cobot/{name}" for name in COBOT_SETS if name not in MEDICAL_SETS}


@pytest.mark.parametrize("natural", [True, False])
def test_it_is_in_the_training_and_not_in_the_test(tmp_path: Path, natural: bool) -> None:
    """Without mirrored pictures and loose boxes nothing else is drawn."""
    row = row_of("cobot/nwpu")
    row = replace(row, schedule=replace(row.schedule, natural=natural, flips=False, jitter=0))
    pair = find_pairs(write_pictures(tmp_path, 1))[0]
    task = build_task(make_tiny_sam(), row, adapters.AdapterConfig("decoder-only"), 2).eval()
    with torch.no_grad():
        first, again, other = (task.loss(pair, seeded(seed)).item() for seed in (1, 1, 2))
        assert task.scores([pair]) == task.scores([pair])
    assert first == again
    assert (first != other) == natural
