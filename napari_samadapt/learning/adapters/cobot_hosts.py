"""SAM-COBOT on the hosts that have a bottleneck: LoRA, Adaptformer and, as our experiment, Conv-LoRA.

Slots count only the chosen blocks: T = 2 L for LoRA (q and v of block l are slots 2 l and 2 l + 1), else T = L.
"""

from .adapter import Sites, wrap
from .adaptformer import AdaptformerBranch, ParallelMlp
from .cobot import CobotOptions, Communication, Layer, Preset, mixers
from .conv_experts import Interpolation
from .conv_lora import attach_conv_lora
from .lora import LowRank, PartsLoRA


def attach_cobot_lora(
    sites: Sites, *, rank: int = 4, alpha: float = 4.0, preset: Preset = "identity",
    layer: Layer = "hypercomplex", relation: Communication = "learned",
) -> None:  # fmt: skip
    """COBOT on LoRA of q and v. The official preset starts A and B Xavier-normal, so not at the frozen SAM."""
    slots = iter(mixers(rank, 2 * len(sites.indices), CobotOptions(preset, layer, relation)))
    for block in sites.blocks:
        width = block.attn.qkv.in_features
        parts = {part: LowRank(width, width, rank, alpha) for part in "qv"}
        for low_rank in parts.values():
            low_rank.mixer = next(slots)
            if preset == "official":
                low_rank.start_as_official()
        wrap(block, "attn.qkv", PartsLoRA, parts)


def attach_cobot_adaptformer(
    sites: Sites, *, width: int = 16, preset: Preset = "identity",
    layer: Layer = "hypercomplex", relation: Communication = "learned",
) -> None:  # fmt: skip
    """COBOT on Adaptformer as SAM-COBOT runs it: own layer norm, scale 1, beside the MLP."""
    slots = mixers(width, len(sites.indices), CobotOptions(preset, layer, relation))
    for block, mixer in zip(sites.blocks, slots, strict=True):
        branch = AdaptformerBranch(block.mlp.lin1.in_features, width, scale=1.0, norm=True)
        branch.mixer = mixer
        wrap(block, "mlp", ParallelMlp, branch)


def attach_cobot_conv_lora(
    sites: Sites, *, rank: int = 4, alpha: float = 32.0, experts: int = 8, top_k: int = 1,
    scales: tuple[int, ...] | None = None, gated: bool = True, paper_literal: bool = False,
    interpolation: Interpolation = "bicubic",
    preset: Preset = "identity", layer: Layer = "hypercomplex", relation: Communication = "learned",
) -> None:  # fmt: skip
    """Ours, in no paper: the slot matrix between Conv-LoRA's down-projection and its experts."""
    slots = mixers(rank, len(sites.indices), CobotOptions(preset, layer, relation))
    attach_conv_lora(
        sites, rank=rank, alpha=alpha, experts=experts, top_k=top_k,
        scales=scales, gated=gated, paper_literal=paper_literal, interpolation=interpolation,
    )  # fmt: skip
    for block, mixer in zip(sites.blocks, slots, strict=True):
        block.attn.qkv.mixer = mixer
