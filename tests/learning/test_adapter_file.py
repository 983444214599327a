import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard, load_adapter, read_adapter, save_adapter
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.semantic import SemanticSam, segment_slice

IMAGE = np.random.default_rng(0).random((30, 40), dtype=np.float32)


def card_of(sam: PromptableSam, config: AdapterConfig) -> AdapterCard:
    return AdapterCard(
        sam.base_sha256,
        "tiny",
        64,
        config,
        {77: "Milz", 2: "liver", 100: "a third"},
        (-160.0, 240.0),
        "axial",
        0.91,
    )


def saved(sam: PromptableSam, path: Path, method: str, **options: Any) -> tuple[SemanticSam, AdapterCard]:
    """A model with random trained values, and its file."""
    decoder = options.pop("decoder", "detail")
    config = AdapterConfig(method, decoder=decoder, **{"blocks": (1, 2), **options})
    adapters.insert(sam, config)
    model = SemanticSam(sam, (77, 2, 100), decoder)
    with torch.no_grad():
        for parameter in adapters.trainable(model).values():
            parameter.normal_(std=0.3)
    card = card_of(sam, config)
    save_adapter(path, AdapterState(1, config, (77, 2, 100), adapters.state(model)), card)
    return model, card


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("lora", {"decoder": "queries"}),
    ("lora", {"targets": "k,proj", "last_blocks": 1, "blocks": None}),
    ("conv-lora", {"paper_literal": True}),
    ("conv-lora", {"scales": (1, 3), "top_k": 2}),
    ("conv-lora", {"gated": False, "interpolation": "bilinear"}),
    ("adaptformer", {"variant": "original"}),
    ("cobot-lora", {"relation": "random", "preset": "official"}),
    ("cobot-adaptformer", {"relation": "none", "layer": "linear"}),
    ("ssf", {"neck": True, "blocks": None}),
    ("lora", {"prompts": True}),
]


@pytest.mark.parametrize(
    ("method", "options"),
    [(method, {"blocks": blocks}) for method in adapters.METHODS for blocks in ((1, 2), None)] + OPTIONS,
)
def test_a_saved_adapter_predicts_the_same_bit_by_bit(
    tiny_sam, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "organs.safetensors"
    model, card = saved(tiny_sam, path, method, **options)
    labels, confidence = segment_slice(model, IMAGE)
    assert np.isfinite(confidence).all()
    trained = adapters.state(model)
    adapters.remove(tiny_sam)
    again, read = load_adapter(path, tiny_sam)
    assert read == card
    restored = adapters.state(again)
    assert restored.keys() == trained.keys()
    assert all(torch.equal(restored[name], tensor) for name, tensor in trained.items())
    for a, b in zip(segment_slice(again, IMAGE), (labels, confidence), strict=True):
        np.testing.assert_array_equal(a, b)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["organs.safetensors"]


def test_an_adapter_of_another_base_is_refused_and_nothing_changes(tiny_sam, tmp_path: Path) -> None:
    path = tmp_path / "organs.safetensors"
    saved(tiny_sam, path, "lora")
    adapters.remove(tiny_sam)
    tiny_sam.base_sha256 = "f" * 64
    with pytest.raises(SamAdaptError, match=r"made for tiny .* 000000000000"):
        load_adapter(path, tiny_sam)
    assert not adapters.adapters_of(tiny_sam)


def test_a_card_from_before_there_was_a_choice_means_the_detail_path(tiny_sam) -> None:
    values = json.loads(card_of(tiny_sam, AdapterConfig("lora")).to_json())
    assert values["config"].pop("decoder") == "detail"
    assert AdapterCard.from_json(json.dumps(values)).config.decoder == "detail"


def test_tensors_that_do_not_fit_the_card_are_refused_and_nothing_changes(tiny_sam, tmp_path: Path) -> None:
    path = tmp_path / "organs.safetensors"
    saved(tiny_sam, path, "lora")
    adapters.remove(tiny_sam)
    tensors, card = read_adapter(path)
    tensors.pop("decoder.heads.0.bias")
    save_adapter(path, AdapterState(1, card.config, (77, 2, 100), tensors), card)
    with pytest.raises(SamAdaptError, match="does not fit"):
        load_adapter(path, tiny_sam)
    assert not adapters.adapters_of(tiny_sam)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no adapter"),
        (b"", "damaged"),
        (b"\x80\x04K\x01.", "damaged"),
        (b"\x10\0\0\0\0\0\0\0{}              ", "no card"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "organs.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SamAdaptError, match=message):
        read_adapter(path)


def test_a_truncated_file_is_refused(tiny_sam, tmp_path: Path) -> None:
    path = tmp_path / "organs.safetensors"
    saved(tiny_sam, path, "lora")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SamAdaptError, match="damaged"):
        read_adapter(path)


def test_a_folder_that_is_missing_is_said(tiny_sam, tmp_path: Path) -> None:
    with pytest.raises(SamAdaptError, match="not written"):
        saved(tiny_sam, tmp_path / "nowhere" / "a.safetensors", "lora")


@pytest.mark.parametrize("field", ["method", "decoder"])
def test_an_adapter_of_a_kind_that_is_unknown_here_is_refused(tiny_sam, tmp_path: Path, field: str) -> None:
    path = tmp_path / "organs.safetensors"
    model, card = saved(tiny_sam, path, "lora")
    object.__setattr__(card.config, field, "telepathy")
    save_adapter(path, AdapterState(1, card.config, (77, 2, 100), adapters.state(model)), card)
    with pytest.raises(SamAdaptError, match=f"Unknown {field} 'telepathy'"):
        read_adapter(path)
