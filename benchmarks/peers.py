"""What else learns a volume from a few annotated slices: a U-Net from scratch, and random forests on pixel features.

Each peer gets the slices and seconds that our methods get, and answers with a function that segments a slice. They
stand for RootPainter (a U-Net trained while one annotates; Smith et al. 2022, doi 10.1111/nph.18387), ilastik (a
random forest on filters of several scales; Berg et al. 2019, doi 10.1038/s41592-019-0582-9) and featureforest (a
random forest on SAM's features, github.com/juglab/featureforest), and were tuned as `docs/live.md` says.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # scipy has no types
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]  # it has no types
from torch import Tensor, nn

from napari_samadapt.learning.losses import cross_entropy_and_dice
from napari_samadapt.learning.precision import autocast
from napari_samadapt.learning.predict import encode_slice
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.samples import SampleTensors, TrainingSample, augment, stack_samples

Grey = NDArray[np.float32]
Segment = Callable[[Grey], NDArray[np.uint16]]
"""A slice (H, W) in [0, 1] to its class ids (H, W); 0 is background."""
Features = Callable[[Grey], Grey]
"""A slice (H, W) in [0, 1] to the features of its pixels (H, W, F)."""

SIGMAS = (0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
"""ilastik's scales, in pixels; its smallest, 0.3, is the grey value itself here."""

TREES, AT_ONCE = 100, 4
"""A forest grows by four trees at once until it has a hundred, as ilastik's, or the time is over."""

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class UNetConfig:
    """Size and training of the U-Net. `flips`: mirrored slices too; `place`: x and y as further inputs."""

    width: int = 16
    levels: int = 4
    batch_size: int = 4
    rate: float = 3e-3
    weight_decay: float = 1e-4
    flips: bool = False
    place: bool = False


# A U-Net from scratch.


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Ronneberger et al. 2015, with padding and batch normalisation: (B, inputs, H, W) to logits (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        pairs = list(itertools.pairwise(widths))
        self.first = _convolutions(inputs, width)
        self.down = nn.ModuleList(_convolutions(a, b) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.join = nn.ModuleList(_convolutions(2 * a, a) for a, _ in pairs)
        self.last = nn.Conv2d(width, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        step = 2 ** len(self.down)
        height, width = images.shape[2:]
        x = F.pad(images, (0, -width % step, 0, -height % step), mode="replicate")
        kept = [self.first(x)]
        for block in self.down:
            kept.append(block(F.max_pool2d(kept[-1], 2)))
        x = kept.pop()
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            fine = kept.pop()
            coarse = F.interpolate(up(x), size=fine.shape[2:], mode="bilinear", align_corners=False)
            x = join(torch.cat([fine, coarse], 1))
        logits: Tensor = self.last(x)[..., :height, :width]
        return logits


def u_net(
    samples: Sequence[TrainingSample],
    class_ids: Sequence[int],
    seconds: float,
    seed: int,
    config: UNetConfig | None = None,
) -> Segment:
    """Train a U-Net for that many seconds of wall time, with the augmentation that our methods have."""
    config, started = config or UNetConfig(), time.perf_counter()
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    data = stack_samples(samples, class_ids, _CPU)
    net = UNet(3 if config.place else 1, len(class_ids) + 1, config.width, config.levels)
    net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # torch's types lack it
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    for step, fraction in enumerate(_fractions(started, seconds)):
        for group in optimizer.param_groups:
            group["lr"] = config.rate * min(1.0, (step + 1) / 10) * 0.5 * (1 + math.cos(math.pi * fraction))
        batch = augment(data.draw(config.batch_size, rng), rng)
        if config.flips:
            batch = _flip(batch, rng)
        with autocast(_CPU):
            logits = net(_inputs(batch.images, config.place))
        loss = torch.stack(cross_entropy_and_dice(logits, batch.targets)).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.eval()
    ids = np.array((0, *class_ids), np.uint16)

    @torch.no_grad()
    def segment(image: Grey) -> NDArray[np.uint16]:
        logits = net(_inputs(torch.from_numpy(image)[None, None], config.place))
        found: NDArray[np.uint16] = ids[logits[0].argmax(0).numpy()]
        return found

    return segment


def _fractions(started: float, seconds: float) -> Iterator[float]:
    """The part of the time that has passed, until it is over; at least once."""
    fraction = 0.0
    while fraction < 1:
        yield fraction
        fraction = (time.perf_counter() - started) / seconds


def _inputs(images: Tensor, place: bool) -> Tensor:
    """The grey values (B, 1, H, W) of images (B, 1 or 3, H, W) around 0, and, if asked for, x and y in [-1, 1]."""
    channels = [(images[:, :1] - 0.5) * 4]
    if place:
        count, _, height, width = images.shape
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        channels += [axis.expand(count, 1, -1, -1) for axis in (y, x)]
    return torch.cat(channels, 1).contiguous(memory_format=torch.channels_last)


def _flip(batch: SampleTensors, rng: torch.Generator) -> SampleTensors:
    """The whole batch mirrored up-down and left-right, each in half of the steps."""
    axes = [axis for axis in (-2, -1) if torch.rand((), generator=rng) < 0.5]
    return SampleTensors(batch.images.flip(axes), batch.targets.flip(axes))


# Random forests.


def random_forest(
    samples: Sequence[TrainingSample],
    class_ids: Sequence[int],
    seconds: float,
    seed: int,
    features: Features,
) -> Segment:
    """Grow a random forest on the pixels' features for at most that many seconds; computing these counts."""
    started = time.perf_counter()
    pixels = np.concatenate([_rows(features(sample.image)) for sample in samples])
    ids = np.concatenate([np.where(np.isin(s.labels, class_ids), s.labels, 0).ravel() for s in samples])
    forest = RandomForestClassifier(0, n_jobs=torch.get_num_threads(), random_state=seed, warm_start=True)
    for _ in _fractions(started, seconds):
        forest.n_estimators += AT_ONCE
        forest.fit(pixels, ids)
        if forest.n_estimators >= TREES:
            break

    def segment(image: Grey) -> NDArray[np.uint16]:
        return np.asarray(forest.predict(_rows(features(image))), np.uint16).reshape(image.shape)

    return segment


def _rows(features: Grey) -> Grey:
    return features.reshape(-1, features.shape[2])


def filters(image: Grey) -> Grey:
    """ilastik's features at every scale, and the grey value.

    Gaussian, its gradient's magnitude, its Laplacian, a difference of Gaussians, and the eigenvalues of the structure
    tensor and of the Hessian.
    """
    found = [image]
    for sigma in SIGMAS:
        smooth = ndimage.gaussian_filter(image, sigma)
        dy, dx = (ndimage.gaussian_filter(image, sigma, order) for order in ((1, 0), (0, 1)))
        tensor = (ndimage.gaussian_filter(a * b, sigma / 2) for a, b in ((dy, dy), (dy, dx), (dx, dx)))
        hessian = (ndimage.gaussian_filter(image, sigma, order) for order in ((2, 0), (1, 1), (0, 2)))
        found += [smooth, np.hypot(dy, dx), smooth - ndimage.gaussian_filter(image, 0.66 * sigma)]
        found += [ndimage.gaussian_laplace(image, sigma), *_eigenvalues(*tensor), *_eigenvalues(*hessian)]
    return np.stack(found, axis=-1).astype(np.float32)


def _eigenvalues(yy: Grey, yx: Grey, xx: Grey) -> tuple[Grey, Grey]:
    """Of the symmetric matrices [[yy, yx], [yx, xx]], the larger ones first."""
    middle = ((yy + xx) / 2).astype(np.float32)
    half = np.hypot((yy - xx) / 2, yx).astype(np.float32)
    return middle + half, middle - half


def with_place(features: Features) -> Features:
    """Features, and y and x in [0, 1] of every pixel."""

    def placed(image: Grey) -> Grey:
        y, x = np.meshgrid(
            *(np.linspace(0, 1, side, dtype=np.float32) for side in image.shape), indexing="ij"
        )
        return np.concatenate([features(image), y[..., None], x[..., None]], axis=-1)

    return placed


def sam_features(sam: PromptableSam) -> Features:
    """A SAM's embedding and its finer features at every pixel, and the grey value."""

    def features(image: Grey) -> Grey:
        embedding = encode_slice(sam, image)
        height, width = embedding.input_size
        levels = [torch.from_numpy(image)[None, None]]
        for level in (embedding.features, *embedding.fine):
            square = F.interpolate(
                level.float(), size=(sam.input_size,) * 2, mode="bilinear", align_corners=False
            )
            levels.append(F.interpolate(square[..., :height, :width], size=image.shape, mode="bilinear"))
        stacked: Grey = torch.cat(levels, 1)[0].permute(1, 2, 0).numpy()
        return stacked

    return features


Peer = Callable[[Sequence[TrainingSample], Sequence[int], float, int], Segment]
"""Slices, ids of the classes, seconds and a seed to what was learned."""


def peers(sam: PromptableSam) -> Mapping[str, Peer]:
    """Every peer by its name; `sam`, plain, is the one whose features a forest is given."""

    def forest(features: Features) -> Peer:
        return lambda samples, ids, seconds, seed: random_forest(samples, ids, seconds, seed, features)

    return {
        "u-net": u_net,
        "forest": forest(filters),
        "forest-xy": forest(with_place(filters)),
        "forest-sam": forest(sam_features(sam)),
    }
