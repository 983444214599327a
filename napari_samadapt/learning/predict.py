"""One slice through SAM: encode it once, decode masks from prompts often."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts

from .cut_out import cut_out
from .promptable_sam import Fine, Prefix, PromptableSam, scaled_size

MASK_PROMPT_LOGIT = 8.0
"""A previous mask enters as logits of this size, as `mini` saw it in training."""


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What SAM's image encoder says of one slice.

    `features` (1, C, h, w); `fine`: finer features of models that have them; `input_size` (H, W) of the slice inside
    the square input; `original_size` (H, W) of the slice.
    """

    features: Tensor
    fine: Fine
    input_size: tuple[int, int]
    original_size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """`mask` (H, W) bool; `score`: predicted IoU."""

    mask: NDArray[np.bool_]
    score: float


def image_tensor(image: NDArray[np.floating], device: torch.device | str = "cpu") -> Tensor:
    """A slice (H, W) or (H, W, 3) in [0, 1] as (1, 3, H, W) float32.

    Raises SamAdaptError for another shape or values that are not finite.
    """
    array = np.asarray(image, dtype=np.float32)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        raise SamAdaptError(
            f"A slice must be (H, W) or (H, W, 3), not {array.shape}: pass one slice of the volume."
        )
    if not np.isfinite(array).all():
        raise SamAdaptError("The slice holds values that are not finite: render it with a window first.")
    tensor = torch.from_numpy(np.ascontiguousarray(array)).to(device)
    return tensor.expand(3, -1, -1)[None] if array.ndim == 2 else tensor.permute(2, 0, 1)[None]


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to (B, C, *size): bilinear, anti-aliased when it shrinks."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


@dataclass(frozen=True, eq=False)
class SlicePrefix:
    """A slice after the first `depth` blocks of the image encoder, float16 on its way to an `ImageEmbedding`."""

    prefix: Prefix
    depth: int
    input_size: tuple[int, int]
    original_size: tuple[int, int]


@torch.no_grad()
def encode_slice(sam: PromptableSam, image: NDArray[np.floating]) -> ImageEmbedding:
    """Embed a slice (H, W) or (H, W, 3) in [0, 1]. Runs on any thread that owns `sam`."""
    pixels, size, original = _input_pixels(sam, image)
    features, fine = sam.encode(pixels)
    return ImageEmbedding(features, fine, size, original)


@torch.no_grad()
def encode_first_blocks(sam: PromptableSam, image: NDArray[np.floating], depth: int) -> SlicePrefix:
    """The part of `encode_slice` that adapters from block `depth` on do not change; `encode_last_blocks` goes on."""
    pixels, size, original = _input_pixels(sam, image)
    whole = sam.encode_prefix(pixels, depth)
    half = Prefix(whole.tokens.half(), tuple(level.half() for level in whole.fine))
    return SlicePrefix(half, depth, size, original)


@torch.no_grad()
def encode_last_blocks(sam: PromptableSam, first: SlicePrefix) -> ImageEmbedding:
    """The rest of `encode_slice`, to within the rounding of float16; `first` may lie on another device."""
    like = sam.pixel_mean
    prefix = Prefix(first.prefix.tokens.to(like), tuple(level.to(like) for level in first.prefix.fine))
    features, fine = sam.encode_suffix(prefix, first.depth)
    return ImageEmbedding(features, fine, first.input_size, first.original_size)


def _input_pixels(
    sam: PromptableSam, image: NDArray[np.floating]
) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
    """A slice as the model's input (1, 3, S, S), and its size (H, W) there and by itself."""
    pixels = image_tensor(image, sam.device)
    original = (int(pixels.shape[2]), int(pixels.shape[3]))
    size = scaled_size(original, sam.input_size)
    return sam.normalise(resize(pixels, size)), size, original


@torch.no_grad()
def decode_mask(sam: PromptableSam, embedding: ImageEmbedding, prompts: Prompts) -> MaskPrediction:
    """The mask that the prompts ask for; for a single click, the best of SAM's three by predicted IoU.

    Raises SamAdaptError when there is no prompt, or one lies outside the slice.
    """
    if prompts.empty:
        raise SamAdaptError("There is no prompt: click on the structure or draw a box around it.")
    prompts.check_inside(embedding.original_size)
    logits, scores = prompted_logits(sam, embedding, prompts, multimask=prompts.single_click)
    best = int(scores[0].argmax())
    full = logits_on_slice(logits[:, best : best + 1].float(), sam.input_size, embedding)  # (1, 1, H, W)
    return MaskPrediction(cut_out(full[0, 0], prompts).cpu().numpy(), float(scores[0, best]))


def prompted_logits(
    sam: PromptableSam, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool
) -> tuple[Tensor, Tensor]:
    """Low-resolution logits (1, 1 or 3, h, w) and predicted IoU (1, 1 or 3); gradients flow where they are on."""
    points, box = _prompt_tensors(sam, embedding, prompts)
    sparse, dense = sam.prompt_encoder(points, box, _mask_tensor(sam, embedding, prompts))
    return sam.decode(embedding.features, embedding.fine, sparse, dense, multimask=multimask)


def logits_on_slice(logits: Tensor, input_size: int, embedding: ImageEmbedding) -> Tensor:
    """(B, C, h, w) of the padded square to (B, C, H, W) of the slice; pixel areas stay aligned."""
    square = F.interpolate(logits, size=(input_size, input_size), mode="bilinear", align_corners=False)
    height, width = embedding.input_size
    inside = square[..., :height, :width]
    return F.interpolate(inside, size=embedding.original_size, mode="bilinear", align_corners=False)


def to_input_pixels(xy: NDArray[np.floating], embedding: ImageEmbedding) -> NDArray[np.float32]:
    """(..., 2) (x, y) pixels of the slice to pixels of the model's input; pixel centres are whole numbers in both."""
    height, width = embedding.original_size
    scale = np.array([embedding.input_size[1] / width, embedding.input_size[0] / height])
    return np.asarray((np.asarray(xy, dtype=np.float64) + 0.5) * scale - 0.5, dtype=np.float32)


def _prompt_tensors(
    sam: PromptableSam, embedding: ImageEmbedding, prompts: Prompts
) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
    points = box = None
    if len(prompts.point_coords):
        coords = torch.from_numpy(to_input_pixels(prompts.point_coords, embedding))[None].to(sam.device)
        labels = torch.tensor(prompts.point_labels, dtype=torch.int32)[None].to(sam.device)
        points = (coords, labels)
    if prompts.box is not None:
        corners = to_input_pixels(np.asarray(prompts.box).reshape(2, 2), embedding).reshape(1, 4)
        box = torch.from_numpy(corners).to(sam.device)
    return points, box


def _mask_tensor(sam: PromptableSam, embedding: ImageEmbedding, prompts: Prompts) -> Tensor | None:
    if prompts.mask_input is None:
        return None
    mask = torch.from_numpy(np.asarray(prompts.mask_input, dtype=np.float32))[None, None].to(sam.device)
    inside = resize(mask, embedding.input_size)
    size = sam.input_size
    square = F.pad(inside, (0, size - inside.shape[-1], 0, size - inside.shape[-2]))
    low_res = resize(square, tuple(sam.prompt_encoder.mask_input_size))
    return torch.where(low_res > 0.5, MASK_PROMPT_LOGIT, -MASK_PROMPT_LOGIT)
