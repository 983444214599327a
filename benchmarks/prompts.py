"""Dice of prompted masks on real volumes: one box, one click, and three more clicks in the largest error.

    python benchmarks/prompts.py [--data ../shared/data] [--cases ct,mr] [--model mini] [--adapter FILE]

Every region of at least 30 pixels in every slice is asked for once. With `--adapter` the same after adaptation.
"""

import argparse
from pathlib import Path

import numpy as np
from few_shot import CASES, FOLDER, Case
from numpy.typing import NDArray

from napari_samadapt.imaging.intensity import auto_window, render_slice
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.prompts import Prompts, box_of, click_in_error
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.learning.adapter_file import load_adapter
from napari_samadapt.learning.predict import ImageEmbedding, decode_mask, encode_slice
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam

SMALLEST = 30


def prompted_dice(
    sam: PromptableSam, embedding: ImageEmbedding, region: NDArray[np.bool_]
) -> tuple[float, ...]:
    """Dice of the mask from a box, from one click, and from that click and three corrections."""
    boxed = decode_mask(sam, embedding, Prompts(box=box_of(region))).mask
    mask = np.zeros_like(region)
    points: list[NDArray[np.float32]] = []
    labels: list[int] = []
    scores = []
    for _ in range(4):
        if not (mask ^ region).any():
            break
        xy, label = click_in_error(mask, region)
        points.append(xy)
        labels.append(label)
        previous = mask if len(points) > 1 else None
        prompts = Prompts(point_coords=np.stack(points), point_labels=np.array(labels), mask_input=previous)
        mask = decode_mask(sam, embedding, prompts).mask
        scores.append(dice(mask, region))
    return dice(boxed, region), scores[0], scores[-1]


def measure(case: Case, data: Path, sam: PromptableSam) -> NDArray[np.float64]:
    """(regions, 3): the three scores of every region of a case."""
    volume = read_volume(data / FOLDER / case.image)
    ids, _ = read_labels(data / FOLDER / case.labels, volume)
    window = auto_window(volume)
    rows = []
    for index in range(volume.shape[0]):
        key = SliceKey(0, index)
        labels = take_slice(ids, key)
        regions = [labels == i for i in case.ids if np.count_nonzero(labels == i) >= SMALLEST]
        if regions:
            embedding = encode_slice(sam, render_slice(volume, key, window))
            rows += [prompted_dice(sam, embedding, region) for region in regions]
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--adapter", type=Path)
    options = parser.parse_args()
    sam = load_sam(options.model)
    if options.adapter:
        load_adapter(options.adapter, sam)
    for name in options.cases.split(","):
        scores = measure(CASES[name], options.data, sam)
        box, click, corrected = scores.mean(axis=0)
        print(
            f"{name}: {len(scores)} regions, Dice box {box:.3f}, one click {click:.3f}, four clicks {corrected:.3f}"
        )


if __name__ == "__main__":
    main()
