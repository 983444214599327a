"""The default automatic decoder: SAM's embedding and the slice itself.

SAM's embedding alone is too coarse for fine structures, so it meets a detail path: three shallow convolution stages
on the slice itself at strides 1, 2 and 4, joined U-Net-wise with the embedding at stride 8.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .automatic import AutomaticDecoder
from .losses import cross_entropy_and_dice
from .predict import resize
from .promptable_sam import Fine, PromptableSam, scaled_size
from .samples import SampleTensors

CHANNELS = (16, 32, 64)
"""Channels of the detail path at strides 1, 2 and 4."""
JOINT = 96
DETAIL_STRIDE = 8
SMALLEST_DETAIL = 2 * DETAIL_STRIDE
"""Smaller slices are padded to this side, in pixels: a single cell at stride 8 has no variance to normalise by."""
LARGEST_DETAIL = 512
"""The detail path runs at the slice's own resolution up to half SAM's input size, within 256 and this, in pixels."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.LeakyReLU(0.01),
    )


class DetailDecoder(AutomaticDecoder):
    """Slice pixels and SAM embedding to logits of background and `classes` classes."""

    rate = 5e-3
    reads_fine = False
    class_rows = "head."

    def __init__(self, sam: PromptableSam, classes: int) -> None:
        super().__init__()
        one, two, four = CHANNELS
        self.stage1 = nn.Sequential(_conv(3, one), _conv(one, one))
        self.stage2 = nn.Sequential(_conv(one, two, 2), _conv(two, two))
        self.stage4 = nn.Sequential(_conv(two, four, 2), _conv(four, four))
        self.stage8 = _conv(four, JOINT, 2)
        self.embedding = nn.Sequential(
            nn.Conv2d(sam.embedding_channels, JOINT, 1), nn.InstanceNorm2d(JOINT, affine=True)
        )
        self.joint = nn.Sequential(_conv(2 * JOINT, JOINT), _conv(JOINT, JOINT))
        self.up4 = nn.Sequential(_conv(JOINT + four, four), _conv(four, four))
        self.up2 = nn.Sequential(_conv(four + two, two), _conv(two, two))
        self.up1 = nn.Sequential(_conv(two + one, one), _conv(one, one))
        self.head = nn.Conv2d(one, classes + 1, 1)

    def forward(self, detail: Tensor, embedding: Tensor) -> Tensor:
        """Detail pixels (B, 3, h, w) and the embedding on the stride-8 grid (B, C, h/8, w/8) to (B, K + 1, h, w)."""
        d1 = self.stage1(detail)
        d2 = self.stage2(d1)
        d4 = self.stage4(d2)
        x = self.joint(torch.cat([self.stage8(d4), self.embedding(embedding)], 1))
        x = self.up4(torch.cat([_double(x), d4], 1))
        x = self.up2(torch.cat([_double(x), d2], 1))
        x = self.up1(torch.cat([_double(x), d1], 1))
        logits: Tensor = self.head(x)
        return logits

    def probabilities(self, sam: PromptableSam, images: Tensor, features: Tensor, fine: Fine) -> Tensor:
        """The softmax of the logits."""
        return self.logits(images, features, sam.input_size).float().softmax(1)

    def losses(
        self, sam: PromptableSam, batch: SampleTensors, features: Tensor, fine: Fine, balance: float,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Cross-entropy and Dice. Small classes are to be favoured at first, or take hundreds of steps to appear."""
        logits = self.logits(batch.images, features, sam.input_size)
        entropy, dice = cross_entropy_and_dice(logits, batch.targets, balance)
        return {"entropy": entropy, "dice": dice}

    def logits(self, images: Tensor, features: Tensor, input_size: int) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] and embeddings (B, C, h, w) of the padded square to (B, K + 1, H, W)."""
        grid = slice_grid((int(images.shape[2]), int(images.shape[3])), input_size)
        detail = images if grid.detail == grid.original else resize(images, grid.detail)
        pad = (0, grid.padded[1] - grid.detail[1], 0, grid.padded[0] - grid.detail[0])
        detail = F.pad((detail - 0.5) * 4, pad, mode="replicate")
        logits: Tensor = self(detail, embedding_on_detail(features, grid, input_size))
        logits = logits[..., : grid.detail[0], : grid.detail[1]]
        if grid.detail == grid.original:
            return logits
        return F.interpolate(logits, size=grid.original, mode="bilinear", align_corners=False)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class SliceGrid:
    """How one slice size lies in the detail path and in SAM's square input; all (H, W) in pixels."""

    original: tuple[int, int]
    detail: tuple[int, int]
    padded: tuple[int, int]
    input: tuple[int, int]


def slice_grid(original: tuple[int, int], input_size: int) -> SliceGrid:
    """The sizes for slices of `original` (H, W)."""
    largest = min(LARGEST_DETAIL, max(256, input_size // 2))
    detail = original if max(original) <= largest else scaled_size(original, largest)
    padded = tuple(max(SMALLEST_DETAIL, -(-side // DETAIL_STRIDE) * DETAIL_STRIDE) for side in detail)
    return SliceGrid(original, detail, (padded[0], padded[1]), scaled_size(original, input_size))


def embedding_on_detail(features: Tensor, grid: SliceGrid, input_size: int) -> Tensor:
    """Sample embeddings (B, C, h, w) of the padded square at the detail path's stride-8 cells, centre on centre."""
    axes = []
    for axis in range(2):
        cells = torch.arange(grid.padded[axis] // DETAIL_STRIDE, device=features.device)
        on_input = (cells + 0.5) * DETAIL_STRIDE * grid.input[axis] / grid.detail[axis]
        axes.append(on_input / input_size * 2 - 1)
    y, x = torch.meshgrid(axes[0], axes[1], indexing="ij")
    points = torch.stack([x, y], -1)[None].expand(len(features), -1, -1, -1).to(features.dtype)
    return F.grid_sample(features, points, mode="bilinear", padding_mode="border", align_corners=False)
