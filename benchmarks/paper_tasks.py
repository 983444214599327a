"""What a row trains, image by image: its loss and its scores. One class for masks without prompts, one for boxes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from paper_augmentation import augment, letterbox
from paper_data import Pair, read_pair, to_square
from paper_rows import Row
from torch import Tensor, nn

from napari_samadapt.imaging import paper_metrics
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.metrics import dice, iou
from napari_samadapt.imaging.prompts import Prompts, box_of
from napari_samadapt.learning import adapters
from napari_samadapt.learning.class_decoder import ClassDecoder, TrimmedDecoder, semantic_scores
from napari_samadapt.learning.predict import ImageEmbedding, logits_on_slice, prompted_logits, resize
from napari_samadapt.learning.promptable_sam import PromptableSam, scaled_size
from napari_samadapt.learning.set_losses import IGNORED, SET_WEIGHTS, class_masks, set_loss
from napari_samadapt.learning.structure_losses import BINARY_LOSSES

Truth = NDArray[np.bool_]
Measure = Callable[[NDArray[Any], Truth], float]
ON_PROBABILITIES: dict[str, Measure] = {
    "S": lambda p, truth: paper_metrics.s_measure(paper_metrics.stretched(p), truth),
    "E": lambda p, truth: paper_metrics.e_measure(paper_metrics.stretched(p), truth),
    "weighted-F": lambda p, truth: paper_metrics.weighted_f_measure(paper_metrics.stretched(p), truth),
    "MAE": lambda p, truth: paper_metrics.mean_absolute_error(paper_metrics.stretched(p), truth),
    "BER": lambda p, truth: paper_metrics.balanced_error_rate(p > 0.5, truth),
    "Jaccard": lambda p, truth: iou(p > 0.5, truth),
    "Jaccard≥0.65": lambda p, truth: paper_metrics.thresholded_jaccard(p > 0.5, truth),
    "Dice": lambda p, truth: dice(p > 0.5, truth),
    "accuracy": lambda p, truth: paper_metrics.accuracy(p > 0.5, truth),
}
"""Of one image; what is undefined (both masks empty) is left out of the mean."""
ERRORS = ("BER", "MBER", "MAE")
"""The metrics of which less is better."""


class WithoutPrompts(nn.Module):
    """Conv-LoRA's setting: the whole image squeezed into the square input, no prompt, SAM's decoder cut down."""

    def __init__(self, sam: PromptableSam, row: Row, classes: int) -> None:
        super().__init__()
        self.sam = sam
        self.row = row
        self.classes = classes
        self.decoder = ClassDecoder(sam, classes) if row.task == "classes" else TrimmedDecoder(sam)

    def loss(self, pair: Pair, rng: torch.Generator) -> Tensor:
        """The row's loss of one pair, mirrored half of the time."""
        image, mask = self._read(pair)
        if self.row.schedule.flips and torch.rand((), generator=rng) < 0.5:
            image, mask = image.flip(3), mask.flip(1)
        masks, classes = self._answer(image)
        if self.row.task == "binary":
            return BINARY_LOSSES[self.row.schedule.loss](masks, mask[None, None].float())
        weights = SET_WEIGHTS[self.row.schedule.set_weights]
        return set_loss(masks, classes, [class_masks(mask)], weights, rng)

    def scores(self, pairs: Sequence[Pair], only: Sequence[str] = ()) -> dict[str, float]:
        """In percent, measured on the square input; `only` some metrics, or all."""
        if self.row.task == "classes":
            return self._class_scores(pairs)
        chosen, rows = _chosen(only), []
        for pair in pairs:
            image, mask = self._read(pair)
            probability = self._answer(image)[0][0, 0].float().sigmoid().cpu().numpy()
            truth = mask.cpu().numpy() > 0
            rows.append([measure(probability, truth) for measure in chosen.values()])
        return _means(list(chosen), rows)

    def _class_scores(self, pairs: Sequence[Pair]) -> dict[str, float]:
        counts = np.zeros((self.classes, self.classes), np.int64)
        for pair in pairs:
            image, mask = self._read(pair)
            masks, classes = self._answer(image)
            predicted = semantic_scores(masks.float(), classes.float())[0].argmax(0)
            counts += paper_metrics.confusion(predicted.cpu().numpy(), mask.cpu().numpy(), self.classes)
        return {
            "mIoU": 100 * paper_metrics.mean_iou(counts),
            "MBER": 100 * paper_metrics.mean_balanced_error_rate(counts),
        }

    def _read(self, pair: Pair) -> tuple[Tensor, Tensor]:
        image, mask = read_pair(pair, binary=self.row.task == "binary")
        square, target = to_square(image, mask, self.sam.input_size)
        wrong = target[(target >= self.classes) & (target != IGNORED)]
        if len(wrong):
            raise SamAdaptError(
                f"{pair.mask.name} holds class {int(wrong[0])}, but there are {self.classes}: pass --classes."
            )
        return square.to(self.sam.device), target.to(self.sam.device)

    def _answer(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (1, N, S, S) and class logits (1, N, K + 1); N is 1 and the classes are empty in a binary row."""
        answer = self.decoder(self.sam, *self.sam.encode(self.sam.normalise(image)))
        masks, classes = answer if self.row.task == "classes" else (answer, answer.new_zeros(1, 1, 0))
        side = (self.sam.input_size, self.sam.input_size)
        return F.interpolate(masks, size=side, mode="bilinear", align_corners=False), classes


class WithBoxes(nn.Module):
    """COBOT's setting: longest side to the input, a loose box for each class, SAM's decoder trained whole."""

    def __init__(self, sam: PromptableSam, row: Row) -> None:
        super().__init__()
        self.sam = sam
        self.row = row
        sam.mask_decoder.requires_grad_(True)

    def loss(self, pair: Pair, rng: torch.Generator) -> Tensor:
        """The mean of the row's loss over the boxes of one pair; 0 without any."""
        image, labels = self._read(pair)
        if self.row.schedule.flips and torch.rand((), generator=rng) < 0.5:
            image, labels = image.flip(3), labels[:, ::-1].copy()
        if self.row.schedule.natural:
            image, labels = augment(image, labels, rng)
        numbers = np.random.default_rng(int(torch.randint(2**31, (1,), generator=rng)))
        answers = self._answers(image, labels, self.row.schedule.jitter, numbers)
        losses = [
            BINARY_LOSSES[self.row.schedule.loss](logits, torch.from_numpy(region[None, None]).to(logits))
            for logits, region in answers
        ]
        return torch.stack(losses).mean() if losses else torch.zeros((), device=self.sam.device)

    def scores(self, pairs: Sequence[Pair], only: Sequence[str] = ()) -> dict[str, float]:
        """In percent, measured on the images as they are read, one score for each box; `only` some metrics, or all."""
        numbers = np.random.default_rng(0)
        jitter = self.row.schedule.jitter if self.row.schedule.jitter_tests else 0
        chosen, rows = _chosen(only), []
        for pair in pairs:
            image, labels = self._read(pair)
            for logits, region in self._answers(image, labels, jitter, numbers):
                probability = logits[0, 0].float().sigmoid().cpu().numpy()
                rows.append([measure(probability, region) for measure in chosen.values()])
        return _means(list(chosen), rows)

    def _read(self, pair: Pair) -> tuple[Tensor, NDArray[np.int64]]:
        """A picture (1, 3, H, W) and its labels (H, W), in a square of the input's size in rows of natural images."""
        image, labels = read_pair(pair, binary=False)
        return letterbox(image, labels, self.sam.input_size) if self.row.schedule.natural else (image, labels)

    def _answers(
        self, image: Tensor, labels: NDArray[np.int64], jitter: int, numbers: np.random.Generator
    ) -> list[tuple[Tensor, Truth]]:
        """Logits (1, 1, H, W) of each class of an image, and its region (H, W)."""
        original = (int(image.shape[2]), int(image.shape[3]))
        size = scaled_size(original, self.sam.input_size)
        pixels = self.sam.normalise(resize(image.to(self.sam.device), size))
        embedding = ImageEmbedding(*self.sam.encode(pixels), size, original)
        answers = []
        for label in sorted(set(np.unique(labels).tolist()) - {0}):
            region = labels == label
            box = loose_box(region, jitter, numbers)
            low_res, _ = prompted_logits(self.sam, embedding, Prompts(box=box), multimask=False)
            answers.append((logits_on_slice(low_res, self.sam.input_size, embedding), region))
        return answers


def loose_box(region: Truth, jitter: int, numbers: np.random.Generator) -> NDArray[np.float32]:
    """The box of a region, each side moved outward by 0 to `jitter` pixels, within the image; XYXY."""
    outward = numbers.integers(0, jitter + 1, 4) * np.array([-1, -1, 1, 1])
    height, width = region.shape
    edge = np.tile([width - 0.5, height - 0.5], 2)
    box: NDArray[np.float32] = np.clip(np.asarray(box_of(region)) + outward, -0.5, edge).astype(np.float32)
    return box


Task = WithoutPrompts | WithBoxes


def build_task(sam: PromptableSam, row: Row, config: adapters.AdapterConfig, classes: int) -> Task:
    """Put the method into the SAM and the decoder of the row behind it."""
    adapters.insert(sam, config)
    return WithBoxes(sam, row) if row.task == "boxes" else WithoutPrompts(sam, row, classes)


def _chosen(only: Sequence[str]) -> dict[str, Measure]:
    return {name: measure for name, measure in ON_PROBABILITIES.items() if not only or name in only}


def _means(names: Sequence[str], rows: list[list[float]]) -> dict[str, float]:
    """Percent, over the rows where a metric is defined; NaN where it is for none."""
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    defined = np.isfinite(table)
    sums, counts = np.where(defined, table, 0).sum(0), defined.sum(0)
    return {
        name: 100 * float(total / count) if count else float("nan")
        for name, total, count in zip(names, sums, counts, strict=True)
    }
