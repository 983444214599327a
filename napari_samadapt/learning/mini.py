"""`mini`: a small promptable SAM made of segment-anything's own modules.

Two things differ from ViT-B. The patch embedding is a convolutional stem of stride 8, and the stem's fine features
(strides 2 and 4) also reach the mask decoder, as in SAM 2 and HQ-SAM, because small structures are lost at stride 8.
Blocks, neck, prompt encoder and two-way transformer are segment-anything's, so adapters attach as to ViT-B.
"""

from functools import partial

import torch
from torch import Tensor, nn

from .promptable_sam import Fine, PromptableSam
from .segment_anything_modules import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer

INPUT_SIZE = 256
STRIDE = 8
WIDTH, DEPTH, HEADS, WINDOW, GLOBAL_BLOCKS = 160, 6, 5, 8, (2, 5)
DECODER_WIDTH = 128
FINE_CHANNELS = (24, 64)
"""Channels of the stem's features at strides 2 and 4."""


class ConvStem(nn.Module):
    """Image (B, 3, H, W) to tokens (B, H/8, W/8, width); keeps the features at strides 2 and 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter = FINE_CHANNELS
        self.stride2 = nn.Sequential(_conv(3, half, stride=2), _conv(half, half))
        self.stride4 = _conv(half, quarter, stride=2)
        self.proj = nn.Conv2d(quarter, width, 3, stride=2, padding=1)

    def features(self, image: Tensor) -> tuple[Tensor, Fine]:
        half = self.stride2(image)  # (B, 24, H/2, W/2)
        quarter = self.stride4(half)  # (B, 64, H/4, W/4)
        return self.proj(quarter).permute(0, 2, 3, 1), (half, quarter)

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)[0]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
    )


class MiniImageEncoder(ImageEncoderViT):  # type: ignore[misc]  # segment_anything is not typed
    """segment-anything's plain ViT behind a convolutional stem."""

    def __init__(self, input_size: int) -> None:
        super().__init__(
            img_size=input_size,
            patch_size=STRIDE,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            out_chans=DECODER_WIDTH,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=WINDOW,
            global_attn_indexes=GLOBAL_BLOCKS,
        )
        self.patch_embed = ConvStem(WIDTH)


class DetailMaskDecoder(MaskDecoder):  # type: ignore[misc]  # segment_anything is not typed
    """segment-anything's mask decoder with the stem's fine features added while it up-scales.

    The way the two meet (a 1x1 convolution, a sum before the activation) is SAM 2's.
    """

    def __init__(self) -> None:
        super().__init__(
            transformer_dim=DECODER_WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=DECODER_WIDTH, mlp_dim=512, num_heads=8),
            iou_head_hidden_dim=DECODER_WIDTH,
        )
        half, quarter = FINE_CHANNELS
        self.fine_half = nn.Conv2d(half, DECODER_WIDTH // 8, 1)
        self.fine_quarter = nn.Conv2d(quarter, DECODER_WIDTH // 4, 1)

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
        fine: Fine,
    ) -> tuple[Tensor, Tensor]:
        """As `MaskDecoder.forward`; `fine` are the stem's features of the same images."""
        masks, scores = self.predict_all(
            image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings, fine
        )
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        return masks[:, chosen], scores[:, chosen]

    def predict_all(
        self, image_embeddings: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor, fine: Fine
    ) -> tuple[Tensor, Tensor]:
        """Logits (P, 4, h, w) and scores (P, 4) of P prompts; image tensors have batch 1 or P."""
        prompts = sparse.shape[0]
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(prompts, -1, -1)
        tokens = torch.cat([tokens, sparse], dim=1)
        source = image_embeddings.expand(prompts, -1, -1, -1) + dense
        b, c, h, w = source.shape
        hidden, source = self.transformer(source, image_pe.expand(prompts, -1, -1, -1), tokens)
        up1, norm, activation, up2, last = self.output_upscaling
        x = source.transpose(1, 2).view(b, c, h, w)
        x = activation(norm(up1(x) + self.fine_quarter(fine[1])))  # (P, 32, 2h, 2w)
        x = last(up2(x) + self.fine_half(fine[0]))  # (P, 16, 4h, 4w)
        kernels = torch.stack(
            [mlp(hidden[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )  # (P, 4, 16)
        return torch.einsum("ptc,pchw->pthw", kernels, x), self.iou_prediction_head(hidden[:, 0])


def build_mini(input_size: int = INPUT_SIZE) -> PromptableSam:
    """An untrained `mini` for square inputs of `input_size` pixels (a multiple of 8)."""
    tokens = input_size // STRIDE
    return PromptableSam(
        image_encoder=MiniImageEncoder(input_size),
        prompt_encoder=PromptEncoder(
            embed_dim=DECODER_WIDTH,
            image_embedding_size=(tokens, tokens),
            input_image_size=(input_size, input_size),
            mask_in_chans=16,
        ),
        mask_decoder=DetailMaskDecoder(),
        model_type="mini",
    )
