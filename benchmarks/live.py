"""Live adaptation measured in one run on two cores: ours and its peers, from the same slices in the same seconds.

    python benchmarks/live.py [--data ../shared/data] [--parts few-shot,simulate,...] [--report live.json]

few-shot  Dice on the slices not given after 2 slices in 30 s, 5 in 60 s and 10 in 60 s: our methods and the peers
simulate  simulated seconds to a Dice of 0.90 over the volume, with adaptation and without
clicks    clicks while the model learns against clicks at rest; prediction in the worker against the main thread
first     seconds from accepting a slice to the first changed prediction (`benchmarks/first_prediction.py`)
refresh   embedding a slice after an update against a full encode (the same)
memory    peak memory of training ViT-B at 1024 pixels (`benchmarks/training_memory.py`)
poison    Dice of what is served when some slices are accepted with inverted masks (`benchmarks/promotion.py`)
prompted  Dice of boxes and clicks before and after adaptation, on the volume learned and on others

Every figure is kept in the report as soon as it is measured: the same command goes on after an interruption, and other
parts, cases or seeds add to it. Timed: run it on a quiet machine. The window's own gaps are measured by
`benchmarks/heartbeat.py`.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from live_annotating import (
    measure_clicks,
    measure_first,
    measure_memory,
    measure_poison,
    measure_refresh,
    measure_simulate,
)
from live_learning import measure_few_shot, measure_prompted
from live_record import Record, Settings
from live_table import (
    asked_table,
    click_rows,
    few_shot_rows,
    first_rows,
    learner_table,
    memory_rows,
    poison_rows,
    prompted_rows,
    refresh_rows,
    simulate_rows,
)

from napari_samadapt.session.simulation import CHOICES

PARTS: Mapping[str, Callable[[Settings, Record], None]] = {
    "few-shot": measure_few_shot,
    "first": measure_first,
    "simulate": measure_simulate,
    "refresh": measure_refresh,
    "clicks": measure_clicks,
    "poison": measure_poison,
    "memory": measure_memory,
    "prompted": measure_prompted,
}
CASES = ("ct", "mr")


def tables(settings: Settings, record: Record) -> str:
    """Everything that the report knows of these cases."""
    figures, cases = record.figures, settings.cases
    rows = [
        *few_shot_rows(figures, cases, settings.scale),
        *first_rows(figures, cases),
        *simulate_rows(figures, cases, settings.choices),
        *refresh_rows(figures, cases),
        *click_rows(figures, cases),
        *poison_rows(figures),
        *memory_rows(figures),
        *prompted_rows(figures, cases),
    ]
    return f"{learner_table(figures, cases)}\n\n{asked_table(rows)}".strip("\n")


def words(parser: argparse.ArgumentParser, option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Words separated by commas, each of them known."""
    given = tuple(text.split(","))
    if unknown := sorted(set(given) - set(known)):
        parser.error(f"{option}: no {', '.join(unknown)}; there are {', '.join(known)}")
    return given


def parse_options(arguments: list[str] | None = None) -> tuple[tuple[str, ...], Path, Settings]:
    """The parts, the report and the settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--choices", default="suggested", help=f"of the next slice: {', '.join(CHOICES)}")
    parser.add_argument("--seeds", default="0", help="of few-shot; the first one of the other parts")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="a part of all seconds, for a quick look")
    parser.add_argument("--every", type=int, default=3, help="prompted: ask for every N-th region")
    parser.add_argument("--report", type=Path, default=Path("live.json"))
    given = parser.parse_args(arguments)
    settings = Settings(
        given.data, given.model, words(parser, "--cases", given.cases, CASES),
        words(parser, "--choices", given.choices, CHOICES), tuple(map(int, given.seeds.split(","))),
        given.threads, given.scale, given.every,
    )  # fmt: skip
    return words(parser, "--parts", given.parts, tuple(PARTS)), given.report, settings


def main() -> None:
    parts, report, settings = parse_options()
    torch.set_num_threads(settings.threads)
    record = Record(report, settings)
    for part in parts:
        print(part, flush=True)
        PARTS[part](settings, record)
    print(f"\n{tables(settings, record)}")


if __name__ == "__main__":
    main()
