"""The rows of the papers' tables: what is trained, for how long, what is measured, and the figures they print.

Where a paper and its official code differ in the schedule, the code is followed: its runs gave the figures.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from napari_samadapt.imaging.errors import SamAdaptError

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

    `published`: figures by method, as printed. `shots`: how many of the training images are used, None for all.
    """

    key: str
    title: str
    model: str
    task: Task
    method: str
    metrics: tuple[str, ...]
    validated: str
    schedule: Schedule
    published: Mapping[str, tuple[float, ...]]
    shots: int | None = None


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


def _conv_lora(
    name: str, title: str, metrics: str, validated: str, schedule: Schedule, *figures: tuple[float, ...]
) -> Row:
    """Figures of decoder-only, LoRA and Conv-LoRA, or of the last two alone."""
    methods = ("decoder-only", "lora", "conv-lora")[3 - len(figures) :]
    task: Task = "classes" if schedule.loss == "set" else "binary"
    published = dict(zip(methods, figures, strict=True))
    key = f"conv-lora/{name}"
    return Row(key, title, "vit_h", task, "conv-lora", tuple(metrics.split()), validated, schedule, published)


_LEAF = replace(STRUCTURE, rate=3e-4)
_CONV_LORA = (
    _conv_lora("kvasir", "Kvasir", "S E", "S", STRUCTURE, (86.5, 89.5), (91.2, 93.8), (92.0, 94.7)),
    _conv_lora("cvc-612", "CVC-612", "S E", "S", STRUCTURE, (85.5, 89.9), (90.7, 92.5), (91.3, 94.0)),
    _conv_lora(
        "isic", "ISIC 2017", "Jaccard Dice", "Jaccard", STRUCTURE, (69.7, 79.5), (76.6, 84.9), (77.6, 85.7)
    ),
    _conv_lora(
        "camo", "CAMO", "S E weighted-F", "S", replace(STRUCTURE, epochs=20),
        (78.5, 83.1, 69.8), (88.0, 91.9, 82.8), (88.3, 92.4, 84.0),
    ),
    _conv_lora("sbu", "SBU", "BER", "BER", SHADOW, (14.58,), (2.74,), (2.54,)),
    _conv_lora(
        "leaf", "Leaf", "Jaccard Dice", "Jaccard", _LEAF, (50.8, 63.8), (73.7, 83.6), (74.5, 84.3)
    ),
    _conv_lora(
        "road", "Road", "Jaccard Dice", "Jaccard", replace(_LEAF, epochs=20),
        (48.6, 65.1), (62.2, 76.5), (62.6, 76.8),
    ),
    _conv_lora("trans10k", "Trans10K-v2, 12 classes", "mIoU", "mIoU", CLASSES, (66.01,), (67.09,)),
    _conv_lora("trans10k-easy", "Trans10K, easy", "mIoU", "mIoU", CLASSES, (96.26,), (96.45,)),
    _conv_lora("trans10k-hard", "Trans10K, hard", "mIoU", "mIoU", CLASSES, (83.95,), (84.37,)),
)  # fmt: skip

COBOT_SETS = {
    "coco": "COCO",
    "trcan": "TRCAN",
    "nwpu": "NWPU",
    "ssdd": "SSDD",
    "sonar": "SONAR",
    "adome": "ADOME",
    "splen": "SPLEN",
    "momo": "MOMO",
    "brast": "BRAST",
    "segrap": "SEGRAP",
}
"""Columns of Table 4 in its order."""
MEDICAL_SETS = ("adome", "splen", "momo", "brast", "segrap")
DICE_SETS = ("sonar", *MEDICAL_SETS)
"""SONAR is printed under mIoU, but the official logs give the same figures as Dice."""
_TABLE_4 = {
    "frozen SAM": (53.0, 53.9, 59.6, 63.2, 34.5, 23.5, 24.3, 24.3, 60.1, 10.5),
    "decoder-only": (70.4, 70.3, 80.5, 80.2, 79.8, 86.0, 93.4, 86.3, 85.1, 67.8),
    "lora-qv": (71.8, 72.8, 81.8, 80.7, 82.8, 88.0, 94.4, 86.6, 84.8, 68.7),
    "cobot-lora": (72.1, 73.1, 82.5, 81.2, 84.6, 88.7, 94.9, 86.7, 85.3, 70.1),
    "adaptformer": (71.7, 73.3, 83.0, 81.9, 84.1, 90.1, 94.8, 87.6, 85.8, 72.1),
    "cobot-adaptformer": (72.2, 74.1, 84.9, 82.4, 84.9, 91.3, 96.4, 89.2, 87.3, 73.1),
}
"""NWPU with COBOT on Adaptformer: Table 4 prints 84.9, Tables 1 to 3 print 84.0 for the same run."""


def _cobot(name: str, title: str) -> Row:
    metric = "Dice" if name in DICE_SETS else "Jaccard"
    place = list(COBOT_SETS).index(name)
    return Row(
        f"cobot/{name}", title, "vit_b", "boxes", "cobot-adaptformer", (metric,), metric,
        MEDICAL if name in MEDICAL_SETS else NATURAL,
        {method: (figures[place],) for method, figures in _TABLE_4.items()},
    )  # fmt: skip


ROWS = {row.key: row for row in (*_CONV_LORA, *(_cobot(name, title) for name, title in COBOT_SETS.items()))}

_FEW = re.compile(r"conv-lora/few-shot-([1-9]\d*)")


def row_of(key: str) -> Row:
    """A row by its key; conv-lora/few-shot-N trains on N images for 100 epochs and has no figures to compare with.

    Raises SamAdaptError for another key.
    """
    if few := _FEW.fullmatch(key):
        schedule = replace(STRUCTURE, epochs=100, patience=None)
        row = _conv_lora("", f"{few[1]} training images", "Jaccard Dice", "Jaccard", schedule)
        return replace(row, key=key, shots=int(few[1]))
    if key not in ROWS:
        names = ", ".join((*ROWS, "conv-lora/few-shot-1 … 16"))
        raise SamAdaptError(f"There is no row {key!r}: use one of {names}.")
    return ROWS[key]
