"""Few-shot Dice on real volumes: five labelled slices, every other slice predicted.

    python benchmarks/few_shot.py --data ../shared/data --seconds 120 [--cases ct,mr,brain1] [--methods conv-lora,lora]

Runs `napari-samadapt adapt` and `evaluate` as a user would, one process each, and prints a row for each case, model and
method: mean Dice of the slices that were not given (with its standard deviation over the seeds), HD95, steps, trainable
parameters, seconds, and the peak memory of the `adapt` processes. `--models mini,random,untrained` compares the bundled
weights with the same network with a random encoder, and with nothing trained at all (the automatic decoder's pretrained
features left out too); `--methods all` runs every method there is.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from napari_samadapt.imaging.reading import read_labels
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.learning.adapters import METHODS
from napari_samadapt.learning.mini import build_mini

TOTAL = "wasserth+TotalSegmentator/tests/reference_files"
BRAIN = "AIM-Harvard+pyradiomics/data"


@dataclass(frozen=True)
class Case:
    """A volume and its labels below the data folder, the ids that count and the slices that are given."""

    image: str
    labels: str
    ids: tuple[int, ...]
    slices: str


CASES = {
    "ct": Case(
        f"{TOTAL}/example_ct_sm.nii.gz", f"{TOTAL}/example_seg.nii.gz",
        (1, 2, 3, 5, 6, 7, 52, 79), "0:5,10,14,19,24",
    ),
    "mr": Case(
        f"{TOTAL}/example_mr_sm.nii.gz", f"{TOTAL}/example_seg_mr.nii.gz",
        (5, 6, 46, 47, 19, 1, 2, 15), "0:3,6,10,13,16",
    ),
    "brain1": Case(f"{BRAIN}/brain1_image.nrrd", f"{BRAIN}/brain1_label.nrrd", (1,), "0:5,11,13,15,17"),
}  # fmt: skip


UNTRAINED = """
from napari_samadapt.learning import detail_decoder
detail_decoder.pretrained_features = dict
from napari_samadapt.cli import main
main()
"""
"""The command line without the automatic decoder's pretrained features."""


def run_cli(*arguments: str | Path, untrained: bool = False) -> str:
    """Standard output of one `napari-samadapt` process; its errors go to ours."""
    program = ["-c", UNTRAINED] if untrained else ["-m", "napari_samadapt.cli"]
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def keep_labels(source: Path, ids: tuple[int, ...], target: Path) -> None:
    """A copy of a label file that holds only `ids`, as one clinician would have drawn them."""
    labels, volume = read_labels(source)
    target.unlink(missing_ok=True)
    write_labels(target, np.where(np.isin(labels, ids), labels, 0), volume)


def peak_memory_gb() -> float:
    """The largest process that ended so far, in GB (ru_maxrss is in kB on Linux)."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def measure(
    case: Case, model: str, method: str, seed: int, options: argparse.Namespace, work: Path
) -> dict[str, Any]:
    """Adapt, predict and evaluate one case with one method."""
    image, labels = options.data / case.image, work / "labels.nii.gz"
    base = str(random_model(work)) if model in ("random", "untrained") else model
    keep_labels(options.data / case.labels, case.ids, labels)
    prediction, report = work / "prediction.nii.gz", work / "report.json"
    for path in (prediction, report):
        path.unlink(missing_ok=True)
    run_cli(
        "adapt", image, labels, "--slices", case.slices, "--method", method, "--model", base,
        "--seconds", str(options.seconds), "--seed", str(seed), "--device", options.device,
        "--out", prediction, "--report", report, untrained=model == "untrained",
    )  # fmt: skip
    ids = ",".join(map(str, case.ids))
    scores = json.loads(
        run_cli("evaluate", prediction, labels, "--labels", ids, "--exclude-slices", case.slices, "--json")
    )
    return {"scores": scores, "report": json.loads(report.read_text()), "peak_memory_gb": peak_memory_gb()}


def random_model(folder: Path) -> Path:
    """A checkpoint of `mini` as it is before any training."""
    torch.manual_seed(0)
    path = folder / "random.safetensors"
    save_file(dict(build_mini().state_dict()), path)
    return path


def table_row(name: str, runs: list[dict[str, Any]]) -> str:
    """One line for the runs of one case, model and method with different seeds."""
    dice = [run["scores"]["mean"]["dice"] for run in runs]
    distance = statistics.mean(run["scores"]["mean"]["hd95_mm"] for run in runs)
    report = runs[-1]["report"]
    spread = f" +- {statistics.stdev(dice):.3f}" if len(dice) > 1 else ""
    return (
        f"{name:32} Dice {statistics.mean(dice):.3f}{spread}  HD95 {distance:5.1f} mm  {report['steps']:5} steps  "
        f"{report['trainable_parameters']:8} parameters  {report['seconds']['total']:4.0f} s  "
        f"peak {max(run['peak_memory_gb'] for run in runs):.2f} GB so far"
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--methods", default="conv-lora,lora,decoder-only")
    parser.add_argument("--models", default="mini")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write every figure here, after every row")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    methods = tuple(METHODS) if options.methods == "all" else options.methods.split(",")
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for case, model, method in itertools.product(
            options.cases.split(","), options.models.split(","), methods
        ):
            runs = [
                measure(CASES[case], model, method, int(seed), options, work)
                for seed in options.seeds.split(",")
            ]
            rows[f"{case} {model} {method}"] = runs
            print(table_row(f"{case} {model} {method}", runs), flush=True)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
