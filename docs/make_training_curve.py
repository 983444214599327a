"""The picture of how `mini` grew with its training.

    python docs/make_training_curve.py [--data ../shared/data] [--weights FILE ...]

Left: mean IoU on the generated images, from the log of the run (`training/mini.log.jsonl`). Right: mean Dice on real
volumes by the number of images seen, from `docs/mini_growth.json`; `--weights` measures checkpoints of the run
(every eighth region of the CT and the MR, as `benchmarks/mini_zero_shot.py` does) and adds them to that file first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from safetensors import safe_open

HERE = Path(__file__).parent
LOG, GROWTH, PICTURE = (
    HERE.parent / "training/mini.log.jsonl",
    HERE / "mini_growth.json",
    HERE / "mini_training.png",
)
PROMPTS = ("box", "1 click", "5 clicks")


def images_by_step() -> dict[int, int]:
    """How many images the run had seen at its logged steps."""
    rows = [json.loads(line) for line in LOG.read_text().splitlines()]
    return {row["step"]: row["images"] for row in rows}


def measure(weights: Path, data: Path) -> dict[str, dict[str, float]]:
    """Dice of a checkpoint by volume and prompt."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        benchmark = HERE.parent / "benchmarks/mini_zero_shot.py"
        command = [
            sys.executable,
            benchmark,
            "--data",
            data,
            "--sets",
            "ct,mr",
            "--every",
            "8",
            "--no-baselines",
        ]
        subprocess.run([*map(str, command), "--model", str(weights), "--report", str(report)], check=True)
        figures = json.loads(report.read_text())["figures"]
    return {name: {prompt: round(figures[name][prompt], 4) for prompt in PROMPTS} for name in ("ct", "mr")}


def add_to_growth(checkpoints: list[Path], data: Path) -> list[dict[str, object]]:
    """What is known of the run's checkpoints, by images seen; the new ones are measured and kept."""
    known = {row["step"]: row for row in json.loads(GROWTH.read_text())} if GROWTH.exists() else {}
    steps = images_by_step()
    for path in checkpoints:
        with safe_open(path, "pt") as opened:
            step = int(opened.metadata()["step"])
        images = steps[min(steps, key=lambda logged: abs(logged - step))]
        known[step] = {"step": step, "images": images, "dice": measure(path, data)}
    rows = [known[step] for step in sorted(known)]
    GROWTH.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def draw(rows: list[dict[str, object]]) -> None:
    """Write the picture."""
    log = [json.loads(line) for line in LOG.read_text().splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, label in (("iou_box", "box"), ("iou_click", "one click"), ("iou_last", "after the last click")):
        left.plot([row["images"] for row in log], [row[name] for row in log], label=label, linewidth=1)
    left.set(xlabel="generated images seen", ylabel="IoU", title="Generated images (training)", ylim=(0, 1))
    for name, style in (("ct", "-"), ("mr", "--")):
        for prompt, color in zip(PROMPTS, ("C0", "C1", "C2"), strict=True):
            dice = [row["dice"][name][prompt] for row in rows]  # type: ignore[index]
            right.plot(
                [row["images"] for row in rows],
                dice,
                style,
                color=color,
                marker=".",
                label=f"{name.upper()}, {prompt}",
            )
    right.set(xlabel="generated images seen", ylabel="Dice", title="Real volumes, never seen", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    draw(add_to_growth(options.weights, options.data))


if __name__ == "__main__":
    main()
