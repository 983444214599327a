"""The pictures that masks are asked for on, each with its labelled regions: three volumes and three sets of 2D images.

A region is a connected part of a label (parts touch by a side of a pixel) of at least 30 pixels.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import auto_window, render_slice
from napari_samadapt.imaging.masks import components as connected_parts
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, take_slice

SMALLEST = 30
"""Regions with fewer pixels are not asked for."""

TOTALSEGMENTATOR = Path("wasserth+TotalSegmentator/tests/reference_files")
BRAIN = Path("AIM-Harvard+pyradiomics/data")
BIOMEDPARSE = Path("microsoft+BiomedParse/biomedparse_datasets/BiomedParseData-Demo")
SAM_MED2D = Path("OpenGVLab+SAM-Med2D/data_demo")
MEDSCRIBBLE = Path("halleewong+ScribblePrompt/MedScribble")

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scribbles:
    """What a person drew for a mask: strokes on it, strokes beside it, and the mask; each (H, W) bool."""

    positive: Mask
    negative: Mask
    reference: Mask


@dataclass(frozen=True, eq=False)
class Picture:
    """`image` (H, W) or (H, W, 3) float32 in [0, 1] as the model sees it, its regions (H, W) bool, its scribbles."""

    image: NDArray[np.float32]
    regions: tuple[Mask, ...]
    scribbles: tuple[Scribbles, ...] = ()


def components(mask: NDArray[Any], smallest: int = SMALLEST) -> list[Mask]:
    """The connected parts of a mask (H, W) that have at least `smallest` pixels, each (H, W) bool."""
    return connected_parts(mask, smallest)


def regions_of(masks: list[NDArray[Any]]) -> tuple[Mask, ...]:
    """The regions of several masks of one picture; one that two masks share counts once."""
    found = {np.packbits(part).tobytes(): part for mask in masks for part in components(mask)}
    return tuple(found.values())


def volume_pictures(image: Path, labels: Path, data: Path) -> Iterator[Picture]:
    """Every slice along the first axis of the array that shows a region, in the window the product starts with."""
    volume = read_volume(data / image)
    ids, _ = read_labels(data / labels, volume)
    window = auto_window(volume)
    for index in range(volume.shape[0]):
        key = SliceKey(0, index)
        shown = take_slice(ids, key)
        regions = regions_of([shown == i for i in np.unique(shown) if i])
        if regions:
            yield Picture(render_slice(volume, key, window), regions)


def image_pictures(images: Path, masks: Path, data: Path) -> Iterator[Picture]:
    """Every PNG of `images`; its masks are the files of `masks` whose names begin with its name."""
    for path in sorted((data / images).glob("*.png")):
        files = sorted((data / masks).glob(f"{path.stem}_*.png"))
        regions = regions_of([_pixels(file) > 0.5 for file in files])
        if regions:
            yield Picture(_pixels(path), regions)


def _pixels(path: Path) -> NDArray[np.float32]:
    volume = read_volume(path)
    return render_slice(volume, SliceKey(0, 0), auto_window(volume))


def medscribble_pictures(data: Path) -> Iterator[Picture]:
    """Every image with its soft mask cut at 0.5 and three people's scribbles (positive, negative)."""
    for path in sorted((data / MEDSCRIBBLE).rglob("img.npy")):
        mask = np.load(path.with_name("seg.npy")) > 0.5
        drawn = [np.load(file) > 0.5 for file in sorted(path.parent.glob("scribble_*.npy"))]
        image = np.clip(np.load(path), 0, 1).astype(np.float32)
        yield Picture(image, regions_of([mask]), tuple(Scribbles(d[0], d[1], mask) for d in drawn))


SETS: Mapping[str, Callable[[Path], Iterator[Picture]]] = {
    "ct": partial(
        volume_pictures, TOTALSEGMENTATOR / "example_ct_sm.nii.gz", TOTALSEGMENTATOR / "example_seg.nii.gz"
    ),
    "mr": partial(
        volume_pictures, TOTALSEGMENTATOR / "example_mr_sm.nii.gz", TOTALSEGMENTATOR / "example_seg_mr.nii.gz"
    ),
    "brain1": partial(volume_pictures, BRAIN / "brain1_image.nrrd", BRAIN / "brain1_label.nrrd"),
    "biomedparse": partial(image_pictures, BIOMEDPARSE / "demo", BIOMEDPARSE / "demo_mask"),
    "medscribble": medscribble_pictures,
    "sam-med2d": partial(image_pictures, SAM_MED2D / "images", SAM_MED2D / "masks"),
}
"""The pictures of each set, read one by one from the folder of the data."""
