"""`PromptableSam`: segment-anything's Sam, with the two calls that training and prediction share.

`Sam.forward` runs without gradients and on lists of dictionaries; here the three parts are called directly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import fuse_global_attention
from .segment_anything_modules import Sam

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

Fine = tuple[Tensor, ...]
"""Features finer than the embedding, for decoders that take them; empty for the official models."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """A slice on its way through the image encoder: `tokens` (B, h, w, D) before a block, and `fine`; or its pixels."""

    tokens: Tensor
    fine: Fine


class PromptableSam(Sam):  # type: ignore[misc]  # segment_anything is not typed
    """A Sam that knows its type, its input size and the sha256 of the checkpoint it came from."""

    def __init__(
        self, image_encoder: torch.nn.Module, prompt_encoder: torch.nn.Module, mask_decoder: torch.nn.Module,
        model_type: str,
    ) -> None:  # fmt: skip
        super().__init__(image_encoder, prompt_encoder, mask_decoder, list(PIXEL_MEAN), list(PIXEL_STD))
        fuse_global_attention(image_encoder.get_submodule("blocks").children())
        self.model_type = model_type
        self.base_sha256 = ""
        self.eval()

    def set_pixel_statistics(self) -> None:
        """Fill the buffers of the pixel mean and deviation, which no checkpoint holds."""
        self.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
        self.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return int(self.image_encoder.img_size)

    @property
    def embedding_channels(self) -> int:
        return int(self.prompt_encoder.embed_dim)

    @property
    def stride(self) -> int:
        """Input pixels to one cell of the embedding."""
        return self.input_size // int(self.prompt_encoder.image_embedding_size[0])

    def encode(self, pixels: Tensor) -> tuple[Tensor, Fine]:
        """Normalised pixels (B, 3, S, S) to the embedding (B, C, S/stride, S/stride) and finer features."""
        return self.encode_suffix(self.encode_prefix(pixels, 0), 0)

    def encode_prefix(self, pixels: Tensor, depth: int) -> Prefix:
        """The image encoder up to block `depth`, from normalised pixels (B, 3, S, S); those themselves for -1."""
        if depth < 0:
            return Prefix(pixels, ())
        encoder = self.image_encoder
        embedding = encoder.patch_embed
        tokens, fine = (
            embedding.features(pixels) if hasattr(embedding, "features") else (embedding(pixels), ())
        )
        if encoder.pos_embed is not None:
            tokens = tokens + encoder.pos_embed
        for block in list(encoder.blocks)[:depth]:
            tokens = block(tokens)
        return Prefix(tokens, fine)

    def encode_suffix(self, prefix: Prefix, depth: int) -> tuple[Tensor, Fine]:
        """The rest: blocks from `depth` on and the neck, to what `encode` gives."""
        if depth < 0:
            return self.encode(prefix.tokens)
        tokens = prefix.tokens
        for block in list(self.image_encoder.blocks)[depth:]:
            tokens = block(tokens)
        return self.image_encoder.neck(tokens.permute(0, 3, 1, 2)), prefix.fine

    def decode(
        self, features: Tensor, fine: Fine, sparse: Tensor, dense: Tensor, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (P, 1 or 3, h, w) and predicted IoU (P, 1 or 3) for one image's features."""
        extra = {"fine": fine} if fine else {}
        logits, scores = self.mask_decoder(
            image_embeddings=features,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            **extra,
        )
        return logits, scores

    def normalise(self, image: Tensor) -> Tensor:
        """Images (B, 3, h, w) in [0, 1] to pixels (B, 3, S, S): normalised, padded right and below with zeros."""
        pixels = (image * 255 - self.pixel_mean) / self.pixel_std
        size = self.input_size
        return F.pad(pixels, (0, size - image.shape[-1], 0, size - image.shape[-2]))


def scaled_size(original: Sequence[int], input_size: int) -> tuple[int, int]:
    """(H, W) of a slice after its longest side was scaled to `input_size`, as SAM's ResizeLongestSide does.

    A side of a very long slice keeps at least one pixel.
    """
    scale = input_size / max(original)
    return max(1, int(original[0] * scale + 0.5)), max(1, int(original[1] * scale + 0.5))


def resize_positions(tensors: Mapping[str, Tensor], model: PromptableSam) -> dict[str, Tensor]:
    """Copies of `tensors` whose position embeddings have the sizes of `model`, interpolated where they differ."""
    expected = model.state_dict()
    resized = dict(tensors)
    for name, tensor in tensors.items():
        wanted = expected[name].shape if name in expected else tensor.shape
        if tensor.shape == wanted:
            continue
        if name.endswith("pos_embed") and tensor.ndim == 4:
            grid = tensor.permute(0, 3, 1, 2).float()
            grid = F.interpolate(grid, size=tuple(wanted[1:3]), mode="bicubic", align_corners=False)
            resized[name] = grid.permute(0, 2, 3, 1)
        elif name.endswith(("rel_pos_h", "rel_pos_w")) and tensor.ndim == 2:
            line = tensor.float().T[None]
            resized[name] = F.interpolate(line, size=wanted[0], mode="linear")[0].T.contiguous()
    return resized
