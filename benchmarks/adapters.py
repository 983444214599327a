"""Time and memory of every adapter method, in one run.

    python benchmarks/adapters.py [--geometry mini,vit-b] [--full] [--methods lora,conv-lora] [--rounds 7]
        [--device cuda] [--dtype bf16] [--batch 1,4] [--threads 2] [--report FILE.json]

A step is a forward of the whole image encoder, the mean square of its embedding as the loss, the backward pass and
the optimiser's step; a forward is one without gradients. `vit-b` is one windowed and one global block of ViT-B at
1024 pixels (25 windows of 14 x 14 and 64 x 64 tokens, width 768), with `--full` all twelve; `mini` is its whole
encoder. Methods take turns in every round, and a ratio is the median over rounds of the ratio to LoRA in the same
round, so that what else the machine does falls on all alike. On a CPU with one thread, the default there, the seconds
are those of the processor; with more threads, and on a GPU, those of the clock. Memory is the peak of a step above
what was allocated before it: on a GPU from CUDA's allocator, on a CPU the highest running sum of the allocations that
torch's profiler saw. The row `conv-lora (naive)` resamples maps and routes by reading the choice back, as the official
code does.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import METHODS, AdapterConfig
from napari_samadapt.learning.adapters.conv_experts import ConvExperts
from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import VIT_SHAPES, VitShape, build_vit

REFERENCE, NAIVE = "lora", "conv-lora (naive)"
TWO_BLOCKS = VitShape(
    width=768, depth=2, heads=12, global_blocks=(1,), window=14, decoder_width=256, patch=16
)
GEOMETRIES = ("mini", "vit-b")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class NaiveExperts(ConvExperts):
    """The same experts by their definition, one after the other."""

    def forward(self, z: Tensor, chosen: Tensor) -> Tensor:
        maps = z.permute(0, 3, 1, 2)
        out = torch.zeros_like(maps)
        for index, scale in enumerate(self.scales):
            items = (chosen == index).nonzero()[:, 0]
            if len(items):
                up = F.interpolate(maps[items], scale_factor=scale, mode=self.mode)
                kernel = self.weight[index].permute(0, 3, 2, 1).to(z.dtype)
                fine = F.conv2d(up, kernel, None if self.bias is None else self.bias[index], padding=1)
                fine = F.gelu(fine) if self.activation else fine
                out = out.index_add(0, items, F.interpolate(fine, size=z.shape[1:3], mode=self.mode))
        return out.permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Row:
    """One method's figures: milliseconds and mebibytes; ratios are to LoRA in the same round."""

    method: str
    parameters: int
    step_ms: float
    step_ratio: float
    forward_ms: float
    forward_ratio: float
    step_peak_mib: float


class Contender:
    """A method on an encoder with random weights, ready to be timed."""

    def __init__(self, method: str, geometry: str, options: argparse.Namespace, batch: int) -> None:
        torch.manual_seed(0)
        sam = build_encoder(geometry, options.full)
        adapters.insert(sam, AdapterConfig("conv-lora" if method == NAIVE else method))
        if method == NAIVE:
            for module in sam.modules():
                if isinstance(module, ConvExperts):
                    module.__class__ = NaiveExperts
        self.method = method
        self.sam = sam.to(options.device).train()
        self.type = TYPES[options.dtype]
        self.trained = list(adapters.trainable(self.sam).values())
        self.optimizer = torch.optim.AdamW(self.trained) if self.trained else None
        size = self.sam.input_size
        self.pixels = torch.randn(batch, 3, size, size, device=options.device)

    def encode(self) -> Tensor:
        device = self.pixels.device.type
        with torch.autocast(device, dtype=self.type, enabled=self.type != torch.float32):
            features: Tensor = self.sam.encode(self.pixels)[0]
        return features.float()

    def step(self) -> None:
        """One training step of the adapter."""
        loss = self.encode().square().mean() + adapters.pop_balance_loss(self.sam)
        if self.optimizer is not None:
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    @torch.no_grad()
    def forward(self) -> None:
        """One forward in eval mode."""
        self.sam.eval()
        self.encode()
        self.sam.train()


def build_encoder(geometry: str, full: bool) -> PromptableSam:
    """A SAM with random weights whose encoder has this geometry."""
    if geometry == "mini":
        return build_mini()
    return build_vit(VIT_SHAPES["vit_b"] if full else TWO_BLOCKS, 1024, "vit_b")


def seconds_of(action: Callable[[], None], clock: Callable[[], float]) -> float:
    """How long one call takes."""
    started = clock()
    action()
    return clock() - started


def gpu_clock() -> float:
    """Seconds, once the GPU has done what was asked of it."""
    torch.cuda.synchronize()
    return time.perf_counter()


def timed_rounds(
    actions: Sequence[Callable[[], None]], rounds: int, clock: Callable[[], float]
) -> list[list[float]]:
    """Seconds of each action (one list each) over rounds in which all take turns; a first round does not count."""
    times = [[seconds_of(action, clock) for action in actions] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*times[1:], strict=True)]


def median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """The median over rounds of the ratio in the same round."""
    return statistics.median(a / b for a, b in zip(times, reference, strict=True))


def peak_mib(action: Callable[[], None], device: str) -> float:
    """The most that was allocated at once during one call, above what was allocated before it."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        action()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = profiler.profiler.kineto_results.events()
    changes = ((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return highest_sum(size for _, size in sorted(changes, key=lambda change: change[0])) / 2**20


def highest_sum(changes: Iterable[int]) -> int:
    """The highest running sum, at least 0."""
    held = highest = 0
    for change in changes:
        held += change
        highest = max(highest, held)
    return highest


def measure(methods: Sequence[str], geometry: str, options: argparse.Namespace, batch: int) -> list[Row]:
    """A row for each method; LoRA is among them."""
    contenders = [Contender(method, geometry, options, batch) for method in methods]
    on_cpu = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    clock = gpu_clock if options.device == "cuda" else on_cpu
    step = timed_rounds([c.step for c in contenders], options.rounds, clock)
    forward = timed_rounds([c.forward for c in contenders], options.rounds, clock)
    reference = list(methods).index(REFERENCE)
    return [
        Row(
            contender.method,
            sum(p.numel() for p in contender.trained),
            1000 * statistics.median(step[i]),
            median_ratio(step[i], step[reference]),
            1000 * statistics.median(forward[i]),
            median_ratio(forward[i], forward[reference]),
            peak_mib(contender.step, options.device),
        )
        for i, contender in enumerate(contenders)
    ]


def chosen_methods(wanted: str | None) -> list[str]:
    """The rows: all methods, or LoRA and those named, separated by commas. Raises ValueError for unknown names."""
    known = [*METHODS, NAIVE]
    if wanted is None:
        return known
    names = [name.strip() for name in wanted.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"Unknown methods {unknown}: use some of {', '.join(known)}.")
    return [name for name in known if name in names or name == REFERENCE]


def table(rows: Sequence[Row]) -> str:
    """The rows under their headings, one line each."""
    heading = f"{'method':18} {'trained':>10} {'step ms':>9} {'/ LoRA':>7} {'forward ms':>10} {'/ LoRA':>7} {'MiB':>8}"
    lines = [
        f"{row.method:18} {row.parameters:10,} {row.step_ms:9.1f} {row.step_ratio:7.3f} {row.forward_ms:10.1f} "
        f"{row.forward_ratio:7.3f} {row.step_peak_mib:8.1f}"
        for row in rows
    ]
    return "\n".join([heading, *lines])


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--geometry", default="mini,vit-b", help="one of the two, or both separated by a comma"
    )
    parser.add_argument("--full", action="store_true", help="all twelve blocks of ViT-B")
    parser.add_argument("--methods", help="separated by commas; all of them when left out")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=tuple(TYPES), default="fp32", help="below fp32 under autocast")
    parser.add_argument("--batch", default="1", help="images in a step; several sizes separated by commas")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads on a CPU")
    parser.add_argument("--report", type=Path, help="write every figure here")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here")
    options.geometry = options.geometry.split(",")
    if unknown := set(options.geometry) - set(GEOMETRIES):
        parser.error(f"unknown geometry {', '.join(unknown)}: use {' or '.join(GEOMETRIES)}")
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    report = {}
    for geometry, batch in itertools.product(options.geometry, map(int, options.batch.split(","))):
        rows = measure(chosen_methods(options.methods), geometry, options, batch)
        name = f"{geometry}{' full' if options.full else ''}, batch {batch}, {options.device} {options.dtype}"
        print(f"{name}\n{table(rows)}\n", flush=True)
        report[name] = [asdict(row) for row in rows]
    if options.report:
        options.report.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
