"""SAM's mask decoder that learns a volume's prompts: `AdapterConfig(prompts=True)`."""

from itertools import islice

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.prompts import Prompts, box_of
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard, load_adapter, save_adapter
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune
from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.predict import decode_mask, encode_slice, prompted_logits
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.prompted import _random_region, box_dice, prompted_loss
from napari_samadapt.learning.rehearsal import Rehearsal, sample_slices
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.learning.semantic import DECODERS, SemanticSam

from .conftest import make_tiny_sam
from .test_fine_tune import disc_samples

PICTURE = np.random.default_rng(0).random((64, 50), dtype=np.float32)
BOX = Prompts(box=np.array([5.0, 8, 30, 40]))


def answer(sam: PromptableSam) -> torch.Tensor:
    with torch.no_grad():
        return prompted_logits(sam, encode_slice(sam, PICTURE), BOX, multimask=False)[0]


def tuned(sam: PromptableSam, method: str = "decoder-only") -> PromptableSam:
    """With every change of the mask decoder away from zero."""
    adapters.insert(sam, AdapterConfig(method, prompts=True))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapters.trainable(sam).items():
            if name.startswith("mask_decoder."):
                parameter.add_(0.05 * torch.randn_like(parameter))
    return sam


@pytest.mark.parametrize("make", [make_tiny_sam, lambda: build_mini(64).eval()], ids=["vit", "mini"])
def test_it_begins_as_sam_changes_what_prompts_give_and_can_be_taken_away(make) -> None:
    sam = make()
    before, modules = answer(sam), list(sam.named_modules())
    adapters.insert(sam, AdapterConfig("decoder-only", prompts=True))
    assert torch.equal(answer(sam), before)
    adapters.remove(sam)
    tuned(sam)
    assert not torch.equal(answer(sam), before)
    assert adapters.tune_prompts(sam)
    assert not adapters.change_embeddings(sam)
    assert adapters.first_changed_block(sam) == len(sam.image_encoder.blocks)
    adapters.remove(sam)
    assert list(sam.named_modules()) == modules
    assert torch.equal(answer(sam), before)


def test_it_merges_into_plain_weights(tiny_sam) -> None:
    before = answer(tuned(tiny_sam, "lora"))
    names = set(make_tiny_sam().state_dict())
    adapters.merge(tiny_sam)
    torch.testing.assert_close(answer(tiny_sam), before, rtol=1e-4, atol=1e-4)
    assert set(tiny_sam.state_dict()) == names


@pytest.mark.parametrize("decoder", DECODERS)
def test_it_goes_through_a_file(tmp_path, tiny_sam, decoder: str) -> None:
    config = AdapterConfig("lora", prompts=True, decoder=decoder)
    model = SemanticSam(tuned(tiny_sam, "lora"), (1,), decoder)
    state = AdapterState(1, config, (1,), adapters.state(model))
    card = AdapterCard(tiny_sam.base_sha256, "tiny", 64, config, {1: "disc"}, (0.0, 1.0), "axial")
    loaded, read = load_adapter(save_adapter(tmp_path / "a.safetensors", state, card), make_tiny_sam())
    assert read.config.prompts
    assert torch.equal(answer(loaded.sam), answer(tiny_sam))


def test_an_older_card_leaves_the_mask_decoder_alone() -> None:
    values = AdapterConfig("lora").as_dict()
    del values["prompts"]
    assert AdapterConfig.from_dict(values) == AdapterConfig("lora")


def test_it_can_be_set_in_words() -> None:
    assert AdapterConfig.from_words("lora", ["prompts=false"], prompts=True) == AdapterConfig("lora")
    assert AdapterConfig.from_words("lora", [], prompts=True).prompts
    with pytest.raises(SamAdaptError, match=r"prompts cannot be 3: use true or false\."):
        AdapterConfig.from_words("lora", ["prompts=3"])


def test_another_method_keeps_what_is_not_its_own() -> None:
    before = AdapterConfig("conv-lora", rank=8, last_blocks=2, decoder="queries", prompts=True)
    assert before.of_method("vpt") == AdapterConfig("vpt", last_blocks=2, decoder="queries", prompts=True)


@pytest.mark.parametrize("prompts", [True, False])
def test_a_fine_tune_changes_the_mask_decoder_where_it_is_to_learn(tiny_sam, prompts: bool) -> None:
    adapters.insert(tiny_sam, AdapterConfig("decoder-only", prompts=prompts))
    model, before = SemanticSam(tiny_sam, (7, 40)), answer(tiny_sam)
    steps = list(islice(fine_tune(model, disc_samples(), FineTuneConfig(None, 8)), 8))
    said = {name for step in steps for name, _ in step.parts} & {"prompted", "rehearsed"}
    assert said == ({"prompted", "rehearsed"} if prompts else set())
    assert torch.equal(answer(tiny_sam), before) is not prompts


def test_the_samples_are_embedded_once(tiny_sam, monkeypatch: pytest.MonkeyPatch) -> None:
    model, embedded = SemanticSam(tiny_sam, (1,)), []
    embed = model.embed
    monkeypatch.setattr(model, "embed", lambda image: embedded.append(image) or embed(image))
    rehearsal, rng = Rehearsal(model), torch.Generator().manual_seed(0)
    losses = [rehearsal.loss(rng) for _ in range(40)]
    assert all(loss.isfinite() for loss in losses)
    assert len(embedded) == len({id(image) for image in embedded}) <= len(sample_slices())


@pytest.mark.parametrize("last_blocks", [1, 2])
def test_samples_are_rehearsed_with_the_encoder_that_is_being_changed(tiny_sam, last_blocks: int) -> None:
    """They were not, in steps that train adapters: with few blocks these are all steps of the last third."""
    adapters.insert(tiny_sam, AdapterConfig("lora", last_blocks=last_blocks, prompts=True))
    config = FineTuneConfig(None, 12, adapters_from=0.0)
    told = list(fine_tune(SemanticSam(tiny_sam, (7, 40)), disc_samples(), config))
    assert [p.step for p in told if "rehearsed" in dict(p.parts)] == [2, 10]


def test_a_slice_is_embedded_anew_where_the_encoder_changed(
    tiny_sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And as it is in use, without the noise that Conv-LoRA's gate has in training."""
    adapters.insert(tiny_sam, AdapterConfig("conv-lora", prompts=True))
    model, embedded = SemanticSam(tiny_sam, (1,)).train(), []
    embed = model.embed
    monkeypatch.setattr(model, "embed", lambda image: embedded.append(model.training) or embed(image))
    monkeypatch.setattr("napari_samadapt.learning.rehearsal.sample_slices", lambda: sample_slices()[:1])
    rehearsal, rng = Rehearsal(model), torch.Generator().manual_seed(0)
    for anew, times in ((False, 1), (False, 1), (True, 2), (False, 2)):
        rehearsal.loss(rng, anew=anew)
        assert embedded == [False] * times
        assert model.training


def test_a_prompt_asks_for_one_connected_part() -> None:
    """Both of two squares of a class were asked for by one box, or by a click in one of them."""
    target = np.zeros((40, 40), np.int64)
    target[2:12, 2:12] = target[20:32, 20:32] = 1
    target[2:5, 30:33] = 2  # too small
    numbers = np.random.default_rng(0)
    sizes = {int(_random_region(target, numbers).sum()) for _ in range(30)}
    assert sizes == {100, 144}
    assert _random_region(np.where(target == 2, 2, 0), numbers) is None


def test_boxes_are_judged_by_part_and_no_region_is_no_fault(tiny_sam) -> None:
    sample = disc_samples(1)[0]
    judged, embedding = box_dice(tiny_sam, [sample]), encode_slice(tiny_sam, sample.image)
    expected = []
    for part in (sample.labels == 7, sample.labels == 40):
        box = Prompts(box=np.asarray(box_of(part), dtype=np.float32))
        expected.append(dice(decode_mask(tiny_sam, embedding, box).mask, part))
    assert judged == pytest.approx(np.mean(expected))
    assert box_dice(tiny_sam, [TrainingSample(sample.key, sample.image, np.zeros_like(sample.labels))]) == 1


def test_a_click_may_mean_any_of_three_masks(tiny_sam, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is that of the best, so that all but one may be wrong, and of the IoU that is predicted."""
    truth = torch.zeros(1, 64, 64, dtype=torch.long)
    truth[0, 16:48, 16:48] = 1
    right = torch.where(torch.arange(16).sub(7.5).abs() < 4, 1.0, 0.0)
    square = (right[:, None] * right) * 40 - 20

    def decode(*_: object, multimask: bool, **__: object) -> tuple[torch.Tensor, torch.Tensor]:
        assert multimask
        masks = torch.stack([-square, square, -square])[None]
        return masks, torch.tensor([[0.0, 1.0, 0.0]])

    monkeypatch.setattr(tiny_sam, "decode", decode)
    monkeypatch.setattr("napari_samadapt.learning.prompted.CORRECTED", 0.0)
    monkeypatch.setattr("napari_samadapt.learning.prompted.OTHERS", 0.0)
    monkeypatch.setattr(
        "napari_samadapt.learning.prompted.simulated_prompts",
        lambda *_: Prompts(np.array([[30.0, 30]]), np.array([1])),
    )
    features = torch.zeros(1, 32, 4, 4)
    loss = prompted_loss(tiny_sam, features, (), truth, torch.Generator().manual_seed(0))
    assert float(loss) < 0.2
