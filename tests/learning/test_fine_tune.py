from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune, held_out_dice
from napari_samadapt.learning.predict import encode_slice, prompted_logits
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.samples import TrainingSample, augment, stack_samples
from napari_samadapt.learning.semantic import DECODERS, SemanticSam, segment_slice


def disc_samples(count: int = 3, side: int = 40) -> list[TrainingSample]:
    """A bright disc (id 7) and a grey square (id 40) on a dark, noisy ground."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(count):
        y, x = np.mgrid[:side, :side]
        labels = np.zeros((side, side), dtype=np.uint16)
        labels[(y - 14 - index) ** 2 + (x - 13) ** 2 < 64] = 7
        labels[24:36, 22 + index : 34] = 40
        image = 0.1 + 0.7 * (labels == 7) + 0.35 * (labels == 40) + 0.03 * rng.standard_normal(labels.shape)
        samples.append(TrainingSample(SliceKey(0, index), image.clip(0, 1).astype(np.float32), labels))
    return samples


def make_model(
    sam: PromptableSam, method: str = "conv-lora", decoder: str = "detail", *, prompts: bool = False
) -> SemanticSam:
    torch.manual_seed(0)
    adapters.insert(sam, AdapterConfig(method, prompts=prompts))
    return SemanticSam(sam, (7, 40), decoder)


@pytest.mark.parametrize("method", ["conv-lora", "cobot-lora", "decoder-only"])
def test_it_learns_a_disc_and_a_square(tiny_sam, method: str) -> None:
    model = make_model(tiny_sam, method)
    *training, unseen = disc_samples(4)
    before = held_out_dice(model, [unseen])
    *_, last = fine_tune(model, training, FineTuneConfig(seconds=None, steps=60), [unseen])
    assert last.step == 60
    assert last.fraction == 1.0
    assert last.held_out_dice is not None
    assert last.held_out_dice > before
    assert held_out_dice(model, [unseen]) > 0.9
    labels, _ = segment_slice(model, unseen.image)
    assert (labels == unseen.labels).mean() > 0.95


@pytest.mark.parametrize(
    ("class_ids", "dice"), [(None, (0.5 + 0.0) / 2), ({7}, 0.5), ({40}, 0.0), ({7, 40}, 0.25), (set(), 1.0)]
)
def test_dice_of_some_classes_takes_the_others_for_background(class_ids, dice: float) -> None:
    labels, said = np.array([[7, 7, 0, 0]]), torch.tensor([[[1, 0, 1, 2]]])  # positions of 7 and 40

    def model(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(said, 3).movedim(-1, 1)

    model.class_ids, model.sam = (7, 40), SimpleNamespace(device="cpu")
    sample = TrainingSample(SliceKey(0, 0), np.zeros((1, 4), np.float32), labels)
    assert held_out_dice(model, [sample], class_ids) == pytest.approx(dice)


@pytest.mark.parametrize(("class_ids", "weight"), [((7,), 1.0), ((7, 40), 2.0)])
def test_the_load_balance_weighs_as_in_the_paper(tiny_sam, monkeypatch, class_ids, weight: float) -> None:
    adapters.insert(tiny_sam, AdapterConfig("conv-lora"))
    model = SemanticSam(tiny_sam, class_ids)
    monkeypatch.setattr(adapters, "pop_balance_loss", lambda _sam: torch.tensor(0.25))
    first = next(fine_tune(model, disc_samples(1), FineTuneConfig(seconds=None, steps=1)))
    assert dict(first.parts)["balance"] == pytest.approx(0.25 * weight)


def test_queries_learn_by_the_same_loop(tiny_sam) -> None:
    """The tiny SAM's decoder has random weights, so it takes more steps than are made here; but the loss falls."""
    model = make_model(tiny_sam, "lora", "queries")
    progress = list(fine_tune(model, disc_samples(2), FineTuneConfig(seconds=None, steps=40)))
    losses = [p.loss for p in progress]
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])
    of_adapters = next(p for p in progress if len(p.parts) > 3)
    assert [name for name, _ in of_adapters.parts] == ["classes", "entropy", "dice", "prompted", "balance"]
    assert of_adapters.loss == pytest.approx(sum(part for _, part in of_adapters.parts[:3]))
    labels, _ = segment_slice(model, disc_samples()[0].image)
    assert labels.shape == (40, 40)
    assert set(np.unique(labels)) <= {0, 7, 40}


@pytest.mark.parametrize(
    ("steps", "adapters_from", "joined"),
    [(24, 2 / 3, [17, 21]), (24, 0.0, [1, 5, 9, 13, 17, 21]), (1, 2 / 3, [1]), (5, 2 / 3, [5])],
)
def test_adapters_join_when_the_decoder_knows_its_classes(tiny_sam, steps, adapters_from, joined) -> None:
    model = make_model(tiny_sam, "lora")
    config = FineTuneConfig(seconds=None, steps=steps, adapters_from=adapters_from)
    before = adapters.state(model)
    told = list(fine_tune(model, disc_samples(2), config))
    assert [p.step for p in told if "prompted" in dict(p.parts)] == joined
    changed = [name for name, tensor in adapters.state(model).items() if not tensor.equal(before[name])]
    assert any(not name.startswith("decoder.") for name in changed), "the adapters learned"


@pytest.mark.parametrize("method", ["decoder-only", "ssf"])
def test_queries_read_the_finer_features_of_mini_from_the_pool(method: str) -> None:
    """With SSF they are encoded anew, with frozen blocks they come as they are."""
    model = make_model(load_sam("mini"), method, "queries")
    config = FineTuneConfig(seconds=None, steps=2, batch_size=1)
    assert [p.step for p in fine_tune(model, disc_samples(1), config)] == [1, 2]


@pytest.mark.parametrize(("method", "prompts"), [*((m, False) for m in adapters.METHODS), ("lora", True)])
def test_a3_only_adapters_and_the_decoders_change(tiny_sam, method: str, prompts: bool) -> None:
    originals = [(tensor, tensor.clone()) for tensor in tiny_sam.state_dict(keep_vars=True).values()]
    model = make_model(tiny_sam, method, prompts=prompts)
    own = ("decoder.", "sam.image_encoder.", *(["sam.mask_decoder."] if prompts else []))
    assert all(name.startswith(own) for name in adapters.trainable(model))
    assert not any("iou_token." in name or "mask_tokens." in name for name in adapters.trainable(model))
    for _ in fine_tune(model, disc_samples(), FineTuneConfig(seconds=None, steps=4)):
        pass
    assert not any(tensor.requires_grad for tensor, _ in originals)
    assert all(torch.equal(tensor, before) for tensor, before in originals)


def test_the_same_seed_gives_the_same_weights(tiny_sam) -> None:
    losses = []
    for _ in range(2):
        adapters.remove(tiny_sam)
        model = make_model(tiny_sam)
        torch.manual_seed(1)
        losses.append(
            [p.loss for p in fine_tune(model, disc_samples(), FineTuneConfig(seconds=None, steps=4))]
        )
    assert losses[0] == losses[1]


def test_it_can_be_stopped_between_steps_and_is_then_usable(tiny_sam) -> None:
    model = make_model(tiny_sam)
    steps = fine_tune(model, disc_samples(), FineTuneConfig(seconds=1000))
    assert [p.step for p in islice(steps, 2)] == [1, 2]
    steps.close()
    assert not model.training
    segment_slice(model, disc_samples()[0].image)


def test_a_time_box_ends_the_episode(tiny_sam) -> None:
    model = make_model(tiny_sam, "decoder-only")
    *_, last = fine_tune(model, disc_samples(), FineTuneConfig(seconds=0.001))
    assert last.step == 1


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_loss_that_is_not_finite_is_raised(tiny_sam, decoder: str) -> None:
    model = make_model(tiny_sam, decoder=decoder)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="nan"):
        next(fine_tune(model, disc_samples(), FineTuneConfig(steps=1)))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no accepted slice"),
        (disc_samples(1) + disc_samples(1, side=32), "differ in size"),
    ],
)
def test_samples_that_cannot_train_are_refused(tiny_sam, samples: list, message: str) -> None:
    with pytest.raises(SamAdaptError, match=message):
        next(fine_tune(make_model(tiny_sam), samples, FineTuneConfig(steps=1)))


@pytest.mark.parametrize(("seconds", "steps"), [(None, None), (0, None), (None, 0), (-1, 5)])
def test_a_fine_tune_needs_a_limit(seconds: float | None, steps: int | None) -> None:
    with pytest.raises(SamAdaptError, match="give"):
        FineTuneConfig(seconds=seconds, steps=steps)


def test_samples_become_positions_and_other_ids_background() -> None:
    data = stack_samples(disc_samples(2), (40,), "cpu")
    assert data.images.shape == (2, 3, 40, 40)
    assert data.targets.unique().tolist() == [0, 1]
    assert int(data.targets[0].sum()) == int((disc_samples()[0].labels == 40).sum())


def test_augmentation_moves_image_and_labels_together() -> None:
    labels = disc_samples(1)[0].labels
    sample = TrainingSample(SliceKey(0, 0), (labels == 7).astype(np.float32), labels)
    data = stack_samples([sample] * 8, (7,), "cpu")
    moved = augment(data, torch.Generator().manual_seed(0))
    assert not torch.equal(moved.targets[0], moved.targets[1])
    for image, target in zip(moved.images[:, 0], moved.targets, strict=True):
        disc, ground = image[target == 1].mean(), image[target == 0].mean()
        assert disc - ground > 0.5


def test_the_twin_trains_without_touching_the_live_model(tiny_sam) -> None:
    live = make_model(tiny_sam, prompts=True)
    image = disc_samples()[0].image
    box = Prompts(box=np.array([10.0, 10, 30, 30]))

    def answered() -> torch.Tensor:
        return prompted_logits(tiny_sam, encode_slice(tiny_sam, image), box, multimask=False)[0].detach()

    before, answer = live(torch.from_numpy(image)[None, None].expand(-1, 3, -1, -1)), answered()
    copy = adapters.twin(live)
    shared = {n: p.data_ptr() for n, p in live.named_parameters() if not p.requires_grad}
    assert all(dict(copy.named_parameters())[n].data_ptr() == pointer for n, pointer in shared.items())
    for _ in fine_tune(copy, disc_samples(), FineTuneConfig(seconds=None, steps=4)):
        during = live(torch.from_numpy(image)[None, None].expand(-1, 3, -1, -1))
        assert torch.equal(during, before)
        assert torch.equal(answered(), answer)
    adapters.load(live, adapters.state(copy))
    assert not torch.equal(answered(), answer)
    assert not torch.equal(live(torch.from_numpy(image)[None, None].expand(-1, 3, -1, -1)), before)


def test_held_out_slices_are_measured_once_and_then_join(tiny_sam) -> None:
    model = make_model(tiny_sam, "decoder-only")
    *training, unseen = disc_samples(3)
    config = FineTuneConfig(seconds=None, steps=10, hold_out_until=0.5)
    measured = [p.held_out_dice for p in fine_tune(model, training, config, [unseen])]
    assert measured[:4] == [None] * 4
    assert len(set(measured[4:])) == 1
    assert measured[-1] is not None


def test_time_spent_suspended_does_not_count(tiny_sam) -> None:
    clock = iter(range(100))
    config = FineTuneConfig(seconds=4, clock=lambda: float(next(clock)))
    seconds = []
    for progress in fine_tune(make_model(tiny_sam, "decoder-only"), disc_samples(), config):
        seconds.append(progress.seconds)
        next(clock)  # somebody pauses here
    assert seconds == [2.0, 3.0, 4.0], "the first second is the start in closed form"
