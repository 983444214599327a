"""What holds for every method: it attaches, trains a copy, goes away again, merges or says why not."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import METHODS, AdapterConfig, CannotMergeError
from napari_samadapt.learning.adapters.config import ATTACH, EVERYWHERE, OPTIONS, defaults_of
from napari_samadapt.learning.adapters.conv_lora import ConvLoRALinear
from napari_samadapt.learning.method_texts import OPTION_TEXTS
from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.promptable_sam import PromptableSam

IDENTITY_AT_START = set(METHODS) - {"vpt", "sam-adapter", "conv-lora+vpt"}
MOVE_WEIGHTS = {"bitfit", "attention-tuning", "full", "cobot-bitfit", "cobot-attention"}
"""Merged they compute with the very numbers that they trained."""
PIXELS = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def insert(sam: PromptableSam, method: str, **options: object) -> PromptableSam:
    torch.manual_seed(0)
    adapters.insert(sam, AdapterConfig(method, **options))
    return sam


def move(sam: PromptableSam, std: float = 0.05) -> PromptableSam:
    """Random steps for everything that is trained."""
    with torch.no_grad():
        for parameter in adapters.trainable(sam).values():
            parameter.add_(std * torch.randn_like(parameter))
    return sam


@torch.no_grad()
def embedding(sam: PromptableSam) -> torch.Tensor:
    return sam.encode(PIXELS)[0]


def test_every_method_is_described_and_attaches() -> None:
    assert list(METHODS) == list(ATTACH)
    for method, text in METHODS.items():
        assert set(defaults_of(method)) <= set(OPTIONS)
        assert text.sentence.endswith(".")
    assert {*OPTION_TEXTS} == {*OPTIONS, *EVERYWHERE}
    assert all(text.ours == text.source.startswith("Ours") for text in METHODS.values())


def test_the_table_of_methods_in_the_documentation_is_true() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
    rows = re.findall(
        r"^\| `([a-z+-]+)` \| (.+) \| (.+) \| (.+) \| (.+) \|$",
        page.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    table = {method: cells for method, trained, *cells in rows if not re.fullmatch(r"[0-9 ]+", trained)}
    assert list(table) == list(METHODS)
    for method, (options, start, merges) in table.items():
        named = [] if options == "–" else re.sub(r"\(.*?\)", "", options).split(",")
        told = {name: rest.strip() for name, _, rest in (option.strip().partition(" ") for option in named)}
        defaults = defaults_of(method)
        assert list(told) == list(defaults), method
        numbers = {name: float(text) for name, text in told.items() if text.isdecimal()}
        assert numbers == {n: v for n, v in defaults.items() if n in numbers}, method
        assert start.startswith("yes" if method in IDENTITY_AT_START else "no"), method
        assert merges == (METHODS[method].merges_into or "–"), method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [False, True])
def test_d2_what_starts_at_the_frozen_sam(tiny_sam, method: str, training: bool) -> None:
    before = embedding(tiny_sam.train(training))
    after = embedding(insert(tiny_sam, method))
    assert all(module.training == training for module in tiny_sam.modules())
    assert torch.equal(before, after) == (method in IDENTITY_AT_START)


@pytest.mark.parametrize("method", METHODS)
def test_d3_a22_removing_gives_the_very_same_model_back(tiny_sam, method: str) -> None:
    before, modules = embedding(tiny_sam), list(tiny_sam.named_modules())
    tensors = {name: (p, p.clone()) for name, p in tiny_sam.named_parameters()}
    move(insert(tiny_sam, method))
    if method != "decoder-only":
        assert adapters.adapters_of(tiny_sam)
        assert not torch.equal(embedding(tiny_sam), before)
    adapters.remove(tiny_sam)
    assert list(tiny_sam.named_modules()) == modules
    assert {name: id(p) for name, p in tiny_sam.named_parameters()} == {
        n: id(p) for n, (p, _) in tensors.items()
    }
    assert all(torch.equal(p, copied) for p, copied in tensors.values())
    assert torch.equal(embedding(tiny_sam), before)
    assert not adapters.trainable(tiny_sam)


@pytest.mark.parametrize("method", METHODS)
def test_training_a_twin_never_touches_the_live_model(tiny_sam, method: str) -> None:
    live = move(insert(tiny_sam, method))
    before = embedding(live)
    frozen = {name: p.clone() for name, p in live.named_parameters() if not p.requires_grad}
    twin = adapters.twin(live)
    shared = dict(twin.named_parameters())
    assert all(shared[n] is p for n, p in live.named_parameters() if not p.requires_grad)
    assert torch.equal(embedding(twin), before)
    trained = list(adapters.trainable(twin).values())
    if not trained:
        return
    optimizer = torch.optim.AdamW(trained, lr=0.1)
    (twin.train().encode(PIXELS)[0].square().mean() + adapters.pop_balance_loss(twin)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    optimizer.step()
    assert not torch.equal(embedding(twin.eval()), before)
    assert torch.equal(embedding(live), before)
    assert all(torch.equal(p, frozen[n]) for n, p in live.named_parameters() if n in frozen)
    adapters.load(live, adapters.state(twin))
    assert torch.equal(embedding(live), embedding(twin))


@pytest.mark.parametrize("method", METHODS)
def test_a_twin_can_be_made_between_forward_and_backward(tiny_sam, method: str) -> None:
    """What a forward leaves for its backward pass belongs to the one model, not to its copy."""
    model = move(insert(tiny_sam, method)).train()
    model.encode(PIXELS)
    twin = adapters.twin(model)
    assert float(adapters.pop_balance_loss(twin)) == 0
    assert (adapters.pop_balance_loss(model).item() > 0) == ("conv-lora" in method)


@pytest.mark.parametrize("method", [m for m, text in METHODS.items() if text.merges_into])
def test_a15_b8_merging_gives_the_same_output_and_writes_to_no_frozen_tensor(tiny_sam, method: str) -> None:
    live = move(insert(tiny_sam, method))
    before = embedding(live)
    frozen = {name: p.clone() for name, p in live.named_parameters() if not p.requires_grad}
    merged = adapters.twin(live)
    adapters.merge(merged)
    torch.testing.assert_close(embedding(merged), before, rtol=1e-5, atol=1e-5)
    assert method not in MOVE_WEIGHTS or torch.equal(embedding(merged), before)
    assert torch.equal(embedding(live), before)
    assert all(torch.equal(p, frozen[n]) for n, p in live.named_parameters() if n in frozen)
    if METHODS[method].merges_into == "plain weights":
        assert not adapters.adapters_of(merged)
        assert not adapters.trainable(merged)


@pytest.mark.parametrize("method", [m for m, text in METHODS.items() if not text.merges_into])
def test_a15_what_cannot_be_merged_says_so_and_stays(tiny_sam, method: str) -> None:
    sam = move(insert(tiny_sam, method))
    before, modules = embedding(sam), list(sam.modules())
    with pytest.raises(CannotMergeError, match="cannot be merged into the weights") as caught:
        adapters.merge(sam)
    assert isinstance(caught.value, TypeError)
    assert list(sam.modules()) == modules
    assert torch.equal(embedding(sam), before)


def test_a_merged_adaptformer_loads_as_a_plain_one(tiny_sam) -> None:
    plain = copy.deepcopy(tiny_sam)
    move(insert(tiny_sam, "cobot-adaptformer"))
    adapters.merge(tiny_sam)
    adapters.load(insert(plain, "adaptformer"), adapters.state(tiny_sam))
    assert torch.equal(embedding(plain), embedding(tiny_sam))


@pytest.mark.parametrize("method", METHODS)
def test_chosen_blocks_only(tiny_sam, method: str) -> None:
    insert(tiny_sam, method)
    everywhere = {name: p.numel() for name, p in adapters.trainable(tiny_sam).items()}
    adapters.remove(tiny_sam)
    insert(tiny_sam, method, blocks=(1,))
    names = list(adapters.trainable(tiny_sam))
    assert len(names) < len(everywhere) or method == "decoder-only"
    if method not in ("lst", "sam-adapter"):  # these have parts before or behind the blocks
        assert all(name.startswith("image_encoder.blocks.1.") for name in names)


@pytest.mark.parametrize("method", METHODS)
def test_it_runs_in_half_precision(tiny_sam, method: str) -> None:
    move(insert(tiny_sam, method)).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, _ = tiny_sam.encode(PIXELS)
    assert out.isfinite().all()
    if method != "decoder-only":
        out.float().square().mean().backward()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a14_it_takes_the_type_of_the_model(tiny_sam, method: str, dtype: torch.dtype) -> None:
    sam = insert(tiny_sam.to(dtype), method).train()
    assert {p.dtype for p in sam.parameters()} == {dtype}
    out, _ = sam.encode(PIXELS.to(dtype))
    assert (out.dtype, bool(out.isfinite().all())) == (dtype, True)


@pytest.mark.parametrize("method", METHODS)
def test_it_attaches_to_mini_too(method: str) -> None:
    sam = build_mini(64)
    sam.requires_grad_(False)
    before, modules = embedding(sam), list(sam.modules())
    after = embedding(insert(sam, method))
    assert torch.equal(before, after) == (method in IDENTITY_AT_START)
    adapters.remove(sam)
    assert list(sam.modules()) == modules


def test_a_second_adapter_is_refused(tiny_sam) -> None:
    insert(tiny_sam, "full")
    with pytest.raises(SamAdaptError, match="remove it first"):
        insert(tiny_sam, "lora")


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("loras", {}, "Unknown method 'loras': use one of conv-lora, lora, lora-qv"),
        ("bitfit", {"rank": 3}, "bitfit has no option rank: it has none"),
        ("vpt", {"rank": 3}, "vpt has no option rank: it has tokens"),
        ("lora", {"rank": 0}, "rank cannot be 0: use a whole number from 1 to 4096"),
        ("lora", {"alpha": 0.0}, "alpha cannot be 0.0: use a number above 0"),
        ("conv-lora", {"scales": (0, 1)}, "scales cannot be"),
        ("conv-lora", {"scales": 4}, "scales cannot be 4: use whole numbers from 1 to 4096, as in 1,2,4"),
        ("conv-lora", {"rank": (3,)}, "rank cannot be"),
        ("lora", {"rank": True}, "rank cannot be True"),
        ("lora", {"alpha": float("inf")}, "alpha cannot be inf"),
        ("lora", {"blocks": (1, 1)}, "blocks cannot be .1, 1.: use whole numbers, each once"),
        ("lora", {"blocks": "0,1"}, "blocks cannot be '0,1'"),
        ("lora", {"last_blocks": 0}, "last_blocks cannot be 0"),
        ("lora", {"last_blocks": 2, "blocks": (1,)}, "Both blocks and last_blocks"),
        (
            "cobot-lora",
            {"preset": "none"},
            "preset cannot be 'none': use one of identity, official, unit",
        ),
        ("lora", {"rank": 2.5}, "rank cannot be 2.5"),
        ("lora", {"alpha": float("nan")}, "alpha cannot be nan"),
        ("lora", {"targets": 3}, "targets cannot be 3: use words as in 'qkv'"),
        ("ssf", {"neck": "yes"}, "neck cannot be 'yes': use True or False"),
        ("cobot-lora", {"rank": 6}, "multiple of 4, not 6"),
        ("adaptformer", {"variant": "mine"}, "use one of cobot, original"),
    ],
)
def test_what_does_not_exist_is_said(method: str, options: dict, message: str) -> None:
    with pytest.raises(SamAdaptError, match=message):
        AdapterConfig(method, **options)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lora", {"blocks": (0, 9)}, "this encoder has 3"),
        ("lora", {"last_blocks": 4}, "this encoder has 3"),
        ("lora", {"blocks": ()}, "Blocks"),
        ("lora", {"targets": "qkv,q"}, "cannot target 'qkv,q'"),
        ("lora", {"targets": "mlp"}, "give some of qkv, q, k, v, proj"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_changes(
    tiny_sam, method: str, options: dict, message: str
) -> None:
    modules = list(tiny_sam.modules())
    with pytest.raises(SamAdaptError, match=message):
        insert(tiny_sam, method, **options)
    assert list(tiny_sam.modules()) == modules


@pytest.mark.parametrize("method", METHODS)
def test_a_config_goes_through_a_card(method: str) -> None:
    config = AdapterConfig(method, blocks=(0, 2))
    values = config.as_dict()
    assert None not in values.values()
    assert AdapterConfig.from_dict(values | {"blocks": [0, 2]}) == config


WORDS = {
    "rank": "8", "alpha": "2.5", "experts": "4", "top_k": "2", "scales": "1, 2", "gated": "false",
    "paper_literal": "true", "interpolation": "bilinear", "targets": "q,proj", "preset": "unit", "layer": "none",
    "relation": "random", "width": "8", "variant": "original", "tokens": "7", "reduction": "4", "zero_init": "True",
    "neck": "true",
}  # fmt: skip
MEANT = {
    "rank": 8, "alpha": 2.5, "experts": 4, "top_k": 2, "scales": (1, 2), "gated": False, "paper_literal": True,
    "zero_init": True, "width": 8, "tokens": 7, "reduction": 4, "neck": True,
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_every_option_can_be_typed(tiny_sam, method: str) -> None:
    assert list(WORDS) == list(OPTIONS)
    names = list(defaults_of(method))
    words = WORDS | ({"preset": "official"} if method == "lora-qv" else {})
    typed = AdapterConfig.from_words(method, [f"{name}={words[name]}" for name in names] + ["blocks=2,0"])
    meant = {name: MEANT.get(name, words[name]) for name in names}
    assert typed == AdapterConfig(method, blocks=(0, 2), **meant)
    assert AdapterConfig.from_dict(json.loads(json.dumps(typed.as_dict()))) == typed
    adapters.insert(tiny_sam, typed)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rank", "'rank' sets nothing: write NAME=VALUE"),
        ("rank=many", "rank cannot be 'many'"),
        ("rank=2.5", "rank cannot be '2.5'"),
        ("gated=maybe", "gated cannot be 'maybe': use True or False"),
        ("scales=1,x", "scales cannot be '1,x'"),
        ("blocks=all", "blocks cannot be 'all'"),
        ("method=lora", "conv-lora has no option method: it has rank, alpha"),
        ("tokens=3", "conv-lora has no option tokens"),
    ],
)
def test_what_is_typed_wrongly_is_said(setting: str, message: str) -> None:
    with pytest.raises(SamAdaptError, match=message):
        AdapterConfig.from_words("conv-lora", [setting])


ABLATIONS_OF_CONV_LORA: list[dict] = [
    {"paper_literal": True},
    {"gated": False},
    {"scales": (4,)},
    {"top_k": 2},
    {"interpolation": "bilinear"},
]


@pytest.mark.parametrize("options", ABLATIONS_OF_CONV_LORA)
def test_ablations_of_conv_lora(tiny_sam, options: dict) -> None:
    before = embedding(tiny_sam)
    config = AdapterConfig.from_dict(json.loads(json.dumps({"method": "conv-lora", **options})))
    assert config == AdapterConfig("conv-lora", **options)
    adapters.insert(tiny_sam, config)
    assert torch.equal(embedding(tiny_sam), before)
    assert not torch.equal(embedding(move(tiny_sam)), before)


@pytest.mark.parametrize("options", ABLATIONS_OF_CONV_LORA)
@pytest.mark.parametrize("method", ["conv-lora+vpt", "cobot-conv-lora"])
def test_what_holds_conv_lora_has_its_ablations(tiny_sam, method: str, options: dict) -> None:
    """Its layers give what those of conv-lora with the same option give for the same parameters."""
    x = torch.randn(5, 4, 4, 32)
    layers = []
    for name in ("conv-lora", method):
        insert(tiny_sam, name, rank=4, **options)
        layers.append(next(m for m in tiny_sam.modules() if isinstance(m, ConvLoRALinear)))
        adapters.remove(tiny_sam)
    plain, held = layers
    torch.manual_seed(1)
    for parameter in held.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            torch.nn.init.normal_(parameter)
    held.mixer = None
    plain.load_state_dict(held.state_dict())
    assert torch.equal(plain.eval()(x), held.eval()(x))


@pytest.mark.parametrize("method", ["conv-lora", "lora", "decoder-only"])
def test_older_cards_still_load(method: str) -> None:
    """They give rank, alpha and experts for every method."""
    card = {"method": method, "rank": 3, "alpha": 32.0, "experts": 8, "blocks": None}
    assert AdapterConfig.from_dict(card) == AdapterConfig(method)


@pytest.mark.parametrize(
    ("targets", "layers"),
    [("qkv", {"qkv"}), ("q,k,v", {"qkv"}), ("q", {"qkv"}), ("proj", {"proj"}), ("v, proj", {"qkv", "proj"})],
)
def test_lora_targets(tiny_sam, targets: str, layers: set[str]) -> None:
    move(insert(tiny_sam, "lora", targets=targets))
    assert {name.split(".")[4] for name in adapters.trainable(tiny_sam)} == layers
    before = embedding(tiny_sam)
    adapters.merge(tiny_sam)
    torch.testing.assert_close(embedding(tiny_sam), before, rtol=1e-5, atol=1e-5)
