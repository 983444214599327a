"""Conv-LoRA's multi-class decoder as an automatic one: mask queries, each with its class.

Conv-LoRA [arXiv 2401.17868, Appendix B] cuts SAM's mask decoder down to N mask tokens; Mask2Former [arXiv 2112.01527]
gives the matching, the loss on points and the way from N masks to one class for every pixel.
"""

import torch
from torch import Tensor

from .automatic import NO_OBJECT, AutomaticDecoder
from .class_decoder import QUERIES, ClassDecoder, semantic_scores
from .predict import ImageEmbedding, logits_on_slice
from .promptable_sam import Fine, PromptableSam, scaled_size
from .samples import SampleTensors
from .set_losses import SET_WEIGHTS, class_masks, set_terms

NOISE = 0.5
"""Sets the tokens apart at the start (ours). Equal ones, as in the official code, hardly part in a minute."""


class QueryDecoder(AutomaticDecoder):
    """Ten mask queries, or one more than there are classes; background is a class like the others."""

    rate = 1e-3
    reads_fine = True
    class_rows = "answer.class_head."
    more_rows = (NO_OBJECT,)

    def __init__(self, sam: PromptableSam, classes: int, noise: float = NOISE) -> None:
        super().__init__()
        self.answer = ClassDecoder(sam, classes + 1, max(QUERIES, classes + 2), noise)

    def probabilities(self, sam: PromptableSam, images: Tensor, features: Tensor, fine: Fine) -> Tensor:
        """Mask2Former's scores as shares; what no query claims of a pixel is shared out evenly among the classes.

        The scores are sums over queries of P(class) · P(pixel in mask): less than 1 where no mask is, more where
        several are. The class with the highest stays the same.
        """
        scores = semantic_scores(*self._answer_on_slices(sam, images, features, fine))
        claimed = scores.sum(1, keepdim=True)
        return (scores + (1 - claimed).clamp_min(0) / scores.shape[1]) / claimed.clamp_min(1)

    def losses(
        self, sam: PromptableSam, batch: SampleTensors, features: Tensor, fine: Fine, balance: float,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Classes, cross-entropy and Dice of matched masks; each mask counts the same, whatever its size."""
        masks, classes = self._answer_on_slices(sam, batch.images, features, fine)
        shown = [class_masks(target) for target in batch.targets]
        return set_terms(masks, classes, shown, SET_WEIGHTS["mask2former"], rng)

    def _answer_on_slices(
        self, sam: PromptableSam, images: Tensor, features: Tensor, fine: Fine
    ) -> tuple[Tensor, Tensor]:
        """Mask logits (B, N, H, W) and class logits (B, N, K + 2), "no object" last."""
        masks, classes = self.answer(sam, features, fine)
        size = (int(images.shape[2]), int(images.shape[3]))
        place = ImageEmbedding(features, fine, scaled_size(size, sam.input_size), size)
        return logits_on_slice(masks.float(), sam.input_size, place), classes.float()
