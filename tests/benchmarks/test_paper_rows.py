"""The rows of the papers' tables: schedules and figures, typed from the papers and their official codes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from paper_figures import COBOT_SETS, FROZEN
from paper_rows import ROWS, Row, few_shot, row_of

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning.adapters import AdapterConfig

COLUMNS = (
    "loss", "rate", "weight_decay", "epochs", "batch", "optimizer", "decay", "clip", "patience", "balance",
)  # fmt: skip
SCHEDULES = {
    "conv-lora/kvasir": ("structure", 1e-4, 1e-4, 30, 4, "adamw", "linear", 1.0, 10, 1.0),
    "conv-lora/cvc-612": ("structure", 1e-4, 1e-4, 30, 4, "adamw", "linear", 1.0, 10, 1.0),
    "conv-lora/isic": ("structure", 1e-4, 1e-4, 30, 4, "adamw", "linear", 1.0, 10, 1.0),
    "conv-lora/camo": ("structure", 1e-4, 1e-4, 20, 4, "adamw", "linear", 1.0, 10, 1.0),
    "conv-lora/sbu": ("balanced-bce", 1e-4, 1e-4, 10, 4, "adamw", "linear", 1.0, 10, 1.0),
    "conv-lora/leaf": ("structure", 3e-4, 1e-4, 30, 4, "adamw", "linear", 1.0, 10, 1.0),
    "conv-lora/road": ("structure", 3e-4, 1e-4, 20, 4, "adamw", "linear", 1.0, 10, 1.0),
    "conv-lora/trans10k": ("set", 1e-4, 1e-4, 30, 4, "adamw", "linear", 1.0, 10, 2.0),
    "conv-lora/trans10k-easy": ("set", 1e-4, 1e-4, 30, 4, "adamw", "linear", 1.0, 10, 2.0),
    "conv-lora/trans10k-hard": ("set", 1e-4, 1e-4, 30, 4, "adamw", "linear", 1.0, 10, 2.0),
    "cobot/coco": ("dice-ce", 1.5e-4, 5e-5, 20, 2, "adam", "cosine", 0.0, None, 1.0),
    "cobot/trcan": ("dice-ce", 1.5e-4, 5e-5, 20, 2, "adam", "cosine", 0.0, None, 1.0),
    "cobot/nwpu": ("dice-ce", 1.5e-4, 5e-5, 20, 2, "adam", "cosine", 0.0, None, 1.0),
    "cobot/ssdd": ("dice-ce", 1.5e-4, 5e-5, 20, 2, "adam", "cosine", 0.0, None, 1.0),
    "cobot/sonar": ("dice-ce", 1.5e-4, 5e-5, 20, 2, "adam", "cosine", 0.0, None, 1.0),
    "cobot/adome": ("dice-ce", 1.25e-6, 0.0, 25, 1, "adam", "none", 0.0, None, 1.0),
    "cobot/splen": ("dice-ce", 1.25e-6, 0.0, 25, 1, "adam", "none", 0.0, None, 1.0),
    "cobot/momo": ("dice-ce", 1.25e-6, 0.0, 25, 1, "adam", "none", 0.0, None, 1.0),
    "cobot/brast": ("dice-ce", 1.25e-6, 0.0, 25, 1, "adam", "none", 0.0, None, 1.0),
    "cobot/segrap": ("dice-ce", 1.25e-6, 0.0, 25, 1, "adam", "none", 0.0, None, 1.0),
}  # fmt: skip
"""Gradients are clipped to `clip`, 0 for any; `balance` is λ of the experts' load."""
OTHERWISE = {
    # warm-up, COBOT's own rate, pixels that boxes are loosened by, when testing too, mirrored, otherwise augmented
    "conv-lora": (0.0, None, 0, False, True, False),
    "medical": (0.0, 1.25e-4, 19, True, False, False),
    "natural": (1.0, None, 49, False, True, True),
}
KINDS = {
    "coco": "natural", "trcan": "natural", "nwpu": "natural", "ssdd": "natural", "sonar": "natural",
    "adome": "medical", "splen": "medical", "momo": "medical", "brast": "medical", "segrap": "medical",
}  # fmt: skip
MEASURED = {
    # task, metrics in the table's order, the one that chooses the weights
    "conv-lora/kvasir": ("binary", ("S", "E"), "S"),
    "conv-lora/cvc-612": ("binary", ("S", "E"), "S"),
    "conv-lora/isic": ("binary", ("Jaccard", "Dice"), "Jaccard"),
    "conv-lora/camo": ("binary", ("S", "E", "weighted-F"), "S"),
    "conv-lora/sbu": ("binary", ("BER",), "BER"),
    "conv-lora/leaf": ("binary", ("Jaccard", "Dice"), "Jaccard"),
    "conv-lora/road": ("binary", ("Jaccard", "Dice"), "Jaccard"),
    "conv-lora/trans10k": ("classes", ("mIoU",), "mIoU"),
    "conv-lora/trans10k-easy": ("classes", ("mIoU",), "mIoU"),
    "conv-lora/trans10k-hard": ("classes", ("mIoU",), "mIoU"),
    "cobot/coco": ("boxes", ("Jaccard",), "Jaccard"),
    "cobot/trcan": ("boxes", ("Jaccard",), "Jaccard"),
    "cobot/nwpu": ("boxes", ("Jaccard",), "Jaccard"),
    "cobot/ssdd": ("boxes", ("Jaccard",), "Jaccard"),
    "cobot/sonar": ("boxes", ("Dice",), "Dice"),
    "cobot/adome": ("boxes", ("Dice",), "Dice"),
    "cobot/splen": ("boxes", ("Dice",), "Dice"),
    "cobot/momo": ("boxes", ("Dice",), "Dice"),
    "cobot/brast": ("boxes", ("Dice",), "Dice"),
    "cobot/segrap": ("boxes", ("Dice",), "Dice"),
}
FIGURES = [
    # row, method, what --set gives, model, figures
    ("conv-lora/kvasir", "decoder-only", "", "vit_h", (86.5, 89.5)),
    ("conv-lora/kvasir", "lora", "", "vit_h", (91.2, 93.8)),
    ("conv-lora/kvasir", "conv-lora", "", "vit_h", (92.0, 94.7)),
    ("conv-lora/cvc-612", "decoder-only", "", "vit_h", (85.5, 89.9)),
    ("conv-lora/cvc-612", "lora", "", "vit_h", (90.7, 92.5)),
    ("conv-lora/cvc-612", "conv-lora", "", "vit_h", (91.3, 94.0)),
    ("conv-lora/isic", "decoder-only", "", "vit_h", (69.7, 79.5)),
    ("conv-lora/isic", "lora", "", "vit_h", (76.6, 84.9)),
    ("conv-lora/camo", "decoder-only", "", "vit_h", (78.5, 83.1, 69.8)),
    ("conv-lora/camo", "lora", "", "vit_h", (88.0, 91.9, 82.8)),
    ("conv-lora/camo", "conv-lora", "", "vit_h", (88.3, 92.4, 84.0)),
    ("conv-lora/sbu", "decoder-only", "", "vit_h", (14.58,)),
    ("conv-lora/sbu", "lora", "", "vit_h", (2.74,)),
    ("conv-lora/sbu", "conv-lora", "", "vit_h", (2.54,)),
    ("conv-lora/leaf", "decoder-only", "", "vit_h", (50.8, 63.8)),
    ("conv-lora/leaf", "lora", "", "vit_h", (73.7, 83.6)),
    ("conv-lora/leaf", "conv-lora", "", "vit_h", (74.5, 84.3)),
    ("conv-lora/road", "decoder-only", "", "vit_h", (48.6, 65.1)),
    ("conv-lora/road", "lora", "", "vit_h", (62.2, 76.5)),
    ("conv-lora/road", "conv-lora", "", "vit_h", (62.6, 76.8)),
    ("conv-lora/trans10k", "lora", "", "vit_h", (66.01,)),
    ("conv-lora/trans10k", "conv-lora", "", "vit_h", (67.09,)),
    ("conv-lora/trans10k-easy", "lora", "", "vit_h", (96.26,)),
    ("conv-lora/trans10k-easy", "conv-lora", "", "vit_h", (96.45,)),
    ("conv-lora/trans10k-hard", "lora", "", "vit_h", (83.95,)),
    ("conv-lora/trans10k-hard", "conv-lora", "", "vit_h", (84.37,)),
    # Conv-LoRA, Table 4: one expert
    ("conv-lora/leaf", "conv-lora", "scales=1", "vit_h", (73.6, None)),
    ("conv-lora/leaf", "conv-lora", "experts=1", "vit_h", (73.6, None)),
    ("conv-lora/leaf", "conv-lora", "scales=2", "vit_h", (73.8, None)),
    ("conv-lora/leaf", "conv-lora", "experts=1 scales=4", "vit_h", (74.0, None)),
    ("conv-lora/leaf", "conv-lora", "scales=8", "vit_h", (73.2, None)),
    ("conv-lora/isic", "conv-lora", "scales=1", "vit_h", (76.8, None)),
    ("conv-lora/isic", "conv-lora", "scales=2", "vit_h", (77.3, None)),
    ("conv-lora/isic", "conv-lora", "scales=4", "vit_h", (76.9, None)),
    ("conv-lora/isic", "conv-lora", "scales=8", "vit_h", (76.9, None)),
    ("conv-lora/isic", "conv-lora", "gated=false", "vit_h", (77.4, None)),
    # SAM-COBOT, Tables 1 to 3: "coefficient sets" alone, with the hyper-complex layer, with the relation matrix
    ("cobot/adome", "cobot-adaptformer", "layer=none relation=none", "vit_b", (90.1,)),
    ("cobot/nwpu", "cobot-adaptformer", "layer=none relation=none", "vit_b", (83.1,)),
    ("cobot/trcan", "cobot-adaptformer", "relation=none layer=none", "vit_b", (73.4,)),
    ("cobot/adome", "cobot-adaptformer", "relation=none", "vit_b", (90.4,)),
    ("cobot/nwpu", "cobot-adaptformer", "relation=none", "vit_b", (83.3,)),
    ("cobot/trcan", "cobot-adaptformer", "relation=none", "vit_b", (73.5,)),
    ("cobot/adome", "cobot-adaptformer", "layer=none", "vit_b", (90.9,)),
    ("cobot/nwpu", "cobot-adaptformer", "layer=none", "vit_b", (83.7,)),
    ("cobot/trcan", "cobot-adaptformer", "layer=none", "vit_b", (73.9,)),
    ("cobot/adome", "cobot-adaptformer", "relation=random", "vit_b", (90.2,)),
    ("cobot/nwpu", "cobot-adaptformer", "relation=random", "vit_b", (83.4,)),
    ("cobot/trcan", "cobot-adaptformer", "relation=random", "vit_b", (73.3,)),
    ("cobot/adome", "cobot-adaptformer", "layer=linear", "vit_b", (90.9,)),
    ("cobot/nwpu", "cobot-adaptformer", "layer=linear", "vit_b", (83.8,)),
    ("cobot/trcan", "cobot-adaptformer", "layer=linear preset=official", "vit_b", (73.9,)),
    # Table 5
    ("cobot/ssdd", "lora-qv", "", "vit_l", (81.8,)),
    ("cobot/adome", "lora-qv", "", "vit_l", (89.1,)),
    ("cobot/ssdd", "cobot-lora", "", "vit_l", (82.4,)),
    ("cobot/adome", "cobot-lora", "", "vit_l", (89.9,)),
    ("cobot/ssdd", "adaptformer", "", "vit_l", (82.1,)),
    ("cobot/adome", "adaptformer", "", "vit_l", (91.6,)),
    ("cobot/ssdd", "cobot-adaptformer", "", "vit_l", (82.8,)),
    ("cobot/adome", "cobot-adaptformer", "", "vit_l", (93.0,)),
    # Table S-1, the hosts that are counted as ours are
    ("cobot/adome", "attention-tuning", "", "vit_b", (90.8,)),
    ("cobot/nwpu", "attention-tuning", "", "vit_b", (84.9,)),
    ("cobot/trcan", "attention-tuning", "", "vit_b", (74.0,)),
    ("cobot/adome", "bitfit", "", "vit_b", (86.3,)),
    ("cobot/nwpu", "bitfit", "", "vit_b", (80.6,)),
    ("cobot/trcan", "bitfit", "", "vit_b", (72.1,)),
]
TABLE_4 = {
    "frozen": (53.0, 53.9, 59.6, 63.2, 34.5, 23.5, 24.3, 24.3, 60.1, 10.5),
    "decoder-only": (70.4, 70.3, 80.5, 80.2, 79.8, 86.0, 93.4, 86.3, 85.1, 67.8),
    "lora-qv": (71.8, 72.8, 81.8, 80.7, 82.8, 88.0, 94.4, 86.6, 84.8, 68.7),
    "cobot-lora": (72.1, 73.1, 82.5, 81.2, 84.6, 88.7, 94.9, 86.7, 85.3, 70.1),
    "adaptformer": (71.7, 73.3, 83.0, 81.9, 84.1, 90.1, 94.8, 87.6, 85.8, 72.1),
    "cobot-adaptformer": (72.2, 74.1, 84.9, 82.4, 84.9, 91.3, 96.4, 89.2, 87.3, 73.1),
}
SETS = ("coco", "trcan", "nwpu", "ssdd", "sonar", "adome", "splen", "momo", "brast", "segrap")


def printed(row: Row, method: str, words: str, model: str) -> list[tuple[float | None, ...]]:
    config = row.config(method, words.split())
    return [figure.values for figure in row.figures_of(method, config, model)]


@pytest.mark.parametrize("key", SCHEDULES)
def test_the_schedule_of_every_row(key: str) -> None:
    schedule = ROWS[key].schedule
    assert tuple(getattr(schedule, name) for name in COLUMNS) == SCHEDULES[key]
    rest = ("warm_up", "cobot_rate", "jitter", "jitter_tests", "flips", "natural")
    kind = KINDS.get(key.removeprefix("cobot/"), "conv-lora")
    assert tuple(getattr(schedule, name) for name in rest) == OTHERWISE[kind]
    assert schedule.set_weights == "mask2former"
    assert {*COLUMNS, *rest, "set_weights"} == {field.name for field in fields(schedule)}


def test_what_every_row_measures() -> None:
    assert list(ROWS) == list(SCHEDULES) == list(MEASURED)
    for key, row in ROWS.items():
        assert (row.task, row.metrics, row.validated) == MEASURED[key]
        paper = ("vit_b", "cobot-adaptformer") if key.startswith("cobot") else ("vit_h", "conv-lora")
        assert (row.model, row.method) == paper
        assert {len(figure.values) for figure in row.published} == {len(row.metrics)}
        assert row_of(key) is row


@pytest.mark.parametrize(("key", "method", "words", "model", "figures"), FIGURES)
def test_the_published_figures_of_a_run(
    key: str, method: str, words: str, model: str, figures: tuple[float | None, ...]
) -> None:
    assert printed(ROWS[key], method, words, model) == [figures]


@pytest.mark.parametrize("method", TABLE_4)
def test_cobots_table_4(method: str) -> None:
    assert tuple(COBOT_SETS) == SETS
    for name, figure in zip(SETS, TABLE_4[method], strict=True):
        assert printed(ROWS[f"cobot/{name}"], method, "", "vit_b")[0] == (figure,)


@pytest.mark.parametrize(
    ("key", "method", "figures"),
    [
        (
            "conv-lora/isic",
            "conv-lora",
            [(77.6, 85.7), (77.9, None)],
        ),  # the second beside all experts at once
        ("cobot/nwpu", "cobot-adaptformer", [(84.9,), (84.0,)]),  # Table 4, Tables 1 to 3
    ],
)
def test_a_run_that_is_printed_twice(key: str, method: str, figures: list[tuple[float | None, ...]]) -> None:
    assert printed(ROWS[key], method, "", ROWS[key].model) == figures


@pytest.mark.parametrize(
    ("key", "method", "words", "model"),
    [
        ("cobot/adome", "cobot-adaptformer", "", "vit_h"),
        ("cobot/nwpu", "cobot-adaptformer", "", "vit_l"),  # Table 5 has SSDD and ADOME
        ("cobot/adome", "decoder-only", "", "vit_l"),
        ("cobot/adome", "cobot-adaptformer", "preset=identity", "vit_b"),
        ("cobot/adome", "lora-qv", "preset=identity", "vit_b"),
        ("cobot/adome", "cobot-adaptformer", "width=8", "vit_b"),
        ("cobot/adome", "cobot-adaptformer", "blocks=0,1", "vit_b"),
        ("cobot/adome", "cobot-adaptformer", "last_blocks=2", "vit_b"),
        ("cobot/adome", "lora", "", "vit_b"),
        ("cobot/coco", "cobot-adaptformer", "relation=random", "vit_b"),
        # printed, but not told well enough to be run
        ("cobot/adome", "cobot-bitfit", "", "vit_b"),
        ("cobot/adome", "ssf", "", "vit_b"),
        ("cobot/adome", "lst", "", "vit_b"),
        ("conv-lora/kvasir", "conv-lora", "", "vit_b"),
        ("conv-lora/kvasir", "conv-lora", "rank=6", "vit_h"),
        ("conv-lora/kvasir", "conv-lora", "scales=2", "vit_h"),
        ("conv-lora/leaf", "conv-lora", "scales=3", "vit_h"),
        ("conv-lora/trans10k", "decoder-only", "", "vit_h"),
    ],
)
def test_a_run_without_published_figures(key: str, method: str, words: str, model: str) -> None:
    assert printed(ROWS[key], method, words, model) == []


@pytest.mark.parametrize(
    ("method", "mean"),
    [(FROZEN, 40.7), ("lora-qv", 81.2), ("cobot-lora", 81.9), ("cobot-adaptformer", 83.6)],
)
def test_table_4_has_its_row_means(method: str, mean: float) -> None:
    figures = [printed(ROWS[f"cobot/{name}"], method, "", "vit_b")[0][0] for name in COBOT_SETS]
    assert np.mean(figures) == pytest.approx(mean, abs=0.06)


@pytest.mark.parametrize(
    ("key", "method", "words", "preset"),
    [
        ("cobot/adome", "cobot-lora", [], "official"),
        ("cobot/coco", "cobot-adaptformer", ["layer=none"], "official"),
        ("cobot/adome", "lora-qv", [], "official"),
        ("cobot/adome", "lora-qv", ["preset=identity"], "identity"),
        ("cobot/adome", "cobot-lora", ["rank=8", "preset=unit"], "unit"),
        ("cobot/adome", "adaptformer", [], None),
        ("conv-lora/kvasir", "cobot-lora", [], "identity"),
        ("conv-lora/kvasir", "lora-qv", [], "identity"),
    ],
)
def test_cobots_rows_start_as_the_official_code(
    key: str, method: str, words: list[str], preset: str | None
) -> None:
    config = ROWS[key].config(method, words)
    assert config.preset == preset
    assert config == AdapterConfig.from_words(method, [*words, *([f"preset={preset}"] if preset else [])])


@pytest.mark.parametrize(
    ("key", "rate", "epochs", "patience", "metrics"),
    [
        ("conv-lora/leaf", 3e-4, 100, None, ("Jaccard", "Dice")),
        ("conv-lora/kvasir", 1e-4, 100, None, ("S", "E")),
        ("cobot/adome", 1.25e-6, 25, None, ("Dice",)),
    ],
)
def test_few_images_of_any_row(
    key: str, rate: float, epochs: int, patience: int | None, metrics: tuple[str, ...]
) -> None:
    row = few_shot(ROWS[key], 4)
    assert (row.schedule.rate, row.schedule.epochs, row.schedule.patience) == (rate, epochs, patience)
    assert row.metrics == metrics
    assert row.published == ()


def test_a_row_that_is_not_there_is_said() -> None:
    with pytest.raises(SamAdaptError, match="no row 'conv-lora/none': use one of conv-lora/kvasir"):
        row_of("conv-lora/none")
