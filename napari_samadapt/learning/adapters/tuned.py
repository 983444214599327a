"""Methods that train weights which are there already: BitFit, attention tuning, SSF, and the whole encoder.

What is trained is the difference to the pretrained value, which starts at zero and stays a tensor of its own: frozen
tensors are never written to, and weight decay pulls to the pretrained model. With COBOT (our extension to these hosts,
see docs/methods.md) each difference is multiplied, channel by channel, by its slot's factor.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .adapter import Adapter, Sites, with_tensors, wrap
from .cobot import CobotOptions, Communication, Preset, Slot, channel_slots

OPERATIONS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.lin1", "mlp.lin2")
"""The operations of a block that have weights."""

Wanted = Callable[[str], bool]


class Tuned(Adapter):
    """`base` with p + lambda * delta in the place of each named parameter p; lambda is 1 without a slot.

    `slots` are COBOT's, by the name of the layer that owns the parameters.
    """

    def __init__(
        self, base: nn.Module, names: Iterable[str], slots: Mapping[str, Slot] = MappingProxyType({})
    ) -> None:
        super().__init__()
        self.base = base
        self.names = tuple(names)
        self.deltas = nn.ParameterDict(
            {_key(name): nn.Parameter(torch.zeros_like(base.get_parameter(name))) for name in self.names}
        )
        self.slots = nn.ModuleDict({_key(layer): slot for layer, slot in slots.items()})

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = functional_call(self.base, self.tensors(), (x,))
        return out

    def tensors(self) -> dict[str, Tensor]:
        """The tuned parameters by name."""
        return {name: self.base.get_parameter(name) + self._change(name) for name in self.names}

    def _change(self, name: str) -> Tensor:
        delta: Tensor = self.deltas[_key(name)]
        layer = _key(name.rpartition(".")[0])
        if layer not in self.slots:
            return delta
        factor: Tensor = self.slots[layer].factor()  # type: ignore[operator]  # a Slot
        return factor.view(-1, *[1] * (delta.ndim - 1)) * delta

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """`base` again, with the tuned values."""
        return with_tensors(self.base, self.tensors())


class Scaled(Adapter):
    """y = (1 + lambda * s) base(x) + lambda * t, channel by channel [SSF]; s and t start at zero."""

    kept_because = "a convolution of the neck has no bias that could take the shift"

    def __init__(self, base: nn.Module, slot: Slot | None = None) -> None:
        super().__init__()
        self.base = base
        weight = base.get_parameter("weight")
        self.channel_first = not isinstance(base, nn.Linear | nn.LayerNorm)
        self.scale = nn.Parameter(torch.zeros(len(weight)))
        self.shift = nn.Parameter(torch.zeros(len(weight)))
        self.slot = slot

    def changes(self) -> tuple[Tensor, Tensor]:
        """lambda * s and lambda * t: (channels,) each."""
        if self.slot is None:
            return self.scale, self.shift
        factor = self.slot.factor()
        return factor * self.scale, factor * self.shift

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.changes()
        if self.channel_first:
            scale, shift = scale[:, None, None], shift[:, None, None]
        out: Tensor = self.base(x)
        return out * (1 + scale) + shift

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """`base` with weight and bias scaled and shifted. Refused where `base` has no bias: SAM's files have none."""
        scale, shift = self.changes()
        weight, bias = self.base.get_parameter("weight"), getattr(self.base, "bias", None)
        if bias is None:
            return super().merged()
        scaled = weight * (1 + scale).view(-1, *[1] * (weight.ndim - 1))
        return with_tensors(self.base, {"weight": scaled, "bias": bias * (1 + scale) + shift})


def attach_bitfit(sites: Sites) -> None:
    """BitFit [Ben Zaken 2021]: every bias of the encoder."""
    _tune(sites, _is_bias)


def attach_full(sites: Sites) -> None:
    """Every weight of the blocks, the neck and the patch embedding; the position embedding stays."""
    _tune(sites, lambda _name: True)


def attach_attention_tuning(sites: Sites) -> None:
    """Attention tuning [Touvron 2022]: all attention weights, relative positions too."""
    for block in sites.blocks:
        wrap(block, "attn", Tuned, _names(block.attn))


def attach_to_mask_decoder(decoder: nn.Module) -> None:
    """Tune every layer of SAM's mask decoder; its tokens stay."""
    layers = {path: _own_names(layer) for path, layer in decoder.named_modules()}
    for path, names in layers.items():
        if names and not isinstance(decoder.get_submodule(path), nn.Embedding):
            wrap(decoder, path, Tuned, names)


def attach_ssf(sites: Sites, *, neck: bool = False) -> None:
    """SSF [Lian 2022] behind every operation; `neck` includes the neck's four. Starts at the frozen SAM."""
    for block in sites.blocks:
        for operation in OPERATIONS:
            wrap(block, operation, Scaled)
    _scale_outside(sites, neck)


def attach_cobot_bitfit(
    sites: Sites, *, preset: Preset = "identity", relation: Communication = "learned"
) -> None:
    """Ours: BitFit's changes times COBOT's factors, one slot for each block over its 11 D biases."""
    _tune(sites, _is_bias, _block_slots(sites, OPERATIONS, CobotOptions(preset, "none", relation)))


def attach_cobot_ssf(
    sites: Sites, *, preset: Preset = "identity", relation: Communication = "learned", neck: bool = False
) -> None:
    """Ours: SSF's changes times COBOT's factors, one slot for each block over its 11 D output channels."""
    slots = _block_slots(sites, OPERATIONS, CobotOptions(preset, "none", relation))
    for block, pieces in zip(sites.blocks, slots, strict=True):
        for operation, slot in pieces.items():
            wrap(block, operation, Scaled, slot)
    _scale_outside(sites, neck)


def attach_cobot_attention(
    sites: Sites, *, preset: Preset = "identity", relation: Communication = "learned"
) -> None:
    """Ours: attention tuning's changes times COBOT's factors, over the 4 D output channels of qkv and proj."""
    layers = ("attn.qkv", "attn.proj")
    slots = _block_slots(sites, layers, CobotOptions(preset, "none", relation))
    for block, pieces in zip(sites.blocks, slots, strict=True):
        own = {name.removeprefix("attn."): slot for name, slot in pieces.items()}
        wrap(block, "attn", Tuned, _names(block.attn), own)


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"


def _names(module: nn.Module, wanted: Wanted = lambda _name: True) -> list[str]:
    return [name for name, _ in module.named_parameters() if wanted(name)]


def _tune(sites: Sites, wanted: Wanted, slots: Sequence[Mapping[str, Slot]] = ()) -> None:
    """Tune what is wanted of the chosen blocks; of the neck and the patch embedding too where all were chosen."""
    for place, (index, block) in enumerate(zip(sites.indices, sites.blocks, strict=True)):
        names = _names(block, wanted)
        wrap(sites.encoder, f"blocks.{index}", Tuned, names, slots[place] if slots else {})
    if not sites.everywhere:
        return
    wrap(sites.encoder, "neck", Tuned, _names(sites.encoder.neck, wanted))
    embedding = sites.encoder.patch_embed
    layers = {path: _own_names(layer) for path, layer in embedding.named_modules()}
    for path, every in layers.items():
        names = [name for name in every if wanted(name)]
        if names:
            wrap(embedding, path, Tuned, names)


def _own_names(layer: nn.Module) -> list[str]:
    return [name for name, _ in layer.named_parameters(recurse=False)]


def _scale_outside(sites: Sites, neck: bool) -> None:
    if sites.everywhere:
        wrap(sites.encoder.patch_embed, "proj", Scaled)
    if sites.everywhere and neck:
        for place in range(len(sites.encoder.neck)):
            wrap(sites.encoder.neck, str(place), Scaled)


def _block_slots(sites: Sites, layers: Iterable[str], options: CobotOptions) -> Sequence[Mapping[str, Slot]]:
    """One slot for each chosen block, over the output channels of these layers."""
    first = sites.blocks[0]
    widths = {layer: len(first.get_submodule(layer).weight) for layer in layers}
    return channel_slots(widths, len(sites.indices), options)


def _key(name: str) -> str:
    """A name that a ParameterDict takes."""
    return name.replace(".", "_")
