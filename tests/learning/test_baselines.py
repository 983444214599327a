"""The baselines by their formulas, and parameter counts as in the papers' tables (checks A2, D1 and D4)."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import METHODS, AdapterConfig
from napari_samadapt.learning.adapters.adaptformer import ParallelBlock
from napari_samadapt.learning.adapters.sam_adapter import high_frequencies
from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import VIT_SHAPES, build_vit
from napari_samadapt.learning.segment_anything_modules import get_rel_pos

PIXELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def insert(sam: PromptableSam, method: str, **options: object) -> PromptableSam:
    torch.manual_seed(0)
    adapters.insert(sam, AdapterConfig(method, **options))
    return sam


def awake(sam: PromptableSam) -> PromptableSam:
    with torch.no_grad():
        for parameter in adapters.trainable(sam).values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return sam


def count(sam: PromptableSam, method: str, **options: object) -> int:
    insert(sam, method, **options)
    total = sum(p.numel() for p in adapters.trainable(sam).values())
    adapters.remove(sam)
    return total


@pytest.fixture(scope="module")
def models() -> dict[str, PromptableSam]:
    """Every model at its real size, without memory for the weights."""
    with torch.device("meta"):
        return {"mini": build_mini()} | {n: build_vit(s, 1024, n) for n, s in VIT_SHAPES.items()}


COUNTS = [
    ("decoder-only", {}, (0, 0, 0)),
    ("bitfit", {}, (102_656, 271_872, 452_352)),
    ("adapter", {}, (92_208, 245_856, 409_728)),
    ("vpt", {}, (110_592, 294_912, 491_520)),
    ("vpt", {"tokens": 11}, (101_376, 270_336, 450_560)),
    ("sam-adapter", {}, (139_680, 281_216, 475_040)),
    ("sam-adapter", {"reduction": 32}, (None, None, 186_960)),
    ("ssf", {}, (204_288, 542_720, 903_680)),
    ("ssf", {"neck": True}, (206_336, 544_768, 905_728)),
    ("lora", {}, (110_592, 294_912, 491_520)),
    ("lora", {"targets": "q,k,v"}, (None, None, 737_280)),
    ("lora-qv", {}, (147_456, 393_216, 655_360)),
    ("adaptformer", {}, (322_752, 860_544, 1_434_112)),
    ("attention-tuning", {}, (28_441_088, 100_895_744, 210_081_280)),
    ("conv-lora", {}, (119_232, 312_192, 514_560)),
    ("conv-lora", {"experts": 4}, (3_620_448 - 3_505_536, 3_809_088 - 3_505_536, 4_008_576 - 3_505_536)),
    ("lora", {"rank": 6}, (None, None, 4_488_576 - 3_505_536)),
    ("lora", {"rank": 12}, (None, None, 5_471_616 - 3_505_536)),
    ("lora", {"rank": 24}, (None, None, 7_437_696 - 3_505_536)),
    ("conv-lora+vpt", {}, (None, None, 4_224_896 - 3_505_536)),
]


@pytest.mark.parametrize(("method", "options", "expected"), COUNTS)
def test_a2_d1_counts(models, method: str, options: dict, expected: tuple) -> None:
    for name, number in zip(VIT_SHAPES, expected, strict=True):
        if number is not None:
            with torch.device("meta"):
                assert count(models[name], method, **options) == number, name


def test_the_table_of_counts_in_the_documentation_is_true(models) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
    found = re.findall(
        r"^\| `([a-z+-]+)` \|((?: +[0-9 ]+ \|){4})$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    table = {method: [int(cell.replace(" ", "")) for cell in cells.split("|")[:4]] for method, cells in found}
    with torch.device("meta"):
        counted = {method: [count(sam, method) for sam in models.values()] for method in METHODS}
    rows = [
        " | ".join((f"| `{m}`", *(f"{n:,}".replace(",", " ") for n in c))) + " |" for m, c in counted.items()
    ]
    assert table == counted, "the table should be\n" + "\n".join(rows)


def test_bitfit_trains_every_bias_and_nothing_else(tiny_sam) -> None:
    biases = {n for n, _ in tiny_sam.image_encoder.named_parameters() if n.endswith("bias")}
    insert(tiny_sam, "bitfit")
    tuned = set()
    for path, module in tiny_sam.image_encoder.named_modules():
        tuned |= {f"{path}.{name}" for name in getattr(module, "names", ())}
    assert tuned == biases


def test_attention_tuning_moves_the_attention_by_its_deltas(tiny_sam) -> None:
    attention = tiny_sam.image_encoder.blocks[2].attn
    awake(insert(tiny_sam, "attention-tuning"))
    adapter = tiny_sam.image_encoder.blocks[2].attn
    assert {"qkv.weight", "qkv.bias", "proj.weight", "proj.bias", "rel_pos_h", "rel_pos_w"} == set(
        adapter.names
    )
    x = torch.randn(2, 4, 4, 32)
    moved = adapter(x)
    with torch.no_grad():
        for name, parameter in attention.named_parameters():
            parameter.add_(adapter.deltas[name.replace(".", "_")])
    torch.testing.assert_close(attention(x), moved)


def test_ssf_scales_and_shifts_behind_every_operation(tiny_sam) -> None:
    awake(insert(tiny_sam, "ssf", neck=True))
    operations = {name for name, _ in tiny_sam.image_encoder.named_modules() if name.endswith(".base")}
    assert len(operations) == 6 * 3 + 1 + 4
    norm = tiny_sam.image_encoder.blocks[0].norm1
    x = torch.randn(2, 4, 4, 32)
    torch.testing.assert_close(norm(x), norm.base(x) * (1 + norm.scale) + norm.shift)
    projection = tiny_sam.image_encoder.patch_embed.proj
    channel = projection.base(PIXELS)[:, 5] * (1 + projection.scale[5]) + projection.shift[5]
    torch.testing.assert_close(projection(PIXELS)[:, 5], channel)


def test_the_adapter_is_serial_and_has_two_for_each_block(tiny_sam) -> None:
    awake(insert(tiny_sam, "adapter", width=3))
    assert len(adapters.adapters_of(tiny_sam)) == 2 * 3
    adapter = tiny_sam.image_encoder.blocks[1].mlp
    x = torch.randn(2, 4, 4, 32)
    h = adapter.base(x)
    down = F.gelu(h @ adapter.down.weight.T + adapter.down.bias)
    torch.testing.assert_close(adapter(x), h + down @ adapter.up.weight.T + adapter.up.bias)


def test_the_first_adaptformer_reads_the_tokens_before_norm2(tiny_sam) -> None:
    blocks = list(tiny_sam.image_encoder.blocks)
    before, _ = tiny_sam.encode(PIXELS)
    insert(tiny_sam, "adaptformer", variant="original")
    assert torch.equal(tiny_sam.encode(PIXELS)[0], before)
    awake(tiny_sam)
    x, seen = torch.randn(2, 4, 4, 32), []
    for block, adapter in zip(blocks, tiny_sam.image_encoder.blocks, strict=True):
        assert isinstance(adapter, ParallelBlock)
        assert adapter.branch.up.in_features == 64
        hook = block.norm2.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        plain = block(x)
        hook.remove()
        branch = adapter.branch
        expected = plain + 0.1 * branch.up(torch.relu(branch.down(seen[-1])))
        torch.testing.assert_close(adapter(x), expected)
    assert not torch.equal(adapter.train()(x), adapter(x))  # dropout


@pytest.mark.parametrize("block", [0, 2], ids=["windows", "global"])
def test_vpt_appends_keys_and_values_without_a_position(tiny_sam, block: int) -> None:
    attention, norm = (getattr(tiny_sam.image_encoder.blocks[block], part) for part in ("attn", "norm1"))
    insert(tiny_sam, "vpt", tokens=5)
    adapter = tiny_sam.image_encoder.blocks[block].attn
    side = 4 if block == 2 else 3
    x = torch.randn(2, side, side, 32)
    tokens = torch.cat([x.flatten(1, 2), norm(adapter.prompts).expand(2, -1, -1)], 1)
    q, k, v = attention.qkv(tokens).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
    q = q[:, :, : side * side]
    grid = q.unflatten(2, (side, side))
    rows = torch.einsum("bnhwc,hkc->bnhwk", grid, get_rel_pos(side, side, attention.rel_pos_h))
    columns = torch.einsum("bnhwc,wkc->bnhwk", grid, get_rel_pos(side, side, attention.rel_pos_w))
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(2, 3).flatten(3)
    scores = q @ k.transpose(-1, -2) * 8**-0.5 + F.pad(bias, (0, 5))
    expected = attention.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, side, side, 32))
    torch.testing.assert_close(adapter(x), expected, rtol=1e-4, atol=1e-5)


def test_vpt_starts_uniform_within_the_papers_bound(models) -> None:
    sam = build_vit(VIT_SHAPES["vit_b"].__class__(768, 1, 12, (0,)), 256, "shallow")
    insert(sam, "vpt")
    prompts = adapters.adapters_of(sam)[0].prompts
    bound = (6 / (3 * 16**2 + 768)) ** 0.5
    assert prompts.shape == (12, 768)
    assert 0.98 * bound < prompts.abs().max() <= bound


def test_d4_conv_lora_and_vpt_together(tiny_sam) -> None:
    insert(tiny_sam, "conv-lora+vpt").train()
    tiny_sam.encode(PIXELS)[0].square().mean().backward()
    assert adapters.pop_balance_loss(tiny_sam).item() > 0
    for name, parameter in adapters.trainable(tiny_sam).items():
        if name.endswith(("prompts", "lora_b")):
            assert parameter.grad.any(), name


def test_lst_sends_no_gradient_through_the_encoder(tiny_sam) -> None:
    blocks = list(tiny_sam.image_encoder.blocks)
    seen = []
    for block in blocks:
        block.register_forward_hook(lambda _module, _inputs, out: seen.append(out.requires_grad))
    awake(insert(tiny_sam, "lst")).train()
    out, _ = tiny_sam.encode(PIXELS)
    assert seen == [False] * 3
    out.square().mean().backward()
    assert all(p.grad.any() for n, p in adapters.trainable(tiny_sam).items() if "rel_pos" not in n)


def test_lst_climbs_beside_the_blocks_by_its_gates(tiny_sam) -> None:
    encoder = tiny_sam.image_encoder
    blocks = list(encoder.blocks)
    awake(insert(tiny_sam, "lst", blocks=(0, 2)))
    ladder = encoder.blocks
    with torch.no_grad():
        ladder.rungs["0"].gate.fill_(-0.1)
        ladder.rungs["2"].gate.fill_(0.05)
    x = encoder.patch_embed(PIXELS) + encoder.pos_embed
    side = F.linear(x, ladder.down.weight, ladder.down.bias)
    assert side.shape[-1] == 32 // 8
    for index, block in enumerate(blocks):
        x = block(x)
        if index != 1:
            rung = ladder.rungs[str(index)]
            mu = torch.sigmoid(rung.gate / 0.1)
            side = rung.block(mu * side + (1 - mu) * F.linear(x, rung.down.weight, rung.down.bias))
    side = F.layer_norm(side, (4,), ladder.norm.weight, ladder.norm.bias)
    x = x + F.linear(side, ladder.up.weight, ladder.up.bias)
    torch.testing.assert_close(tiny_sam.encode(PIXELS)[0], encoder.neck(x.permute(0, 3, 1, 2)))


def test_sam_adapter_adds_to_the_input_of_every_block(tiny_sam) -> None:
    encoder = tiny_sam.image_encoder
    blocks, projection = encoder.blocks, encoder.patch_embed.proj
    awake(insert(tiny_sam, "sam-adapter", reduction=4))
    source, stack = encoder.patch_embed.proj, encoder.blocks
    tokens = projection(PIXELS).permute(0, 2, 3, 1)
    features = source.embedding(tokens) + source.high_pass(high_frequencies(PIXELS)).permute(0, 2, 3, 1)
    x = tokens + encoder.pos_embed
    for index, block in enumerate(blocks):
        x = block(x + stack.up(F.gelu(stack.tune[str(index)](features))))
    torch.testing.assert_close(tiny_sam.encode(PIXELS)[0], encoder.neck(x.permute(0, 3, 1, 2)))
    assert source.features is None


def test_sam_adapter_can_start_at_the_frozen_sam(tiny_sam) -> None:
    before, _ = tiny_sam.encode(PIXELS)
    insert(tiny_sam, "sam-adapter", zero_init=True)
    assert torch.equal(tiny_sam.encode(PIXELS)[0], before)


@pytest.mark.parametrize(("cycles", "kept"), [(0, 0), (7, 0), (8, 1), (12, 1)])
def test_the_high_pass_filter_removes_the_central_quarter_of_the_spectrum(cycles: int, kept: int) -> None:
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(32) / 32).expand(1, 1, 32, 32)
    torch.testing.assert_close(high_frequencies(wave), kept * wave.abs(), rtol=0, atol=1e-5)


def test_full_moves_everything_but_the_position_embedding(tiny_sam) -> None:
    total = sum(p.numel() for p in tiny_sam.image_encoder.parameters())
    assert count(tiny_sam, "full") == total - tiny_sam.image_encoder.pos_embed.numel()


def test_lora_of_q_and_v_has_scale_one(tiny_sam) -> None:
    insert(tiny_sam, "lora-qv")
    for adapter in adapters.adapters_of(tiny_sam):
        assert [part.scale for part in adapter.parts.values()] == [1, 1]
        assert list(adapter.parts) == ["q", "v"]
