"""Few-shot Dice on real volumes: five labelled slices, every other slice predicted.

    python benchmarks/few_shot.py --data ../shared/data --seconds 120 [--cases ct,mr] [--methods conv-lora,lora]

Runs `napari-samadapt adapt` and `evaluate` as a user would, one process each, and prints a row for each case and
method: mean Dice of the slices that were not given, steps, trainable parameters, seconds, and the peak memory of
the `adapt` process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_samadapt.imaging.reading import read_labels
from napari_samadapt.imaging.writing import write_labels

FOLDER = Path("wasserth+TotalSegmentator/tests/reference_files")


@dataclass(frozen=True)
class Case:
    """A volume, its labels, the ids that count and the slices that are given."""

    image: str
    labels: str
    ids: tuple[int, ...]
    slices: str


CASES = {
    "ct": Case("example_ct_sm.nii.gz", "example_seg.nii.gz", (1, 2, 3, 5, 6, 7, 52, 79), "0:5,10,14,19,24"),
    "mr": Case(
        "example_mr_sm.nii.gz", "example_seg_mr.nii.gz", (5, 6, 46, 47, 19, 1, 2, 15), "0:3,6,10,13,16"
    ),
}


def run_cli(*arguments: str | Path) -> str:
    """Standard output of one `napari-samadapt` process; its errors go to ours."""
    command = [sys.executable, "-m", "napari_samadapt.cli", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def keep_labels(source: Path, ids: tuple[int, ...], target: Path) -> None:
    """A copy of a label file that holds only `ids`, as one clinician would have drawn them."""
    labels, volume = read_labels(source)
    target.unlink(missing_ok=True)
    write_labels(target, np.where(np.isin(labels, ids), labels, 0), volume)


def peak_memory_gb() -> float:
    """The largest process that ended so far, in GB (ru_maxrss is in kB on Linux)."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def measure(case: Case, data: Path, method: str, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Adapt, predict and evaluate one case with one method."""
    image, labels = data / FOLDER / case.image, work / "labels.nii.gz"
    keep_labels(data / FOLDER / case.labels, case.ids, labels)
    prediction, report = work / "prediction.nii.gz", work / "report.json"
    for path in (prediction, report):
        path.unlink(missing_ok=True)
    run_cli(
        "adapt", image, labels, "--slices", case.slices, "--method", method, "--model", options.model,
        "--seconds", str(options.seconds), "--seed", str(options.seed), "--device", options.device,
        "--out", prediction, "--report", report,
    )  # fmt: skip
    memory = peak_memory_gb()
    ids = ",".join(map(str, case.ids))
    scores = json.loads(
        run_cli("evaluate", prediction, labels, "--labels", ids, "--exclude-slices", case.slices, "--json")
    )
    return {"scores": scores, "report": json.loads(report.read_text()), "peak_memory_gb": memory}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--methods", default="conv-lora,lora,decoder-only")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases.split(","):
            for method in options.methods.split(","):
                row = measure(CASES[name], options.data, method, options, Path(folder))
                rows[f"{name} {method}"] = row
                report, scores = row["report"], row["scores"]
                print(
                    f"{name:3} {method:13} Dice {scores['mean']['dice']:.3f}  HD95 {scores['mean']['hd95_mm']:.1f} mm  "
                    f"{report['steps']} steps  {report['trainable_parameters']} parameters  "
                    f"{report['seconds']['total']:.0f} s  peak {row['peak_memory_gb']:.2f} GB so far",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
