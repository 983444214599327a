"""Every fine-tuning method on the same five slices in the same seconds, each at its own best learning rate.

    python benchmarks/methods.py [--data ../shared/data] [--seconds 20] [--report methods.json] [--methods a,b]

First each method is tried at three learning rates of its adapters, equally, with a seed that does not count; then the
best one (by mean Dice over the cases) is run with three seeds. Prints mean Dice of the slices that were not given, with
its standard deviation over the seeds. Finished runs are kept in the report; the same command goes on after an
interruption. Timed: run it on a quiet machine.
"""

import argparse
import itertools
import json
import statistics
from pathlib import Path

import numpy as np
from few_shot import CASES

from napari_samadapt.imaging.intensity import auto_window
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import parse_slices
from napari_samadapt.learning.adapters import METHODS, AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.session.batch import adapt_volume, labelled_slices

RATES = (3e-4, 1e-3, 3e-3)
TUNING_SEED = 100
SEEDS = (0, 1, 2)

Runs = dict[str, float]
"""Mean Dice by "case method rate seed"."""


def few_shot_dice(case_name: str, method: str, rate: float, seed: int, options: argparse.Namespace) -> float:
    """Mean Dice over the ids of a case, on the slices that were not given."""
    case = CASES[case_name]
    volume = read_volume(options.data / case.image)
    ids, _ = read_labels(options.data / case.labels, volume)
    wanted = np.where(np.isin(ids, case.ids), ids, 0)
    given = labelled_slices(wanted, parse_slices(case.slices, volume))
    config = FineTuneConfig(options.seconds, None, seed, adapter_rate=rate)
    adapted = adapt_volume(
        load_sam(options.model, device=options.device), volume, given,
        adapter=AdapterConfig(method), config=config, window=auto_window(volume),
    )  # fmt: skip
    report = label_report(adapted.prediction, wanted, volume.spacing, case.ids, tuple(given))
    return statistics.mean(row.dice for row in report.rows)


class Bench:
    """Runs that are made once and kept."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cases: list[str] = options.cases.split(",")
        self.runs: Runs = json.loads(options.report.read_text()) if options.report.exists() else {}

    def mean(self, method: str, rate: float, seed: int) -> float:
        """Mean Dice over the cases."""
        return statistics.mean(self.dice(case, method, rate, seed) for case in self.cases)

    def dice(self, case: str, method: str, rate: float, seed: int) -> float:
        name = f"{case} {method} {rate:g} {seed}"
        if name not in self.runs:
            self.runs[name] = round(few_shot_dice(case, method, rate, seed, self.options), 4)
            self.options.report.write_text(json.dumps(self.runs, indent=1) + "\n")
        return self.runs[name]

    def best_rate(self, method: str) -> float:
        """The rate with the best mean Dice; methods without adapters have none to choose."""
        rates = RATES if method != "decoder-only" else RATES[1:2]
        return max(rates, key=lambda rate: self.mean(method, rate, TUNING_SEED))

    def row(self, method: str) -> str:
        """The method's line of the table."""
        rate = self.best_rate(method)
        cells = []
        for case in self.cases:
            scores = [self.dice(case, method, rate, seed) for seed in SEEDS]
            cells.append(f"{statistics.mean(scores):.3f} ± {statistics.stdev(scores):.3f}")
        every = [self.dice(*pair) for pair in itertools.product(self.cases, (method,), (rate,), SEEDS)]
        return f"| {method} | {rate:g} | {' | '.join(cells)} | {statistics.mean(every):.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr,brain1")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", type=Path, default=Path("methods.json"))
    bench = Bench(parser.parse_args())
    print(f"| method | rate | {' | '.join(bench.cases)} | mean |")
    print("|---|--:|" + "--:|" * (len(bench.cases) + 1))
    for method in bench.options.methods.split(","):
        print(bench.row(method), flush=True)


if __name__ == "__main__":
    main()
