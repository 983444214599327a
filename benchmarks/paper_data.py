"""Folders of pictures and masks: pairs, splits, and how one pair is read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.learning.predict import image_tensor

SPLITS = ("train", "val", "test")
HELD_BACK = 0.1
"""The share of images for validation, and for the test, where the folder names none."""


@dataclass(frozen=True, order=True)
class Pair:
    """A picture and its mask, of one size."""

    image: Path
    mask: Path


@dataclass(frozen=True)
class Splits:
    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of every file's name and size, and of the parts they are in."""
        parts = [
            [(file.name, file.stat().st_size) for pair in part for file in (pair.image, pair.mask)]
            for part in (self.train, self.val, self.test)
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def find_splits(folder: Path, seed: int, shots: int | None = None) -> Splits:
    """`folder`/images and /masks split by the seed, or the same inside `folder`/train, /val and /test.

    Without val a tenth of train is held back, without any split another tenth for the test. `shots`: keep so many
    training images, chosen by the seed. Raises SamAdaptError when a picture, a mask or a split is missing.
    """
    order = np.random.default_rng(seed)
    if (folder / "train").is_dir():
        parts = {name: find_pairs(folder / name) for name in SPLITS if (folder / name).is_dir()}
        if "test" not in parts:
            raise SamAdaptError(f"{folder} has a folder train but no folder test: add one.")
        train, test = parts["train"], parts["test"]
        val = parts.get("val", ())
    else:
        train, test = _held_back(find_pairs(folder), order)
        val = ()
    if not val:
        train, val = _held_back(train, order)
    if shots is not None:
        if shots > len(train):
            raise SamAdaptError(f"{folder} has {len(train)} training images, fewer than {shots}.")
        train = tuple(train[i] for i in sorted(order.permutation(len(train))[:shots]))
    return Splits(train, val, test)


def find_pairs(folder: Path) -> tuple[Pair, ...]:
    """The pictures of `folder`/images and the masks of `folder`/masks with the same stems, in order of the stems."""
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    alone = sorted(set(images) ^ set(masks))
    if alone:
        raise SamAdaptError(
            f"{folder}: {len(alone)} files of images and masks have no partner of the same stem (first: {alone[0]})."
        )
    return tuple(Pair(images[stem], masks[stem]) for stem in sorted(images))


def _by_stem(folder: Path) -> dict[str, Path]:
    """The files of a folder by their stems, but for those that systems hide there (.DS_Store)."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise SamAdaptError(
            f"There are no files in {folder}: put the pictures and masks in images and masks."
        )
    named = {path.stem: path for path in files}
    if len(named) < len(files):
        twice = next(path for path in files if named[path.stem] != path)
        raise SamAdaptError(
            f"{folder} holds {twice.name} and {named[twice.stem].name}, of one stem: keep one of them."
        )
    return named


def _held_back(
    pairs: Sequence[Pair], order: np.random.Generator
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """All but a tenth, and that tenth, at least one; both keep their order."""
    if len(pairs) < 2:
        raise SamAdaptError(f"{len(pairs)} images cannot be split into training and test: give more.")
    back = set(order.permutation(len(pairs))[: max(1, round(HELD_BACK * len(pairs)))].tolist())
    kept = tuple(pair for i, pair in enumerate(pairs) if i not in back)
    return kept, tuple(pair for i, pair in enumerate(pairs) if i in back)


def read_pair(pair: Pair, *, binary: bool) -> tuple[Tensor, NDArray[np.int64]]:
    """The picture (1, 3, H, W) float32 in [0, 1] and its mask (H, W): class numbers, or 1 above half its maximum."""
    values = read_volume(pair.image).data[0]
    if values.dtype.kind == "u":
        values = values / np.iinfo(values.dtype).max
    # Published masks are white on black, some as JPEG: those are thresholded, not read as ids.
    mask = (
        read_volume(pair.mask).data[0] if binary else read_labels(pair.mask, choices={"coding": "ids"})[0][0]
    )
    labels = np.asarray(mask.max(axis=-1) if mask.ndim == 3 else mask, dtype=np.int64)
    if labels.shape != values.shape[:2]:
        raise SamAdaptError(
            f"{pair.mask.name} has {labels.shape} pixels, its picture {values.shape[:2]}: they must agree."
        )
    if binary:
        labels = (2 * labels > max(1, int(labels.max()))).astype(np.int64)
    return image_tensor(np.clip(values, 0, 1).astype(np.float32)), labels


def check_objects(splits: Splits) -> None:
    """Raises SamAdaptError for a part without any object: there is no box to prompt with, and nothing to measure."""
    for name in SPLITS:
        pairs: tuple[Pair, ...] = getattr(splits, name)
        if not any(read_pair(pair, binary=False)[1].any() for pair in pairs):
            raise SamAdaptError(f"No mask for {name} holds an object, so there is no box: check the masks.")


def to_square(image: Tensor, mask: NDArray[np.int64], side: int) -> tuple[Tensor, Tensor]:
    """A picture (1, 3, side, side), bicubic, and its mask (side, side) int64, nearest: aspect is not kept."""
    size = (side, side)
    pixels = F.interpolate(image, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    labels = F.interpolate(torch.from_numpy(mask)[None, None].double(), size=size, mode="nearest-exact")
    return pixels, labels[0, 0].long()
