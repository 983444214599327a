"""What is joined from slice to slice: weights by distance, a geometric mean, given slices, as many maps as needed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_samadapt.imaging.volume import Source, Volume
from napari_samadapt.learning.neighbours import LARGEST_BYTES, LEAST_WEIGHT, Neighbours, slice_weights

IDS = (2, 7)


def maps(seed: int, shape: tuple[int, int] = (3, 4)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.9 * torch.randn(3, *shape, generator=generator).softmax(0) + 0.1 / 3


def volume_of(dz: float, *, spatial: bool = True) -> Volume:
    return Volume(np.zeros((4, 5, 6)), np.diag([1.0, 1.0, dz, 1.0]), source=Source(spatial=spatial))


@pytest.mark.parametrize(
    ("dz", "reach", "first"),
    [
        (3.0, 3, np.exp(-0.5 * (3 / 4) ** 2)),
        (6.0, 1, np.exp(-0.5 * (6 / 4) ** 2)),
        (1.0, 7, np.exp(-0.5 * (1 / 3) ** 2)),  # no more than three slices for one standard deviation
        (0.1, 7, np.exp(-0.5 * (1 / 3) ** 2)),
        (12.0, 0, None),
    ],
)
def test_weights_fall_with_the_distance_in_mm(dz, reach, first):
    weights = slice_weights(volume_of(dz), 0, 2)
    assert len(weights) == reach + 1
    assert weights[0] == 1.0
    assert all(weight >= LEAST_WEIGHT for weight in weights)
    if first is not None:
        assert weights[1] == pytest.approx(first)


def test_slices_without_a_distance_stand_alone():
    assert slice_weights(volume_of(1.0, spatial=False), 0, 2) == (1.0,)


@pytest.mark.parametrize(("classes", "reach"), [(1, 7), (30, 7), (60, 3), (117, 1), (400, 0)])
@pytest.mark.parametrize("axis", [0, 2])
def test_with_many_classes_on_large_slices_fewer_neighbours_count(classes, reach, axis):
    """The maps that are kept, float16, never take more than their share of the memory."""
    shape = tuple(np.roll([4, 512, 512], axis))
    volume = Volume(np.broadcast_to(np.zeros((), np.int16), shape), np.eye(4))
    assert len(slice_weights(volume, axis, classes)) == reach + 1
    assert reach == 0 or (4 * reach + 2) * 2 * (classes + 1) * 512 * 512 <= LARGEST_BYTES


def test_a_slice_is_the_weighted_geometric_mean_of_its_neighbours():
    around = Neighbours((1.0, 0.5, 0.2), IDS)
    for index in range(5):
        around.put(index, maps(index))
    logs = torch.stack([maps(index).log() for index in range(5)])
    expected = torch.einsum("s,schw->chw", torch.tensor([0.2, 0.5, 1.0, 0.5, 0.2]) / 2.4, logs).softmax(0)
    torch.testing.assert_close(around.mixed(2), expected, rtol=0, atol=2e-3)
    at_the_end = torch.einsum("s,schw->chw", torch.tensor([1.0, 0.5, 0.2]) / 1.7, logs[:3]).softmax(0)
    torch.testing.assert_close(around.mixed(0), at_the_end, rtol=0, atol=2e-3)


def test_alone_it_is_what_the_decoder_says():
    around = Neighbours((1.0, 0.5), IDS)
    around.put(9, maps(0))
    torch.testing.assert_close(around.mixed(9), maps(0), rtol=0, atol=2e-3)


def test_a_given_slice_speaks_for_its_ids_and_not_for_itself():
    around = Neighbours((1.0, 0.9), IDS)
    undecided = torch.full((3, 1, 3), 1 / 3)
    around.put(1, undecided)
    around.put(2, undecided)
    around.given = {2: np.array([[0, 7, 99]], np.uint16)}  # 99 is no class of the model: nothing is said
    said = around.mixed(1)
    assert said.argmax(0)[0, :2].tolist() == [0, 2]
    torch.testing.assert_close(said[:, 0, 2], torch.full((3,), 1 / 3))
    torch.testing.assert_close(around.mixed(2), undecided)


def test_a_given_slice_is_one_of_a_sure_decoder_and_unknown_ids_weaken_nothing():
    """The smallest probability that counts is 0.001."""
    labels = np.random.default_rng(0).choice(np.array([0, 2, 7], np.uint16), (3, 4))
    sure = torch.from_numpy(np.stack([labels == one for one in (0, *IDS)])).float()
    told, said = Neighbours((1.0, 0.9), IDS), Neighbours((1.0, 0.9), IDS)
    for around in (told, said):
        around.put(1, maps(3))
    told.given = {2: labels}
    said.put(2, sure)
    torch.testing.assert_close(told.mixed(1), said.mixed(1), rtol=0, atol=2e-3)
    alone = told.mixed(1).clone()
    told.given = {2: np.full((3, 4), 65535, np.uint16)}
    torch.testing.assert_close(told.mixed(1), maps(3), rtol=0, atol=2e-3)
    assert not torch.allclose(alone, maps(3), atol=1e-2)


def test_it_is_known_where_a_neighbour_had_to_go():
    around = Neighbours((1.0, 0.5), IDS)  # keeps six
    for index in range(8):
        around.put(index, maps(index))
    assert [index for index in range(8) if around.knows_around(index)] == [3, 4, 5, 6, 7]
    around.given = {1: np.zeros((3, 4), np.uint16)}
    assert around.knows_around(2), "what is given needs not be known otherwise"
    around.given = {}
    around.put(1, maps(1))
    assert [index for index in range(8) if around.knows_around(index)] == [4, 5, 6, 7]


@given(reach=st.integers(0, 4), start=st.integers(0, 19))
def test_going_outwards_nothing_needed_is_forgotten(reach, start):
    """From any slice, one step on each side in turn: what completes a slice is still there."""
    around, seen, whole = Neighbours((1.0,) * (reach + 1), IDS), set(), set()
    for index in sorted(range(20), key=lambda index: (abs(index - start), index)):
        around.put(index, maps(index, (1, 1)))
        seen.add(index)
        for other in range(max(0, index - reach), min(20, index + reach + 1)):
            needed = set(range(max(0, other - reach), min(20, other + reach + 1)))
            if needed <= seen:
                assert all(one in around for one in needed)
                whole.add(other)
    assert whole == set(range(20))
    assert sum(index in around for index in range(20)) <= 4 * reach + 2
