"""The picture of how well a volume is segmented, by what was spent on it.

    python docs/make_learning_curves.py live.json

Draws the report of `benchmarks/live.py` into `docs/learning_curves.png`, a row for each volume. Left: Dice of the whole
volume against the seconds of a simulated annotator, with adaptation and without. Right: Dice on the slices not given
against the number of slices given, of our methods and of the peers.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

PICTURE = Path(__file__).with_name("learning_curves.png")
TARGET = 0.9

STYLES = {
    "conv-lora": ("Conv-LoRA (default)", "C0-"),
    "lora": ("LoRA", "C0--"),
    "decoder-only": ("decoder only", "C0:"),
    "full": ("full fine-tuning", "C0-."),
    "u-net": ("U-Net from scratch", "C1-"),
    "forest": ("random forest", "C2-"),
    "forest-xy": ("random forest, x and y", "C2--"),
    "forest-sam": ("random forest, SAM's features", "C3-"),
}
"""Label and style of every learner."""


def by_slices(figures: Mapping[str, Any], case: str) -> dict[str, dict[int, float]]:
    """Mean Dice over the seeds, by learner and number of slices."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name, value in figures.items():
        part, volume, *rest = name.split()
        if (part, volume) == ("few-shot", case):
            count, learner, _ = rest
            found[learner][int(count)].append(value)
    return {
        learner: {count: statistics.mean(values) for count, values in sorted(counts.items())}
        for learner, counts in found.items()
    }


def draw_slices(axes: Axes, figures: Mapping[str, Any], case: str) -> None:
    """Dice against slices."""
    found = by_slices(figures, case)
    for learner, (label, style) in STYLES.items():
        if learner in found:
            axes.plot(list(found[learner]), list(found[learner].values()), style, marker=".", label=label)
    axes.set(
        xlabel="slices given", ylabel="Dice, slices not given", title=f"{case.upper()}: learned from slices"
    )


def draw_seconds(axes: Axes, figures: Mapping[str, Any], case: str) -> None:
    """Dice against simulated seconds; each choice of the next slice has a colour."""
    names = [name for name in figures if name.startswith(f"simulate {case} ")]
    choices = list(dict.fromkeys(name.split()[2] for name in names))
    for name in names:
        _, _, choice, how = name.split()
        seconds, dice, _ = zip(*figures[name]["curve"], strict=True)
        style = f"C{choices.index(choice)}{'-' if how == 'with' else ':'}"
        label = f"{how} adaptation" + (f", {choice}" if len(choices) > 1 else "")
        axes.plot(seconds, dice, style, label=label)
    axes.axhline(TARGET, color="grey", linewidth=0.8)
    axes.set(
        xlabel="simulated seconds",
        ylabel="Dice, whole volume",
        title=f"{case.upper()}: annotated",
        ylim=(0, 1),
    )


def draw(figures: Mapping[str, Any], cases: Sequence[str], picture: Path) -> None:
    """Write the picture."""
    figure, rows = plt.subplots(
        len(cases), 2, figsize=(13, 4 * len(cases)), layout="constrained", squeeze=False
    )
    for case, (left, right) in zip(cases, rows, strict=True):
        draw_seconds(left, figures, case)
        draw_slices(right, figures, case)
        left.legend(fontsize=8, loc="lower right")
        right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        for axes in (left, right):
            axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    figures = json.loads(parser.parse_args().report.read_text())["figures"]
    parts = ("few-shot", "simulate")
    cases = dict.fromkeys(name.split()[1] for name in figures if name.split()[0] in parts)
    draw(figures, list(cases), PICTURE)


if __name__ == "__main__":
    main()
