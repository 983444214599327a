"""What every automatic decoder answers: the classes of a slice without a prompt, and what its errors cost."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from .promptable_sam import Fine, PromptableSam
from .samples import SampleTensors

NO_OBJECT = -1
"""Stands among class ids for the output that says "no class"."""


class AutomaticDecoder(nn.Module, ABC):
    """A trainable decoder of background and K classes. Built from a SAM and K; it holds nothing of that SAM.

    `rate`: its learning rate. `reads_fine`: whether it looks at SAM's finer features. `class_rows`: how the names of
    those weights begin that hold a row for background, one for each class, and one for each of `more_rows`.
    `settles`: whether it can learn from slices without a training step, by `settle`.
    """

    rate: ClassVar[float]
    reads_fine: ClassVar[bool]
    class_rows: ClassVar[str]
    more_rows: ClassVar[tuple[int, ...]] = ()
    settles: ClassVar[bool] = False

    @abstractmethod
    def probabilities(self, sam: PromptableSam, images: Tensor, features: Tensor, fine: Fine) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], their embeddings (B, C, h, w) and finer features to (B, K + 1, H, W).

        At every pixel they sum to 1; 0 is background.
        """

    @abstractmethod
    def losses(
        self, sam: PromptableSam, batch: SampleTensors, features: Tensor, fine: Fine, balance: float,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Named terms, each with its weight, whose sum is to be made small.

        `balance` in [0, 1]: how far small classes are favoured, where the loss can do that.
        """

    @property
    def blank(self) -> bool:
        """Whether it knows nothing yet of some class, and `settle` would tell it."""
        return False

    def settle(
        self, sam: PromptableSam, batch: SampleTensors, features: Tensor, fine: Fine, rng: torch.Generator
    ) -> None:
        """Learn from the slices without a training step, starting from what it knows.

        `features` (B, C, h, w) and `fine` are the slices' embeddings and finer features.
        """
