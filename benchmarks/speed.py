"""How long `mini` takes for one slice and one click, and how large it is.

    python benchmarks/speed.py [--threads 2] [--repeat 20]

Prints medians in milliseconds. "plain" is segment-anything's own attention in the global blocks, timed in the same
run, so that the gain of the fused one is a ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.learning.attention import FusedAttention
from napari_samadapt.learning.predict import decode_mask, encode_slice
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.segment_anything_modules import Attention


def median_ms(function: Callable[[], object], repeat: int) -> float:
    """Median wall time of `repeat` calls after two that do not count."""
    times = []
    for index in range(repeat + 2):
        started = time.perf_counter()
        function()
        if index >= 2:
            times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sam = load_sam("mini")
    image = np.random.default_rng(0).random((200, 256), dtype=np.float32)
    click = Prompts(point_coords=np.array([[90.0, 80.0]]), point_labels=np.array([1]))
    embedding = encode_slice(sam, image)
    encode = median_ms(lambda: encode_slice(sam, image), options.repeat)
    decode = median_ms(lambda: decode_mask(sam, embedding, click), options.repeat)
    for module in sam.image_encoder.modules():
        if isinstance(module, FusedAttention):
            module.__class__ = Attention
    plain = median_ms(lambda: encode_slice(sam, image), options.repeat)
    size = Path(str(resources.files("napari_samadapt.resources") / "mini.safetensors")).stat().st_size
    print(f"encode a slice  {encode:.0f} ms ({plain:.0f} ms plain, {plain / encode:.2f} times)")
    print(f"answer a click  {decode:.1f} ms")
    print(
        f"checkpoint      {size / 1e6:.1f} MB, {sum(p.numel() for p in sam.parameters()) / 1e6:.2f} M parameters"
    )


if __name__ == "__main__":
    main()
