"""The mean of several checkpoints of one run: better than each of them where the rate fell to nothing more than once.

    python -m training.average_weights FIRST.safetensors SECOND.safetensors --out resources/mini.safetensors

Averaging weights along a trajectory is Izmailov et al. 2018 (arXiv 1803.05407).
"""

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor


def mean_of(checkpoints: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor, float16."""
    return {
        name: torch.stack([tensors[name].float() for tensors in checkpoints]).mean(0).half()
        for name in checkpoints[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", type=Path, nargs="+", help="files of the run, the latest one last")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with safe_open(options.checkpoints[-1], "pt") as latest:
        metadata = latest.metadata()
    save_file(mean_of([load_file(path) for path in options.checkpoints]), options.out, metadata=metadata)


if __name__ == "__main__":
    main()
