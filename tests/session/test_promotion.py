"""Which slices an update is judged by, and when it is kept back."""

from dataclasses import replace

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
from napari_samadapt.session.promotion import (
    CONTRADICTS,
    EVERY,
    KEPT,
    KEPT_BYTES,
    STRICT,
    TOLERANCE,
    Earlier,
    known_classes,
    objection,
    split,
)


def samples_of(*indices: int) -> list[TrainingSample]:
    empty = np.zeros((4, 4))
    return [TrainingSample(SliceKey(0, i), empty.astype(np.float32), empty.astype(np.int64)) for i in indices]


def keys_of(*indices: int) -> set[SliceKey]:
    return {SliceKey(0, index) for index in indices}


def numbers(samples) -> list[int]:
    return [sample.key.index for sample in samples]


@given(st.integers(0, 30), st.integers(0, 5), st.integers(0, 100))
def test_only_what_the_model_in_use_has_learned_judges(known: int, new: int, turn: int) -> None:
    samples = samples_of(*range(known + new))
    parts = split(samples, keys_of(*range(known)), turn)
    assert set(numbers(parts.training)) >= set(range(known, known + new))
    assert set(numbers(parts.training)) | set(numbers(parts.judges)) == set(range(known + new))
    assert (len(parts.judges) > 0) == (known > 0)
    if known >= EVERY:
        assert set(numbers(parts.training)).isdisjoint(numbers(parts.judges))
        assert known // EVERY <= len(parts.judges) <= -(-known // EVERY)


def test_every_known_slice_is_learned_from_in_its_turn() -> None:
    samples, known = samples_of(*range(9)), keys_of(*range(8))
    learned = [set(numbers(split(samples, known, turn).training)) for turn in range(EVERY)]
    judges = [set(numbers(split(samples, known, turn).judges)) for turn in range(EVERY)]
    assert set.union(*judges) == set(range(8))
    assert sum(map(len, judges)) == 8, "each judges once a round"
    assert set.union(*learned) == set(range(9))


def test_few_slices_judge_although_they_are_learned_from() -> None:
    parts = split(samples_of(3, 9, 12), keys_of(3, 9), 1)
    assert numbers(parts.training) == [3, 9, 12]
    assert numbers(parts.judges) == [3, 9]


def test_classes_that_only_new_slices_show_are_not_known() -> None:
    def showing(index: int, *ids: int) -> TrainingSample:
        return replace(samples_of(index)[0], labels=np.resize([0, *ids], (4, 4)))

    samples = (showing(1, 2), showing(2, 2, 5), showing(3, 7))
    assert known_classes(samples, samples[2:]) == {2, 5}


AGREES, CONTRADICTING = {SliceKey(0, 17): 0.5}, {SliceKey(0, 17): 0.5, SliceKey(0, 21): CONTRADICTS / 2}


@pytest.mark.parametrize(
    ("after", "agreement", "suspects"),
    [
        (0.95, AGREES, None),
        (0.95, CONTRADICTING, None),
        (0.9 - TOLERANCE + 1e-6, AGREES, None),
        (0.9 - TOLERANCE - 1e-6, AGREES, {17}),
        (0.9 - STRICT + 1e-6, CONTRADICTING, None),
        (0.9 - STRICT - 1e-6, CONTRADICTING, {21}),
        (float("nan"), AGREES, {17}),
        (0.1, {}, set()),
    ],
)
def test_an_update_may_not_lose_dice(after: float, agreement: dict, suspects: set[int] | None) -> None:
    said = objection(0.9, after, [SliceKey(0, 4), SliceKey(0, 8)], agreement)
    if suspects is None:
        assert said is None
        return
    assert said is not None
    assert {key.index for key in said.suspects} == suspects
    assert "slices 4, 8" in said.reason
    for index in suspects:
        assert f"slice {index} is left out until you correct and accept it" in said.reason


def test_several_slices_that_are_left_out_are_told_as_several() -> None:
    said = objection(0.9, 0.1, [SliceKey(0, 4)], {SliceKey(0, 17): 0.5, SliceKey(0, 3): 0.5})
    assert said is not None
    assert "on slice 4 Dice" in said.reason
    assert "slices 3, 17 are left out until you correct and accept them" in said.reason


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
