from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.random_fields import Draw, Slices, smooth
from training.raster import Canvas, make_grid
from training.shapes import draw_phantom
from training.synthetic import LABELS, LOOKS, organ_of, synthetic_batch, synthetic_volumes
from training.tables import FIRST, GROUPS, TUBE_FIELDS, Phantom
from training.tissues import draw_tissues


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch():
    return synthetic_batch(110, 40, seeded(0))


@pytest.fixture(scope="module")
def volumes():
    return synthetic_volumes(6, 4, 40, seeded(1))


@settings(max_examples=4, deadline=None)
@given(count=st.integers(1, 4), size=st.integers(32, 64), seed=st.integers(0, 2**31))
def test_images_and_labels_are_bounded(count: int, size: int, seed: int) -> None:
    batch = synthetic_batch(count, size, seeded(seed))
    assert batch.images.shape == (count, 3, size, size)
    assert batch.images.dtype == torch.float32
    assert batch.labels.shape == (count, size, size)
    assert batch.labels.dtype == torch.int64
    assert torch.isfinite(batch.images).all()
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    assert batch.labels.min() >= 0
    assert batch.labels.max() < LABELS < 128


def test_the_same_state_gives_the_same_images() -> None:
    one, two, other = (synthetic_batch(4, 32, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)
    assert not torch.equal(one.images, other.images)


def test_an_empty_batch() -> None:
    assert synthetic_batch(0, 32, seeded(0)).images.shape == (0, 3, 32, 32)


def test_every_look_and_kind_of_structure_occurs(batch) -> None:
    assert set(batch.looks.tolist()) == set(range(len(LOOKS)))
    found = set(batch.labels.unique().tolist())
    assert {0, 1, 2, 3} <= found
    for name, number in GROUPS.items():
        assert found & set(range(FIRST[name], FIRST[name] + 2 * number, 2)), name
    assert any(label % 2 for label in found if label > 3)


def test_images_are_not_flat(batch) -> None:
    spread = batch.images.std((1, 2, 3))
    assert (spread > 0.03).float().mean() > 0.9


def test_some_images_show_three_slices(batch) -> None:
    grey = batch.looks != LOOKS.index("colour")
    apart = (batch.images[:, 0] != batch.images[:, 2]).flatten(1).any(1)
    assert 0.04 < apart[grey].float().mean() < 0.25


def test_a_wall_and_its_inside_belong_to_one_organ() -> None:
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 94, 95])
    assert organ_of(labels).tolist() == [0, 1, 2, 2, 4, 4, 94, 94]


def test_what_is_inside_a_tube_lies_within_its_wall() -> None:
    draw = Draw(seeded(0), torch.device("cpu"))
    one = torch.zeros(1)
    slices = Slices(one.long(), one, one, 64)
    phantom = draw_phantom(draw, one.long(), one)
    body = replace(phantom.body, ry=one + 9, rx=one + 9, layers=torch.zeros(1, 2))
    tube = {"label": 60.0, "ax": -0.5, "dx": 1.0, "start": 0.25, "end": 0.25, "wall": 0.5, "present": 1.0}
    tubes = torch.tensor([[[tube.get(name, 0.0) for name in TUBE_FIELDS]]])
    canvas = Canvas(make_grid(draw, slices, one, one + 1), Phantom(body, phantom.solids, tubes, one), one > 0)
    canvas.tubes()
    across = canvas.labels()[0, :, 32]
    assert across.unique_consecutive().tolist() == [1, 60, 61, 60, 1]
    assert int((across >= 60).sum()) == pytest.approx(16, abs=3)


def test_touching_labels_differ_by_a_share_of_the_noise() -> None:
    draw = Draw(seeded(0), torch.device("cpu"))
    batch = synthetic_batch(40, 48, seeded(5))
    slices = Slices(torch.arange(40), torch.zeros(40), torch.zeros(40), 48)
    tissues = draw_tissues(draw, batch.looks, batch.labels, slices)
    value = tissues.means.gather(1, batch.labels.flatten(1)).view_as(batch.labels)
    edge = batch.labels[:, :, 1:] != batch.labels[:, :, :-1]
    step = (value[:, :, 1:] - value[:, :, :-1]).abs()
    least = 0.5 * tissues.noise.view(-1, 1, 1).expand_as(step)
    assert (step >= least)[edge].float().mean() > 0.9


def test_labels_keep_their_ids_from_slice_to_slice(volumes) -> None:
    assert volumes.images.shape == (6, 4, 3, 40, 40)
    assert volumes.labels.shape == (6, 4, 40, 40)
    same = (volumes.labels[:, 1:] == volumes.labels[:, :-1]).flatten(1).float().mean(1)
    assert same.mean() > 0.7
    assert (same < 1).any()


def test_a_label_looks_alike_in_every_slice(volumes) -> None:
    labels, images = volumes.labels, volumes.images.mean(2)
    differences = []
    for volume, look in enumerate(volumes.looks.tolist()):
        if LOOKS[look] in ("ultrasound", "xray"):
            continue
        for label in labels[volume].unique().tolist():
            there = labels[volume] == label
            if (there.flatten(1).sum(1) > 60).all():
                means = [float(images[volume, z][there[z]].mean()) for z in range(4)]
                differences.append(max(means) - min(means))
    assert len(differences) > 5
    assert sum(differences) / len(differences) < 0.08


def test_the_noise_differs_from_slice_to_slice(volumes) -> None:
    assert not torch.equal(volumes.images[:, 0], volumes.images[:, 1])


def test_smooth_noise_has_unit_variance_and_is_coherent() -> None:
    draw = Draw(seeded(2), torch.device("cpu"))
    owner = torch.arange(30).repeat_interleave(2)
    slices = Slices(owner, torch.tensor([0.0, 0.05]).repeat(30), torch.full((30,), 0.05), 32)
    field = smooth(draw, slices, 2, 4)
    assert field.std() == pytest.approx(1, abs=0.15)
    assert (field[0::2] - field[1::2]).std() < 0.4
