"""`mini`: a small promptable SAM made of segment-anything's own modules.

Two things differ from ViT-B. The patch embedding is a convolutional stem of stride 8, and the stem's fine features
(strides 2 and 4) also reach the mask decoder, as in SAM 2 and HQ-SAM, because small structures are lost at stride 8;
and the prompts are drawn as maps beside their tokens, as in RITM (arXiv 2102.06583), because a small network finds
it hard to tell from two tokens where a box ends. Blocks, neck, prompt tokens and two-way transformer are
segment-anything's, so adapters attach as to ViT-B.
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

        self.deeper4 = _residual(quarter)

    def features(self, image: Tensor) -> tuple[Tensor, Fine]:
        half = self.stride2(image)  # (B, 24, H/2, W/2)
        quarter = self.stride4(half)  # (B, 64, H/4, W/4)
        quarter = quarter + self.deeper4(quarter)
        return self.proj(quarter).permute(0, 2, 3, 1), (half, quarter)

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)[0]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
    )


def _residual(channels: int) -> nn.Sequential:
    """Two 3x3 convolutions whose sum with the input is the input at first."""
    last = nn.Conv2d(channels, channels, 3, padding=1)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(), last)


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


class DrawnPromptEncoder(PromptEncoder):  # type: ignore[misc]  # segment_anything is not typed
    """segment-anything's prompt encoder whose dense embedding also shows the points and the box as maps."""

    CLICK_RADIUS = 4.0
    """Deviation of a drawn click, in pixels of the input."""

    def __init__(self, input_size: int) -> None:
        tokens = input_size // STRIDE
        super().__init__(
            embed_dim=DECODER_WIDTH,
            image_embedding_size=(tokens, tokens),
            input_image_size=(input_size, input_size),
            mask_in_chans=16,
        )
        last = nn.Conv2d(64, DECODER_WIDTH, 1)
        nn.init.zeros_(last.weight)
        self.drawing = nn.Sequential(nn.Conv2d(4, 64, 4, stride=4), nn.GELU(), last)

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `PromptEncoder.forward`: sparse (P, N, C) and dense (P, C, h, w) embeddings."""
        sparse, dense = super().forward(points, boxes, masks)
        if points is None and boxes is None:
            return sparse, dense
        return sparse, dense + self.drawing(self.draw(points, boxes).to(dense.dtype))

    def draw(self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None) -> Tensor:
        """Maps (P, 4, 4h, 4w): clicks on the object, clicks beside it, the box, the ellipse that fills the box.

        Clicks are bells of height 1; a box is 1 inside; the ellipse falls from 1 at its centre to 0 at its edge and
        to -1 outside. Maps of prompts that were not given are 0.
        """
        height, width = self.mask_input_size
        step = self.input_image_size[0] / height
        device = self.no_mask_embed.weight.device
        y = (torch.arange(height, device=device) + 0.5)[:, None] * step
        x = (torch.arange(width, device=device) + 0.5)[None, :] * step
        count = len(boxes) if boxes is not None else len(points[0])  # type: ignore[index]
        maps = torch.zeros(count, 4, height, width, device=device)
        if points is not None:
            coords, labels = points[0].float() + 0.5, points[1]
            squares = [
                ((coords[..., i, None] - axis) / self.CLICK_RADIUS) ** 2
                for i, axis in ((0, x[0]), (1, y[:, 0]))
            ]
            across, down = (torch.exp(-square / 2) for square in squares)  # (P, N, W), (P, N, H)
            for channel, sign in ((0, 1), (1, 0)):
                chosen = (labels == sign).to(down)[..., None] * down
                maps[:, channel] = torch.einsum("pnh,pnw->phw", chosen, across).clamp(max=1)
        if boxes is not None:
            x0, y0, x1, y1 = (boxes.float() + 0.5).T[..., None, None]
            u = (2 * x - x0 - x1) / (x1 - x0).clamp_min(step)
            v = (2 * y - y0 - y1) / (y1 - y0).clamp_min(step)
            maps[:, 2] = ((u.abs() < 1) & (v.abs() < 1)).float()
            maps[:, 3] = (1 - u**2 - v**2).clamp(min=-1)
        return maps


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
        self.prompt_skip = nn.Conv2d(DECODER_WIDTH, DECODER_WIDTH, 1)
        nn.init.zeros_(self.prompt_skip.weight)
        nn.init.zeros_(self.prompt_skip.bias)  # type: ignore[arg-type]  # the bias is there
        self.refine4 = _residual(DECODER_WIDTH // 4)
        self.refine2 = nn.Conv2d(DECODER_WIDTH // 8, DECODER_WIDTH // 8, 3, padding=1)
        nn.init.zeros_(self.refine2.weight)

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
        """Logits (P, 4, h, w) and scores (P, 4) of P prompts.

        Image tensors have a batch that divides P: consecutive prompts belong to one image.
        """
        prompts = sparse.shape[0]
        each = prompts // len(image_embeddings)
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(prompts, -1, -1)
        tokens = torch.cat([tokens, sparse], dim=1)
        source = image_embeddings.repeat_interleave(each, 0) + dense
        b, c, h, w = source.shape
        hidden, source = self.transformer(source, image_pe.expand(prompts, -1, -1, -1), tokens)
        x = self.upscale(source.transpose(1, 2).view(b, c, h, w), dense, fine)
        kernels = torch.stack(
            [mlp(hidden[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )  # (P, 4, 16)
        return torch.einsum("ptc,pchw->pthw", kernels, x), self.iou_prediction_head(hidden[:, 0])

    def upscale(self, source: Tensor, dense: Tensor, fine: Fine) -> Tensor:
        """Tokens after the transformer (P, 128, h, w) to features (P, 16, 4h, 4w), with the fine features added.

        `dense` (P, 128, h, w) are the prompts' maps; `fine` has a batch that divides P.
        """
        each = len(source) // len(fine[0])
        up1, norm, activation, up2, last = self.output_upscaling
        quarter, half = self.fine_quarter(fine[1]), self.fine_half(fine[0])
        x = up1(source + self.prompt_skip(dense)) + quarter.repeat_interleave(each, 0)
        x = activation(norm(x))  # (P, 32, 2h, 2w)
        x = x + self.refine4(x)
        x = last(up2(x) + half.repeat_interleave(each, 0))  # (P, 16, 4h, 4w)
        refined: Tensor = x + self.refine2(x)
        return refined


def build_mini(input_size: int = INPUT_SIZE) -> PromptableSam:
    """An untrained `mini` for square inputs of `input_size` pixels (a multiple of 8)."""
    return PromptableSam(
        image_encoder=MiniImageEncoder(input_size),
        prompt_encoder=DrawnPromptEncoder(input_size),
        mask_decoder=DetailMaskDecoder(),
        model_type="mini",
    )
