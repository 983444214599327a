"""SAM's mask decoder without prompts: cut down to N mask tokens, alone or with a class for every mask.

Conv-LoRA [arXiv 2401.17868] keeps one token for a binary task; for many classes (its Appendix B) N tokens give N masks
through one shared hyper-network, and a linear layer on the same tokens tells the class of each.
"""

import copy

import torch
from torch import Tensor, nn

from .adapters.adapter import original, replace_modules
from .promptable_sam import Fine, PromptableSam

QUERIES = 10
"""Mask tokens of the multi-class decoder. The paper does not say; a test of its code takes 10."""


class TrimmedDecoder(nn.Module):
    """A trainable copy of a SAM's mask decoder with `queries` mask tokens, all copies of its single-mask token.

    One hyper-network (the first) serves all of them. The head that predicts IoU is left out: nothing
    trains or reads it. The output differs from SAM's before any training, because the tokens that are gone took
    part in attention. `noise`: standard deviation of what sets the tokens apart at the start (ours); at 0 only
    training does.
    """

    def __init__(self, sam: PromptableSam, queries: int = 1, noise: float = 0.0) -> None:
        super().__init__()
        decoder = copy.deepcopy(sam.mask_decoder)
        replace_modules(decoder, original)
        first = decoder.mask_tokens.weight[:1].detach()
        tokens = first + noise * torch.randn(queries, first.shape[1], device=first.device)
        decoder.mask_tokens = nn.Embedding(queries, first.shape[1], _weight=tokens)
        decoder.output_hypernetworks_mlps = decoder.output_hypernetworks_mlps[:1]
        del decoder.iou_prediction_head
        self.trimmed = decoder.requires_grad_(True)

    def forward(self, sam: PromptableSam, features: Tensor, fine: Fine) -> Tensor:
        """Embeddings (B, C, h, w) and finer features of one SAM to mask logits (B, N, 4h, 4w)."""
        return self.masks_and_tokens(sam, features, fine)[0]

    def masks_and_tokens(self, sam: PromptableSam, features: Tensor, fine: Fine) -> tuple[Tensor, Tensor]:
        """Mask logits (B, N, 4h, 4w) and the tokens (B, N, C) that gave them."""
        decoder = self.trimmed
        batch, channels, height, width = features.shape
        _, dense = sam.prompt_encoder(
            points=None, boxes=None, masks=None
        )  # (1, C, h, w): "no mask" everywhere
        positions = sam.prompt_encoder.get_dense_pe().expand(batch, -1, -1, -1)
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(batch, -1, -1)
        tokens, source = decoder.transformer(features + dense, positions, tokens)
        tokens = tokens[:, 1:]  # (B, N, C)
        source = source.transpose(1, 2).reshape(batch, channels, height, width)
        pixels = decoder.upscale(source, dense, fine) if fine else decoder.output_upscaling(source)
        kernels = decoder.output_hypernetworks_mlps[0](tokens)  # (B, N, C / 8)
        return torch.einsum("bnc,bchw->bnhw", kernels, pixels), tokens


class ClassDecoder(TrimmedDecoder):
    """N masks and, for each, logits of `classes` classes (background is one) and of "no object", the last."""

    def __init__(self, sam: PromptableSam, classes: int, queries: int = QUERIES, noise: float = 0.0) -> None:
        super().__init__(sam, queries, noise)
        self.class_head = nn.Linear(sam.embedding_channels, classes + 1).to(sam.device)

    def forward(self, sam: PromptableSam, features: Tensor, fine: Fine) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # it answers more
        """Mask logits (B, N, 4h, 4w) and class logits (B, N, K + 1) of embeddings (B, C, h, w)."""
        masks, tokens = self.masks_and_tokens(sam, features, fine)
        return masks, self.class_head(tokens)


def semantic_scores(mask_logits: Tensor, class_logits: Tensor) -> Tensor:
    """Σ over queries of P(class) · P(pixel in mask): (B, N, h, w) and (B, N, K + 1) to (B, K, h, w).

    Mask2Former's semantic inference [arXiv 2112.01527]; the class of a pixel is the one with the highest score.
    """
    classes = class_logits.softmax(2)[:, :, :-1]
    return torch.einsum("bnk,bnhw->bkhw", classes, mask_logits.sigmoid())
