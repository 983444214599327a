"""Build a SAM and load its weights: `mini`, `vit_b`, `vit_l`, `vit_h`, or a file with the shapes of one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError

from . import checkpoints
from .mini import INPUT_SIZE as MINI_INPUT_SIZE
from .mini import build_mini
from .promptable_sam import PromptableSam, resize_positions
from .segment_anything_modules import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer


@dataclass(frozen=True)
class VitShape:
    """Width, depth, heads and global-attention blocks of an image encoder; the decoder's width."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int = 14
    decoder_width: int = 256
    patch: int = 16


VIT_SHAPES = {
    "vit_b": VitShape(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": VitShape(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": VitShape(1280, 32, 16, (7, 15, 23, 31)),
}
MODEL_NAMES = ("mini", *VIT_SHAPES)
INPUT_SIZES = (1024, 512, 256)


def build_vit(shape: VitShape, input_size: int, model_type: str) -> PromptableSam:
    """An untrained SAM of segment-anything's modules for square inputs of `input_size` pixels."""
    tokens = input_size // shape.patch
    return PromptableSam(
        image_encoder=ImageEncoderViT(
            img_size=input_size,
            patch_size=shape.patch,
            embed_dim=shape.width,
            depth=shape.depth,
            num_heads=shape.heads,
            out_chans=shape.decoder_width,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=shape.window,
            global_attn_indexes=shape.global_blocks,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=shape.decoder_width,
            image_embedding_size=(tokens, tokens),
            input_image_size=(input_size, input_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=shape.decoder_width,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=shape.decoder_width, mlp_dim=8 * shape.decoder_width, num_heads=8
            ),
            iou_head_hidden_dim=shape.decoder_width,
        ),
        model_type=model_type,
    )


def load_sam(
    name_or_path: str | Path, *, device: str | torch.device = "cpu", input_size: int | None = None
) -> PromptableSam:
    """A SAM in eval mode with every parameter frozen.

    `name_or_path` is one of `MODEL_NAMES` or a checkpoint file; the type of a file is told from its tensors.
    `input_size` is 1024 by default, 512 or 256 as options (position embeddings are interpolated), and 256 for `mini`.

    Raises SamAdaptError: unknown name, missing or foreign file, checkpoint not downloaded, other input size.
    """
    path = _checkpoint_file(name_or_path)
    tensors = checkpoints.read_tensors(path)
    model_type = _model_type(tensors, path)
    sam = _build_on_meta(model_type, _checked_input_size(model_type, input_size))
    _load(sam, tensors, path)
    sam.base_sha256 = checkpoints.sha256_of(path)
    sam.requires_grad_(False)
    sam.to(device)
    return sam


def best_device() -> str:
    """`cuda`, `mps` or `cpu`: the fastest that this torch can use."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _checkpoint_file(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    if name == "mini":
        return Path(str(resources.files("napari_samadapt.resources") / "mini.safetensors"))
    if name in VIT_SHAPES:
        path = checkpoints.checkpoint_path(name)
        if not path.exists():
            raise SamAdaptError(
                f"The weights of {name} are not on this computer ({path}). "
                "Download them in the Model section of the dock, or pass the path of a checkpoint file."
            )
        return path
    path = Path(name_or_path)
    if not path.exists():
        raise SamAdaptError(
            f"Unknown model {name!r}: use {', '.join(MODEL_NAMES)} or the path of a checkpoint file."
        )
    return path


def _checked_input_size(model_type: str, input_size: int | None) -> int:
    if model_type == "mini":
        if input_size not in (None, MINI_INPUT_SIZE):
            raise SamAdaptError(
                f"mini takes {MINI_INPUT_SIZE}-pixel inputs, not {input_size}: leave the input size out."
            )
        return MINI_INPUT_SIZE
    if input_size not in (None, *INPUT_SIZES):
        raise SamAdaptError(f"Input size {input_size} is not offered: use 1024, 512 or 256.")
    return input_size or INPUT_SIZES[0]


def _model_type(tensors: Mapping[str, Tensor], path: Path) -> str:
    """The type that the checkpoint's own tensors tell."""
    if "image_encoder.patch_embed.stride2.0.0.weight" in tensors:
        return "mini"
    patch = tensors.get("image_encoder.patch_embed.proj.weight")
    for name, shape in VIT_SHAPES.items():
        if patch is not None and tuple(patch.shape) == (shape.width, 3, shape.patch, shape.patch):
            return name
    raise SamAdaptError(
        f"{path.name} does not hold a SAM that is known here (mini, ViT-B, ViT-L or ViT-H): "
        "its image encoder's tensors have other names or shapes. Choose a SAM checkpoint."
    )


def _build_on_meta(model_type: str, input_size: int) -> PromptableSam:
    with torch.device("meta"):
        if model_type == "mini":
            return build_mini(input_size)
        return build_vit(VIT_SHAPES[model_type], input_size, model_type)


def _load(sam: PromptableSam, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give the model its tensors; every name, type and shape is compared before anything is copied."""
    expected = sam.state_dict()
    whole = [name for name in expected if name in tensors and not tensors[name].is_floating_point()]
    if whole:
        raise SamAdaptError(
            f"{path.name} holds {len(whole)} tensors that are no real numbers (first: {whole[0]}). Choose another file."
        )
    resized = resize_positions(tensors, sam)
    missing = sorted(set(expected) - set(resized))
    wrong = [
        name for name, tensor in expected.items() if name in resized and resized[name].shape != tensor.shape
    ]
    if missing or wrong:
        example = (missing or wrong)[0]
        raise SamAdaptError(
            f"{path.name} is not a complete {sam.model_type} checkpoint: {len(missing)} tensors are missing and "
            f"{len(wrong)} have another shape (first: {example}). Choose another file."
        )
    broken = [name for name in expected if not resized[name].isfinite().all()]
    if broken:
        raise SamAdaptError(
            f"{path.name} is damaged: {len(broken)} tensors hold NaN or infinite values (first: {broken[0]}). "
            "Get the file again."
        )
    sam.load_state_dict({name: resized[name].float() for name in expected}, assign=True)
    sam.set_pixel_statistics()
