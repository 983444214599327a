import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.learning import sam as sam_module
from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.predict import decode_mask, encode_slice
from napari_samadapt.learning.promptable_sam import resize_positions, scaled_size
from napari_samadapt.learning.sam import VIT_SHAPES, VitShape, build_vit, load_sam

SMALL = VitShape(width=32, depth=2, heads=4, global_blocks=(1,), window=3, decoder_width=32, patch=16)


@pytest.fixture
def small_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A random checkpoint of a type that only this test knows, saved as segment-anything saves its own."""
    monkeypatch.setitem(sam_module.VIT_SHAPES, "vit_s", SMALL)
    torch.manual_seed(0)
    path = tmp_path / "sam_vit_s.pth"
    torch.save(build_vit(SMALL, 1024, "vit_s").state_dict(), path)
    return path


def test_the_type_of_a_file_is_told_from_its_tensors(small_checkpoint: Path) -> None:
    sam = load_sam(small_checkpoint)
    assert (sam.model_type, sam.input_size, sam.stride, sam.embedding_channels) == ("vit_s", 1024, 16, 32)
    assert len(sam.base_sha256) == 64
    assert not any(p.requires_grad for p in sam.parameters())
    saved = torch.load(small_checkpoint, weights_only=True)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in sam.state_dict().items())


@pytest.mark.parametrize("input_size", [512, 256])
def test_smaller_inputs_interpolate_the_positions(small_checkpoint: Path, input_size: int) -> None:
    sam = load_sam(small_checkpoint, input_size=input_size)
    tokens = input_size // 16
    assert sam.image_encoder.pos_embed.shape == (1, tokens, tokens, 32)
    assert sam.image_encoder.blocks[1].attn.rel_pos_h.shape[0] == 2 * tokens - 1
    assert encode_slice(sam, np.zeros((30, 40))).features.shape == (1, 32, tokens, tokens)


def test_a_half_truncated_or_foreign_checkpoint_is_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    tensors = torch.load(small_checkpoint, weights_only=True)
    tensors.pop("mask_decoder.iou_token.weight")
    incomplete = tmp_path / "incomplete.pth"
    torch.save(tensors, incomplete)
    with pytest.raises(SamAdaptError, match="1 tensors are missing"):
        load_sam(incomplete)
    foreign = tmp_path / "foreign.pth"
    torch.save({"layer.weight": torch.zeros(3)}, foreign)
    with pytest.raises(SamAdaptError, match="does not hold a SAM"):
        load_sam(foreign)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vit_x", {}, "Unknown model 'vit_x'"),
        ("mini", {"input_size": 512}, "256-pixel"),
    ],
)
def test_unknown_models_and_sizes_are_refused(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(SamAdaptError, match=message):
        load_sam(name, **options)


def test_an_input_size_that_is_not_offered_is_refused(small_checkpoint: Path) -> None:
    with pytest.raises(SamAdaptError, match="300 is not offered"):
        load_sam(small_checkpoint, input_size=300)


def test_weights_that_were_not_downloaded_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SAMADAPT_MODELS", str(tmp_path))
    with pytest.raises(SamAdaptError, match="weights of vit_b are not on this computer"):
        load_sam("vit_b")


@pytest.mark.parametrize(
    ("name", "parameters"), [("vit_b", 93_735_472), ("vit_l", 312_342_832), ("vit_h", 641_090_608)]
)
def test_official_models_have_the_official_number_of_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        sam = build_vit(VIT_SHAPES[name], 1024, name)
    assert sum(p.numel() for p in sam.parameters()) == parameters


def test_the_bundled_mini_segments_a_plain_disc() -> None:
    y, x = np.mgrid[:96, :128]
    disc = (y - 48) ** 2 + (x - 60) ** 2 < 20**2
    sam = load_sam("mini")
    image = (0.2 + 0.6 * disc + 0.02 * np.random.default_rng(0).standard_normal(disc.shape)).astype(
        np.float32
    )
    prediction = decode_mask(sam, encode_slice(sam, image), Prompts(box=np.array([39.0, 27, 81, 69])))
    assert (prediction.mask & disc).sum() / (prediction.mask | disc).sum() > 0.8


def test_the_bundled_mini_is_small() -> None:
    path = Path(str(sam_module.resources.files("napari_samadapt.resources") / "mini.safetensors"))
    assert path.stat().st_size < 12e6


def test_mini_takes_positions_of_another_size() -> None:
    small, large = build_mini(128), build_mini(256)
    large.load_state_dict(resize_positions(small.state_dict(), large))
    middle = large.image_encoder.pos_embed.mean((1, 2))
    torch.testing.assert_close(middle, small.image_encoder.pos_embed.mean((1, 2)), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((100, 200), (512, 1024)),
        ((200, 100), (1024, 512)),
        ((1, 3), (341, 1024)),
        ((1, 4096), (1, 1024)),
        ((4096, 1), (1024, 1)),
    ],
)
def test_the_longest_side_is_scaled(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert scaled_size(shape, 1024) == expected


BROKEN_TORCHVISION = """
import sys, torch
class Broken:
    tries = 0
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and not hasattr(torch.ops.torchvision, "nms"):
            Broken.tries += 1
            raise RuntimeError("operator torchvision::nms does not exist")
sys.meta_path.insert(0, Broken())
for name in [n for n in sys.modules if n.startswith("torchvision")]: del sys.modules[name]
from napari_samadapt.learning import segment_anything_modules as modules
import segment_anything
assert Broken.tries == 1 and modules.DECLARED, (Broken.tries, modules.DECLARED)
"""


def test_segment_anything_imports_where_torchvisions_operators_do_not_load() -> None:
    subprocess.run([sys.executable, "-P", "-c", BROKEN_TORCHVISION], check=True, timeout=100)
