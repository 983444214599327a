"""SAM-COBOT on its hosts (checks B1, B2 and B7 to B12 of its specification)."""

import copy
import math

import pytest
import torch
from torch import nn

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.adapters.cobot import (
    SLOW_GAMMA,
    CobotOptions,
    Mixer,
    Relation,
    mixers,
)
from napari_samadapt.learning.fine_tune import FineTuneConfig, _optimizer
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import VIT_SHAPES, build_vit
from napari_samadapt.learning.semantic import SemanticSam

PIXELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
HOSTS = {"cobot-lora": "lora-qv", "cobot-adaptformer": "adaptformer"}


def insert(sam: PromptableSam, method: str, **options: object) -> PromptableSam:
    torch.manual_seed(0)
    adapters.insert(sam, AdapterConfig(method, **options))
    return sam


@torch.no_grad()
def embedding(sam: PromptableSam) -> torch.Tensor:
    return sam.encode(PIXELS)[0]


def stir(sam: PromptableSam) -> PromptableSam:
    """Everything that is trained at random values: no factor is like another, nothing commutes."""
    torch.manual_seed(1)
    for parameter in adapters.trainable(sam).values():
        nn.init.normal_(parameter, std=0.3)
    return sam


def wake(sam: PromptableSam) -> PromptableSam:
    """Random values for what starts at zero: LoRA's B and Adaptformer's Up."""
    torch.manual_seed(1)
    for name, parameter in adapters.trainable(sam).items():
        if "lora_b" in name or ".up." in name:
            nn.init.normal_(parameter, std=0.1)
    return sam


@pytest.mark.parametrize("preset", ["identity", "official", "unit"])
def test_b1_adaptformer_starts_at_the_frozen_sam(tiny_sam, preset: str) -> None:
    before = embedding(tiny_sam)
    assert torch.equal(embedding(insert(tiny_sam, "cobot-adaptformer", preset=preset)), before)


@pytest.mark.parametrize("preset", ["identity", "official", "unit"])
def test_b1_lora_with_b_at_zero_is_the_frozen_sam(tiny_sam, preset: str) -> None:
    before = embedding(tiny_sam)
    insert(tiny_sam, "cobot-lora", preset=preset)
    assert torch.equal(embedding(tiny_sam), before) == (preset != "official")  # B is Xavier-normal there
    for name, parameter in adapters.trainable(tiny_sam).items():
        if "lora_b" in name:
            nn.init.zeros_(parameter)
    assert torch.equal(embedding(tiny_sam), before)


@pytest.mark.parametrize(("method", "host"), HOSTS.items())
def test_b1_the_identity_preset_equals_its_host_exactly(tiny_sam, method: str, host: str) -> None:
    plain = insert(copy.deepcopy(tiny_sam), host)
    before = embedding(tiny_sam)
    wake(insert(tiny_sam, method))
    tensors = adapters.state(tiny_sam)
    adapters.load(plain, {name: tensors[name] for name in adapters.trainable(plain)})
    assert torch.equal(embedding(plain), embedding(tiny_sam))
    assert not torch.equal(embedding(plain), before)


def test_b1_the_official_preset_doubles_every_channel() -> None:
    for slot in mixers(8, 3, CobotOptions("official")):
        assert torch.equal(slot.factor(), torch.full((8,), 2.0))
        real, *imaginary = slot.layer.blocks
        assert not real.any()
        assert all(0 <= block.min() <= block.max() < 1 and block.any() for block in imaginary)


@pytest.mark.parametrize(
    ("name", "lora", "adaptformer"),
    [
        ("vit_b", (864, 148_320), (1_296, 324_048)),
        ("vit_l", (2_880, 396_096), (2_880, 863_424)),
        ("vit_h", (4_864, 660_224), (4_096, 1_438_208)),
    ],
)
def test_b2_counts_equal_table_4(name: str, lora: tuple[int, int], adaptformer: tuple[int, int]) -> None:
    with torch.device("meta"):
        sam = build_vit(VIT_SHAPES[name], 1024, name)
        for method, (extra, total) in (("cobot-lora", lora), ("cobot-adaptformer", adaptformer)):
            counts = []
            for each in (method, HOSTS[method]):
                insert(sam, each)
                counts.append(sum(p.numel() for p in adapters.trainable(sam).values()))
                adapters.remove(sam)
            assert counts == [total, total - extra]


@pytest.mark.parametrize(("method", "parts"), [("cobot-lora", 2), ("cobot-adaptformer", 1)])
def test_b7_blocks_speak_through_the_relation_matrix_only(tiny_sam, method: str, parts: int) -> None:
    wake(insert(tiny_sam, method))
    slots = [m for m in tiny_sam.modules() if isinstance(m, Mixer)]
    assert [slot.slot for slot in slots] == list(range(3 * parts))
    relation, gammas = slots[0].relation, [slot.gamma for slot in slots]

    def heard(block: int) -> tuple[set[int], set[int]]:
        """The slots whose column of C, and those whose gamma, change the output of this block."""
        out = tiny_sam.image_encoder.blocks[block](torch.randn(1, 4, 4, 32)).square().sum()
        columns, *own = torch.autograd.grad(out, [relation.coefficients, *gammas], allow_unused=True)
        by_gamma = {slot for slot, gradient in enumerate(own) if gradient is not None and gradient.any()}
        return set(columns.any(0).nonzero()[:, 0].tolist()), by_gamma

    own = [set(range(block * parts, (block + 1) * parts)) for block in range(3)]
    assert [heard(block) for block in range(3)] == [(slots, slots) for slots in own]
    with torch.no_grad():
        relation.matrix[-1, 0] = 0.3  # the last slot speaks to the first
    assert heard(0) == (own[0] | {3 * parts - 1}, own[0])
    assert [heard(block) for block in (1, 2)] == [(slots, slots) for slots in own[1:]]


@pytest.mark.parametrize(("name", "slots"), [("vit_b", 24), ("vit_l", 48), ("vit_h", 64)])
def test_b7_lora_has_two_slots_for_each_block(name: str, slots: int) -> None:
    with torch.device("meta"):
        sam = insert(build_vit(VIT_SHAPES[name], 1024, name), "cobot-lora")
    for block, adapter in enumerate(adapters.adapters_of(sam)):
        q, v = (adapter.parts[part].mixer for part in "qv")
        assert (q.slot, v.slot) == (2 * block, 2 * block + 1)
        assert q.relation.matrix.shape == (slots, slots)


def test_b7_k_stays_as_it_was(tiny_sam) -> None:
    original = tiny_sam.image_encoder.blocks[0].attn.qkv
    wake(insert(tiny_sam, "cobot-lora"))
    x = torch.randn(2, 3, 3, 32)
    frozen, adapted = original(x), tiny_sam.image_encoder.blocks[0].attn.qkv(x)
    same = [torch.equal(a, b) for a, b in zip(frozen.chunk(3, -1), adapted.chunk(3, -1), strict=True)]
    assert same == [False, True, False]


def test_b8_the_merged_change_is_the_formula(tiny_sam) -> None:
    stir(insert(tiny_sam.double(), "cobot-lora"))
    adapter = adapters.adapters_of(tiny_sam)[1]
    base, merged = adapter.base.weight.chunk(3), adapter.merged().weight.chunk(3)
    for place, name, slot in ((0, "q", 2), (2, "v", 3)):
        part = adapter.parts[name]
        mixer = part.mixer
        factor = mixer.gamma + (mixer.relation.coefficients @ mixer.relation.matrix)[:, slot]
        change = part.lora_b @ mixer.layer.matrix() @ torch.diag(factor) @ part.lora_a
        torch.testing.assert_close(merged[place], base[place] + change, rtol=1e-12, atol=1e-12)
    assert torch.equal(merged[1], base[1])
    assert adapter.merged().bias is adapter.base.bias


def test_b9_the_layer_comes_before_the_relu_and_dropout_only_in_training(tiny_sam) -> None:
    mlp = tiny_sam.double().image_encoder.blocks[0].mlp
    stir(insert(tiny_sam, "cobot-adaptformer"))
    branch = (adapter := adapters.adapters_of(tiny_sam)[0]).branch
    x, mixer = torch.randn(2, 4, 4, 32, dtype=torch.float64), branch.mixer
    with torch.no_grad():
        factor = mixer.gamma + (mixer.relation.coefficients @ mixer.relation.matrix)[:, 0]
        scaled = branch.down(branch.norm(x)) * factor
        mixed = scaled @ mixer.layer.matrix().T
        assert ((mixed > 0) != (scaled > 0)).any(), "the layer changes signs"
        expected = mlp(x) + branch.up(torch.relu(mixed))
    torch.testing.assert_close(adapter(x), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(adapter(x), adapter(x))
    adapter.train()
    assert not torch.equal(adapter(x), adapter(x))


@pytest.mark.parametrize(("diagonal", "expected"), [(1.0, 0.0), (0.25, math.log(4)), (0.0, math.inf)])
def test_how_far_the_relation_is_from_singular_can_be_read(diagonal: float, expected: float) -> None:
    relation = Relation(4, 3, CobotOptions())
    with torch.no_grad():
        relation.matrix[0, 0] = diagonal
    assert relation.log_condition == pytest.approx(expected)


@pytest.mark.parametrize("method", HOSTS)
def test_b10_one_relation_for_all_blocks(tiny_sam, method: str) -> None:
    model = SemanticSam(insert(tiny_sam, method), (1,))
    relations = {m.relation for m in model.modules() if isinstance(m, Mixer)}
    assert len(relations) == 1
    for tensors in (adapters.state(model), adapters.trainable(model)):  # what is saved and what is trained
        assert sum(name.endswith("relation.matrix") for name in tensors) == 1
        assert sum(name.endswith("coefficients") for name in tensors) == 1
    entries = [id(p) for group in _optimizer(model, FineTuneConfig()).param_groups for p in group["params"]]
    assert [entries.count(id(p)) for p in next(iter(relations)).parameters()] == [1, 1]
    twin = adapters.twin(model)
    assert len({m.relation for m in twin.modules() if isinstance(m, Mixer)} | relations) == 2
    mixed = [m for m in tiny_sam.modules() if isinstance(m, Mixer)]
    matrix = mixed[0].relation.matrix
    weights = [torch.randn_like(m.matrix()) for m in mixed]
    terms = [(w * m.matrix()).sum() for w, m in zip(weights, mixed, strict=True)]
    (together,) = torch.autograd.grad(torch.stack(terms).sum(), matrix, retain_graph=True)
    apart = [torch.autograd.grad(term, matrix, retain_graph=True)[0] for term in terms]
    torch.testing.assert_close(together, torch.stack(apart).sum(0))


@pytest.mark.parametrize("method", ["cobot-lora", "cobot-adaptformer", "cobot-conv-lora"])
@pytest.mark.parametrize(
    ("options", "per_slot", "shared"),
    [
        ({}, lambda v: v + v * v // 4, lambda v, t: v * t + t * t),
        ({"layer": "none"}, lambda v: v, lambda v, t: v * t + t * t),
        ({"layer": "linear"}, lambda v: v + v * v, lambda v, t: v * t + t * t),
        ({"relation": "identity"}, lambda v: v + v * v // 4, lambda v, t: v * t),
        ({"relation": "random"}, lambda v: v + v * v // 4, lambda v, t: v * t),
        ({"relation": "none"}, lambda v: v + v * v // 4, lambda _v, _t: 0),
        ({"relation": "none", "layer": "none"}, lambda v: v, lambda _v, _t: 0),
    ],
)
def test_b11_ablations(tiny_sam, method: str, options: dict, per_slot, shared) -> None:
    insert(tiny_sam, method, **options)
    width, slots = {"cobot-lora": (4, 6), "cobot-adaptformer": (16, 3), "cobot-conv-lora": (4, 3)}[method]
    own = [m for m in tiny_sam.modules() if isinstance(m, Mixer)]
    parameters = {id(p): p for m in own for p in m.parameters() if p.requires_grad}
    assert sum(p.numel() for p in parameters.values()) == slots * per_slot(width) + shared(width, slots)
    before = [m.matrix() for m in own]
    if options.get("relation") != "random":
        assert all(torch.equal(matrix, torch.eye(width)) for matrix in before)
    else:  # frozen, so it is in no file: it must be the same again
        adapters.remove(tiny_sam)
        insert(tiny_sam, method, **options)
        again = [m.matrix() for m in tiny_sam.modules() if isinstance(m, Mixer)]
        assert all(torch.equal(a, b) for a, b in zip(before, again, strict=True))


@pytest.mark.parametrize("method", ["cobot-lora", "cobot-adaptformer", "cobot-conv-lora"])
def test_b12_everything_is_trained_from_the_start(tiny_sam, method: str) -> None:
    wake(insert(tiny_sam, method))
    tiny_sam.encode(PIXELS)[0].square().mean().backward()
    for name, parameter in adapters.trainable(tiny_sam).items():
        if ".mixer." in name:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
        if name.endswith("relation.matrix"):
            assert (parameter.grad - torch.diag(torch.diag(parameter.grad))).any()


def test_slots_count_the_chosen_blocks(tiny_sam) -> None:
    insert(tiny_sam, "cobot-lora", blocks=(0, 2))
    matrix = next(p for name, p in adapters.trainable(tiny_sam).items() if name.endswith("relation.matrix"))
    assert matrix.shape == (4, 4)


@pytest.mark.parametrize(("preset", "slow"), [("identity", 0), ("official", 6)])
def test_gamma_is_slow_in_the_official_preset(tiny_sam, preset: str, slow: int) -> None:
    insert(tiny_sam, "cobot-lora", preset=preset)
    model = SemanticSam(tiny_sam, (1,))
    rates = adapters.learning_rates(model)
    assert set(rates) == {n for n in adapters.trainable(model) if n.endswith(".gamma") and slow}
    config = FineTuneConfig()
    optimizer = _optimizer(model, config)
    found = {p: group["rate"] for group in optimizer.param_groups for p in group["params"]}
    named = adapters.trainable(model)
    assert set(found) == set(named.values())
    assert sum(rate == config.adapter_rate * SLOW_GAMMA for rate in found.values()) == slow


@pytest.mark.parametrize("method", ["cobot-bitfit", "cobot-ssf", "cobot-attention"])
def test_our_extension_scales_the_change_and_not_the_pretrained_value(tiny_sam, method: str) -> None:
    """With all factors at zero nothing that was learned counts."""
    before = embedding(tiny_sam)
    insert(tiny_sam, method, blocks=(0, 1, 2))
    with torch.no_grad():
        for parameter in adapters.trainable(tiny_sam).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
        assert not torch.equal(embedding(tiny_sam), before)
        for name, parameter in adapters.trainable(tiny_sam).items():
            # Relative positions have no output channel, so no factor.
            if name.endswith((".gamma", ".coefficients")) or "rel_pos" in name:
                parameter.zero_()
    assert torch.equal(embedding(tiny_sam), before)
