"""Which slices an update is judged by, and when it is kept back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.session.messages import Origin
from napari_samadapt.session.promotion import EVERY, KEPT, KEPT_BYTES, TOLERANCE, Earlier, objection, split


def samples_of(*indices: int) -> list[TrainingSample]:
    empty = np.zeros((4, 4))
    return [TrainingSample(SliceKey(0, i), empty.astype(np.float32), empty.astype(np.int64)) for i in indices]


def numbers(samples) -> list[int]:
    return [sample.key.index for sample in samples]


@given(st.integers(0, 30), st.integers(0, 5), st.integers(0, 100))
def test_new_slices_are_always_learned_from(known: int, new: int, turn: int) -> None:
    samples = samples_of(*range(known + new))
    parts = split(samples, samples[known:], turn)
    assert set(numbers(parts.training)) >= set(range(known, known + new))
    assert set(numbers(parts.training)) | set(numbers(parts.judges)) == set(range(known + new))
    assert (len(parts.judges) > 0) == (known > 0)
    if known >= EVERY:
        assert set(numbers(parts.training)).isdisjoint(numbers(parts.judges))
        assert known // EVERY <= len(parts.judges) <= -(-known // EVERY)


def test_every_known_slice_is_learned_from_in_its_turn() -> None:
    samples = samples_of(*range(9))
    learned = [set(numbers(split(samples, samples[8:], turn).training)) for turn in range(EVERY)]
    judges = [set(numbers(split(samples, samples[8:], turn).judges)) for turn in range(EVERY)]
    assert set.union(*judges) == set(range(8))
    assert sum(map(len, judges)) == 8, "each judges once a round"
    assert set.union(*learned) == set(range(9))


def test_few_slices_judge_although_they_are_learned_from() -> None:
    samples = samples_of(3, 9, 12)
    parts = split(samples, samples[2:], 1)
    assert numbers(parts.training) == [3, 9, 12]
    assert numbers(parts.judges) == [3, 9]


@pytest.mark.parametrize(
    ("before", "after", "kept_back"),
    [
        (0.9, 0.95, False), (0.9, 0.9, False), (0.9, 0.9 - TOLERANCE + 1e-6, False),
        (0.9, 0.85, True), (0.9, float("nan"), True), (0.0, 0.0, False),
    ],
)  # fmt: skip
def test_an_update_may_not_lose_dice(before: float, after: float, kept_back: bool) -> None:
    said = objection(before, after, samples_of(4, 8), samples_of(17))
    assert bool(said) == kept_back
    if kept_back:
        assert "slices 4, 8" in said
        assert "slices 17" in said


@pytest.mark.parametrize(
    ("elements", "kept"),
    [(1, KEPT), (KEPT_BYTES // 8, 2), (KEPT_BYTES, 1)],
)
def test_a_handful_of_adapters_is_kept_and_fewer_large_ones(elements: int, kept: int) -> None:
    earlier = Earlier()
    for version in range(1, KEPT + 3):
        tensors = {"weight": torch.empty(elements, device="meta")}  # 4 bytes each
        earlier.put(AdapterState(version, AdapterConfig(), (1,), tensors), Origin(Window(0.0, 1.0), 0))
    newest = KEPT + 2
    assert [adapter.version for adapter, _ in earlier.kept] == list(range(newest - kept + 1, newest + 1))
