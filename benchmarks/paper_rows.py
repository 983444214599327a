"""The rows of the papers' tables: what is trained, for how long, and what is measured.

Where a paper and its official code differ in the schedule or in how a method starts, the code is followed: its runs
gave the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from paper_figures import COBOT_SETS, FROZEN, Figure, cobot_figures, conv_lora_figures

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning.adapters import METHODS, AdapterConfig
from napari_samadapt.learning.adapters.config import defaults_of

Task = Literal["binary", "classes", "boxes"]
Decay = Literal["linear", "cosine", "none"]


@dataclass(frozen=True)
class Schedule:
    """How a row is trained. Rates are of the start; `cobot_rate` is for COBOT's own parameters, where it differs.

    `batch`: images to one update, one after the other. `clip`: largest norm of the gradient, 0 for any. `patience`:
    validations without a better score before the training ends. `warm_up` in epochs. `jitter`: a box's sides move
    outward by up to so many pixels, when testing too if `jitter_tests`. `natural`: a picture stands in a black square
    of the input's size, and is turned, cropped and recoloured in training (`paper_augmentation`). `loss` is one of
    `BINARY_LOSSES`, or "set" with the weights `set_weights`.
    """

    loss: str
    rate: float
    weight_decay: float
    epochs: int
    batch: int
    optimizer: Literal["adam", "adamw"]
    decay: Decay
    clip: float = 0.0
    patience: int | None = None
    warm_up: float = 0.0
    flips: bool = True
    cobot_rate: float | None = None
    balance: float = 1.0
    set_weights: str = "mask2former"
    jitter: int = 0
    jitter_tests: bool = False
    natural: bool = False


@dataclass(frozen=True)
class Row:
    """One data set of one paper. `metrics` in the table's order, in percent; `validated` chooses the best weights.

    `preset`: how methods that have one start in the runs that gave the figures, None for our own start.
    """

    key: str
    title: str
    model: str
    task: Task
    method: str
    metrics: tuple[str, ...]
    validated: str
    schedule: Schedule
    published: tuple[Figure, ...]
    preset: str | None = None

    def config(self, method: str, words: Sequence[str] = ()) -> AdapterConfig:
        """A method with the options that `words` set (NAME=VALUE) and, unless they set it, the row's start.

        Raises SamAdaptError as `AdapterConfig.from_words`.
        """
        if method == FROZEN:
            return AdapterConfig("decoder-only")
        start = self.preset and method in METHODS and "preset" in defaults_of(method)
        return AdapterConfig.from_words(method, [*([f"preset={self.preset}"] if start else []), *words])

    def figures_of(self, method: str, config: AdapterConfig, model: str) -> list[Figure]:
        """What the paper prints of this very run."""
        return [
            figure
            for figure in self.published
            if figure.runnable
            and (figure.method, figure.model) == (method, model)
            and _by_scales(self.config(method, figure.words)) == _by_scales(config)
        ]


def _by_scales(config: AdapterConfig) -> AdapterConfig:
    """The same Conv-LoRA with its experts named by their scales."""
    if config.method != "conv-lora":
        return config
    scales = config.scales or tuple(range(1, (config.experts or 0) + 1))
    return replace(config, scales=scales, experts=len(scales))


STRUCTURE = Schedule(
    "structure", rate=1e-4, weight_decay=1e-4, epochs=30, batch=4, optimizer="adamw", decay="linear", clip=1.0,
    patience=10,
)  # fmt: skip
SHADOW = replace(STRUCTURE, loss="balanced-bce", epochs=10)
CLASSES = replace(STRUCTURE, loss="set", balance=2.0)
MEDICAL = Schedule(
    "dice-ce", rate=1.25e-6, cobot_rate=1.25e-4, weight_decay=0.0, epochs=25, batch=1, optimizer="adam", decay="none",
    flips=False, jitter=19, jitter_tests=True,
)  # fmt: skip
NATURAL = Schedule(
    "dice-ce", rate=1.5e-4, weight_decay=5e-5, epochs=20, batch=2, optimizer="adam", decay="cosine", warm_up=1.0,
    jitter=49, natural=True,
)  # fmt: skip
"""Not as the official code: it moves all corners of a box down and to the right by up to 49 pixels (here its sides
move outward); its Dice, of the thresholded mask, has no gradient; its SONAR run scales grey values by that set's mean
and deviation (here SAM's) and leaves out the outer columns of the square when it measures.
"""


def _conv_lora(name: str, title: str, metrics: str, validated: str, schedule: Schedule) -> Row:
    task: Task = "classes" if schedule.loss == "set" else "binary"
    return Row(
        f"conv-lora/{name}", title, "vit_h", task, "conv-lora", tuple(metrics.split()), validated, schedule,
        conv_lora_figures(name),
    )  # fmt: skip


_LEAF = replace(STRUCTURE, rate=3e-4)
_CONV_LORA = (
    _conv_lora("kvasir", "Kvasir", "S E", "S", STRUCTURE),
    _conv_lora("cvc-612", "CVC-612", "S E", "S", STRUCTURE),
    _conv_lora("isic", "ISIC 2017", "Jaccard Dice", "Jaccard", STRUCTURE),
    _conv_lora("camo", "CAMO", "S E weighted-F", "S", replace(STRUCTURE, epochs=20)),
    _conv_lora("sbu", "SBU", "BER", "BER", SHADOW),
    _conv_lora("leaf", "Leaf", "Jaccard Dice", "Jaccard", _LEAF),
    _conv_lora("road", "Road", "Jaccard Dice", "Jaccard", replace(_LEAF, epochs=20)),
    _conv_lora("trans10k", "Trans10K-v2, 12 classes", "mIoU", "mIoU", CLASSES),
    _conv_lora("trans10k-easy", "Trans10K, easy", "mIoU", "mIoU", CLASSES),
    _conv_lora("trans10k-hard", "Trans10K, hard", "mIoU", "mIoU", CLASSES),
)

MEDICAL_SETS = ("adome", "splen", "momo", "brast", "segrap")
DICE_SETS = ("sonar", *MEDICAL_SETS)
"""SONAR is printed under mIoU, but the official logs give the same figures as Dice."""


def _cobot(name: str, title: str) -> Row:
    metric = "Dice" if name in DICE_SETS else "Jaccard"
    return Row(
        f"cobot/{name}", title, "vit_b", "boxes", "cobot-adaptformer", (metric,), metric,
        MEDICAL if name in MEDICAL_SETS else NATURAL, cobot_figures(name), preset="official",
    )  # fmt: skip


ROWS = {row.key: row for row in (*_CONV_LORA, *(_cobot(name, title) for name, title in COBOT_SETS.items()))}


def row_of(key: str) -> Row:
    """A row by its key. Raises SamAdaptError for another key."""
    if key not in ROWS:
        raise SamAdaptError(f"There is no row {key!r}: use one of {', '.join(ROWS)}.")
    return ROWS[key]


def few_shot(row: Row, shots: int) -> Row:
    """The row with so few training images: 100 epochs to the end for Conv-LoRA's; no figures of it are known here."""
    schedule = row.schedule
    if row.key.startswith("conv-lora/"):
        schedule = replace(schedule, epochs=100, patience=None)
    title = f"{row.title}, training images: {shots}"
    return replace(row, title=title, schedule=schedule, published=())
