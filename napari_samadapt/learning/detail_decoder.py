"""The default automatic decoder: SAM's embedding and the slice itself.

SAM's embedding alone is too coarse for fine structures, so it meets a detail path: three shallow convolution stages
on the slice itself at strides 1, 2 and 4, joined U-Net-wise with the embedding at stride 8. Its features are pretrained
on generated few-shot tasks (training/train_detail.py), so that heads in closed form already say a lot (`settle`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from .automatic import AutomaticDecoder
from .closed_form import ALL_PIXELS, PIXELS, balanced_pixels, features_at, logistic_heads, ridge_heads
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


def _instance_norm(channels: int) -> nn.GroupNorm:
    """Instance normalisation, as a group for each channel: the same numbers, and a step takes a tenth less."""
    return nn.GroupNorm(channels, channels)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        _instance_norm(outputs),
        nn.LeakyReLU(0.01),
    )


class DetailDecoder(AutomaticDecoder):
    """Slice pixels and SAM embedding to logits of background and `classes` classes."""

    rate = 5e-3
    reads_fine = False
    class_rows = "heads."
    settles = True

    def __init__(self, sam: PromptableSam, classes: int) -> None:
        super().__init__()
        one, two, four = CHANNELS
        self.stage1 = nn.Sequential(_conv(3, one), _conv(one, one))
        self.stage2 = nn.Sequential(_conv(one, two, 2), _conv(two, two))
        self.stage4 = nn.Sequential(_conv(two, four, 2), _conv(four, four))
        self.stage8 = _conv(four, JOINT, 2)
        self.embedding = nn.Sequential(nn.Conv2d(sam.embedding_channels, JOINT, 1), _instance_norm(JOINT))
        self.joint = nn.Sequential(_conv(2 * JOINT, JOINT), _conv(JOINT, JOINT))
        self.up4 = nn.Sequential(_conv(JOINT + four, four), _conv(four, four))
        self.up2 = nn.Sequential(_conv(four + two, two), _conv(two, two))
        self.up1 = nn.Sequential(_conv(two + one, one), _conv(one, one))
        self.heads = nn.ModuleList(nn.Conv2d(c, classes + 1, 1, bias=c == one) for c in CHANNELS)
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)
        self._load_features(sam)

    @torch.no_grad()
    def _load_features(self, sam: PromptableSam) -> None:
        """Take the pretrained features over; encoders that they were not trained with start without a say."""
        tensors = dict(pretrained_features())
        if sam.model_type != "mini":
            tensors = {
                name: tensor for name, tensor in tensors.items() if not name.startswith("embedding.0.")
            }
            tensors["embedding.1.weight"] = torch.zeros(JOINT)
        self.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)

    def forward(self, detail: Tensor, embedding: Tensor) -> Tensor:
        """Detail pixels (B, 3, h, w) and the embedding on the stride-8 grid (B, C, h/8, w/8) to (B, K + 1, h, w)."""
        return self.combine(self.features(detail, embedding))

    def features(self, detail: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the heads see: features (B, CHANNELS[i], ...) at strides 1, 2 and 4."""
        d1 = self.stage1(detail)
        d2 = self.stage2(d1)
        d4 = self.stage4(d2)
        x = self.joint(torch.cat([self.stage8(d4), self.embedding(embedding)], 1))
        x4 = self.up4(torch.cat([_enlarge(x, 2), d4], 1))
        x2 = self.up2(torch.cat([_enlarge(x4, 2), d2], 1))
        x1 = self.up1(torch.cat([_enlarge(x2, 2), d1], 1))
        return x1, x2, x4

    def combine(self, maps: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The heads' logits (B, K + 1, h, w): those at strides 2 and 4 are enlarged and added."""
        one, two, four = (head(x) for head, x in zip(self.heads, maps, strict=True))
        logits: Tensor = one + _enlarge(two, 2) + _enlarge(four, 4)
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

    @property
    def blank(self) -> bool:
        """True while a class, or the background, has no weight in any head."""
        return not bool(self._head_weights()[0].any(0).all())

    @torch.no_grad()
    def settle(
        self, sam: PromptableSam, batch: SampleTensors, features: Tensor, fine: Fine, rng: torch.Generator
    ) -> None:
        """Fit the heads to the slices by regression, from where they are; those of new classes by ridge first."""
        grid = slice_grid((int(batch.images.shape[2]), int(batch.images.shape[3])), sam.input_size)
        maps = self.slice_features(batch.images, features, sam.input_size)
        targets = targets_on_detail(batch.targets, grid)
        points = balanced_pixels(targets, rng, min(PIXELS, ALL_PIXELS // len(targets)))
        seen = features_at(maps, points).flatten(0, 1)
        answers = targets.flatten(1).gather(1, points).flatten()
        weights, bias = self._head_weights()
        new = ~weights.any(0)
        if new.any():
            ridge_weights, ridge_bias = ridge_heads(seen, F.one_hot(answers, len(bias)).float())
            weights = torch.where(new, ridge_weights, weights)
            bias = torch.where(new, ridge_bias, bias)
        self._set_head_weights(*logistic_heads(seen, answers, weights, bias))

    def _head_weights(self) -> tuple[Tensor, Tensor]:
        """Weights (D, K + 1) of the features at all strides, and the bias (K + 1,)."""
        weights = [head.weight[:, :, 0, 0].T for head in self.heads]  # type: ignore[index]
        return torch.cat(weights), self.heads[0].bias  # type: ignore[return-value]

    def _set_head_weights(self, weights: Tensor, bias: Tensor) -> None:
        for head, part in zip(self.heads, torch.split(weights, list(CHANNELS)), strict=True):
            head.weight.copy_(part.T[:, :, None, None])  # type: ignore[operator]
        self.heads[0].bias.copy_(bias)  # type: ignore[operator]

    def slice_features(
        self, images: Tensor, features: Tensor, input_size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`features` of images (B, 3, H, W) in [0, 1] with their embeddings (B, C, h, w), on the padded detail grid."""
        grid = slice_grid((int(images.shape[2]), int(images.shape[3])), input_size)
        detail = images if grid.detail == grid.original else resize(images, grid.detail)
        detail = F.pad((detail - 0.5) * 4, grid.padding, mode="replicate")
        return self.features(detail, embedding_on_detail(features, grid, input_size))

    def logits(self, images: Tensor, features: Tensor, input_size: int) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] and embeddings (B, C, h, w) of the padded square to (B, K + 1, H, W)."""
        grid = slice_grid((int(images.shape[2]), int(images.shape[3])), input_size)
        logits = self.combine(self.slice_features(images, features, input_size))
        logits = logits[..., : grid.detail[0], : grid.detail[1]]
        if grid.detail == grid.original:
            return logits
        return F.interpolate(logits, size=grid.original, mode="bilinear", align_corners=False)


@lru_cache(maxsize=1)
def pretrained_features() -> Mapping[str, Tensor]:
    """The bundled weights of everything but the heads, float16."""
    return load((resources.files("napari_samadapt.resources") / "detail_path.safetensors").read_bytes())


def _enlarge(x: Tensor, times: int) -> Tensor:
    """Bilinear enlargement. Autocast would compute `F.interpolate` in float32, and products in half precision."""
    if torch.is_autocast_enabled(x.device.type):
        return enlarge_by_products(x, times)
    return F.interpolate(x, scale_factor=times, mode="bilinear", align_corners=False)


def enlarge_by_products(x: Tensor, times: int) -> Tensor:
    """What bilinear `F.interpolate` makes of (B, C, h, w), as products with its weights along rows and columns."""
    rows, columns = (
        F.interpolate(
            torch.eye(side, dtype=x.dtype, device=x.device)[None], scale_factor=times, mode="linear"
        )[0]
        for side in x.shape[2:]
    )  # (side, times * side) each
    return rows.T @ (x @ columns)


@dataclass(frozen=True)
class SliceGrid:
    """How one slice size lies in the detail path and in SAM's square input; all (H, W) in pixels."""

    original: tuple[int, int]
    detail: tuple[int, int]
    padded: tuple[int, int]
    input: tuple[int, int]

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """What `F.pad` adds to the detail."""
        return 0, self.padded[1] - self.detail[1], 0, self.padded[0] - self.detail[0]


def slice_grid(original: tuple[int, int], input_size: int) -> SliceGrid:
    """The sizes for slices of `original` (H, W)."""
    largest = min(LARGEST_DETAIL, max(256, input_size // 2))
    detail = original if max(original) <= largest else scaled_size(original, largest)
    padded = tuple(max(SMALLEST_DETAIL, -(-side // DETAIL_STRIDE) * DETAIL_STRIDE) for side in detail)
    return SliceGrid(original, detail, (padded[0], padded[1]), scaled_size(original, input_size))


def targets_on_detail(targets: Tensor, grid: SliceGrid) -> Tensor:
    """Targets (B, H, W) on the padded detail grid, by the nearest pixel."""
    rows, columns = (
        _nearest(count, of).to(targets.device) for count, of in zip(grid.detail, grid.original, strict=True)
    )
    resized = targets[:, rows[:, None], columns]
    return F.pad(resized[:, None].float(), grid.padding, mode="replicate")[:, 0].long()


def _nearest(count: int, of: int) -> Tensor:
    """Which of `of` pixels in a row is the nearest to each of `count`; of two, the one before and after in turns.

    Always the one after would shift everything by half a pixel.
    """
    index = torch.arange(count)
    turns = (index % 2 - 0.5) * 1e-6
    position = (index.double() + 0.5) * of / count - 0.5 + turns
    return position.round().long().clamp(0, of - 1)


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
