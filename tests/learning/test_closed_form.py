import pytest
import torch
import torch.nn.functional as F

from napari_samadapt.learning.closed_form import balanced_pixels, features_at, logistic_heads, ridge
from napari_samadapt.learning.detail_decoder import CHANNELS, DetailDecoder
from napari_samadapt.learning.fine_tune import settle
from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.samples import SampleTensors
from napari_samadapt.learning.semantic import SemanticSam, carry_decoder_over


def random_maps(count: int = 2, side: int = 16) -> tuple[torch.Tensor, ...]:
    return tuple(
        torch.randn(count, c, side // s, side // s) for c, s in zip(CHANNELS, (1, 2, 4), strict=True)
    )


def test_ridge_finds_a_linear_map_with_its_offset() -> None:
    torch.manual_seed(0)
    x, truth = torch.randn(500, 6).double(), torch.randn(7, 3).double()
    y = F.pad(x, (0, 1), value=1.0) @ truth
    assert torch.allclose(ridge(x, y, 1e-9), truth, atol=1e-6)


def test_a_larger_penalty_gives_smaller_weights() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(200, 5), torch.randn(200, 2)
    sizes = [float(ridge(x, y, penalty).norm()) for penalty in (1e-4, 1e-1, 10.0)]
    assert sizes == sorted(sizes, reverse=True)


def test_logistic_regression_finds_a_linear_rule() -> None:
    torch.manual_seed(0)
    features, truth = torch.randn(600, 5), 3 * torch.randn(5, 3)
    targets = (features @ truth).argmax(1)
    weights, bias = logistic_heads(features, targets, torch.zeros(5, 3), torch.zeros(3))
    assert float(((features @ weights + bias).argmax(1) == targets).float().mean()) > 0.97


def test_features_at_pixels_are_what_the_heads_see_there(tiny_sam) -> None:
    """Heads applied to sampled features equal the decoder's logits at those pixels."""
    torch.manual_seed(0)
    decoder = DetailDecoder(tiny_sam, 3)
    for parameter in decoder.heads.parameters():
        torch.nn.init.normal_(parameter)
    maps = random_maps()
    points = torch.randint(16 * 16, (2, 40))
    weights = torch.cat([head.weight[:, :, 0, 0] for head in decoder.heads], 1).T
    expected = features_at(maps, points) @ weights + decoder.heads[0].bias
    logits = decoder.combine(maps).flatten(2).gather(2, points[:, None].expand(-1, 4, -1)).transpose(1, 2)
    assert torch.allclose(logits, expected, atol=1e-4)


def test_small_classes_are_drawn_more_often_than_their_area() -> None:
    targets = torch.zeros(1, 32, 32, dtype=torch.int64)
    targets[0, :4, :4] = 1
    points = balanced_pixels(targets, torch.Generator().manual_seed(0), 2000)
    share = float((points // 32 < 4).logical_and(points % 32 < 4).float().mean())
    assert share == pytest.approx(4 / (4 + (1024 - 16) ** 0.5), abs=0.03)


def squares() -> SampleTensors:
    torch.manual_seed(0)
    images = torch.rand(3, 1, 40, 40).expand(-1, 3, -1, -1) * 0.1
    targets = torch.zeros(3, 40, 40, dtype=torch.int64)
    targets[:, 6:20, 6:20], targets[:, 24:36, 20:34] = 1, 2
    return SampleTensors(images + 0.4 * targets[:, None], targets)


def test_a_decoder_that_knows_nothing_learns_in_closed_form(tiny_sam) -> None:
    model, data = SemanticSam(tiny_sam, (7, 40)), squares()
    settle(model, data, torch.Generator().manual_seed(0))
    right = (model(data.images).argmax(1) == data.targets).float().mean()
    assert right > 0.9


def test_what_was_learned_is_not_thrown_away(tiny_sam) -> None:
    model = SemanticSam(tiny_sam, (7, 40))
    torch.nn.init.normal_(model.decoder.heads[1].weight)
    before = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
    settle(model, squares(), torch.Generator().manual_seed(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.decoder.state_dict().items())


def test_a_new_class_is_learned_and_the_others_stay_known(tiny_sam) -> None:
    model, data = SemanticSam(tiny_sam, (7,)), squares()
    only_first = SampleTensors(data.images, torch.where(data.targets == 1, 1, 0))
    settle(model, only_first, torch.Generator().manual_seed(0))
    more = SemanticSam(tiny_sam, (7, 40))
    carry_decoder_over(model, more)
    assert more.decoder.blank
    settle(more, data, torch.Generator().manual_seed(0))
    assert not more.decoder.blank
    predicted = more(data.images).argmax(1)
    assert all(float((predicted[data.targets == c] == c).float().mean()) > 0.9 for c in (0, 1, 2))


def test_the_queries_decoder_has_no_closed_form(tiny_sam) -> None:
    model = SemanticSam(tiny_sam, (7, 40), "queries")
    before = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
    settle(model, squares(), torch.Generator().manual_seed(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.decoder.state_dict().items())


@pytest.mark.parametrize(("model_type", "heard"), [("mini", True), ("vit_b", False)])
def test_an_encoder_that_the_features_never_saw_starts_without_a_say(model_type: str, heard: bool) -> None:
    sam = build_mini(64)
    sam.model_type = model_type
    decoder = DetailDecoder(sam, 2)
    torch.nn.init.normal_(decoder.heads[0].weight)
    images = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        first, other = (decoder.logits(images, torch.randn(1, 128, 8, 8), 64) for _ in range(2))
    assert torch.equal(first, other) != heard
