"""Peak memory of training at the size of ViT-B and 1024 pixels, with what is chosen without asking anybody.

    python benchmarks/training_memory.py [--model vit_b] [--threads 2] [--steps 2]

Weights are random, which changes nothing about memory. Adapters and batch are the session's own: Conv-LoRA in the last
half of the blocks, as many slices at a time as the forecast allows. Measured on a GPU where there is one (what torch
allocated), else on the CPU (the whole process). Prints JSON.
"""

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

import numpy as np
import torch

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import adapters
from napari_samadapt.learning.fine_tune import FineTuneConfig, fine_tune
from napari_samadapt.learning.forecast import block_costs, forecast
from napari_samadapt.learning.sam import VIT_SHAPES, best_device, build_vit
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.learning.semantic import SemanticSam
from napari_samadapt.session.session import default_adapter

INPUT_SIZE = 1024
SLICES = 5


def training_memory(model: str, threads: int, steps: int = 2) -> dict[str, Any]:
    """What `trained` says, in a process of its own."""
    command = [sys.executable, __file__, "--model", model, "--threads", str(threads), "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def trained(model: str, steps: int) -> dict[str, Any]:
    """Train so many steps; `gb` at the peak, and what was chosen."""
    device = best_device()
    sam = build_vit(VIT_SHAPES[model], INPUT_SIZE, model).requires_grad_(False).to(device)
    config = default_adapter(sam)
    cost = forecast(sam, block_costs(sam), config.last_blocks or len(sam.image_encoder.blocks))
    semantic = SemanticSam(sam, (1, 2), config.decoder)
    adapters.insert(sam, config)
    for _ in fine_tune(semantic, samples(), FineTuneConfig(None, steps, batch_size=cost.batch)):
        pass
    return {
        "gb": peak_bytes(device) / 1e9, "device": device, "batch": cost.batch,
        "last_blocks": cost.last_blocks, "forecast_gb": cost.nbytes / 1e9,
    }  # fmt: skip


def samples() -> list[TrainingSample]:
    """Two squares on noise, in slices of the size that the network takes."""
    rng, labels = np.random.default_rng(0), np.zeros((INPUT_SIZE, INPUT_SIZE), np.int64)
    labels[100:400, 100:400], labels[500:900, 500:900] = 1, 2
    images = [rng.random(labels.shape, dtype=np.float32) for _ in range(SLICES)]
    return [TrainingSample(SliceKey(0, index), image, labels) for index, image in enumerate(images)]


def peak_bytes(device: str) -> int:
    """The most that was ever taken at once (ru_maxrss is in kB on Linux)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=tuple(VIT_SHAPES), default="vit_b")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(trained(options.model, options.steps)))


if __name__ == "__main__":
    main()
