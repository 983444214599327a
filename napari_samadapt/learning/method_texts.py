"""What the fine-tuning methods and the automatic decoders are called and do, in words.

Importing this imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_CONV_LORA = "Zhong et al. 2024, Conv-LoRA, arXiv 2401.17868"
_COBOT = "Peng et al. 2024, SAM-COBOT, arXiv 2311.17112"
_LORA = "Hu et al. 2021, LoRA, arXiv 2106.09685"
_BITFIT = "Ben Zaken et al. 2021, BitFit, arXiv 2106.10199"
_ADAPTFORMER = "Chen et al. 2022, AdaptFormer, arXiv 2205.13535"
_SSF = "Lian et al. 2022, SSF, arXiv 2210.08823"
_ATTENTION = "Touvron et al. 2022, arXiv 2203.09795"
_VPT = "Jia et al. 2022, VPT, arXiv 2203.12119"
_PLAIN = "plain weights"


@dataclass(frozen=True)
class MethodText:
    """A method in words.

    `merges_into` says what `adapters.merge` makes of it, empty where merging is refused; `ours` marks what no paper
    has.
    """

    title: str
    sentence: str
    source: str
    merges_into: str = ""
    ours: bool = False


@dataclass(frozen=True)
class TitledText:
    """An automatic decoder or an option in words."""

    title: str
    sentence: str


METHOD_TEXTS: Mapping[str, MethodText] = {
    "conv-lora": MethodText(
        "Conv-LoRA", "LoRA on the fused qkv whose bottleneck passes a mixture of convolutional experts.",
        _CONV_LORA,
    ),
    "lora": MethodText(
        "LoRA", "A low-rank change of the fused qkv weight of every block.",
        _LORA, _PLAIN,
    ),
    "lora-qv": MethodText(
        "LoRA q, v", "Separate low-rank changes of the query and the value weights, as in SAM-COBOT.",
        _LORA, _PLAIN,
    ),
    "cobot-lora": MethodText(
        "COBOT LoRA", "LoRA on q and v whose bottlenecks are coordinated across blocks and mixed within.",
        _COBOT, _PLAIN,
    ),
    "cobot-adaptformer": MethodText(
        "COBOT Adaptformer", "Adaptformer whose bottlenecks are coordinated across blocks and mixed within.",
        _COBOT, "a plain Adaptformer",
    ),
    "cobot-conv-lora": MethodText(
        "COBOT Conv-LoRA", "Conv-LoRA whose bottleneck passes COBOT's slot matrix first; our experiment.",
        "Ours, from Conv-LoRA and SAM-COBOT", ours=True,
    ),
    "cobot-bitfit": MethodText(
        "COBOT BitFit", "BitFit whose bias changes are scaled by COBOT's coefficients; our extension.",
        "Ours, from BitFit and SAM-COBOT", _PLAIN, ours=True,
    ),
    "cobot-ssf": MethodText(
        "COBOT SSF", "SSF whose changes are scaled by COBOT's coefficients; our extension.",
        "Ours, from SSF and SAM-COBOT", _PLAIN, ours=True,
    ),
    "cobot-attention": MethodText(
        "COBOT attention", "Attention tuning whose changes are scaled by COBOT's coefficients; our extension.",
        "Ours, from attention tuning and SAM-COBOT", _PLAIN, ours=True,
    ),
    "bitfit": MethodText("BitFit", "Only the encoder's biases are trained.", _BITFIT, _PLAIN),
    "adapter": MethodText(
        "Adapter", "A small bottleneck after the attention and after the MLP of every block.",
        "Houlsby et al. 2019, arXiv 1902.00751",
    ),
    "adaptformer": MethodText(
        "Adaptformer", "A small bottleneck beside the MLP of every block.", _ADAPTFORMER
    ),
    "vpt": MethodText(
        "VPT", "Learned tokens that every query of a block can attend to.", _VPT
    ),
    "lst": MethodText(
        "LST", "A narrow side network that reads every block; no gradient passes the frozen encoder.",
        "Sung et al. 2022, LST, arXiv 2206.06522",
    ),
    "sam-adapter": MethodText(
        "SAM-Adapter", "Patch embedding and high frequencies of the image, added to the input of every block.",
        "Chen et al. 2023, SAM-Adapter, arXiv 2304.09148",
    ),
    "ssf": MethodText(
        "SSF", "Every operation's output is scaled and shifted, channel by channel.", _SSF, _PLAIN
    ),
    "attention-tuning": MethodText(
        "Attention tuning", "All attention weights are trained, relative positions too.", _ATTENTION, _PLAIN
    ),
    "conv-lora+vpt": MethodText(
        "Conv-LoRA + VPT", "Conv-LoRA and VPT together.", _CONV_LORA
    ),
    "full": MethodText(
        "Full", "Every weight of the encoder is trained, the position embedding excepted.",
        "Full fine-tuning", _PLAIN,
    ),
    "decoder-only": MethodText(
        "Decoder only", "The encoder stays as it is; only the decoder is trained.",
        "\"Lightweight\" in SAM-COBOT", _PLAIN,
    ),
}  # fmt: skip

DECODER_TEXTS: Mapping[str, TitledText] = {
    "detail": TitledText("Detail path", "SAM's embedding joined with convolutions on the slice itself."),
    "queries": TitledText(
        "Mask queries",
        "Conv-LoRA's multi-class decoder: ten masks from SAM's own decoder, each with its class.",
    ),
}
"""The automatic decoders, the default first."""

OPTION_TEXTS: Mapping[str, TitledText] = {
    "rank": TitledText("Rank", "Width of the low-rank change."),
    "alpha": TitledText("Scale α", "The change is multiplied by α / rank."),
    "experts": TitledText("Experts", "How many convolutions, at scales 1, 2, 3 and so on."),
    "top_k": TitledText("Experts in use", "How many experts each window gets."),
    "scales": TitledText("Scales", "The experts' scales, as in 1,2,4. Empty: one scale for each expert."),
    "gated": TitledText("Choose experts", "Off: all experts are summed, without a choice."),
    "paper_literal": TitledText(
        "Paper's formula", "As printed: no residual, no activation, no bias, scale 1."
    ),
    "interpolation": TitledText("Interpolation", "How the experts scale maps up and down."),
    "targets": TitledText("Targets", "qkv as one, or some of q,k,v,proj, separated by commas."),
    "preset": TitledText(
        "Start",
        "identity: as the plain host. official: as SAM-COBOT's code. unit: with a random rotation.",
    ),
    "layer": TitledText("Mixing layer", "How each slot mixes its bottleneck."),
    "relation": TitledText("Relation of blocks", "Whether the matrix that relates the blocks is learned."),
    "width": TitledText("Width", "Width of the bottleneck."),
    "variant": TitledText(
        "Variant",
        "original: as Chen et al., scale 0.1. cobot: as in SAM-COBOT, with its own layer norm and scale 1.",
    ),
    "tokens": TitledText("Tokens", "Learned tokens in each block."),
    "reduction": TitledText("Reduction", "The encoder's width is divided by this."),
    "zero_init": TitledText("Start at SAM", "Start with the output of the plain model."),
    "neck": TitledText("Neck too", "The layers behind the blocks take part."),
    "blocks": TitledText("Blocks", "The encoder's blocks that are adapted, as in 0,1,2. Empty: all of them."),
    "last_blocks": TitledText(
        "Last blocks", "How many of the last blocks are adapted, instead of naming them."
    ),
    "prompts": TitledText(
        "Prompts learn too",
        "SAM's mask decoder is tuned as well, so that boxes and clicks get better on this volume.",
    ),
}
"""Every option of `AdapterConfig` that is asked for in the window."""
