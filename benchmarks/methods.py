"""Every fine-tuning method on the same five slices in the same seconds, each at its own best learning rate.

    python benchmarks/methods.py [--data ../shared/data] [--seconds 20 | --steps 300] [--report methods.json]
        [--methods lora,conv-lora:rank=8,lora:decoder=queries] [--rates 0.001] [--seeds 0,1] [--adapters-from 0]
        [--augment-every 1] [--batch-size 2]

First each method is tried at three learning rates of its adapters, equally, with a seed that does not count; then the
best one (by mean Dice over the cases) is run with three seeds. Prints mean Dice of the slices that were not given,
with its standard deviation over the seeds, the mean of those that were, and of the number of steps. The runs of each
of the two parts come in random order, so that what else the machine does falls on all methods alike; on a CPU the
seconds are those of the processor, on one thread. Finished runs are kept in the report, with the checkpoint they
measured; the same command goes on after an interruption. With `--steps` every method takes as many steps, however
long they last. With `--adapters-from 0 --augment-every 1` every step trains the adapters, on new slices, as in the
papers; the live fine-tune trains them late, and in every fourth step.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from few_shot import CASES

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import auto_window
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, parse_slices
from napari_samadapt.learning.adapters import METHODS, AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.session.batch import adapt_volume, labelled_slices

RATES = (3e-4, 1e-3, 3e-3)
TUNING_SEED = 100
SEEDS = (0, 1, 2)


@dataclass(frozen=True, order=True)
class Run:
    """One fine-tuning; its name is the key of its mean Dice in the report."""

    case: str
    method: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.case} {self.method} {self.rate:g} {self.seed}"


def adapter_of(method: str) -> AdapterConfig:
    """A method by its name, with what is set behind colons: `conv-lora:rank=8:last_blocks=2:decoder=queries`."""
    name, *given = method.split(":")
    decoders = [word.removeprefix("decoder=") for word in given if word.startswith("decoder=")]
    settings = [word for word in given if not word.startswith("decoder=")]
    return AdapterConfig.from_words(name, settings, *decoders)


@dataclass(frozen=True)
class Outcome:
    """Mean Dice over the ids of a case, on the slices that were not given and on those that were; steps taken."""

    dice: float
    given: float
    steps: int


def few_shot(run: Run, options: argparse.Namespace) -> Outcome:
    """One fine-tuning from the frozen model, and what it predicts."""
    case = CASES[run.case]
    volume = read_volume(options.data / case.image)
    ids, _ = read_labels(options.data / case.labels, volume)
    wanted = np.where(np.isin(ids, case.ids), ids, 0)
    given = labelled_slices(wanted, parse_slices(case.slices, volume))
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    seconds = None if options.steps else options.seconds
    config = FineTuneConfig(
        seconds,
        options.steps,
        run.seed,
        options.batch_size,
        options.augment_every,
        adapters_from=options.adapters_from,
        adapter_rate=run.rate,
        clock=clock,
    )
    adapted = adapt_volume(
        load_sam(options.model, device=options.device), volume, given,
        adapter=adapter_of(run.method), config=config, window=auto_window(volume),
    )  # fmt: skip
    axis = next(iter(given)).axis
    others = {SliceKey(axis, index) for index in range(volume.shape[axis])} - set(given)

    def dice_without(excluded: Collection[SliceKey]) -> float:
        rows = label_report(adapted.prediction, wanted, volume.spacing, case.ids, excluded).rows
        return round(statistics.mean(row.dice for row in rows), 4)

    steps = sum(episode.steps for episode in adapted.report.episodes)
    return Outcome(dice_without(set(given)), dice_without(others), steps)


class Bench:
    """Runs that are made once and kept."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cases: list[str] = options.cases.split(",")
        self.methods: list[str] = options.methods.split(",")
        self.setting = {
            "checkpoint": load_sam(options.model).base_sha256[:12],
            "device": options.device, "adapters from": options.adapters_from,
            "slices in a step": options.batch_size, "new in every": options.augment_every,
            **({"steps": options.steps} if options.steps else {"seconds": options.seconds}),
        }  # fmt: skip
        self.rates = [float(rate) for rate in options.rates.split(",")]
        self.seeds = [int(seed) for seed in options.seeds.split(",")]
        self.made: dict[str, Outcome] = {}
        if options.report.exists():
            kept = json.loads(options.report.read_text())
            if kept.get("setting") != self.setting:
                raise SamAdaptError(
                    f"{options.report} was measured with {kept.get('setting')}, this is {self.setting}: "
                    "name another report."
                )
            self.made = {name: Outcome(**outcome) for name, outcome in kept["made"].items()}

    def make(self, runs: Iterable[Run]) -> None:
        """Make the runs that are not kept yet, in random order, and keep each."""
        missing = sorted(run for run in set(runs) if run.name not in self.made)
        random.Random(0).shuffle(missing)
        for place, run in enumerate(missing, 1):
            outcome = self.made[run.name] = few_shot(run, self.options)
            sys.stderr.write(f"{place} of {len(missing)}: {run.name}: {outcome}\n")
            written = self.options.report.with_suffix(".part")
            made = {name: asdict(outcome) for name, outcome in self.made.items()}
            written.write_text(json.dumps({"setting": self.setting, "made": made}, indent=1) + "\n")
            written.replace(self.options.report)

    def runs(self, method: str, rate: float, seeds: Iterable[int]) -> list[Run]:
        """A method at a rate, on every case with every seed."""
        return [Run(case, method, rate, seed) for case, seed in itertools.product(self.cases, seeds)]

    def mean(self, runs: Iterable[Run]) -> float:
        return statistics.mean(self.made[run.name].dice for run in runs)

    def best_rates(self) -> dict[str, float]:
        """Each method's rate with the best mean Dice; what has no adapters has none to choose."""
        middle = self.rates[len(self.rates) // 2]
        if len(self.rates) == 1:
            return dict.fromkeys(self.methods, middle)
        rates = {method: self.rates if method != "decoder-only" else [middle] for method in self.methods}
        tried = {
            method: {rate: self.runs(method, rate, (TUNING_SEED,)) for rate in rates[method]}
            for method in self.methods
        }
        self.make(run for by_rate in tried.values() for runs in by_rate.values() for run in runs)
        return {
            method: max(by_rate, key=lambda rate: self.mean(by_rate[rate]))
            for method, by_rate in tried.items()
        }

    def table(self) -> str:
        """Every method's line, under a heading."""
        best = self.best_rates()
        counted = {method: self.runs(method, best[method], self.seeds) for method in self.methods}
        self.make(run for runs in counted.values() for run in runs)
        lines = [
            ", ".join(f"{name} {value}" for name, value in self.setting.items()) + "\n",
            f"| method | rate | {' | '.join(self.cases)} | mean | given | steps |",
            "|---|--:|" + "--:|" * (len(self.cases) + 3),
        ]
        for method, runs in counted.items():
            outcomes = [self.made[run.name] for run in runs]
            cells = [f"{best[method]:g}"]
            for case in self.cases:
                scores = [self.made[run.name].dice for run in runs if run.case == case]
                spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
                cells.append(f"{statistics.mean(scores):.3f}{spread}")
            cells.append(f"{self.mean(runs):.3f}")
            cells.append(f"{statistics.mean(outcome.given for outcome in outcomes):.3f}")
            cells.append(f"{statistics.mean(outcome.steps for outcome in outcomes):.0f}")
            lines.append(f"| {method} | {' | '.join(cells)} |")
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr,brain1")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--steps", type=int, help="instead of seconds")
    parser.add_argument(
        "--adapters-from",
        type=float,
        default=FineTuneConfig.adapters_from,
        help="part of the time before adapters",
    )
    parser.add_argument("--batch-size", type=int, default=FineTuneConfig.batch_size, help="slices in a step")
    parser.add_argument(
        "--augment-every",
        type=int,
        default=FineTuneConfig.augment_every,
        help="new slices in one step of so many",
    )
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", type=Path, default=Path("methods.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(Bench(options).table())


if __name__ == "__main__":
    main()
